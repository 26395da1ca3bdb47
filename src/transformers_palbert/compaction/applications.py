"""Shared layers of which every application keeps heads and feed-forward units of its own."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from ..model.applications import cut_applications, uncut_applications, write_applications
from ..model.modeling_palbert import PalBertPreTrainedModel
from ..model.removal import KeptUnits, keep_units, layer_path, layer_sizes
from ..model.structure import encoder_layers

__all__ = ["keep_applied_units"]

_FIELDS = (("heads", "application_heads"), ("units", "application_units"))


def keep_applied_units(model: PalBertPreTrainedModel, kept: Mapping[tuple[str, int], KeptUnits]) -> None:
    """Let each application of the layers of ``model`` keep what ``kept`` names, and write it into the configuration.

    What no application keeps is cut out of the shared weights too, where the model has one layer; groups of layers stay
    as large as the configuration says.

    Args:
        model: A PAL-BERT, not in the middle of pruning; changed in place.
        kept: Path of a layer and number of its application -> indices in the whole layer; every one of them.
    """
    uncut_applications(model)
    masks = {field: _masks(model, kept, which) for which, field in _FIELDS}
    if len(layers := encoder_layers(model)) == 1:
        stays = [masks[field][layers[0].name].any(0).nonzero()[:, 0].tolist() or [0] for _, field in _FIELDS]
        keep_units(model, {layer_path(model, layers[0]): KeptUnits(*stays)})
        masks = {field: _of_these(masks[field], left) for (_, field), left in zip(_FIELDS, stays, strict=True)}
    for field, rows in masks.items():
        if all(bool(mask.all()) for mask in rows.values()):
            setattr(model.config, field, None)
        else:
            write_applications(model, field, rows)
    cut_applications(model)


def _masks(model: Any, kept: Mapping[tuple[str, int], KeptUnits], which: str) -> dict[str, Tensor]:
    """Name of a layer -> which of its heads or units its applications keep, bool ``[applications, units]``."""
    found = {}
    for layer in encoder_layers(model):
        path = layer_path(model, layer)
        rows = [
            getattr(stays, which) for (of, _), stays in sorted(kept.items(), key=lambda item: item[0]) if of == path
        ]
        mask = torch.zeros(len(rows), getattr(layer_sizes(model)[path], which), dtype=torch.bool)
        for row, indices in zip(mask, rows, strict=True):
            row[list(indices)] = True
        found[layer.name] = mask
    return found


def _of_these(masks: Mapping[str, Tensor], units: list[int]) -> dict[str, Tensor]:
    return {name: mask[:, units] for name, mask in masks.items()}
