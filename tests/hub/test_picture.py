from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest

from transformers_palbert.hub.picture import draw_training, training_curves

LOGS = [
    {"loss": 2.0, "density_encoder": 1.0, "step": 10},
    {"eval_f1": 50.0, "eval_density_encoder": 1.0, "step": 10},
    {"loss": 1.0, "density_encoder": 0.3, "step": 20},
    {"eval_f1": 60.0, "step": 20},
    {"train_loss": 1.5, "step": 20},
]


def test_curves_are_what_was_logged() -> None:
    loss, f1, density = training_curves(LOGS)
    assert loss == ("training loss", [(10, 2.0), (20, 1.0)])
    assert f1 == ("F1", [(10, 50.0), (20, 60.0)])
    assert density[1] == [(10, 100.0), (20, 30.0)]


def test_one_point_is_no_curve_and_a_dense_model_has_no_curve_of_its_density() -> None:
    assert training_curves(LOGS[:2]) == []
    dense = [{"loss": 1.0, "density_encoder": 1.0, "step": step} for step in (1, 2)]
    assert [name for name, _ in training_curves(dense)] == ["training loss"]


def test_a_picture_is_drawn(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    assert draw_training(training_curves(LOGS), tmp_path / "training.png")
    assert (tmp_path / "training.png").read_bytes().startswith(b"\x89PNG")


def test_without_matplotlib_there_is_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda _: None)
    assert not draw_training(training_curves(LOGS), tmp_path / "training.png")
    assert not list(tmp_path.iterdir())


def test_without_curves_there_is_none(tmp_path: Path) -> None:
    assert not draw_training([], tmp_path / "training.png")
