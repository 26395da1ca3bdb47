"""The whole way from a trained model to a smaller one, with times that are computed so that none decides a test."""

from __future__ import annotations

import json
import logging
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn
from transformers import AutoModelForQuestionAnswering, Trainer

from tests.pruning.helpers import qa_batch, qa_rows, tiny_model, training_arguments
from transformers_palbert import PalBertForQuestionAnswering, enable_sparse_saving, remove_units
from transformers_palbert.compaction import shrinking
from transformers_palbert.compaction.shrinking import shrink
from transformers_palbert.errors import ConfigurationError, PruningError, PruningWarning
from transformers_palbert.model.applications import mask_to_text
from transformers_palbert.model.removal import KeptUnits
from transformers_palbert.pruning import PruningConfig, prepare_pruning
from transformers_palbert.speed.costs import promised_speedup
from transformers_palbert.speed.latency import LatencyTable, applied_sizes

BATCHES = [qa_batch(count=8, seed=seed) for seed in range(4)]


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """A machine that takes one second for a feed-forward unit and eight for a head, times the factor in the list."""
    factors = [1.0]
    table = LatencyTable((0, 2), np.array([0.0, 16.0]), (0, 32), np.array([0.0, 32.0]), 4.0)

    def measured(models: list[nn.Module], *_: int) -> list[float]:
        whole, small = (table.model(applied_sizes(model)) for model in models)
        return [whole, whole - (whole - small) * factors[0]]

    monkeypatch.setattr(shrinking, "cached_latency", lambda *_, **__: table)
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
    assert result.promised == promised_speedup(model, result.model, 16)
    assert [(size.heads, size.units) for size in result.sizes.values()] == applied_sizes(result.model)
    assert (result.batch_size, result.length) == (8, 16)  # ten tokens, rounded up to eights
    small = result.model.eval()
    small.save_pretrained(tmp_path)
    loaded = AutoModelForQuestionAnswering.from_pretrained(tmp_path).eval()
    assert applied_sizes(loaded) == applied_sizes(small)
    assert torch.equal(loaded(**qa_batch()).start_logits, small(**qa_batch()).start_logits)
    again = shrink(loaded, BATCHES, speedup=1.2)
    assert again.speedup >= 1.2 * 0.98
    again.model.save_pretrained(tmp_path / "again")
    loaded = AutoModelForQuestionAnswering.from_pretrained(tmp_path / "again").eval()
    assert torch.equal(loaded(**qa_batch()).start_logits, again.model.eval()(**qa_batch()).start_logits)


@pytest.mark.usefixtures("clock")
def test_a_model_that_was_shrunk_is_fine_tuned_and_shrunk_again(tmp_path: Path) -> None:
    for kind in ("albert", "bert"):
        small = shrink(tiny_model(kind), BATCHES, speedup=1.5, multiple_of=4).model
        arguments = training_arguments(tmp_path / kind, max_steps=4)
        trainer = Trainer(model=small, args=arguments, train_dataset=qa_rows(16))
        before = applied_sizes(small)
        trainer.train()
        trainer.save_model()
        loaded = AutoModelForQuestionAnswering.from_pretrained(tmp_path / kind)
        assert applied_sizes(loaded) == before
        again = shrink(loaded, BATCHES, speedup=1.3, multiple_of=4)
        assert again.speedup >= 1.3 * 0.98
        assert all(new <= old for new, old in zip(applied_sizes(again.model), before, strict=True))


class TestApplications:
    @pytest.mark.parametrize("kind", ["albert", "palbert"])
    @pytest.mark.usefixtures("clock")
    def test_each_keeps_its_own(self, kind: str) -> None:
        result = shrink(tiny_model(kind), BATCHES, speedup=1.6, multiple_of=4)
        assert isinstance(result.model, PalBertForQuestionAnswering)
        assert len(result.sizes) == 3
        assert list(result.sizes)[1].endswith("(application 1)")
        masks = result.model.config.application_units or result.model.config.application_heads
        assert len(set(masks)) > 1

    @pytest.mark.parametrize("kind", ["albert", "palbert"])
    @pytest.mark.usefixtures("clock")
    def test_all_keep_the_same(self, kind: str) -> None:
        result = shrink(tiny_model(kind), BATCHES, speedup=1.6, multiple_of=4, applications="shared")
        assert type(result.model) is type(tiny_model(kind))
        assert len(result.sizes) == 1


@pytest.mark.parametrize("kind", ["albert", "bert", "distilbert"])
@pytest.mark.usefixtures("clock")
def test_uniform_layers_load_without_the_package(kind: str, tmp_path: Path) -> None:
    model = tiny_model(kind)
    result = shrink(model, BATCHES, speedup=1.3, multiple_of=4, uniform=True)
    assert result.speedup >= 1.3 * 0.98
    assert type(result.model) is type(model)
    result.model.save_pretrained(tmp_path)
    config = json.loads((tmp_path / "config.json").read_text())
    assert not {"layer_sizes", "quantization_config"} & config.keys()
    plain = type(model)(type(model.config).from_pretrained(tmp_path))
    plain.load_state_dict(result.model.state_dict())
    assert len({units for _, units in applied_sizes(plain)}) == 1
    assert torch.equal(plain.eval()(**qa_batch()).start_logits, result.model.eval()(**qa_batch()).start_logits)


def test_more_is_removed_where_the_table_promised_too_much(
    clock: list[float], caplog: pytest.LogCaptureFixture
) -> None:
    clock[0] = 0.8
    with caplog.at_level(logging.INFO, logger="transformers_palbert"):
        result = shrink(tiny_model("bert"), BATCHES, speedup=1.5, multiple_of=1)
    assert result.speedup >= 1.5 * 0.98
    assert result.expected > result.speedup
    assert sum("Aimed at" in record.message for record in caplog.records) > 1


@pytest.mark.parametrize(("factor", "doubted"), [(0.6, True), (1.0, False)])
def test_a_table_that_is_far_off_is_doubted(
    clock: list[float], caplog: pytest.LogCaptureFixture, factor: float, doubted: bool
) -> None:
    clock[0] = factor
    with caplog.at_level(logging.WARNING, logger="transformers_palbert"):
        shrink(tiny_model("bert"), BATCHES, speedup=1.3, multiple_of=1)
    assert ("--remeasure" in caplog.text) is doubted


def test_less_is_removed_where_the_table_promised_too_little(clock: list[float]) -> None:
    clock[0] = 1.2
    result = shrink(tiny_model("bert"), BATCHES, speedup=1.5, multiple_of=1)
    assert 1.5 * 0.98 <= result.speedup <= 1.5 * 1.05
    assert result.expected < result.speedup


def test_a_machine_that_never_gets_there_is_told(monkeypatch: pytest.MonkeyPatch, clock: list[float]) -> None:
    monkeypatch.setattr(shrinking, "fastest_seconds", lambda *_: [1.2, 1.0])
    monkeypatch.setattr(shrinking, "_ATTEMPTS", 1)
    assert clock == [1.0]
    with pytest.warns(PruningWarning, match=r"Asked for 1\.50 times .* most of 1 attempts is 1\.20 times"):
        assert shrink(tiny_model("bert"), BATCHES, speedup=1.5).speedup == pytest.approx(1.2)


@pytest.mark.usefixtures("clock")
def test_the_order_of_the_inputs_does_not_matter_nor_a_mask_of_ones() -> None:
    names = ["start_positions", "end_positions", "input_ids"]
    lengths = [
        shrink(tiny_model("bert"), [{name: batch[name] for name in order} for batch in BATCHES], speedup=1.3).length
        for order in (names, [*names[::-1], "attention_mask"])
    ]
    assert lengths == [16, 16]


@pytest.mark.parametrize("kind", ["albert", "bert"])
@pytest.mark.parametrize("uniform", [False, True])
@pytest.mark.usefixtures("clock")
def test_of_a_packed_model(kind: str, uniform: bool, tmp_path: Path) -> None:
    """What comes out is packed as well, or, where all layers are alike, a dense file."""
    model = tiny_model(kind)
    for name, weight in model.named_parameters():
        if "ffn" in name or "intermediate" in name:
            torch.nn.functional.dropout(weight.data, 0.9, inplace=True)
    enable_sparse_saving(model)
    model.save_pretrained(tmp_path / "packed")
    loaded = AutoModelForQuestionAnswering.from_pretrained(tmp_path / "packed")
    result = shrink(loaded, BATCHES, speedup=1.4, multiple_of=4, uniform=uniform)
    result.model.save_pretrained(tmp_path / "small")
    config = json.loads((tmp_path / "small" / "config.json").read_text())
    assert ("quantization_config" in config) is not uniform
    again = AutoModelForQuestionAnswering.from_pretrained(tmp_path / "small").eval()
    assert torch.equal(again(**qa_batch()).start_logits, result.model.eval()(**qa_batch()).start_logits)
    loaded.save_pretrained(tmp_path / "again")
    assert "quantization_config" in json.loads((tmp_path / "again" / "config.json").read_text())


def test_a_second_attempt_that_asks_for_too_much(clock: list[float]) -> None:
    """The table says that the model can be that fast, and the clock says less: the fastest so far, and a warning."""
    clock[0] = 0.7
    with pytest.warns(PruningWarning, match=r"Asked for 5\.00 times the speed, and the most of \d attempts is"):
        result = shrink(tiny_model("bert"), BATCHES, speedup=5.0, multiple_of=4, uniform=False)
    assert result.speedup < 5.0


class TestFailsLoudly:
    @pytest.mark.parametrize(("kind", "options", "message"), [
        ("bert", {"length": 25}, "length=25 must be at least 1, and at most 24, the tokens that Bert"),
        ("roberta", {"length": 23}, "length=23 must be at least 1, and at most 22, the tokens that Roberta"),
        ("bert", {"length": 0}, "length=0 must be at least 1"),
        ("bert", {"batch_size": 0}, "batch_size=0 must be at least 1"),
        ("bert", {"multiple_of": 0}, "multiple_of=0 must be at least 1"),
    ])  # fmt: skip
    def test_numbers(self, kind: str, options: dict[str, int], message: str) -> None:
        with pytest.raises(ConfigurationError, match=message):
            shrink(tiny_model(kind), BATCHES, speedup=1.5, **options)  # type: ignore[arg-type]

    def test_inputs_of_another_task(self) -> None:
        batch = {name: tensor.view(2, 2, -1) for name, tensor in qa_batch(count=4).items() if tensor.dim() == 2}
        with pytest.raises(ConfigurationError, match=r"must be rows of tokens, \[batch, length\]"):
            shrink(tiny_model("bert"), [batch], speedup=1.5)

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

    @pytest.mark.parametrize("options", [{"uniform": True}, {"applications": "shared"}])
    def test_applications_with_units_of_their_own(self, options: Any) -> None:
        model = tiny_model("palbert", application_units=[mask_to_text([True] * 32)] * 3)
        with pytest.raises(ConfigurationError, match="shared weights must stay whole"):
            shrink(model, BATCHES, speedup=1.5, **options)

    @pytest.mark.parametrize(("kind", "options", "message"), [
        ("bert", {"applications": "each"}, "needs an ALBERT or PAL-BERT"),
        ("albert", {"applications": "each", "uniform": True}, "as many units everywhere"),
        ("albert", {"applications": "all"}, "choose 'each', 'shared' or None"),
    ])  # fmt: skip
    def test_what_does_not_go_together(self, kind: str, options: Any, message: str) -> None:
        with pytest.raises(ConfigurationError, match=message):
            shrink(tiny_model(kind), BATCHES, speedup=1.5, **options)

    def test_uniform_where_layers_differ(self) -> None:
        model = remove_units(tiny_model("bert"), {"encoder.layer.0": KeptUnits([0], range(9))})
        with pytest.raises(ConfigurationError, match="differ already"):
            shrink(model, BATCHES, speedup=1.5, uniform=True)

    @pytest.mark.usefixtures("clock")
    def test_faster_than_removal_can_make_it(self) -> None:
        with pytest.raises(ConfigurationError, match="times less"):
            shrink(tiny_model("bert"), BATCHES, speedup=50.0)


def test_what_is_left_is_repaired(monkeypatch: pytest.MonkeyPatch) -> None:
    table = LatencyTable((0, 2), np.array([0.0, 16.0]), (0, 32), np.array([0.0, 32.0]), 4.0)
    monkeypatch.setattr(shrinking, "cached_latency", lambda *_, **__: table)
    monkeypatch.setattr(
        shrinking, "fastest_seconds", lambda models, *_: [table.model(applied_sizes(m)) for m in models]
    )
    repaired = []
    monkeypatch.setattr(shrinking, "repair_projections", lambda small, whole, _: repaired.append((small, whole)))
    model = tiny_model("bert")
    result = shrinking.shrink(model, [qa_batch(count=8)], speedup=1.6, multiple_of=4)
    assert [(small is result.model, whole is model) for small, whole in repaired] == [(True, True)]
