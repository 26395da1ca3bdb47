"""Show the records of a grid as a table, in Markdown and CSV: mean ± standard deviation over seeds."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from statistics import fmean, stdev

from .grid import Grid
from .outcome import Run, Status

__all__ = ["Cell", "Point", "caption", "csv_table", "markdown_table", "points"]

NO_MEMORY = "—"
"""What the paper's tables show where a run did not fit into memory."""


@dataclass(frozen=True)
class Cell:
    """A metric over seeds; ``deviation`` is the sample's (n - 1), None for one seed."""

    mean: float
    deviation: float | None

    @classmethod
    def of(cls, values: Sequence[float]) -> Cell:
        """Summarise one value or more."""
        return cls(fmean(values), stdev(values) if len(values) > 1 else None)

    def text(self, digits: int = 2) -> str:
        """Mean ± deviation with that many digits after the point; none where the mean has four before it."""
        digits = 0 if abs(self.mean) >= 1000 else digits
        text = f"{self.mean:.{digits}f}"
        return text if self.deviation is None else f"{text} ± {self.deviation:.{digits}f}"


@dataclass(frozen=True)
class Point:
    """A point of the grid: its labels and the records of its seeds."""

    labels: dict[str, str]
    runs: tuple[Run, ...]

    @property
    def status(self) -> Status:
        """Done if all seeds are; else how the first that is not ended."""
        return next((run.status for run in self.runs if run.status is not Status.DONE), Status.DONE)

    def cell(self, metric: str) -> Cell | None:
        """The metric over seeds; None if a run is not done or did not measure it."""
        values = [value for run in self.runs if (value := run.value(metric)) is not None]
        complete = self.status is Status.DONE and len(values) == len(self.runs)
        return Cell.of(values) if complete else None

    def text(self, metric: str, digits: int = 2) -> str:
        """The metric as a table shows it."""
        if self.status is Status.OUT_OF_MEMORY:
            return NO_MEMORY
        cell = self.cell(metric)
        return cell.text(digits) if cell else "not measured" if self.status is Status.DONE else str(self.status)


def points(runs: Iterable[Run]) -> list[Point]:
    """The records by their labels, in the order in which labels first come."""
    groups: dict[tuple[tuple[str, str], ...], list[Run]] = {}
    for run in runs:
        groups.setdefault(tuple(run.labels.items()), []).append(run)
    return [Point(dict(labels), tuple(members)) for labels, members in groups.items()]


def markdown_table(grid: Grid, runs: Iterable[Run]) -> str:
    """A row per point and a column per metric; an axis of ``grid.columns`` is spread over columns.

    Where a paper reports a figure, that stands in a column of its own beside ours, in italics.
    """
    table = points(runs)
    rows = [axis for axis in grid.axes if axis != grid.columns]
    spread = list(dict.fromkeys(point.labels[grid.columns] for point in table)) if grid.columns else [""]
    columns = _columns(grid, table)
    header = [
        *(_name(grid, axis) for axis in rows),
        *(_heading(grid, label, column) for label in spread for column in columns),
    ]
    found = {
        (tuple(point.labels[axis] for axis in rows), point.labels.get(grid.columns or "", "")): point for point in table
    }
    body = [
        [*labels, *(_text(found.get((labels, label)), show) for label in spread for show in columns.values())]
        for labels in dict.fromkeys(labels for labels, _ in found)
    ]
    return "\n".join("| " + " | ".join(line) + " |" for line in (header, ["---"] * len(header), *body))


def _columns(grid: Grid, table: Iterable[Point]) -> dict[str, Callable[[Point], str]]:
    """Heading -> what a point has in that column: our metrics, each followed by the paper's where there is one."""
    columns: dict[str, Callable[[Point], str]] = {}
    for name, metric in grid.metrics.items():
        digits = grid.digits.get(name, 2)
        columns[name] = partial(Point.text, metric=metric, digits=digits)
        if any(grid.figure(name, point.labels) is not None for point in table):
            columns[_papers(name)] = partial(_paper_text, grid=grid, name=name, digits=digits)
    return columns


def _papers(name: str) -> str:
    """The heading over a paper's own figures."""
    return f"{name} in the paper"


def _paper_text(point: Point, grid: Grid, name: str, digits: int) -> str:
    """The paper's figure in italics; what is no number, such as "—", as it is."""
    figure = grid.figure(name, point.labels)
    if figure is None:
        return ""
    return f"*{figure:.{digits}f}*" if isinstance(figure, int | float) else f"*{figure}*"


def _heading(grid: Grid, label: str, column: str) -> str:
    if not label:
        return column
    name = f"{_name(grid, grid.columns or '')} {label}"
    return name if len(grid.metrics) == 1 and column in grid.metrics else f"{name}: {column}"


def _text(point: Point | None, show: Callable[[Point], str]) -> str:
    return "" if point is None else show(point)


def _name(grid: Grid, axis: str) -> str:
    return grid.names.get(axis, axis.replace("_", " "))


def csv_table(grid: Grid, runs: Iterable[Run]) -> str:
    """A line per point: labels, status, number of seeds, and of every metric mean, deviation and the paper's figure."""
    stream, table = io.StringIO(), points(runs)
    writer = csv.writer(stream, lineterminator="\n")
    papers = [name for name in grid.metrics if any(grid.figure(name, point.labels) is not None for point in table)]
    headings = [f"{name}{part}" for name in grid.metrics for part in ("", " sd")]
    writer.writerow([*grid.axes, "status", "seeds", *headings, *map(_papers, papers)])
    for point in table:
        cells = [point.cell(metric) for metric in grid.metrics.values()]
        numbers = [part for cell in cells for part in ((cell.mean, cell.deviation) if cell else (None, None))]
        figures = [grid.figure(name, point.labels) for name in papers]
        writer.writerow([*point.labels.values(), point.status, len(point.runs), *numbers, *figures])
    return stream.getvalue()


def caption(grid: Grid, runs: Sequence[Run]) -> str:
    """What the table shows, under which conditions, and where it was measured."""
    seeds = sorted({run.seed for run in runs})
    spread = "Mean ± standard deviation over seeds" if len(seeds) > 1 else "Seed"
    memory = " — : out of memory." if any(run.status is Status.OUT_OF_MEMORY for run in runs) else ""
    numbers = f"{spread} {', '.join(map(str, seeds))}.{memory}"
    parts = (f"{grid.title}.", grid.caption.strip(), _changed(grid), numbers, _place(runs))
    return " ".join(part for part in parts if part)


def _changed(grid: Grid) -> str:
    """What the command line set to something else than the grid, of which its caption speaks."""
    values = ", ".join(f"{name}={value}" for name, value in sorted(grid.changed.items()))
    return f"Changed on the command line: {values}." if values else ""


def _place(runs: Sequence[Run]) -> str:
    """Hardware, versions and command, as often as they differ."""
    places = " and on ".join(dict.fromkeys(_describe(run) for run in runs if run.machine))
    commands = " and ".join(dict.fromkeys(f"`{run.grid['command']}`" for run in runs if run.grid))
    return f"Measured on {places}: {commands}." if places else ""


def _describe(run: Run) -> str:
    hardware, versions = run.machine["hardware"], run.machine["versions"]
    gpu = None if run.on_cpu else hardware["gpu"]
    device = gpu or f"{hardware['torch_threads']} of {hardware['cores']} cores of {hardware['processor']}"
    return f"{device}, transformers {versions['transformers']}, torch {versions['torch']}"
