"""Show the records of a grid as a picture."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from ..errors import require
from .grid import Grid
from .outcome import Run
from .tables import Point, points

__all__ = ["plot"]


def plot(grid: Grid, runs: Iterable[Run], file: Path) -> None:
    """The first metric against the axis ``grid.plot``, a line for each label of the others.

    Dots are single runs, lines go through their means. A label that is a number stands at its place, others in order.

    Raises:
        MissingExtraError: without matplotlib.
    """
    require("matplotlib", "plot").use("Agg")
    pyplot = require("matplotlib.pyplot", "plot")
    horizontal = grid.plot
    name, metric = next(iter(grid.metrics.items()))
    done = [point for point in points(runs) if point.cell(metric) is not None]
    place = _places([point.labels[horizontal] for point in done])

    figure, axes = pyplot.subplots(figsize=(6.4, 4.0), layout="constrained")
    for colour, (line, members) in enumerate(_lines(done, horizontal).items()):
        means = [(place[point.labels[horizontal]], point.cell(metric)) for point in members]
        means.sort(key=lambda item: item[0])
        style = {"color": f"C{colour}", "marker": "o"}
        axes.plot([x for x, _ in means], [cell.mean for _, cell in means if cell], label=line or None, **style)
        dots = [(place[point.labels[horizontal]], run.value(metric)) for point in members for run in point.runs]
        axes.plot([x for x, _ in dots], [y for _, y in dots], "o", color=f"C{colour}", markersize=3, alpha=0.5)
    if place and 0 < 10 * min(place.values()) < max(place.values()):
        axes.set_xscale("log")
    axes.set_xticks(list(place.values()), list(place))
    axes.set_xticks([], minor=True)
    axes.set_xlabel(grid.names.get(horizontal, horizontal.replace("_", " ")))
    axes.set_ylabel(name)
    axes.grid(alpha=0.3)
    if len(grid.axes) > 1 and done:
        axes.legend()
    file.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(file, dpi=130)
    pyplot.close(figure)


def _lines(done: Iterable[Point], horizontal: str) -> dict[str, list[Point]]:
    """Points by the labels of all axes but the horizontal one."""
    lines: dict[str, list[Point]] = {}
    for point in done:
        others = ", ".join(label for axis, label in point.labels.items() if axis != horizontal)
        lines.setdefault(others, []).append(point)
    return lines


def _places(labels: Iterable[str]) -> dict[str, float]:
    """Label -> where it stands on the horizontal axis."""
    unique = list(dict.fromkeys(labels))
    try:
        return {label: float(label) for label in unique}
    except ValueError:
        return {label: float(number) for number, label in enumerate(unique)}
