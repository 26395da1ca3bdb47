"""Trials of a search with two objectives, and those that no other beats in both: the Pareto front."""

from __future__ import annotations

import csv
import shlex
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rich.console import Console

from ..errors import ConfigurationError, MissingExtraError, require
from .settings import Settings, to_arguments

__all__ = ["Trial", "pareto_front", "plot", "write_results"]


@dataclass(frozen=True)
class Trial:
    """What was tried and what it gave.

    Attributes:
        settings: What was tried.
        f1: In percent.
        bytes: Of the packed weights.
        options: The settings as options of ``palbert train``.
    """

    settings: Settings
    f1: float
    bytes: float
    options: Settings = field(default_factory=dict)


def pareto_front(trials: Sequence[Trial]) -> list[Trial]:
    """The trials that no other beats: none has a higher F1 in no more bytes, or as high an F1 in fewer; by bytes."""
    front: list[Trial] = []
    for trial in sorted(trials, key=lambda trial: (trial.bytes, -trial.f1)):
        if not front or trial.f1 > front[-1].f1:
            front.append(trial)
    return front


def write_results(trials: Sequence[Trial], folder: Path) -> None:
    """Write every trial as CSV, and the front as a table and a picture.

    Raises:
        ConfigurationError: if there are no trials.
    """
    if not trials:
        raise ConfigurationError("No trial was finished, so there is nothing to show.")
    front = pareto_front(trials)
    names = list(trials[0].settings)
    with (folder / "trials.csv").open("w", encoding="utf-8", newline="") as stream:
        writer = csv.writer(stream)
        writer.writerow(["f1", "bytes", "front", *names])
        writer.writerows([t.f1, t.bytes, t in front, *(t.settings[name] for name in names)] for t in trials)
    header = ["F1", "MB", *names]
    rows = [[f"{t.f1:.2f}", f"{t.bytes / 1e6:.3f}", *(_short(t.settings[name]) for name in names)] for t in front]
    table = "\n".join("| " + " | ".join(line) + " |" for line in (header, ["---"] * len(header), *rows))
    note = f"The Pareto front of {len(trials)} trials: F1 against 10^6 bytes of the packed weights."
    (folder / "trials.md").write_text(f"{table}\n\n{note}\n", encoding="utf-8")
    Console().print(f"\n{table}\n\n{note}", highlight=False, markup=False, soft_wrap=True)
    try:
        plot(trials, front, folder / "trials.png")
    except MissingExtraError as error:
        Console().print(f"No plot: {error}")
    best = shlex.join(to_arguments(front[-1].options))
    said = (
        f"Written: {folder / 'trials'}.md, .csv, .png\nNext, a whole training with the best F1: palbert train … {best}"
    )
    Console().print(said, highlight=False, markup=False, soft_wrap=True)


def _short(value: Any) -> str:
    """A value as a table shows it: fractions with three digits, everything else as it is."""
    if not isinstance(value, float):
        return str(value)
    return f"{value:.0f}" if abs(value) >= 1000 else f"{value:.3g}"


def plot(trials: Sequence[Trial], front: Sequence[Trial], file: Path) -> None:
    """F1 against megabytes: every trial a dot, the front a line."""
    require("matplotlib", "plot").use("Agg")
    pyplot = require("matplotlib.pyplot", "plot")
    figure, axes = pyplot.subplots(figsize=(6.4, 4.0), layout="constrained")
    axes.plot([t.bytes / 1e6 for t in trials], [t.f1 for t in trials], "o", color="grey", label="trials")
    steps = {"drawstyle": "steps-post", "marker": "o", "label": "Pareto front"}
    axes.plot([t.bytes / 1e6 for t in front], [t.f1 for t in front], **steps)
    axes.set_xlabel("packed weights, MB")
    axes.set_ylabel("F1")
    axes.grid(alpha=0.3)
    axes.legend()
    figure.savefig(file, dpi=130)
    pyplot.close(figure)
