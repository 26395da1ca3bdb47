"""What a run was asked for, beside its checkpoints."""

from __future__ import annotations

import json
import logging
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest
from transformers import TrainerControl, TrainerState, TrainingArguments

from transformers_palbert.training.arguments import DataArguments, ModelArguments, PruningArguments
from transformers_palbert.training.kept_arguments import (
    ARGUMENTS_FILE,
    OF_THE_TRAINER,
    WITHOUT_EFFECT,
    KeepArguments,
    warn_of_changes,
)
from transformers_palbert.training.pretraining import PreTrainingArguments


def parts(rate: float = 1e-4, **ours: object) -> tuple[Any, ...]:
    secret = "hf_" + "Ab1" * 11
    args = TrainingArguments("out", use_cpu=True, learning_rate=rate, hub_token=secret, logging_steps=len(ours) + 1)
    return ModelArguments("me/model", token=secret), DataArguments(train_file="a.json"), PruningArguments(**ours), args


def save(checkpoint: Path, given: tuple[Any, ...]) -> None:
    """What the callback does when a checkpoint is written."""
    checkpoint.mkdir()
    state = TrainerState(global_step=int(checkpoint.name.rpartition("-")[2]), is_world_process_zero=True)
    args = TrainingArguments(str(checkpoint.parent), use_cpu=True)
    KeepArguments(given).on_save(args, state, TrainerControl())


def test_what_was_learned_from_is_kept_without_tokens(tmp_path: Path) -> None:
    save(tmp_path / "checkpoint-7", parts(target_sparsity=0.7))
    text = (tmp_path / "checkpoint-7" / ARGUMENTS_FILE).read_text(encoding="utf-8")
    kept = json.loads(text)
    assert (kept["learning_rate"], kept["target_sparsity"], kept["train_file"]) == (1e-4, 0.7, "a.json")
    assert "hf_" not in text
    assert not kept.keys() & {"output_dir", "logging_steps", "validation_file"}


def test_other_settings_are_named(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    save(tmp_path / "checkpoint-7", parts(target_sparsity=0.7))
    with caplog.at_level(logging.WARNING, "transformers_palbert"):
        warn_of_changes(parts(target_sparsity=0.7, max_metric_drop=None), tmp_path / "checkpoint-7")
        assert caplog.text == ""
        warn_of_changes(parts(2e-5, target_sparsity=0.5), tmp_path / "checkpoint-7")
    assert "learning_rate: 0.0001 there, 2e-05 now" in caplog.text
    assert "target_sparsity: 0.7 there, 0.5 now" in caplog.text
    assert "another --output_dir" in caplog.text


@pytest.mark.parametrize("content", [None, "{", "[]"])
def test_without_what_was_asked_for_nothing_is_said(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, content: str | None
) -> None:
    if content is not None:
        (tmp_path / ARGUMENTS_FILE).write_text(content)
    warn_of_changes(parts(), tmp_path)
    assert caplog.text == ""


def test_every_name_is_an_option() -> None:
    kinds = (ModelArguments, DataArguments, PruningArguments, PreTrainingArguments)
    ours = {field.name for kind in kinds for field in fields(kind)} | {"teacher_cache"}
    assert ours >= WITHOUT_EFFECT
    assert {field.name for field in fields(TrainingArguments)} >= OF_THE_TRAINER
