"""What a short run does to a model that has learnt something: the default keeps it, movement from zero does not."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any, ClassVar

import pytest
import torch
from transformers import AutoModelForQuestionAnswering, PreTrainedModel, Trainer

from tests.pruning.helpers import tiny_model, training_arguments
from transformers_palbert.errors import ConfigurationError, PruningWarning
from transformers_palbert.pruning import MovementPruningCallback
from transformers_palbert.pruning.metric_guard import MetricGuard

VOCABULARY, LENGTH, FIRST, STEPS = 168, 12, 8, 60


def dictionary_rows(count: int, seed: int) -> list[dict[str, Any]]:
    """A word, then a text of eleven words: the answer is where the word's translation stands.

    The 160 translations are nowhere in the text. They have to be remembered, and what pruning destroys of them takes
    many steps to learn again.
    """
    translation = FIRST + torch.randperm(VOCABULARY - FIRST, generator=torch.Generator().manual_seed(5))
    generator = torch.Generator().manual_seed(seed)
    rows = []
    for _ in range(count):
        text = FIRST + torch.randperm(VOCABULARY - FIRST, generator=generator)[: LENGTH - 1]
        place = int(torch.randint(0, LENGTH - 1, (1,), generator=generator))
        word = int(translation[text[place] - FIRST])
        answer = {"start_positions": place + 1, "end_positions": place + 1}
        rows.append({"input_ids": [word, *text.tolist()], "attention_mask": [1] * LENGTH, **answer})
    return rows


def exact_match(model: PreTrainedModel) -> float:
    """Share of new questions whose answer is found."""
    rows = dictionary_rows(256, seed=99)
    batch = {key: torch.tensor([row[key] for row in rows]) for key in rows[0]}
    with torch.no_grad():
        found = model.eval()(**batch)
    right = (found.start_logits.argmax(1) == batch["start_positions"]) & (
        found.end_logits.argmax(1) == batch["end_positions"]
    )
    return float(right.float().mean())


def train(model: PreTrainedModel, folder: Path, steps: int, *callbacks: Any, **options: Any) -> Trainer:
    values = {"max_steps": steps, "per_device_train_batch_size": 32, "logging_steps": 2, **options}
    trainer = Trainer(
        model=model,
        args=training_arguments(folder, **values),
        train_dataset=dictionary_rows(8192, seed=0),
        eval_dataset=dictionary_rows(16, seed=1),
        compute_metrics=lambda _: {"em": 100 * exact_match(model)},
        callbacks=list(callbacks),
    )
    trainer.train()
    return trainer


def prune(model: PreTrainedModel, folder: Path, options: dict[str, Any] | None = None, **settings: Any) -> Trainer:
    callback = MovementPruningCallback(target_sparsity=0.7, **settings)
    return train(model, folder, STEPS, callback, learning_rate=1e-4, **(options or {}))


@pytest.fixture(scope="module")
def learned(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkpoint that answers nearly every question."""
    folder = tmp_path_factory.mktemp("learned")
    sizes = {"vocab_size": VOCABULARY, "intermediate_size": 24, "initializer_range": 0.1}
    model = tiny_model("bert", layers=2, **sizes)
    train(model, folder, 1500, learning_rate=5e-3, logging_steps=1500)
    assert exact_match(model) > 0.95
    model.save_pretrained(folder)
    return folder


@pytest.fixture
def model(learned: Path) -> PreTrainedModel:
    return AutoModelForQuestionAnswering.from_pretrained(learned)


def test_the_default_keeps_what_was_learned_and_says_nothing(model: PreTrainedModel, tmp_path: Path) -> None:
    before = exact_match(model)
    with warnings.catch_warnings():
        warnings.simplefilter("error", PruningWarning)
        trainer = prune(model, tmp_path)
    assert exact_match(model) >= 0.8 * before
    logs = [entry for entry in trainer.state.log_history if "loss" in entry]
    dense = [entry["loss"] for entry in logs if entry["density_encoder"] == 1]
    assert logs[-1]["lost_since_dense"] == pytest.approx(logs[-1]["loss"] - sum(dense) / len(dense), abs=1e-4)
    assert not any("lost_since_dense" in entry for entry in logs[: len(dense)])


def test_movement_from_zero_loses_it_and_says_so(model: PreTrainedModel, tmp_path: Path) -> None:
    before = exact_match(model)
    with pytest.warns(PruningWarning) as warned:
        prune(model, tmp_path, method="movement")
    assert exact_match(model) < 0.8 * before
    short, collapsed = (str(warning.message) for warning in warned if warning.category is PruningWarning)
    assert "needs a long run, and this one has 60 steps" in short
    assert "loss rose from 0.00 to" in collapsed
    assert "method='sensitivity'" in collapsed


def test_movement_from_the_rank_is_not_warned_of(model: PreTrainedModel, tmp_path: Path) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error", PruningWarning)
        prune(model, tmp_path, method="movement", score_start="rank")
    assert exact_match(model) >= 0.8


class TestStopOnCollapse:
    EVALUATION: ClassVar = {"eval_strategy": "steps", "eval_steps": 4}

    def test_ends_with_the_last_good_state(self, model: PreTrainedModel, tmp_path: Path) -> None:
        settings = {"max_metric_drop": 90.0, "metric": "em", "stop_on_collapse": True}
        with pytest.warns(PruningWarning, match="does not come back"):
            trainer = prune(model, tmp_path, self.EVALUATION, method="movement", **settings)
        assert 6 < trainer.state.global_step < 30
        assert 0.3 < model.config.pruning["density"] <= 1

    def test_a_resumed_run_still_knows_what_was_logged(
        self, learned: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(MetricGuard, "finish", lambda *_: None)  # as if the first run had been cut off
        steps = []
        for checkpoint in (None, str(tmp_path / "checkpoint-10")):
            model = AutoModelForQuestionAnswering.from_pretrained(learned)
            settings = {"max_metric_drop": 90.0, "metric": "em", "stop_on_collapse": True, "method": "movement"}
            callback = MovementPruningCallback(0.7, **settings)
            options = {**self.EVALUATION, "save_strategy": "steps", "save_steps": 5, "learning_rate": 1e-4}
            values = {"max_steps": STEPS, "per_device_train_batch_size": 32, "logging_steps": 2, **options}
            trainer = Trainer(
                model=model,
                args=training_arguments(tmp_path, **values),
                train_dataset=dictionary_rows(2048, seed=0),
                eval_dataset=dictionary_rows(16, seed=1),
                compute_metrics=lambda _, model=model: {"em": 100 * exact_match(model)},
                callbacks=[callback],
            )
            with pytest.warns(PruningWarning, match="does not come back"):
                trainer.train(resume_from_checkpoint=checkpoint)
            steps.append(trainer.state.global_step)
        assert steps[0] == steps[1] > 10

    def test_needs_a_state_to_go_back_to(self) -> None:
        with pytest.raises(ConfigurationError, match=r"stop_on_collapse=True.*give max_metric_drop"):
            MovementPruningCallback(0.7, stop_on_collapse=True)
