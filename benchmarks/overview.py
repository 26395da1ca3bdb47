"""Draw the picture at the top of README.md: what F1 a smaller and a faster model keeps.

    python benchmarks/overview.py

Everything is read from benchmarks/results, so run it again after one of these benchmarks: squad_pruning.py (single
weights pruned), shrink.py (heads and units removed without training), structure.py (removed, then trained on).
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from math import floor
from pathlib import Path
from typing import Any

from machine import RESULTS

PICTURE = RESULTS / "overview.png"
BLUE, SKY, ORANGE, RED = "#0072b2", "#56b4e9", "#e69f00", "#d55e00"
"""Colours that colour-blind readers tell apart (Okabe and Ito)."""


@dataclass(frozen=True)
class Point:
    """A model: F1 in percent, bytes of its weight files in millions, speed as a multiple of the dense model's."""

    label: str
    f1: float
    megabytes: float | None = None
    speed: float | None = None


@dataclass(frozen=True)
class Series:
    """Models that were made in the same way."""

    label: str
    colour: str
    marker: str
    points: list[Point]


def result(name: str) -> dict[str, Any]:
    """What a benchmark has measured."""
    found: dict[str, Any] = json.loads((RESULTS / f"{name}.json").read_text(encoding="utf-8"))
    return found


def read(name: str) -> list[dict[str, Any]]:
    """The runs of a benchmark, the dense model first."""
    runs: list[dict[str, Any]] = result(name)["runs"]
    return runs


def place() -> str:
    """Where speed was measured."""
    hardware = result("structure")["hardware"]
    return str(hardware["gpu"] or f"{hardware['cores']} cores of {hardware['processor']}")


def point(run: dict[str, Any]) -> Point:
    """A run's place on both axes, where they were measured, and what it is called: its sparsity, or its speed."""
    megabytes = run["file_bytes"] / 1e6 if "file_bytes" in run else None
    label = f"{100 * run['sparsity']:.0f} %" if "sparsity" in run else f"{run['speedup']:.2f}×"
    return Point(label, run["f1"], megabytes, run.get("speedup"))


def dense() -> Point:
    """The model that all others were made from."""
    run = read("squad_pruning")[0]
    return Point("dense", run["f1"], run["file_bytes"] / 1e6, 1.0)


def longer() -> Point:
    """The same model, trained on as long as those that were made of it."""
    (run,) = (run for run in read("structure") if run["name"] == "whole_1.0_alone_2_epochs")
    return Point("trained on", run["f1"], None, None)


def series() -> list[Series]:
    """What is drawn: the default score at every sparsity, and structure removed with and without training."""
    pruned = [run for run in read("squad_pruning")[1:] if (run["score"], run["scope"]) == ("sensitivity", "matrix")]
    trained = [run for run in read("structure")[1:] if (run["means"], run["teacher"]) == ("shrunk", "teacher")]
    chosen = [
        ("weights pruned, 500 steps", SKY, "o", [run for run in pruned if run["length"] == "500 steps"]),
        ("weights pruned, 2 epochs", BLUE, "o", [run for run in pruned if run["length"] == "2 epochs"]),
        ("heads and units removed, no training", ORANGE, "s", read("shrink")[1:]),
        ("removed, then 500 steps with a teacher", RED, "s", [r for r in trained if r["length"] == "500 steps"]),
        ("removed, then 2 epochs with a teacher", "black", "s", [r for r in trained if r["length"] == "2 epochs"]),
    ]
    return [
        Series(label, colour, marker, [point(run) for run in runs]) for label, colour, marker, runs in chosen if runs
    ]


def drawn_from() -> str:
    """Everything that the picture shows, in words; it is kept in the file, so that a test can tell an old picture."""
    return repr((dense(), longer(), series(), place()))


def plot(file: Path) -> None:
    """F1 against bytes on the left, against measured speed on the right."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, (left, right) = pyplot.subplots(1, 2, figsize=(9.6, 4.2), sharey=True, layout="constrained")
    start, drawn = dense(), series()
    for axes, field in ((left, "megabytes"), (right, "speed")):
        axes.axhline(start.f1, color="grey", linestyle="--", linewidth=1)
        axes.axhline(longer().f1, color="grey", linestyle=":", linewidth=1, label="dense, 2 epochs more")
        axes.plot(getattr(start, field), start.f1, "*", color="grey", markersize=13, label="dense")
        for line in drawn:
            places = sorted((x, p.f1, p.label) for p in line.points if (x := getattr(p, field)) is not None)
            if not places:
                continue  # zeros change no time, so they are not on the right
            across, up, labels = zip(*places, strict=True)
            axes.plot(across, up, line.marker + "-", color=line.colour, label=line.label)
            for x, y, label in zip(across, up, labels, strict=True):
                if (field == "speed") == (line.marker == "s"):
                    axes.annotate(label, (x, y), (0, -15), textcoords="offset points", ha="center", fontsize="small")
        axes.grid(alpha=0.3)
        axes.spines[["top", "right"]].set_visible(False)
    left.set(title="How small: bytes of the file", xlabel="MB on the disk", ylabel="F1 on SQuAD 1.1 dev")
    right.set(title=f"How fast: measured on {place()}", xlabel="speed, times the dense model's")
    left.set(xlim=(0, None), ylim=(10 * floor(min(p.f1 for line in drawn for p in line.points) / 10), None))
    right.margins(x=0.08)
    right.legend(*left.get_legend_handles_labels(), loc="lower left", fontsize="medium")
    figure.savefig(file, dpi=160, metadata={"Description": drawn_from()})
    pyplot.close(figure)


if __name__ == "__main__":
    plot(PICTURE)
