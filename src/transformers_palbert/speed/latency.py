"""How long a layer takes with fewer heads and feed-forward units: measured on the machine at hand, not computed."""

from __future__ import annotations

import logging
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from ..model.applications import SlicedLinear
from ..model.modes import evaluating
from ..model.removal import KeptUnits, cut_copy, layer_path, layer_sizes
from ..model.structure import encoder_layers, known_structure, layer_applications
from ..qa.kernels import fast_linear

__all__ = [
    "STEADY",
    "LatencyTable",
    "applied_sizes",
    "compared_seconds",
    "fastest_seconds",
    "longest_input",
    "measure_latency",
]

logger = logging.getLogger(__name__)

STEADY = 0.05
"""How far two halves of a measurement may be apart, as a share of the time, before it is in doubt."""

_ROUNDS = 8
_ATTEMPTS = 4
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
        disagreement: How far apart two halves of the measurement were, as a share of the time, at least 0.
    """

    heads: tuple[int, ...]
    head_seconds: npt.NDArray[np.float64]
    units: tuple[int, ...]
    unit_seconds: npt.NDArray[np.float64]
    rest_seconds: float
    disagreement: float = 0.0

    @property
    def is_steady(self) -> bool:
        """Whether two halves of the measurement found the same, as they do where nothing disturbs the machine."""
        return self.disagreement <= STEADY

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
    rounds and makes none faster. The even rounds and the odd ones are compared, and measuring goes on for a while if
    they do not find the same. Times that do not rise with the size are those of the next larger one.

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
        (*seconds, whole), disagreement = _fastest(calls, model)
    of_heads = np.maximum.accumulate(np.array(seconds[: len(heads)]))
    of_units = np.maximum.accumulate(np.array(seconds[len(heads) :]))
    table = LatencyTable(heads, of_heads - of_heads[0], units, of_units, 0.0, disagreement)
    return replace(table, rest_seconds=max(0.0, whole - table.model(applied_sizes(model))))


def longest_input(model: nn.Module) -> int | None:
    """How many tokens an input of ``model`` may have; None where its configuration sets no bound.

    RoBERTa and its kin count positions from behind that of padding, and so have fewer than the table has rows.
    """
    config: Any = getattr(model, "config", None)
    rows: int | None = getattr(config, "max_position_embeddings", None)
    structure = known_structure(config)
    if rows is not None and structure is not None and structure.base == "roberta":
        rows -= config.pad_token_id + 1
    return rows


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
    """Seconds of one forward of each of ``models``, all of them in turns, the fastest of several rounds.

    The log warns where the machine did too much else for times to be compared, see :func:`compared_seconds`.
    """
    seconds, disagreement = compared_seconds(models, batch_size, length)
    if disagreement > STEADY:
        logger.warning(
            "Two halves of a measurement of speed are %.0f %% apart: the machine does other things. Measure again when"
            " it is idle.",
            100 * disagreement,
        )
    return seconds


def compared_seconds(models: Sequence[nn.Module], batch_size: int, length: int) -> tuple[list[float], float]:
    """Seconds as :func:`fastest_seconds` gives them, and how far the two halves of the measurement are apart.

    The latter is a share of the time, at least 0; above :data:`STEADY`, the machine did other things meanwhile.
    """
    ids = torch.ones(batch_size, length, dtype=torch.long, device=_device(models[0]))
    calls: list[Callable[[], object]] = [lambda model=model: model(input_ids=ids) for model in models]  # type: ignore[misc]
    with evaluating(*models):
        return _fastest(calls, models[0])


@torch.inference_mode()
def _fastest(calls: Sequence[Callable[[], object]], model: nn.Module) -> tuple[list[float], float]:
    """Seconds of the fastest call of each, all of them in turns, with the kernels that the pipeline uses.

    Also how far even and odd rounds are apart, see :func:`_disagreement`. If that is more than :data:`STEADY`, there
    are as many rounds again, up to so many times as :data:`_ATTEMPTS` says.
    """
    device, best = _device(model), np.full((2, len(calls)), np.inf)
    with fast_linear(model, device):
        _timed(calls, device)  # warms up
        for _ in range(_ATTEMPTS):
            for number in range(_ROUNDS):
                half = best[number % 2]
                np.minimum(half, _timed(calls, device), out=half)
            if _disagreement(best) <= STEADY:
                break
    return best.min(0).tolist(), _disagreement(best)


def _timed(calls: Sequence[Callable[[], object]], device: torch.device) -> list[float]:
    """Seconds of each call, one after the other."""
    seconds = []
    for call in calls:
        started = _now(device)
        call()
        seconds.append(_now(device) - started)
    return seconds


def _disagreement(halves: npt.NDArray[np.float64]) -> float:
    """How far two measurements ``[2, calls]`` are apart: ``Σ |a - b| / Σ min(a, b)``."""
    return float(np.ptp(halves, axis=0).sum() / halves.min(0).sum())


def _now(device: torch.device) -> float:
    if device.type != "cpu":
        torch.accelerator.synchronize(device)
    return time.perf_counter()


def _hidden_size(model: nn.Module) -> int:
    return encoder_layers(model)[0].query.in_features


def _dtype(model: nn.Module) -> torch.dtype:
    return encoder_layers(model)[0].query.weight.dtype


def _device(model: nn.Module) -> torch.device:
    return encoder_layers(model)[0].query.weight.device
