"""Which heads and feed-forward units to keep, so that a model takes no longer than it may and loses least."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from ..errors import ConfigurationError
from ..model.removal import KeptUnits
from ..speed.latency import LatencyTable
from .costs import RemovalCosts

__all__ = ["choose_units"]

FloatArray = npt.NDArray[np.float64]
_STEPS = 200


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
    costs: Mapping[str, tuple[RemovalCosts, RemovalCosts]],
    table: LatencyTable,
    applied: Sequence[str],
    seconds: float,
    *,
    multiple_of: int = 1,
) -> dict[str, KeptUnits]:
    """The units to keep, so that the model takes at most ``seconds`` by ``table``.

    Minimises the estimated rise of the loss. For a price of a second, every block chooses for itself how many of its
    units are worth their time; the lowest price at which the whole is fast enough is found by bisection.

    Args:
        costs: Path of a layer -> costs of removing its heads, and its feed-forward units.
        table: Measured times.
        applied: Paths of the layers in the order in which they are applied; a shared layer stands there several times.
        seconds: What the model may take.
        multiple_of: Numbers of feed-forward units that may stay, beside all and none: multiples of it.

    Raises:
        ConfigurationError: if the model cannot become that fast by removing heads and units.
    """
    blocks = {
        path: (
            _block(heads, 1, 1, applied.count(path), table.heads, table.head_seconds),
            _block(units, 0, multiple_of, applied.count(path), table.units, table.unit_seconds),
        )
        for path, (heads, units) in costs.items()
    }
    budget = seconds - table.rest_seconds
    every = [block for both in blocks.values() for block in both]
    fastest, slowest = (sum(float(block.seconds[which]) for block in every) for which in (0, -1))
    if budget < fastest:
        best = (slowest + table.rest_seconds) / (fastest + table.rest_seconds)
        raise ConfigurationError(
            f"Without nearly all of its heads and feed-forward units the model takes {best:.2f} times less, and not the"
            f" {(slowest + table.rest_seconds) / seconds:.2f} times less that were asked for: the rest of the time is"
            " embeddings, norms and the head. Ask for less, or start from a model with fewer layers."
        )
    price = _lowest_price(every, budget)
    chosen = {path: [block.kept(block.best(price)) for block in both] for path, both in blocks.items()}
    return {path: KeptUnits(heads, units) for path, (heads, units) in chosen.items()}


def _block(
    costs: RemovalCosts, lowest: int, multiple: int, times: int, measured: Sequence[int], seconds: FloatArray
) -> _Block:
    size = len(costs.order)
    counts = np.array(sorted({lowest, *range(multiple, size, multiple), size}), dtype=np.int64)
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
