"""What a stock ``report_to`` hands to W&B and Trackio, offline, and what of theirs a push takes along: nothing.

Neither library belongs to an extra: where one is missing, its test is skipped.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from huggingface_hub import HfApi

from tests.hub.fake_hub import FakeHub
from tests.hub.helpers import qa_trainer
from tests.pruning.helpers import training_arguments
from transformers_palbert import with_teacher
from transformers_palbert.training.pushing import keep_trackio_at_home
from transformers_palbert.training.trainer import QuestionAnsweringTrainer

pytestmark = pytest.mark.filterwarnings("default::DeprecationWarning")  # of the reporters themselves

KEYS = {
    "train/density_encoder", "train/density_total", "train/loss", "train/loss_logits", "train/loss_task",
    "train/pruning_progress", "eval/density_encoder", "eval/em", "eval/f1", "eval/pruning_progress",
}  # fmt: skip


def trained(folder: Path, reporter: str, **options: Any) -> QuestionAnsweringTrainer:
    """A student that was pruned to half its weights, and reported it."""
    trainer = qa_trainer(folder, report_to=reporter, logging_steps=1, **options)
    teacher = qa_trainer(folder.parent / "teacher", report_to="none").model
    with_teacher(trainer.model, teacher)
    trainer.train()
    trainer.evaluate()
    return trainer


@pytest.fixture
def wandb(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Any:
    """W&B that asks nobody, and whose folder is in the very folder that is pushed."""
    library = pytest.importorskip("wandb")
    for name, value in {"MODE": "offline", "DIR": tmp_path / "model", "SILENT": "true", "DATA_DIR": tmp_path}.items():
        monkeypatch.setenv(f"WANDB_{name}", str(value))
    monkeypatch.setenv("WANDB_CONFIG_DIR", str(tmp_path))
    monkeypatch.setenv("WANDB_CACHE_DIR", str(tmp_path))
    (tmp_path / "model").mkdir()
    yield library
    library.finish()


def test_wandb_gets_everything_and_nothing_of_it_is_pushed(wandb: Any, hub: FakeHub, tmp_path: Path) -> None:
    trainer = trained(tmp_path / "model", "wandb", hub_model_id="me/model")
    said = dict(wandb.run.summary)
    assert said.keys() >= KEYS
    logged = trainer.state.log_history
    last = next(entry for entry in reversed(logged) if "loss" in entry)
    assert said["train/density_encoder"] == last["density_encoder"] == pytest.approx(0.5, abs=0.01)
    assert said["eval/f1"] == next(entry["eval_f1"] for entry in reversed(logged) if "eval_f1" in entry)
    assert list((tmp_path / "model" / "wandb").glob("offline-run-*"))
    trainer.push_logs = True  # TensorBoard's are asked for, and there are none
    trainer.push_to_hub()
    pushed = hub.repos["me/model"].files()
    assert "model.safetensors" in pushed
    assert not [path for path in pushed if "wandb" in path]


@pytest.fixture
def logged_rows(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Callable[[str], list[dict[str, Any]]]:
    """Name of a run -> what Trackio has logged of it, in a data base in the very folder that is pushed."""
    monkeypatch.setenv("TRACKIO_DIR", str(tmp_path / "model" / "trackio"))
    pytest.importorskip("trackio")
    for module in ("utils", "sqlite_storage"):  # another test may have imported it
        monkeypatch.setattr(f"trackio.{module}.TRACKIO_DIR", tmp_path / "model" / "trackio")
    from trackio.sqlite_storage import SQLiteStorage

    return partial(SQLiteStorage.get_logs, "huggingface")


def test_trackio_gets_everything_and_stays_at_home(
    logged_rows: Callable[[str], list[dict[str, Any]]], hub: FakeHub, tmp_path: Path
) -> None:
    trainer = trained(tmp_path / "model", "trackio", hub_model_id="me/model", run_name="pruned")
    rows = logged_rows("pruned")
    assert set().union(*rows) >= KEYS
    last = [row for row in rows if "train/density_encoder" in row][-1]
    assert last["train/density_encoder"] == pytest.approx(0.5, abs=0.01)
    assert last["train/pruning_progress"] == 1
    assert list((tmp_path / "model" / "trackio").glob("*.db"))
    trainer.push_to_hub()
    assert set(hub.repos) == {"me/model"}  # and no Space with the metrics
    assert not [path for path in hub.repos["me/model"].files() if "trackio" in path]
    assert HfApi().repo_exists("me/model")


@pytest.mark.parametrize(
    ("options", "push_logs", "expected"),
    [
        ({}, False, False),
        ({}, True, None),
        ({"trackio_static_space_id": "me/metrics"}, False, "me/metrics"),
        ({"trackio_space_id": "me/live"}, False, None),
    ],
    ids=["at home", "logs are pushed", "a Space that is named", "a live Space"],
)
def test_trackio_publishes_only_what_is_asked_for(
    tmp_path: Path, options: dict[str, str], push_logs: bool, expected: object
) -> None:
    """``trackio_static_space_id`` of None lets a push make a public Space of what was only logged on this machine."""
    arguments = training_arguments(tmp_path, **options)
    keep_trackio_at_home(arguments, push_logs)
    assert arguments.trackio_static_space_id == expected
