"""What becomes of gates: zeros in the weights of units that are gone, and what each application keeps."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from ..errors import PruningError
from ..model.applications import write_applications
from ..model.removal import read_layer_sizes
from ..model.structure import encoder_layers
from .gated_linear import GatedLinear
from .granularity import GRANULARITIES, Spanning

__all__ = ["has_gates", "has_own_gates", "require_own_applications", "write_gates", "zero_units"]

_FIELDS = {"attention_output": "application_heads", "ffn_out": "application_units"}
"""The part of a layer whose inputs are gated -> what the configuration calls the units that are kept."""


def has_gates(model: nn.Module) -> bool:
    """Tell whether ``model`` has units that gates keep or remove."""
    return any(isinstance(module, GatedLinear) for module in model.modules())


def has_own_gates(model: nn.Module) -> bool:
    """Tell whether applications of a shared layer of ``model`` have gates of their own."""
    return any(isinstance(module, GatedLinear) and module.differs for module in model.modules())


def require_own_applications(model: nn.Module) -> None:
    """Check that the applications of ``model`` can keep units of their own.

    Raises:
        PruningError: if its configuration cannot say what they keep.
    """
    if not hasattr(getattr(model, "config", None), "application_heads"):
        raise PruningError(
            "applications='each' needs a PAL-BERT, whose configuration says what every application of a shared layer"
            f" keeps, and this is a {type(model).__name__}. An ALBERT checkpoint loads as one:"
            " PalBertForQuestionAnswering.from_pretrained(…)."
        )
    if read_layer_sizes(model.config) is not None:
        raise PruningError(
            "applications='each' needs layers as large as the configuration says, and units were removed from some"
            " layers of this model. Prune its applications first."
        )


def write_gates(model: nn.Module) -> None:
    """Say in the configuration what each application keeps, where gates differ between applications.

    A checkpoint from the middle of a run, which holds the whole weights, then gives the logits that the model gives.
    """
    for field, masks in _application_masks(model).items():
        write_applications(model, field, masks)


def _application_masks(model: nn.Module) -> dict[str, dict[str, Tensor]]:
    """Field of the configuration -> name of a layer -> bool ``[applications, units]``."""
    found: dict[str, dict[str, Tensor]] = {}
    differ: dict[str, bool] = {}
    for layer in encoder_layers(model) if has_gates(model) else ():
        for part, field in _FIELDS.items():
            linear = getattr(layer, part)
            if isinstance(linear, GatedLinear):
                found.setdefault(field, {})[layer.name] = linear.mask != 0
                differ[field] = differ.get(field, False) or linear.differs
    return {field: masks for field, masks in found.items() if differ[field]}


@torch.no_grad()
def zero_units(model: nn.Module) -> None:
    """Write zeros into all weights of the units that no application keeps: into them and out of them."""
    linears = {name: module for name, module in model.named_modules() if isinstance(module, nn.Linear)}
    for granularity in GRANULARITIES.values():
        for units in granularity.units(model, linears) if isinstance(granularity, Spanning) else ():
            gated = linears[units.gate] if units.gate else None
            if isinstance(gated, GatedLinear):
                for name, mask in units.masks((gated.mask != 0).any(0)).items():
                    linears[name].weight.masked_fill_(~mask, 0.0)
