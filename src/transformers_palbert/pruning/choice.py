"""Which units to keep within a budget: the pure functions behind targets of FLOPs, seconds and whole structures."""

from __future__ import annotations

from collections.abc import Sequence

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
    return _fill(counts, gained, spent, np.array([len(block) for block in scores]), limit).tolist()


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

    def fits(price: float) -> bool:
        return float(spent[rows, counts(price)].sum()) <= limit

    finite = gained[np.isfinite(gained)]
    scale = float(np.ptp(finite)) / max(float(spent.max()), np.finfo(float).tiny) or 1.0
    low, high = -scale, scale
    while not fits(high):
        low, high = high, 4.0 * high
    while fits(low) and low > -1e18 * scale:  # only scores below zero can make it leave the start
        low, high = 4.0 * low, low
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        low, high = (low, middle) if fits(middle) else (middle, high)
    return counts(high)


def _fill(counts: IntArray, gained: FloatArray, spent: FloatArray, most: IntArray, limit: float) -> IntArray:
    """Add single units, the best by score per cost first, as long as one fits the limit."""
    rows, total = np.arange(len(counts)), float(spent[np.arange(len(counts)), counts].sum())
    while True:
        following = np.minimum(counts + 1, most)
        price = np.where(counts < most, spent[rows, following] - spent[rows, counts], np.inf)
        gain = gained[rows, following] - gained[rows, counts]
        with np.errstate(divide="ignore", invalid="ignore"):
            worth = np.where(price > 0, gain / price, np.inf)  # what costs nothing comes first
        worth[~(total + price <= limit)] = -np.inf
        best = int(worth.argmax())
        if not total + price[best] <= limit:
            return counts
        counts[best] += 1
        total = float(spent[rows, counts].sum())
