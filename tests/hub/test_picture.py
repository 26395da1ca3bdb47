from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest

from transformers_palbert.hub.picture import draw_densities
from transformers_palbert.sizes import MatrixReport

MATRICES = [MatrixReport(f"layer.{index}.weight", (4, 4), 16, index, 64) for index in range(5)]


def test_a_picture_is_drawn(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    assert draw_densities(MATRICES, tmp_path / "density.png")
    assert (tmp_path / "density.png").read_bytes().startswith(b"\x89PNG")


def test_without_matplotlib_there_is_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda _: None)
    assert not draw_densities(MATRICES, tmp_path / "density.png")
    assert not list(tmp_path.iterdir())


def test_without_matrices_there_is_none(tmp_path: Path) -> None:
    assert not draw_densities([], tmp_path / "density.png")
