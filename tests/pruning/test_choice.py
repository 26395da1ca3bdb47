"""The choice within a budget, compared with all choices there are."""

from __future__ import annotations

import itertools

import numpy as np
import numpy.typing as npt
import pytest

from tests.references.pruning import naive_units_within
from transformers_palbert.errors import PruningError
from transformers_palbert.pruning.choice import units_within

Arrays = list[npt.NDArray[np.float64]]


def blocks(seed: int, cost: str, *, negative: bool = False) -> tuple[Arrays, Arrays]:
    """Four blocks of up to five units with random scores, and their costs."""
    random = np.random.default_rng(seed)
    scores, costs = [], []
    for _ in range(4):
        count = int(random.integers(1, 6))
        scores.append(np.sort(random.exponential(size=count) - (0.8 if negative else 0.0))[::-1])
        if cost == "equal":
            steps = np.ones(count)
        elif cost == "linear":
            steps = np.full(count, random.uniform(0.2, 5.0))
        else:  # measured: flat here, steep there
            steps = random.choice([0.0, 0.5, 3.0], size=count)
        costs.append(np.concatenate([[random.uniform(0, 1) if cost == "measured" else 0.0], steps]).cumsum())
    return scores, costs


def spent(costs: Arrays, counts: list[int]) -> float:
    return sum(float(block[count]) for block, count in zip(costs, counts, strict=True))


def kept(scores: Arrays, counts: list[int]) -> float:
    return sum(float(block[:count].sum()) for block, count in zip(scores, counts, strict=True))


@pytest.mark.parametrize("share", [0.15, 0.4, 0.5, 0.85])
@pytest.mark.parametrize("cost", ["equal", "linear", "measured"])
@pytest.mark.parametrize("seed", range(12))
def test_it_fits_and_nothing_further_would(seed: int, cost: str, share: float) -> None:
    for negative in (False, True):
        scores, costs = blocks(seed, cost, negative=negative)
        fixed = sum(float(block[0]) for block in costs)
        budget = fixed + share * (sum(float(block[-1]) for block in costs) - fixed)
        counts = units_within(scores, costs, budget)
        total = spent(costs, counts)
        assert total <= budget * (1 + 1e-12)
        for block, count in zip(costs, counts, strict=True):
            assert count + 1 == len(block) or total + block[count + 1] - block[count] > budget


@pytest.mark.parametrize("share", [0.15, 0.4, 0.5, 0.85])
@pytest.mark.parametrize("seed", range(12))
def test_of_equal_costs_it_is_the_best_there_is(seed: int, share: float) -> None:
    scores, costs = blocks(seed, "equal")
    budget = share * sum(float(block[-1]) for block in costs)
    assert kept(scores, units_within(scores, costs, budget)) == pytest.approx(naive_units_within(scores, costs, budget))


@pytest.mark.parametrize("cost", ["linear", "measured"])
@pytest.mark.parametrize("seed", range(12))
def test_it_is_the_best_of_all_that_cost_no_more_at_a_price(seed: int, cost: str) -> None:
    """The best there is, but for what the last unit that did not fit would bring; and exact over most budgets."""
    scores, costs = blocks(seed, cost)
    lost = []
    for share in np.linspace(0.1, 0.95, 15):
        fixed = sum(float(block[0]) for block in costs)
        budget = fixed + share * (sum(float(block[-1]) for block in costs) - fixed)
        best = naive_units_within(scores, costs, budget)
        found = kept(scores, units_within(scores, costs, budget))
        largest = max(float(block.sum()) for block in scores) if cost == "measured" else max(map(np.max, scores))
        assert best - largest - 1e-9 <= found <= best + 1e-9
        lost.append((best - found) / sum(float(block.sum()) for block in scores))
    assert np.mean(lost) < 0.06


def test_whole_blocks_may_vanish() -> None:
    scores = [np.array([9.0, 8.0]), np.array([1.0, 0.5])]
    costs = [np.array([0.0, 1.0, 2.0]), np.array([0.0, 1.0, 2.0])]
    assert units_within(scores, costs, 2.0) == [2, 0]


def test_score_per_cost_decides() -> None:
    scores = [np.array([4.0]), np.array([3.0, 2.0])]
    costs = [np.array([0.0, 4.0]), np.array([0.0, 2.0, 4.0])]
    assert units_within(scores, costs, 4.0) == [0, 2]


def test_everything_fits_a_whole_budget() -> None:
    scores, costs = blocks(3, "measured", negative=True)
    assert units_within(scores, costs, spent(costs, [len(s) for s in scores])) == [len(s) for s in scores]


def test_equal_scores_are_bought_one_by_one() -> None:
    scores = [np.ones(6), np.ones(6)]
    costs = [np.arange(7.0), np.arange(7.0)]
    for budget in range(13):
        assert sum(units_within(scores, costs, float(budget))) == budget


def test_scores_of_zero_and_huge_ranges() -> None:
    scores = [np.array([1e-30, 0.0, 0.0]), np.array([1e20, 1e-10])]
    costs = [np.arange(4.0), np.arange(3.0)]
    assert units_within(scores, costs, 1.0) == [0, 1]
    assert sum(units_within(scores, costs, 4.0)) == 4


def test_a_large_choice_is_that_of_a_threshold() -> None:
    random = np.random.default_rng(0)
    scores = [np.sort(random.exponential(size=count))[::-1] for count in (12, 3072, 12, 3072)]
    costs = [np.linspace(0, 128 * count if count == 12 else count, count + 1) for count in (12, 3072, 12, 3072)]
    counts = units_within(scores, costs, 4000.0)
    worth = [block / (128.0 if len(block) == 12 else 1.0) for block in scores]
    lowest = min(float(block[count - 1]) for block, count in zip(worth, counts, strict=True) if count)
    left = [float(block[count]) for block, count in zip(worth, counts, strict=True) if count < len(block)]
    assert lowest >= max(left) or spent(costs, counts) + 128 > 4000  # all that is kept is worth more than what is not
    assert 4000 - 1 < spent(costs, counts) <= 4000


def test_not_a_number() -> None:
    with pytest.raises(PruningError, match="Scores of units are NaN"):
        units_within([np.array([1.0, np.nan])], [np.arange(3.0)], 1.0)


def test_a_budget_below_everything() -> None:
    with pytest.raises(PruningError, match=r"budget of 1 is below 3, the cost without any unit"):
        units_within([np.ones(1)], [np.array([3.0, 4.0])], 1.0)


def test_the_reference_looks_at_all_choices() -> None:
    scores, costs = blocks(0, "linear")
    assert naive_units_within(scores, costs, 1e9) == pytest.approx(sum(float(block.sum()) for block in scores))
    assert len(list(itertools.product(*(range(len(block)) for block in costs)))) > 50
