"""The whole way from a trained model to a smaller one, with times that are computed so that none decides a test."""

from __future__ import annotations

import logging
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn
from transformers import AutoModelForQuestionAnswering

from tests.pruning.helpers import qa_batch, tiny_model
from transformers_palbert.compaction import shrinking
from transformers_palbert.compaction.shrinking import shrink
from transformers_palbert.errors import ConfigurationError, PruningError, PruningWarning
from transformers_palbert.model.applications import mask_to_text
from transformers_palbert.model.removal import layer_sizes
from transformers_palbert.pruning import PruningConfig, prepare_pruning
from transformers_palbert.speed.latency import LatencyTable, applied_sizes

BATCHES = [qa_batch(count=8, seed=seed) for seed in range(4)]


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """A machine that takes one second for a feed-forward unit and eight for a head, times the factor in the list."""
    factors = [1.0]
    table = LatencyTable((1, 2), np.array([0.0, 8.0]), (0, 32), np.array([8.0, 40.0]), 4.0)

    def measured(models: list[nn.Module], *_: int) -> list[float]:
        whole, small = (table.model(applied_sizes(model)) for model in models)
        return [whole, whole - (whole - small) * factors[0]]

    monkeypatch.setattr(shrinking, "measure_latency", lambda *_, **__: table)
    monkeypatch.setattr(shrinking, "fastest_seconds", measured)
    return factors


@pytest.mark.parametrize("kind", ["albert", "palbert", "bert", "roberta", "distilbert"])
@pytest.mark.usefixtures("clock")
def test_shrinking(kind: str, tmp_path: Path) -> None:
    model = tiny_model(kind).eval()
    before = model(**qa_batch()).start_logits
    result = shrink(model, BATCHES, speedup=1.6, multiple_of=4)
    assert torch.equal(model(**qa_batch()).start_logits, before)
    assert result.speedup == pytest.approx(result.expected)
    assert result.speedup >= 1.6 * 0.98
    assert result.sizes == layer_sizes(result.model)
    assert (result.batch_size, result.length) == (8, 16)  # ten tokens, rounded up to eights
    small = result.model.eval()
    small.save_pretrained(tmp_path)
    loaded = AutoModelForQuestionAnswering.from_pretrained(tmp_path).eval()
    assert layer_sizes(loaded) == result.sizes
    assert torch.equal(loaded(**qa_batch()).start_logits, small(**qa_batch()).start_logits)
    again = shrink(loaded, BATCHES, speedup=1.2)
    assert again.speedup >= 1.2 * 0.98


def test_more_is_removed_where_the_table_promised_too_much(
    clock: list[float], caplog: pytest.LogCaptureFixture
) -> None:
    clock[0] = 0.8
    with caplog.at_level(logging.INFO, logger="transformers_palbert"):
        result = shrink(tiny_model("bert"), BATCHES, speedup=1.5, multiple_of=1)
    assert result.speedup >= 1.5 * 0.98
    assert result.expected > result.speedup
    assert sum("Aimed at" in record.message for record in caplog.records) > 1


def test_less_is_removed_where_the_table_promised_too_little(clock: list[float]) -> None:
    clock[0] = 1.2
    result = shrink(tiny_model("bert"), BATCHES, speedup=1.5, multiple_of=1)
    assert 1.5 * 0.98 <= result.speedup <= 1.5 * 1.05
    assert result.expected < result.speedup


def test_a_machine_that_never_gets_there_is_told(monkeypatch: pytest.MonkeyPatch, clock: list[float]) -> None:
    monkeypatch.setattr(shrinking, "fastest_seconds", lambda *_: [1.2, 1.0])
    monkeypatch.setattr(shrinking, "_ATTEMPTS", 1)
    assert clock == [1.0]
    with pytest.warns(PruningWarning, match=r"Asked for 1\.50 times the speed, and 1\.20 times were measured"):
        assert shrink(tiny_model("bert"), BATCHES, speedup=1.5).speedup == pytest.approx(1.2)


class TestFailsLoudly:
    @pytest.mark.parametrize("speedup", [1.0, 0.5, -1.0, float("nan")])
    def test_no_speedup(self, speedup: float) -> None:
        with pytest.raises(ConfigurationError, match="must be above 1"):
            shrink(tiny_model("bert"), BATCHES, speedup=speedup)

    def test_no_examples(self) -> None:
        with pytest.raises(ConfigurationError, match="give some batches"):
            shrink(tiny_model("bert"), [], speedup=1.5)

    def test_in_the_middle_of_pruning(self) -> None:
        model = prepare_pruning(tiny_model("bert"), PruningConfig(0.5))
        with pytest.raises(PruningError, match="before shrinking"):
            shrink(model, BATCHES, speedup=1.5)

    def test_applications_with_units_of_their_own(self) -> None:
        model = tiny_model("palbert", application_units=[mask_to_text([True] * 32)] * 3)
        with pytest.raises(ConfigurationError, match="shared weights must stay whole"):
            shrink(model, BATCHES, speedup=1.5)

    @pytest.mark.usefixtures("clock")
    def test_faster_than_removal_can_make_it(self) -> None:
        with pytest.raises(ConfigurationError, match="times less"):
            shrink(tiny_model("bert"), BATCHES, speedup=50.0)
