"""Trials of a search with two objectives, and those that no other beats in both: the Pareto front."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Console

from ..errors import MissingExtraError, require

__all__ = ["Trial", "pareto_front", "plot", "write_results"]


@dataclass(frozen=True)
class Trial:
    """What was tried and what it gave: ``f1`` in percent, ``bytes`` of the packed weights."""

    settings: dict[str, Any]
    f1: float
    bytes: float


def pareto_front(trials: Sequence[Trial]) -> list[Trial]:
    """The trials that no other beats: none has a higher F1 in no more bytes, or as high an F1 in fewer; by bytes."""
    front: list[Trial] = []
    for trial in sorted(trials, key=lambda trial: (trial.bytes, -trial.f1)):
        if not front or trial.f1 > front[-1].f1:
            front.append(trial)
    return front


def write_results(trials: Sequence[Trial], folder: Path) -> None:
    """Write the front as a table and a picture, and every trial as CSV."""
    front = pareto_front(trials)
    names = list(trials[0].settings)
    header = ["F1", "MB", *names]
    rows = [[f"{t.f1:.2f}", f"{t.bytes / 1e6:.3f}", *(f"{t.settings[name]:.3g}" for name in names)] for t in front]
    table = "\n".join("| " + " | ".join(line) + " |" for line in (header, ["---"] * len(header), *rows))
    note = f"The Pareto front of {len(trials)} trials: F1 against 10^6 bytes of the packed weights."
    (folder / "trials.md").write_text(f"{table}\n\n{note}\n", encoding="utf-8")
    with (folder / "trials.csv").open("w", encoding="utf-8", newline="") as stream:
        writer = csv.writer(stream)
        writer.writerow(["f1", "bytes", "front", *names])
        writer.writerows([t.f1, t.bytes, t in front, *(t.settings[name] for name in names)] for t in trials)
    Console().print(f"\n{table}\n\n{note}", highlight=False, soft_wrap=True)
    try:
        plot(trials, front, folder / "trials.png")
    except MissingExtraError as error:
        Console().print(f"No plot: {error}")
    best = " ".join(f"--{name} {value:.3g}" for name, value in front[-1].settings.items())
    said = (
        f"Written: {folder / 'trials'}.md, .csv, .png\nNext, a whole training with the best F1: palbert train … {best}"
    )
    Console().print(said, highlight=False, soft_wrap=True)


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
