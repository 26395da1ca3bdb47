"""Layers with fewer attention heads and feed-forward units than the configuration says: cut, described, made ready.

Layers may end with different sizes. The modules stay those of the architecture, whose ``forward`` takes the number of
heads from the projections, so whatever ran before runs after; only the configuration cannot say it in its own fields.
``config.layer_sizes`` does, for the classes here and for whoever loads the model. A block may lose all of its units:
then it adds a constant, the bias of its output projection, and takes no time.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from ..errors import ConfigurationError
from .applications import require_whole_applications, uncut_applications
from .headless import take_heads_off
from .structure import EncoderLayer, encoder_layer, encoder_layers, structure_of

__all__ = [
    "KeptUnits",
    "LayerSize",
    "cut_copy",
    "fold_dead_units",
    "keep_units",
    "layer_path",
    "layer_sizes",
    "read_layer_sizes",
    "resize_layers",
    "write_layer_sizes",
]


@dataclass(frozen=True)
class LayerSize:
    """How many attention heads, of the width that the configuration says, and feed-forward units a layer has."""

    heads: int
    units: int


@dataclass(frozen=True)
class KeptUnits:
    """Indices of the heads and units of one layer that stay, ascending; None: all of them; empty: none of them."""

    heads: Sequence[int] | None = None
    units: Sequence[int] | None = None


def layer_path(model: nn.Module, layer: EncoderLayer) -> str:
    """The path of ``layer`` below the base model: the same with a task head and without."""
    return layer.name.removeprefix(f"{structure_of(model).base}.")


def layer_sizes(model: nn.Module) -> dict[str, LayerSize]:
    """Path of each layer below the base model -> its size, as its modules are."""
    return {layer_path(model, layer): _size(model, layer) for layer in encoder_layers(model)}


def _size(model: nn.Module, layer: EncoderLayer) -> LayerSize:
    return LayerSize(int(getattr(layer.attention, structure_of(model).heads)), layer.ffn_in.out_features)


def keep_units(model: nn.Module, kept: Mapping[str, KeptUnits]) -> None:
    """Cut the layers of ``model`` down to what ``kept`` names; their Parameters are new.

    Args:
        model: A model of an architecture in the table, not in the middle of pruning.
        kept: Path of a layer below the base model -> what stays of it; layers that are not named stay whole.

    Raises:
        ConfigurationError: if a layer does not exist, or an index is not one of its units.
    """
    require_whole_applications(model)
    layers = {layer_path(model, layer): layer for layer in encoder_layers(model)}
    if unknown := sorted(kept.keys() - layers.keys()):
        raise ConfigurationError(f"{type(model).__name__} has no layer {unknown[0]!r}; it has {', '.join(layers)}.")
    for path, stays in kept.items():
        size = _size(model, layers[path])
        _require_indices(f"heads of {path}", stays.heads, size.heads)
        _require_indices(f"feed-forward units of {path}", stays.units, size.units)
    for path, stays in kept.items():
        _cut(model, layers[path], stays)
    write_layer_sizes(model)


def cut_copy(model: nn.Module, layer: EncoderLayer, kept: KeptUnits) -> nn.Module:
    """A copy of one ``layer`` of ``model``, cut down to ``kept``; the model stays as it is."""
    module = copy.deepcopy(layer.module)
    uncut_applications(module)
    copied = encoder_layer(layer.name, module, structure_of(model))
    _cut(model, copied, kept)
    return copied.module


def _require_indices(what: str, indices: Sequence[int] | None, count: int) -> None:
    if indices is None:
        return
    if list(indices) != sorted(set(indices)) or any(not 0 <= index < count for index in indices):
        raise ConfigurationError(f"The {what} to keep must be different, ascending, in [0, {count}); got {indices}.")


def _cut(model: nn.Module, layer: EncoderLayer, kept: KeptUnits) -> None:
    if kept.heads is not None and (heads := _size(model, layer).heads):
        width = layer.query.out_features // heads
        index = torch.as_tensor(kept.heads, dtype=torch.long)
        places = (index[:, None] * width + torch.arange(width)).flatten()
        for linear in (layer.query, layer.key, layer.value):
            _keep_rows(linear, places)
        _keep_columns(layer.attention_output, places)
        _note_heads(model, layer, len(kept.heads))
    if kept.units is not None:
        places = torch.as_tensor(kept.units, dtype=torch.long)
        _keep_rows(layer.ffn_in, places)
        _keep_columns(layer.ffn_out, places)


def _note_heads(model: nn.Module, layer: EncoderLayer, heads: int) -> None:
    """Tell the attention how many heads it has, where it keeps count."""
    structure = structure_of(model)
    setattr(layer.attention, structure.heads, heads)
    if hasattr(layer.attention, "all_head_size"):
        layer.attention.all_head_size = layer.query.out_features  # type: ignore[assignment] # modules hold numbers too
    if heads == 0:
        take_heads_off(layer.attention, structure)


def _keep_rows(linear: nn.Linear, rows: Tensor) -> None:
    rows = rows.to(linear.weight.device)
    linear.weight = _parameter(linear.weight, linear.weight.detach().index_select(0, rows))
    if linear.bias is not None:
        linear.bias = _parameter(linear.bias, linear.bias.detach().index_select(0, rows))
    linear.out_features = rows.numel()


def _keep_columns(linear: nn.Linear, columns: Tensor) -> None:
    columns = columns.to(linear.weight.device)
    linear.weight = _parameter(linear.weight, linear.weight.detach().index_select(1, columns))
    linear.in_features = columns.numel()


def _parameter(old: Tensor, tensor: Tensor) -> nn.Parameter:
    return nn.Parameter(tensor.contiguous(), requires_grad=old.requires_grad)


def resize_layers(model: nn.Module, sizes: Mapping[str, LayerSize]) -> None:
    """Give the layers of ``model`` the ``sizes``, with weights that mean nothing: before a checkpoint is read.

    Raises:
        ConfigurationError: if a layer does not exist, or would have to grow.
    """
    layers = {layer_path(model, layer): layer for layer in encoder_layers(model)}
    if layers.keys() != sizes.keys():
        wrong = sorted(layers.keys() ^ sizes.keys())
        raise ConfigurationError(f"layer_sizes and {type(model).__name__} do not have the same layers: {wrong[0]!r}.")
    for path, size in sizes.items():
        full = _size(model, layers[path])
        if not (0 <= size.heads <= full.heads and 0 <= size.units <= full.units):
            raise ConfigurationError(
                f"layer_sizes gives {path} {size.heads} heads and {size.units} units, where the architecture has at"
                f" most {full.heads} and {full.units}."
            )
    for path, size in sizes.items():
        _cut(model, layers[path], KeptUnits(range(size.heads), range(size.units)))


def write_layer_sizes(model: nn.Module) -> None:
    """Say in the configuration how large the layers are: in its own fields if these can say it, else beside them.

    Where all layers have the same number of feed-forward units, the architecture's own field says it, so that the model
    loads without this package. PAL-BERT has fields for heads as well.
    """
    config: Any = model.config
    structure, sizes = structure_of(model), layer_sizes(model)
    if len(units := {size.units for size in sizes.values()}) == 1 and min(units) > 0:
        setattr(config, structure.units, units.pop())
    heads = {size.heads for size in sizes.values()}
    if len(heads) == 1 and min(heads) > 0 and hasattr(config, "attention_head_size"):
        config.attention_head_size = config.head_size
        config.num_attention_heads = heads.pop()
    plain = LayerSize(getattr(config, structure.heads), getattr(config, structure.units))
    if all(size == plain for size in sizes.values()):
        vars(config).pop("layer_sizes", None)
    else:
        config.layer_sizes = {path: [size.heads, size.units] for path, size in sizes.items()}


def read_layer_sizes(config: Any) -> dict[str, LayerSize] | None:
    """What the ``layer_sizes`` of a config say; None where there are none.

    Raises:
        ConfigurationError: if they are no numbers of heads and units.
    """
    values = getattr(config, "layer_sizes", None)
    if values is None:
        return None
    found = dict(_checked_sizes(values))
    if not found:
        raise ConfigurationError("layer_sizes is empty, and should name every layer.")
    return found


def _checked_sizes(values: Any) -> Iterator[tuple[str, LayerSize]]:
    for path, size in values.items() if isinstance(values, Mapping) else (("layer_sizes", values),):
        numbers = size if isinstance(size, list | tuple) else ()
        if len(numbers) != 2 or any(isinstance(n, bool) or not isinstance(n, int) or n < 0 for n in numbers):
            raise ConfigurationError(f"layer_sizes: {path}: {size!r} must be two numbers, of heads and of units.")
        yield path, LayerSize(*numbers)


@torch.no_grad()
def fold_dead_units(model: nn.Module) -> dict[str, KeptUnits]:
    """Find what may go without changing anything: units with zeros on their way out, or with nothing on their way in.

    A unit that receives nothing still gives a constant: a feed-forward unit the activation of its bias, a head the bias
    of its values, since attention weights add up to one. That constant is added to the bias of the projection behind
    it, in place, and the unit's way out is zeroed. (With dropout on attention weights, the constant is that of the
    evaluated model.)

    Returns:
        Path of a layer -> what must stay, for :func:`keep_units`; layers that stay whole are left out.

    Raises:
        ConfigurationError: if applications of a shared layer keep units of their own.
    """
    require_whole_applications(model)
    found = {}
    for layer in encoder_layers(model):
        size = _size(model, layer)
        activation = _activation(model)
        _fold(layer.value, layer.attention_output, size.heads, lambda bias: bias)
        _fold(layer.ffn_in, layer.ffn_out, size.units, activation)
        heads = _alive(layer.attention_output, size.heads)
        units = _alive(layer.ffn_out, size.units)
        if (len(heads), len(units)) != (size.heads, size.units):
            found[layer_path(model, layer)] = KeptUnits(heads, units)
    return found


def _fold(into: nn.Linear, out: nn.Linear, count: int, activation: Any) -> None:
    """Turn units that receive nothing into a constant of the projection behind them."""
    if out.bias is None or count == 0:
        return
    silent = ~into.weight.view(count, -1).any(1)
    if not bool(silent.any()):
        return
    places = silent.repeat_interleave(into.out_features // count)
    constant = (
        activation(into.bias[places])
        if into.bias is not None
        else activation(into.weight.new_zeros(1)).expand(int(places.sum()))
    )
    out.bias.add_(out.weight[:, places] @ constant)
    out.weight[:, places] = 0.0


def _alive(out: nn.Linear, count: int) -> list[int]:
    if count == 0:
        return []
    return out.weight.view(out.out_features, count, -1).any(2).any(0).nonzero()[:, 0].tolist()


def _activation(model: nn.Module) -> Any:
    from transformers.activations import ACT2FN  # here: only folding needs it

    name = getattr(model.config, "hidden_act", None) or model.config.activation  # type: ignore[union-attr]
    return ACT2FN[name] if isinstance(name, str) else name
