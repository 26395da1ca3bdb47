"""Which units to keep within a budget: the pure functions behind targets of FLOPs, seconds and whole structures."""

from __future__ import annotations

from collections.abc import Sequence
from heapq import heappop, heappush
from math import inf

import numpy as np
import numpy.typing as npt

from ..errors import PruningError

__all__ = ["SLACK", "units_within"]

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]

SLACK = 1e-12
"""Share by which a sum of costs may exceed its budget: what rounding adds to sums in float64."""

_HALVINGS = 60


def units_within(scores: Sequence[FloatArray], costs: Sequence[FloatArray], budget: float) -> list[int]:
    """How many of its best units each block keeps, so that all together cost no more than ``budget``.

    The kept scores sum up to as much as a price for cost can reach: at a price ``p`` each block keeps the ``k`` that
    maximises ``Σ_{i<k} scores_i - p · costs_k``; the lowest price at which the whole fits the budget is found by
    bisection, and what is left of the budget buys units by score per cost as long as one fits. So no further unit
    would fit at the end, and where all units cost the same, the choice is the best there is.

    Args:
        scores: Of each block, ``[units]``, falling; they may be negative.
        costs: Of each block with 0, 1, … units, ``[units + 1]``, not falling.
        budget: What all blocks together may cost.

    Returns:
        The number of units that each block keeps.

    Raises:
        PruningError: if a score is not a number, or nothing fits the budget even without any unit.
    """
    if any(np.isnan(block).any() for block in scores):
        raise PruningError(
            "Scores of units are NaN. A NaN loss or gradient reached the optimizer: lower the learning rate, clip"
            " gradients, or use bf16 instead of fp16."
        )
    limit = budget + abs(budget) * SLACK
    if (least := sum(float(block[0]) for block in costs)) > limit:
        raise PruningError(f"The budget of {budget:g} is below {least:g}, the cost without any unit.")
    if sum(float(block[-1]) for block in costs) <= limit:
        return [len(block) for block in scores]
    gained = _table([np.concatenate([[0.0], np.cumsum(block)]) for block in scores], -np.inf)
    spent = _table(costs, 0.0)
    counts = _at_lowest_price(gained, spent, limit)
    return _fill(counts, gained, spent, [len(block) for block in scores], limit)


def _table(rows: Sequence[FloatArray], padding: float) -> FloatArray:
    """``[blocks, most units + 1]``."""
    table = np.full((len(rows), max(map(len, rows))), padding)
    for place, row in enumerate(rows):
        table[place, : len(row)] = row
    return table


def _at_lowest_price(gained: FloatArray, spent: FloatArray, limit: float) -> IntArray:
    """Numbers of units at the lowest price of a cost at which all blocks fit the limit."""
    rows = np.arange(len(gained))

    def counts(price: float) -> IntArray:
        return np.asarray((gained - price * spent).argmax(1))

    def fits(kept: IntArray) -> bool:
        return float(spent[rows, kept].sum()) <= limit

    finite = gained[np.isfinite(gained)]
    scale = float(np.ptp(finite)) / max(float(spent.max()), np.finfo(float).tiny) or 1.0
    low, high = -scale, scale
    while not fits(counts(high)):
        low, high = high, 4.0 * high
    while fits(counts(low)) and low > -1e18 * scale:  # only scores below zero can make it leave the start
        low, high = 4.0 * low, low
    dear, cheap = counts(high), counts(low)
    for _ in range(_HALVINGS):
        if int((cheap - dear).sum()) <= 1:
            break  # no choice lies in between
        middle = counts((low + high) / 2)
        if fits(middle):
            high, dear = (low + high) / 2, middle
        else:
            low, cheap = (low + high) / 2, middle
    return dear


def _fill(counts: IntArray, gained: FloatArray, spent: FloatArray, most: Sequence[int], limit: float) -> list[int]:
    """Add single units, the best by score per cost first, as long as one fits the limit."""
    kept = counts.tolist()
    total = float(spent[np.arange(len(kept)), counts].sum())
    waiting: list[tuple[float, int, float]] = []

    def offer(block: int) -> None:
        """Let the next unit of ``block`` wait for its turn."""
        if (count := kept[block]) < most[block]:
            price = float(spent[block, count + 1] - spent[block, count])
            gain = float(gained[block, count + 1] - gained[block, count])
            heappush(waiting, (-gain / price if price > 0 else -inf, block, price))  # what costs nothing comes first

    for block in range(len(kept)):
        offer(block)
    while waiting:
        _, block, price = heappop(waiting)
        if total + price <= limit:  # else it never will, nor what comes after it in its block
            kept[block] += 1
            total += price
            offer(block)
    return kept
