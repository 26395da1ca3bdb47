"""Removal of units by exhaustive least squares, and choices by trying all of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import product
from typing import Any

import numpy as np
import torch
from torch import Tensor


def naive_refit(
    weight: Tensor, inputs: Tensor, kept: Sequence[int], width: int, damping: float
) -> tuple[Tensor, float]:
    """The weights of the kept units that give ``inputs @ weight.T`` best, and what is left of it, damping included."""
    columns = [unit * width + place for unit in kept for place in range(width)]
    moments = inputs.T @ inputs + damping * torch.eye(inputs.size(1), dtype=inputs.dtype)
    found = torch.zeros_like(weight)
    if columns:
        chosen = moments[columns][:, columns]
        found[:, columns] = torch.linalg.solve(chosen, moments[columns] @ weight.T).T
    rest = weight - found
    return found, float(torch.trace(rest @ moments @ rest.T))


def naive_order(weight: Tensor, inputs: Tensor, units: int, damping: float) -> tuple[list[int], list[float]]:
    """Each time the unit without which the best fit of all that are left loses least; totals after each step."""
    width, left = weight.size(1) // units, list(range(units))
    order, totals = [], []
    while left:
        costs = {
            unit: naive_refit(weight, inputs, [other for other in left if other != unit], width, damping)[1]
            for unit in left
        }
        unit = min(costs, key=lambda unit: costs[unit])
        left.remove(unit)
        order.append(unit)
        totals.append(costs[unit])
    return order, totals


def naive_choice(costs: Mapping[str, Any], table: Any, applied: Sequence[str], seconds: float) -> float:
    """The least loss of all choices of counts that are fast enough."""
    paths = list(costs)
    sizes = [(range(len(costs[path][0].order) + 1), range(len(costs[path][1].order) + 1)) for path in paths]
    best = np.inf
    for choice in product(*(product(heads, units) for heads, units in sizes)):
        by_path = dict(zip(paths, choice, strict=True))
        if table.model([by_path[path] for path in applied]) <= seconds:
            loss = sum(
                costs[path][0].losses[len(costs[path][0].order) - heads]
                + costs[path][1].losses[len(costs[path][1].order) - units]
                for path, (heads, units) in by_path.items()
            )
            best = min(best, loss)
    return float(best)
