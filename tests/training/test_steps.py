from __future__ import annotations

import logging
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from transformers import TrainerCallback, TrainingArguments
from transformers.utils import logging as transformers_logging

from transformers_palbert.training.steps import say_where, set_up_logging, train_and_save

OURS = logging.getLogger("transformers_palbert")


@pytest.fixture(autouse=True)
def _levels_as_before() -> Iterator[None]:
    ours, theirs = OURS.level, transformers_logging.get_verbosity()
    yield
    OURS.setLevel(ours)
    transformers_logging.set_verbosity(theirs)


@pytest.mark.parametrize(
    ("asked", "ours"), [("passive", logging.INFO), ("debug", logging.DEBUG), ("error", logging.ERROR)]
)
def test_the_package_says_what_is_going_on_unless_told_otherwise(asked: str, ours: int) -> None:
    set_up_logging(TrainingArguments("out", use_cpu=True, log_level=asked))
    assert OURS.level == ours


def test_the_parameters_are_logged_without_the_token(caplog: pytest.LogCaptureFixture) -> None:
    token = "hf_" + "Ab1" * 11
    set_up_logging(TrainingArguments("out", use_cpu=True, log_level="debug", hub_token=token))
    assert "learning_rate=" in caplog.text
    assert token not in caplog.text


@pytest.mark.parametrize(("first", "said"), [(True, True), (False, False)])
def test_the_end_says_where_the_model_is_and_what_comes_next(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, first: bool, said: bool
) -> None:
    trainer: Any = SimpleNamespace(args=SimpleNamespace(output_dir=str(tmp_path)), is_world_process_zero=lambda: first)
    OURS.setLevel(logging.INFO)
    say_where(trainer, "palbert inspect {}")
    assert caplog.text == ""  # nothing was saved
    (tmp_path / "model.safetensors").write_bytes(b"x" * 12_345)
    say_where(trainer, "palbert inspect {}")
    assert (f"The model is in {tmp_path}: 12,345 bytes" in caplog.text) is said
    assert (f"Next: palbert inspect {tmp_path}" in caplog.text) is said


class Training:
    """A Trainer that has been at step 7 before."""

    def __init__(self, folder: Path, end: int) -> None:
        start = str(folder / "checkpoint-7")
        self.args = TrainingArguments(str(folder), use_cpu=True, resume_from_checkpoint=start)
        self.state = SimpleNamespace(global_step=end)

    def train(self, resume_from_checkpoint: str) -> Any:
        assert resume_from_checkpoint == self.args.resume_from_checkpoint
        return SimpleNamespace(metrics={"train_loss": 1.0})

    def is_world_process_zero(self) -> bool:
        return True

    def add_callback(self, callback: TrainerCallback) -> None: ...

    def save_model(self) -> None: ...

    def save_state(self) -> None: ...


@pytest.mark.parametrize("end", [7, 9])
def test_a_run_that_had_ended_says_that_nothing_is_trained(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, end: int
) -> None:
    trainer: Any = Training(tmp_path, end)
    assert train_and_save(trainer, [trainer.args]) == {"train_loss": 1.0}
    assert ("Nothing was trained: the run in" in caplog.text) is (end == 7)
