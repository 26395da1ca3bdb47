"""The table of measured times: its grid, its sums, and a model that is left as it was. Time decides no test."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from tests.pruning.helpers import tiny_model
from transformers_palbert.model.applications import mask_to_text
from transformers_palbert.model.removal import KeptUnits, keep_units
from transformers_palbert.qa import kernels
from transformers_palbert.speed import latency
from transformers_palbert.speed.latency import (
    STEADY,
    LatencyTable,
    _layer_of,
    applied_sizes,
    fastest_seconds,
    measure_latency,
)


def test_sums_and_interpolation() -> None:
    table = LatencyTable((0, 1, 3), np.array([0.0, 2.0, 4.0]), (0, 8), np.array([1.0, 9.0]), 5.0)
    assert table.layer(0, 0) == 1.0
    assert table.layer(2, 4) == 3.0 + 5.0
    assert table.model([(3, 8), (1, 0), (0, 0)]) == 5.0 + 13.0 + 3.0 + 1.0


@pytest.mark.parametrize("kind", ["albert", "palbert", "bert", "roberta", "distilbert"])
def test_measuring(kind: str) -> None:
    model = tiny_model(kind).train()
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    table = measure_latency(model, batch_size=2, length=8, steps=4)
    assert model.training
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())
    assert table.heads == (0, 1, 2)
    assert table.units == (0, 8, 14, 20, 26, 32)
    assert table.head_seconds[0] == 0
    for seconds in (table.head_seconds, table.unit_seconds):
        assert (np.diff(seconds) >= 0).all()
        assert np.isfinite(seconds).all()
    assert table.unit_seconds[0] > 0
    assert table.rest_seconds >= 0
    assert applied_sizes(model) == [(2, 32)] * 3


def test_of_a_model_with_smaller_layers() -> None:
    model = tiny_model("bert")
    keep_units(model, {"encoder.layer.0": KeptUnits([1], range(5)), "encoder.layer.2": KeptUnits(None, range(9))})
    assert applied_sizes(model) == [(1, 5), (2, 32), (2, 9)]
    assert measure_latency(model, batch_size=1, length=4, steps=2).units == (0, 8, 20, 32)


def test_every_size_is_measured_on_a_layer_that_has_it() -> None:
    model = tiny_model("bert")
    keep_units(model, {"encoder.layer.0": KeptUnits(None, range(3)), "encoder.layer.1": KeptUnits([0])})
    for heads, units in ((2, 0), (1, 0), (0, 0), (0, 3), (0, 32)):
        layer = _layer_of(model, heads, units)
        assert layer.attention.self.num_attention_heads == heads
        assert layer.intermediate.dense.out_features == units


def test_layers_without_units_run_on_every_kernel(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kernels, "_onednn_is_faster", lambda: True)
    model = tiny_model("bert").train()
    assert measure_latency(model, batch_size=1, length=4, steps=1).unit_seconds[0] > 0
    assert model.training


def test_models_in_turns() -> None:
    models = [tiny_model("bert").train(), tiny_model("albert").eval()]
    seconds = fastest_seconds(models, 1, 6)
    assert len(seconds) == 2
    assert min(seconds) > 0
    assert [model.training for model in models] == [True, False]


def test_of_applications_with_units_of_their_own() -> None:
    heads, units = [[True, False], [False, False], [True, True]], [[False] * 32, [True] * 32, [True] * 9 + [False] * 23]
    masks = {
        "application_heads": [mask_to_text(mask) for mask in heads],
        "application_units": [mask_to_text(mask) for mask in units],
    }
    model = tiny_model("palbert", **masks)
    assert applied_sizes(model) == [(1, 0), (0, 32), (2, 9)]
    assert measure_latency(model, batch_size=1, length=4, steps=1).heads == (0, 1, 2)


class TestSteadiness:
    """Two halves of a measurement are compared; the clock is made up."""

    @staticmethod
    def measured(monkeypatch: pytest.MonkeyPatch, rounds: list[list[float]]) -> tuple[list[float], float, int]:
        """What comes out where the rounds take these seconds, the last of them ever after, and how many there were."""
        seen = []

        def timed(*_: object) -> list[float]:
            seen.append(rounds[min(len(seen), len(rounds) - 1)])
            return seen[-1]

        monkeypatch.setattr(latency, "_timed", timed)
        seconds, disagreement = latency._fastest([print, print], tiny_model("bert"))
        return seconds, disagreement, len(seen)

    def test_an_idle_machine_is_measured_once(self, monkeypatch: pytest.MonkeyPatch) -> None:
        rounds = [[9.0, 9.0], [2.0, 3.0], [2.02, 3.0], [4.0, 8.0]]  # the first warms up
        seconds, disagreement, count = self.measured(monkeypatch, rounds)
        assert seconds == [2.0, 3.0]
        assert disagreement == pytest.approx(0.02 / 5.0)
        assert count == 1 + 8

    def test_where_the_halves_differ_measuring_goes_on(self, monkeypatch: pytest.MonkeyPatch) -> None:
        busy = [[2.0, 3.0], [4.0, 3.0]]
        seconds, disagreement, count = self.measured(monkeypatch, [[9.0, 9.0], *busy * 4, [2.0, 3.0]])
        assert (seconds, disagreement, count) == ([2.0, 3.0], 0.0, 1 + 2 * 8)

    def test_a_machine_that_stays_busy(self, monkeypatch: pytest.MonkeyPatch) -> None:
        busy = [[2.0, 3.0], [2.0, 4.0]]
        seconds, disagreement, count = self.measured(monkeypatch, [[9.0, 9.0], *busy * 40])
        assert seconds == [2.0, 3.0]
        assert disagreement == pytest.approx(0.2)
        assert disagreement > STEADY
        assert count == 1 + 4 * 8

    def test_the_table_says_it(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(latency, "_fastest", lambda calls, _: ([1.0] * len(calls), 0.07))
        table = measure_latency(tiny_model("bert"), batch_size=1, length=4)
        assert (table.disagreement, table.is_steady) == (0.07, False)
