"""Models with fewer layers, or fewer applications of the layers that they share."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from torch import nn

from ..errors import ConfigurationError
from .applications import SlicedLinear
from .pruning_state import PruningState
from .removal import write_layer_sizes
from .structure import Structure, encoder_layers, structure_of

__all__ = ["keep_layers"]

_MASKS = ("application_heads", "application_units")


def keep_layers(model: nn.Module, kept: Sequence[int]) -> None:
    """Leave out layers of ``model``; in ALBERT and PAL-BERT, applications of the layers that these share.

    The layers that stay are renumbered from 0, and the configuration says how many they are.

    Args:
        model: A model of an architecture in the table.
        kept: Which depths stay, ascending, in ``[0, number of layers)``; at least one.

    Raises:
        ConfigurationError: if ``kept`` is not such a list; if a question-answering head reads one of the others; or if
            the configuration cannot say how often each of several groups of shared layers would be applied.
    """
    config: Any = model.config
    structure = structure_of(model)
    depth = getattr(config, structure.depth)
    if list(kept) != sorted(set(kept)) or not kept or any(not 0 <= layer < depth for layer in kept):
        raise ConfigurationError(
            f"The layers to keep must be different, ascending, in [0, {depth}), and at least one; got {list(kept)}."
        )
    groups = _groups(config, structure, kept)
    changes = {**_kept_qa_layers(config, kept, depth), **_kept_masks(config, kept, depth), structure.depth: len(kept)}
    if structure.shared:
        _keep_slices(model, kept)
        changes["num_hidden_groups"] = len(groups)
    _keep_modules(model, structure, groups)
    for field, value in changes.items():
        setattr(config, field, value)
    write_layer_sizes(model)


def _groups(config: Any, structure: Structure, kept: Sequence[int]) -> list[int]:
    """Which modules in the list of layers stay: the layers themselves, or the groups of ALBERT that are still applied.

    Raises:
        ConfigurationError: if the configuration cannot say how often each group would be applied.
    """
    if not structure.shared:
        return list(kept)
    per_group = config.num_hidden_layers / config.num_hidden_groups
    applied = [int(layer / per_group) for layer in kept]
    groups = sorted(set(applied))
    possible = [groups[int(index / (len(kept) / len(groups)))] for index in range(len(kept))]
    if applied != possible:
        raise ConfigurationError(
            f"Of the groups of layers, {applied} would be applied in this order, and ALBERT applies that many as"
            f" {possible}. Keep as many applications of each group."
        )
    return groups


def _kept_qa_layers(config: Any, kept: Sequence[int], depth: int) -> dict[str, Any]:
    """The field ``qa_layers`` of a PAL-BERT after renumbering."""
    if getattr(config, "qa_layers", None) is None:
        return {}
    layers = [layer % depth for layer in config.qa_layers]
    if missing := sorted(set(layers) - set(kept)):
        raise ConfigurationError(
            f"qa_layers={config.qa_layers!r}: the question-answering head reads layer {missing[0]}, which is not among"
            f" the layers to keep, {list(kept)}. Keep it, or set config.qa_layers before the model is made."
        )
    return {"qa_layers": [list(kept).index(layer) for layer in layers]}


def _kept_masks(config: Any, kept: Sequence[int], depth: int) -> dict[str, Any]:
    """What the applications that stay keep, where a PAL-BERT says it."""
    found = {}
    for field in _MASKS:
        if (masks := getattr(config, field, None)) is not None:
            inner = len(masks) // depth
            found[field] = [mask for layer in kept for mask in masks[layer * inner : (layer + 1) * inner]]
    return found


def _keep_slices(model: nn.Module, kept: Sequence[int]) -> None:
    """Let the projections that applications have slices of know only the applications that stay."""
    per_group = model.config.num_hidden_layers / model.config.num_hidden_groups  # type: ignore[union-attr,operator]
    for layer in encoder_layers(model):
        path = layer.name.removeprefix(f"{structure_of(model).base}.")
        group = int(path.removeprefix(_container(structure_of(model))).split(".")[1])
        own = [depth for depth in range(model.config.num_hidden_layers) if int(depth / per_group) == group]  # type: ignore[union-attr,arg-type]
        for module in layer.module.modules():
            if isinstance(module, SlicedLinear):
                module.keep([place for place, depth in enumerate(own) if depth in kept])


def _container(structure: Structure) -> str:
    """Path below the base model of the list that holds the layers, or their groups."""
    return structure.layer.partition(".{}")[0]


def _keep_modules(model: nn.Module, structure: Structure, kept: Sequence[int]) -> None:
    """Take modules out of the list of layers, and give the others their new numbers."""
    prefix = f"{structure.base}." if hasattr(model, structure.base) else ""
    container = f"{prefix}{_container(structure)}"
    modules = list(model.get_submodule(container).children())
    model.set_submodule(container, nn.ModuleList(modules[index] for index in kept))
    for number, module in enumerate(model.get_submodule(container).children()):
        for part in module.modules():
            if isinstance(getattr(part, "layer_idx", None), int):
                part.layer_idx = number  # type: ignore[assignment] # modules hold numbers too
    _rename_targets(model, container, kept)


def _rename_targets(model: nn.Module, container: str, kept: Sequence[int]) -> None:
    """Keep what is known of the pruning true: names of pruned modules that are still there, with their new numbers."""
    if (pruning := PruningState.of(model)) is None:
        return
    numbers = {str(index): str(number) for number, index in enumerate(kept)}
    targets = []
    for target in pruning.targets:
        number, _, rest = target.removeprefix(f"{container}.").partition(".")
        if not target.startswith(f"{container}."):
            targets.append(target)
        elif number in numbers:
            targets.append(f"{container}.{numbers[number]}.{rest}")
    replace(pruning, targets=tuple(targets)).write(model)
