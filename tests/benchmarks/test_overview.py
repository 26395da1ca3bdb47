"""The picture at the top of the README."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import ModuleType

from PIL import Image

Load = Callable[[str], ModuleType]


def test_the_picture_shows_what_the_results_say(script: Load) -> None:
    overview = script("overview")
    shown = Image.open(overview.PICTURE).info["Description"]
    assert shown == overview.drawn_from(), "run `python benchmarks/overview.py`"


def test_it_is_drawn_from_every_kind_of_result(script: Load, tmp_path: Path) -> None:
    overview = script("overview")
    overview.plot(tmp_path / "picture.png")
    assert Image.open(tmp_path / "picture.png").size[0] > 1200
    labels = [line.label for line in overview.series()]
    assert {"weights pruned, 2 epochs", "heads and units removed, no training"} <= set(labels)
    assert len(labels) == len(set(labels))
    assert all(line.points for line in overview.series())


def test_models_that_are_not_faster_have_no_place_on_the_axis_of_speed(script: Load) -> None:
    overview = script("overview")
    assert all(point.speed is None for line in overview.series() if line.marker == "o" for point in line.points)
