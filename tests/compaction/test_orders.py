"""The orders in which units go against exhaustive search."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from tests.references.compaction import naive_order
from transformers_palbert.compaction.orders import plain_order, removal_order


@pytest.mark.parametrize(("units", "width"), [(7, 1), (4, 3), (1, 2)])
def test_order_and_costs_are_those_of_least_squares(units: int, width: int) -> None:
    torch.manual_seed(units)
    inputs = torch.randn(50, units * width, dtype=torch.float64) @ torch.randn(units * width, units * width).double()
    weight = torch.randn(5, units * width, dtype=torch.float64)
    moments = inputs.T @ inputs + 0.1 * torch.eye(units * width, dtype=torch.float64)
    order, costs = removal_order(weight, moments, units)
    expected_order, totals = naive_order(weight, inputs, units, 0.1)
    assert order == expected_order
    np.testing.assert_allclose(np.cumsum(costs), totals, rtol=1e-8)


def test_a_unit_that_another_one_repeats_costs_nothing() -> None:
    torch.manual_seed(0)
    inputs = torch.randn(100, 5, dtype=torch.float64)
    inputs[:, 3] = 2 * inputs[:, 1]
    moments = inputs.T @ inputs + 1e-9 * torch.eye(5, dtype=torch.float64)
    order, costs = removal_order(torch.randn(4, 5, dtype=torch.float64), moments, 5)
    assert order[0] in (1, 3)
    assert costs[0] == pytest.approx(0, abs=1e-6)
    assert costs[1] > 1


@pytest.mark.parametrize(("units", "width"), [(7, 1), (4, 3), (1, 2)])
def test_costs_where_nothing_makes_up_for_it(units: int, width: int) -> None:
    torch.manual_seed(units)
    inputs = torch.randn(50, units * width, dtype=torch.float64) @ torch.randn(units * width, units * width).double()
    weight = torch.randn(5, units * width, dtype=torch.float64)
    order, costs = plain_order(weight, inputs.T @ inputs, units)
    gone: list[int] = []
    highest = 0.0

    def total(gone: list[int]) -> float:
        columns = [unit * width + place for unit in gone for place in range(width)]
        return float((inputs[:, columns] @ weight[:, columns].T).square().sum())

    for unit, cost in zip(order, np.cumsum(costs), strict=True):
        rest = [other for other in range(units) if other not in gone]
        assert unit == min(rest, key=lambda other: total([*gone, other]))
        gone.append(unit)
        highest = max(highest, total(gone))
        assert cost == pytest.approx(highest)
