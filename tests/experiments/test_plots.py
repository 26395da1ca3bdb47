from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.experiments.test_tables import RUNS, grid, run
from transformers_palbert.experiments.plots import plot

pyplot = pytest.importorskip("matplotlib.pyplot")


@pytest.fixture
def drawn(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """The axes of figures, as they are when saved."""
    axes: list[Any] = []
    monkeypatch.setattr(pyplot, "close", lambda figure: axes.append(figure.axes[0]))
    return axes


def test_a_line_through_the_means_and_a_dot_per_run(drawn: list[Any]) -> None:
    plot(grid(), RUNS, Path("new/g.png"))
    assert Path("new/g.png").read_bytes().startswith(b"\x89PNG")
    (axes,) = drawn
    fp32, dots, bf16, _ = axes.lines
    assert (list(fp32.get_xdata()), list(fp32.get_ydata())) == ([8.0], [30.5])  # 16 did not fit
    assert list(dots.get_ydata()) == [30.0, 31.0]
    assert (fp32.get_label(), bf16.get_label()) == ("fp32", "bf16")
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("batch", "F1")
    assert [text.get_text() for text in axes.get_legend().get_texts()] == ["fp32", "bf16"]


def test_words_stand_in_order_and_numbers_at_their_place(drawn: list[Any]) -> None:
    words = [run(word, "x", 1, 3.0) for word in ("relu", "gelu")]
    far = [run(number, "x", 1, 3.0) for number in ("1e-5", "1e-3")]
    for runs in (words, far):
        plot(grid(), runs, Path("g.png"))
    assert [list(axes.lines[0].get_xdata()) for axes in drawn] == [[0.0, 1.0], [1e-5, 1e-3]]
    assert [axes.get_xscale() for axes in drawn] == ["linear", "log"]
    assert [label.get_text() for label in drawn[1].get_xticklabels()] == ["1e-5", "1e-3"]


def test_nothing_done_is_an_empty_picture(drawn: list[Any]) -> None:
    plot(grid(), RUNS[5:6], Path("g.png"))
    assert not drawn[0].lines
