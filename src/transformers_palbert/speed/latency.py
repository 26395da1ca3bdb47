"""How long a layer takes with fewer heads and feed-forward units: measured on the machine at hand, not computed."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from ..model.applications import SlicedLinear
from ..model.modes import evaluating
from ..model.removal import KeptUnits, cut_copy, layer_path, layer_sizes
from ..model.structure import encoder_layers, layer_applications
from ..qa.kernels import fast_linear

__all__ = ["LatencyTable", "applied_sizes", "fastest_seconds", "measure_latency"]

_ROUNDS = 7
_FEWEST_UNITS = 8


@dataclass(frozen=True)
class LatencyTable:
    """Seconds that a layer takes, by what it kept; the two blocks of a layer add up.

    Attributes:
        heads: Numbers of heads that were measured, ascending from 0.
        head_seconds: Time of a layer with that many heads and no feed-forward units, less that of one with neither.
        units: Numbers of feed-forward units that were measured, ascending from 0.
        unit_seconds: Time of a layer with that many units and no heads; the first is that of norms and sums alone.
        rest_seconds: Time of the model outside its layers: embeddings, head.
    """

    heads: tuple[int, ...]
    head_seconds: npt.NDArray[np.float64]
    units: tuple[int, ...]
    unit_seconds: npt.NDArray[np.float64]
    rest_seconds: float

    def layer(self, heads: int, units: int) -> float:
        """Seconds of a layer with ``heads`` and ``units``, interpolated where that was not measured."""
        of_heads = np.interp(heads, self.heads, self.head_seconds)
        return float(of_heads + np.interp(units, self.units, self.unit_seconds))

    def model(self, sizes: Sequence[tuple[int, int]]) -> float:
        """Seconds of a model whose applied layers have these numbers of heads and units."""
        return self.rest_seconds + sum(self.layer(heads, units) for heads, units in sizes)


def measure_latency(model: nn.Module, *, batch_size: int, length: int, steps: int = 8) -> LatencyTable:
    """Measure layers of ``model``'s shape with fewer and fewer heads and units, down to none.

    All sizes take turns, several rounds, and the fastest round of each counts: what else the machine does slows some
    rounds and makes none faster. Times that do not rise with the size are those of the next larger one.

    Args:
        model: A model of an architecture in the table, on the device and in the precision that count.
        batch_size: Examples in a batch.
        length: Tokens of each.
        steps: Numbers of heads and of units that are measured, beside none and the fewest: the first of them costs
            more than the others.
    """
    largest = _largest(model)
    heads, units = _grid(1, largest[0], steps), _grid(_FEWEST_UNITS, largest[1], steps)
    hidden = torch.zeros(batch_size, length, _hidden_size(model), dtype=_dtype(model), device=_device(model))
    kinds = [(count, 0) for count in heads] + [(0, count) for count in units]
    layers = [_layer_of(model, *kind) for kind in kinds]
    calls: list[Callable[[], object]] = [lambda layer=layer: layer(hidden, attention_mask=None) for layer in layers]  # type: ignore[misc]
    ids = torch.ones(batch_size, length, dtype=torch.long, device=_device(model))
    calls.append(lambda: model(input_ids=ids))
    with evaluating(model):
        *seconds, whole = _fastest(calls, model)
    of_heads = np.maximum.accumulate(np.array(seconds[: len(heads)]))
    of_units = np.maximum.accumulate(np.array(seconds[len(heads) :]))
    table = LatencyTable(heads, of_heads - of_heads[0], units, of_units, 0.0)
    return replace(table, rest_seconds=max(0.0, whole - table.model(applied_sizes(model))))


def applied_sizes(model: nn.Module) -> list[tuple[int, int]]:
    """Numbers of heads and units of the layers in the order in which they are applied."""
    layers = {layer_path(model, layer): layer for layer in encoder_layers(model)}
    sizes, seen = layer_sizes(model), Counter[str]()
    found = []
    for path in layer_applications(model.config):
        heads = _share(layers[path].attention_output, seen[path]) * sizes[path].heads
        units = _share(layers[path].ffn_out, seen[path]) * sizes[path].units
        found.append((round(heads), round(units)))
        seen[path] += 1
    return found


def _share(linear: nn.Linear, application: int) -> float:
    """The share of the inputs of ``linear`` that one of its applications uses."""
    return linear.kept[application].numel() / linear.in_features if isinstance(linear, SlicedLinear) else 1.0


def _grid(fewest: int, highest: int, steps: int) -> tuple[int, ...]:
    """None, the fewest, and evenly from there."""
    return tuple(sorted({0, *(round(value) for value in np.linspace(min(fewest, highest), highest, steps + 1))}))


def _largest(model: nn.Module) -> tuple[int, int]:
    sizes = layer_sizes(model).values()
    return max(size.heads for size in sizes), max(size.units for size in sizes)


def _layer_of(model: nn.Module, heads: int, units: int) -> nn.Module:
    """A copy of a layer that is large enough, cut down; what the weights are does not matter to its time."""
    sizes = layer_sizes(model)
    path = next(path for path, size in sizes.items() if size.heads >= heads and size.units >= units)
    layer = next(layer for layer in encoder_layers(model) if layer_path(model, layer) == path)
    return cut_copy(model, layer, KeptUnits(range(heads), range(units))).eval()


def fastest_seconds(models: Sequence[nn.Module], batch_size: int, length: int) -> list[float]:
    """Seconds of one forward of each of ``models``, all of them in turns, the fastest of several rounds."""
    ids = torch.ones(batch_size, length, dtype=torch.long, device=_device(models[0]))
    calls: list[Callable[[], object]] = [lambda model=model: model(input_ids=ids) for model in models]  # type: ignore[misc]
    with evaluating(*models):
        return _fastest(calls, models[0])


@torch.inference_mode()
def _fastest(calls: Sequence[Callable[[], object]], model: nn.Module) -> list[float]:
    """Seconds of the fastest call of each, all of them in turns, with the kernels that the pipeline uses."""
    best, device = [float("inf")] * len(calls), _device(model)
    with fast_linear(model, device):
        for number in range(_ROUNDS + 1):  # the first warms up
            for which, call in enumerate(calls):
                started = _now(device)
                call()
                seconds = _now(device) - started
                if number:
                    best[which] = min(best[which], seconds)
    return best


def _now(device: torch.device) -> float:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.perf_counter()


def _hidden_size(model: nn.Module) -> int:
    return encoder_layers(model)[0].query.in_features


def _dtype(model: nn.Module) -> torch.dtype:
    return encoder_layers(model)[0].query.weight.dtype


def _device(model: nn.Module) -> torch.device:
    return encoder_layers(model)[0].query.weight.device
