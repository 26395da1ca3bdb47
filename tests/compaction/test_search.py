"""Choices under a budget of time against trying all of them."""

from __future__ import annotations

import numpy as np
import pytest

from tests.references.compaction import naive_choice
from transformers_palbert.compaction.costs import RemovalCosts
from transformers_palbert.compaction.search import choose_uniformly, choose_units
from transformers_palbert.errors import ConfigurationError
from transformers_palbert.speed.latency import LatencyTable

TABLE = LatencyTable((0, 1, 4), np.array([0.0, 1.0, 4.0]), (0, 6), np.array([0.5, 6.5]), 2.0)


def costs(count: int, generator: np.random.Generator) -> RemovalCosts:
    """Costs that rise faster and faster, as those of least squares do."""
    steps = np.sort(generator.exponential(size=count))
    return RemovalCosts(generator.permutation(count), np.concatenate([[0.0], np.cumsum(steps)]))


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("applied", [("a", "b"), ("a", "b", "b")])
def test_choices_are_the_best_that_are_fast_enough(seed: int, applied: tuple[str, ...]) -> None:
    generator = np.random.default_rng(seed)
    of = {path: (costs(4, generator), costs(6, generator)) for path in ("a", "b")}
    whole = TABLE.model([(4, 6)] * len(applied))
    for share in (0.95, 0.8, 0.6, 0.4):
        kept = choose_units(of, TABLE, applied, whole * share)
        sizes = {path: (len(stays.heads or ()), len(stays.units or ())) for path, stays in kept.items()}
        assert TABLE.model([sizes[path] for path in applied]) <= whole * share
        loss = sum(of[p][0].losses[4 - h] + of[p][1].losses[6 - u] for p, (h, u) in sizes.items())
        best = naive_choice(of, TABLE, applied, whole * share)
        finest = max(max(np.diff(c.losses).max() for c in both) for both in of.values())
        assert best - 1e-9 <= loss <= best + finest  # a price is exact but for the last unit
        for path, stays in kept.items():
            for indices, removed in zip((stays.heads, stays.units), of[path], strict=True):
                assert indices is not None
                assert list(indices) == sorted(indices)
                assert set(indices) == set(removed.order[len(removed.order) - len(indices) :].tolist())


def test_everything_stays_where_there_is_time() -> None:
    generator = np.random.default_rng(0)
    kept = choose_units({"a": (costs(4, generator), costs(6, generator))}, TABLE, ["a"], 100.0)
    assert kept["a"].heads == list(range(4))
    assert kept["a"].units == list(range(6))


@pytest.mark.parametrize("multiple", [2, 4])
def test_units_stay_in_multiples(multiple: int) -> None:
    generator = np.random.default_rng(1)
    of = {path: (costs(4, generator), costs(6, generator)) for path in ("a", "b")}
    for seconds in (18.0, 14.0, 10.0, 5.0):
        for stays in choose_units(of, TABLE, ["a", "b"], seconds, multiple_of=multiple).values():
            assert len(stays.units or ()) in {0, 6, *range(0, 6, multiple)}


def test_too_fast() -> None:
    generator = np.random.default_rng(1)
    with pytest.raises(ConfigurationError, match=r"takes 5\.00 times less, and not the 6\.25 times less"):
        choose_units({"a": (costs(4, generator), costs(6, generator))}, TABLE, ["a"], 2.0)


def test_a_block_goes_where_its_first_unit_is_dear() -> None:
    """One head of the first layer is worth 0.1, and takes as long as the last three of the other."""
    table = LatencyTable((0, 1, 4), np.array([0.0, 3.0, 3.3]), (0, 6), np.array([0.5, 6.5]), 2.0)
    cheap = RemovalCosts(np.arange(4), np.array([0.0, 0.01, 0.02, 0.03, 0.1]))
    dear = RemovalCosts(np.arange(4), np.array([0.0, 1.0, 2.0, 3.0, 9.0]))
    units = RemovalCosts(np.arange(6), np.arange(7.0))
    of = {"a": (cheap, units), "b": (dear, units)}
    kept = choose_units(of, table, ["a", "b"], table.model([(0, 6), (4, 6)]))
    assert (kept["a"].heads, kept["b"].heads) == ([], [0, 1, 2, 3])
    assert kept["a"].units == kept["b"].units == list(range(6))


def test_time_that_a_price_leaves_is_used() -> None:
    """The price at which one of two equal blocks loses a unit is that at which the other does."""
    even = RemovalCosts(np.arange(6), np.arange(7.0))
    none = RemovalCosts(np.zeros(0, dtype=np.int64), np.zeros(1))
    kept = choose_units({"a": (none, even), "b": (none, even)}, TABLE, ["a", "b"], TABLE.model([(0, 6), (0, 3)]))
    assert sum(len(stays.units or ()) for stays in kept.values()) == 9


def test_layers_as_applications() -> None:
    generator = np.random.default_rng(2)
    of = {("a", number): (costs(4, generator), costs(6, generator)) for number in range(3)}
    kept = choose_units(of, TABLE, list(of), TABLE.model([(4, 6)] * 3) / 2)
    assert kept.keys() == of.keys()
    assert len({(tuple(stays.heads or ()), tuple(stays.units or ())) for stays in kept.values()}) > 1


class TestUniformly:
    @pytest.mark.parametrize("applied", [("a", "b"), ("a", "b", "b")])
    def test_as_many_units_in_every_layer(self, applied: tuple[str, ...]) -> None:
        generator = np.random.default_rng(3)
        of = {path: (costs(4, generator), costs(6, generator)) for path in ("a", "b")}
        for stay in (2, 4, 6):
            seconds = TABLE.model([(4, stay)] * len(applied))
            for slack in (0.0, 1.9):
                kept = choose_uniformly(of, TABLE, applied, seconds + slack, multiple_of=2)
                for path, stays in kept.items():
                    assert stays.heads is None
                    assert set(stays.units or ()) == set(of[path][1].order[6 - stay :].tolist())

    def test_too_fast(self) -> None:
        generator = np.random.default_rng(1)
        with pytest.raises(
            ConfigurationError, match=r"all heads and 2 feed-forward units .* 1\.47 times less, .* 2\.50"
        ):
            choose_uniformly({"a": (costs(4, generator), costs(6, generator))}, TABLE, ["a"], 5.0, multiple_of=2)
