"""Which heads and feed-forward units to keep, so that a model takes no longer than it may and loses least."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
import numpy.typing as npt

from ..errors import ConfigurationError
from ..model.removal import KeptUnits
from ..speed.latency import LatencyTable
from .costs import RemovalCosts

__all__ = ["choose_uniformly", "choose_units"]

FloatArray = npt.NDArray[np.float64]
Layer = TypeVar("Layer", bound=Hashable)
_STEPS = 200


def choose_uniformly(
    costs: Mapping[Layer, tuple[RemovalCosts, RemovalCosts]],
    table: LatencyTable,
    applied: Sequence[Layer],
    seconds: float,
    *,
    multiple_of: int = 1,
) -> dict[Layer, KeptUnits]:
    """The feed-forward units to keep, as many in every layer, so that the model takes at most ``seconds``.

    All heads stay, and at least ``multiple_of`` units: that is what the fields of every architecture's configuration
    can say. The arguments are those of :func:`choose_units`; the layers must have equally many units.

    Raises:
        ConfigurationError: if the model cannot become that fast in this way.
    """
    blocks = {
        layer: _block(units, multiple_of, applied.count(layer), table.units, table.unit_seconds)
        for layer, (_, units) in costs.items()
    }
    heads = sum(float(np.interp(len(costs[layer][0].order), table.heads, table.head_seconds)) for layer in applied)
    budget = seconds - table.rest_seconds - heads
    totals = np.sum([block.seconds for block in blocks.values()], axis=0)[1:]  # none at all, no configuration says
    if budget < totals[0]:
        rest = table.rest_seconds + heads
        raise ConfigurationError(
            f"With all heads and {multiple_of} feed-forward units in every layer the model takes"
            f" {(rest + totals[-1]) / (rest + totals[0]):.2f} times less, and not the"
            f" {(rest + totals[-1]) / seconds:.2f} times less that were asked for. Ask for less, or let layers differ."
        )
    which = 1 + int(np.flatnonzero(totals <= budget)[-1])
    return {layer: KeptUnits(None, block.kept(which)) for layer, block in blocks.items()}


@dataclass(frozen=True)
class _Block:
    """The units of one block of a layer, heads or feed-forward units, in the order in which they go.

    Attributes:
        order: Their indices, the first to go first.
        counts: Numbers of units that may stay, ascending.
        losses: Estimated rise of the loss if only that many stay.
        seconds: Time of all applications of the block with that many.
    """

    order: npt.NDArray[np.int64]
    counts: npt.NDArray[np.int64]
    losses: FloatArray
    seconds: FloatArray

    def best(self, price: float) -> int:
        """Which of the counts costs least, where a second costs ``price``."""
        return int(np.argmin(self.losses + price * self.seconds))

    def kept(self, which: int) -> list[int]:
        """Indices of the units that stay, ascending."""
        return sorted(int(unit) for unit in self.order[len(self.order) - self.counts[which] :])


def choose_units(
    costs: Mapping[Layer, tuple[RemovalCosts, RemovalCosts]],
    table: LatencyTable,
    applied: Sequence[Layer],
    seconds: float,
    *,
    multiple_of: int = 1,
) -> dict[Layer, KeptUnits]:
    """The units to keep, so that the model takes at most ``seconds`` by ``table``.

    Minimises the estimated rise of the loss. A block may lose all of its units, and then takes no time. For a price of
    a second, every block chooses for itself how many of its units are worth their time; the lowest price at which the
    whole is fast enough is found by bisection. Time that is left then goes where it lowers the loss most.

    Args:
        costs: Path of a layer, or whatever else names it -> costs of removing its heads, and its feed-forward units.
        table: Measured times.
        applied: The layers in the order in which they are applied; a shared layer stands there several times, unless
            each of its applications counts as a layer.
        seconds: What the model may take.
        multiple_of: Numbers of feed-forward units that may stay, beside all and none: multiples of it.

    Raises:
        ConfigurationError: if the model cannot become that fast by removing heads and units.
    """
    blocks = {
        layer: (
            _block(heads, 1, applied.count(layer), table.heads, table.head_seconds),
            _block(units, multiple_of, applied.count(layer), table.units, table.unit_seconds),
        )
        for layer, (heads, units) in costs.items()
    }
    budget = seconds - table.rest_seconds
    every = [block for both in blocks.values() for block in both]
    fastest, slowest = (sum(float(block.seconds[which]) for block in every) for which in (0, -1))
    if budget < fastest:
        best = (slowest + table.rest_seconds) / (fastest + table.rest_seconds)
        raise ConfigurationError(
            f"Without any of its heads and feed-forward units the model takes {best:.2f} times less, and not the"
            f" {(slowest + table.rest_seconds) / seconds:.2f} times less that were asked for: the rest of the time is"
            " embeddings, norms and the head. Ask for less, or start from a model with fewer layers."
        )
    price = _lowest_price(every, budget)
    chosen = iter(_spend_the_rest(every, [block.best(price) for block in every], budget))
    return {layer: KeptUnits(*(block.kept(next(chosen)) for block in both)) for layer, both in blocks.items()}


def _block(costs: RemovalCosts, multiple: int, times: int, measured: Sequence[int], seconds: FloatArray) -> _Block:
    size = len(costs.order)
    counts = np.array(sorted({0, *range(multiple, size, multiple), size}), dtype=np.int64)
    return _Block(costs.order, counts, costs.losses[size - counts], times * np.interp(counts, measured, seconds))


def _lowest_price(blocks: Sequence[_Block], budget: float) -> float:
    """The lowest price of a second at which all blocks together take no more than ``budget``."""

    def total(price: float) -> float:
        return sum(float(block.seconds[block.best(price)]) for block in blocks)

    if total(0.0) <= budget:
        return 0.0
    low, high = 0.0, 1.0
    while total(high) > budget:
        high *= 4.0
    for _ in range(_STEPS):
        middle = (low + high) / 2
        low, high = (low, middle) if total(middle) <= budget else (middle, high)
    return high


def _spend_the_rest(blocks: Sequence[_Block], chosen: list[int], budget: float) -> list[int]:
    """The choice with more units where that still fits into the budget: a price alone leaves gaps between choices."""
    chosen = list(chosen)
    while True:
        left = budget - sum(float(block.seconds[which]) for block, which in zip(blocks, chosen, strict=True))
        gains = [_best_gain(block, which, left) for block, which in zip(blocks, chosen, strict=True)]
        best = max(range(len(blocks)), key=lambda number: gains[number][0])
        if gains[best][0] <= 0:
            return chosen
        chosen[best] = gains[best][1]


def _best_gain(block: _Block, which: int, left: float) -> tuple[float, int]:
    """By how much more units of ``block`` lower the loss within ``left`` seconds more, and which count that is."""
    fits = block.seconds <= block.seconds[which] + left
    losses = np.where(fits, block.losses, np.inf)
    return float(block.losses[which] - losses.min()), int(losses.argmin())
