"""From a dense model to a prunable one and back: make its Linears maskable, update and bake the masks.

All functions change the model in place, as ``torch.nn`` surgery does, and none of them knows a Trainer.
"""

from __future__ import annotations

import copy
import logging
import warnings
from collections.abc import Iterator, Mapping, Sequence

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from ..errors import NoEffectWarning, PruningError
from ..model.applications import cut_applications, require_whole_applications
from ..storage.saving import disable_sparse_saving
from .config import PruningConfig
from .gated_linear import GatedLinear
from .gates import has_gates, has_own_gates, require_own_applications, write_gates, zero_units
from .granularity import Units, matrices
from .maskable import MaskableLinear
from .masked_linear import MaskedLinear
from .refusals import require_config, require_prunable, require_survivors
from .resuming import LOAD_HOOK, watch_loading
from .scores import Score
from .targets import announce, prunable_layers, pruning_plan

__all__ = [
    "PREPARED_BY",
    "TOLD_APART",
    "bake_masks",
    "dense_copy",
    "is_prepared",
    "masked_layers",
    "prepare_pruning",
    "score_parameters",
    "unit_sizes",
    "update_scores",
]

logger = logging.getLogger(__name__)

FORWARD_HOOK = "_palbert_hook"
"""The attribute of a prepared base model that holds the handle of the hook that builds the weights of a forward."""

PREPARED_BY = "_palbert_prepared_by"
"""The attribute of a prepared model that holds the config it was prepared with."""

TOLD_APART = "_palbert_told_apart"
"""The attribute of a prepared model that says that its scores were seen to differ."""


def masked_layers(model: nn.Module) -> dict[str, MaskableLinear]:
    """The layers of ``model`` that carry masks or gates, by module name."""
    return {name: module for name, module in model.named_modules() if isinstance(module, MaskableLinear)}


def is_prepared(model: nn.Module) -> bool:
    """Whether :func:`prepare_pruning` has been applied, and :func:`bake_masks` not yet."""
    return any(isinstance(module, MaskableLinear) for module in model.modules())


def prepare_pruning(model: nn.Module, config: PruningConfig) -> nn.Module:
    """Make the targeted Linears maskable, all weights kept at first.

    Where the units are weights, rows, columns or blocks, each becomes a :class:`MaskedLinear`; where units span
    matrices, the one whose inputs they are becomes a :class:`GatedLinear`, and the others stay what they are.
    Parameters keep their names and identities; methods of first order add one parameter ``scores`` per changed layer.
    Call it before an optimizer is made.

    Returns:
        ``model`` itself.

    Raises:
        PruningError: if no Linear matches, or the model is prepared already, or cannot be pruned as it is.
    """
    require_config(config)
    require_prunable(model)
    if is_prepared(model):
        raise PruningError("This model is prepared for pruning already; call bake_masks(model) first to start anew.")
    if config.final_density == 1:
        warnings.warn("target_sparsity=0 removes no weight; give the share to remove.", NoEffectWarning, stacklevel=2)
    if config.applications == "each":
        require_own_applications(model)
    targets = prunable_layers(model, config)
    sets = config.units.units(model, targets)
    if not sets:
        raise PruningError(
            f"The targets of {type(model).__name__} have no units of granularity={config.granularity!r}. They are"
            f" {', '.join(list(targets)[:8])}; choose others with targets=[…], or another granularity."
        )
    if any(units.gate for units in sets):
        require_whole_applications(model)
    _require_equal_units(sets, config)
    require_survivors(model, sets, config)
    logger.info(announce(pruning_plan(model, config), config))
    _require_own_weights({name: targets[name] for name in matrices(sets)})
    _replace(model, {linear: new for units in sets for linear, new in _maskable(units, targets, config.score)})
    setattr(model, PREPARED_BY, config)
    _build_once_per_forward(model)
    watch_loading(model)
    if isinstance(model, PreTrainedModel):
        disable_sparse_saving(model)  # it may have been loaded from a packed file
    return model


def _maskable(units: Units, targets: Mapping[str, nn.Linear], score: Score) -> Iterator[tuple[nn.Module, nn.Module]]:
    """The Linears that change for ``units``, each with what takes its place."""
    if units.gate is None:
        for linear in (targets[part.matrix] for part in units.slices):
            yield linear, MaskedLinear(linear, score.initial(linear.weight))
    else:
        linear = targets[units.gate]
        yield (
            linear,
            GatedLinear(linear, units.shape[1], units.applications, score.initial(unit_sizes(units, targets))),
        )


@torch.no_grad()
def unit_sizes(units: Units, linears: Mapping[str, nn.Linear]) -> Tensor:
    """Mean ``|W|`` over each unit, of the units' shape, float32."""
    return units.scores({part.matrix: linears[part.matrix].weight.abs().float() for part in units.slices}).contiguous()


def _require_own_weights(linears: Mapping[str, nn.Linear]) -> None:
    seen: set[Tensor] = set()
    for name, linear in linears.items():
        if linear.weight in seen:
            raise PruningError(f"{name} shares its weight with another Linear; leave one of them out with exclude=[…].")
        seen.add(linear.weight)


def _replace(model: nn.Module, new: dict[nn.Module, nn.Module]) -> None:
    """Put each value of ``new`` wherever its key stands; a module that is used twice may stand in two places."""
    for name, module in list(model.named_modules(remove_duplicate=False)):
        if module in new:
            model.set_submodule(name, new[module])


def _build_once_per_forward(model: nn.Module) -> None:
    """Build every effective weight when the encoder's forward starts.

    The hook sits on the base model (``model.albert``), not on the model: accelerate's autocast wraps the outermost
    ``forward``, so only inside it the dtype of the products is known. Built there, and not inside a layer, the weights
    also lie outside the regions that gradient checkpointing runs twice.
    """
    base = getattr(model, getattr(model, "base_model_prefix", ""), model)
    setattr(base, FORWARD_HOOK, base.register_forward_pre_hook(_start_forward))


def _start_forward(module: nn.Module, args: object) -> None:  # noqa: ARG001 (the shape of a hook)
    for layer in masked_layers(module).values():
        layer.start_forward()


def _require_equal_units(sets: list[Units], config: PruningConfig) -> None:
    sizes = sorted({units.kept_weights(1) for units in sets})
    if config.scope == "global" and len(sizes) > 1 and not config.is_budgeted:
        raise PruningError(
            f"scope='global' compares units with each other, and those of granularity={config.granularity!r} have"
            f" different sizes here ({', '.join(f'{size:g}' for size in sizes)} weights): keeping a share of them would"
            " keep another share of the weights. Use scope='matrix', or targets=[…] of one shape."
        )


def score_parameters(model: nn.Module) -> list[nn.Parameter]:
    """The tensors ``scores`` of the prunable layers, in the model's order; none for a method that learns nothing."""
    return [layer.scores for layer in masked_layers(model).values() if layer.scores is not None]


@torch.no_grad()
def update_scores(model: nn.Module, config: PruningConfig, gradients: Sequence[Tensor | None]) -> None:
    """Tell the scores what they received in a step, where the optimizer does not sum it up.

    Args:
        model: A prepared model.
        config: Its settings.
        gradients: Those of :func:`score_parameters`, in their order; None where a layer received none.
    """
    score, rate = config.score, config.score_learning_rate or 1.0
    learning = (layer for layer in masked_layers(model).values() if layer.scores is not None)
    for layer, gradient in zip(learning, gradients, strict=True):
        if gradient is not None:
            score.update(layer.score_state, gradient, rate)


def dense_copy(model: nn.Module) -> nn.Module:
    """A copy of a prepared model with plain Linears and all weights, to be run and measured; the model stays as it is.

    The copy's ``forward`` is that of its class: an accelerator's wrapper around that of the model would call the model.
    """
    copied = copy.deepcopy(model)
    copied.__dict__.pop("forward", None)
    layers = masked_layers(copied)
    for layer in layers.values():
        layer.set_mask(torch.ones_like(layer.mask))
    _replace(copied, {layer: layer.bake() for layer in layers.values()})
    _forget_preparation(copied)
    return copied


def bake_masks(model: nn.Module) -> nn.Module:
    """Write the masks into the weights as zeros and put plain Linears back: no pruning code is needed afterwards.

    Where applications of a shared layer keep units of their own, the layer computes with slices of its weights from
    then on, as it does when it is loaded again.

    Returns:
        ``model`` itself, with its original module types and state-dict keys.

    Raises:
        PruningError: if the model was never prepared.
    """
    layers = masked_layers(model)
    if not layers:
        raise PruningError("This model has no masks to bake; call prepare_pruning(model, config) first.")
    applications = has_own_gates(model)
    if has_gates(model):
        write_gates(model)
        zero_units(model)
    _replace(model, {layer: layer.bake() for layer in layers.values()})
    if applications:
        cut_applications(model)
    _forget_preparation(model)
    return model


def _forget_preparation(model: nn.Module) -> None:
    for name in (PREPARED_BY, TOLD_APART):
        model.__dict__.pop(name, None)
    for module in model.modules():
        for name in (FORWARD_HOOK, LOAD_HOOK):
            if (hook := module.__dict__.pop(name, None)) is not None:
                hook.remove()
