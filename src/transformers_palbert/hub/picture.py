"""A picture of a training: the loss, the scores and the density of the weights, step by step."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

__all__ = ["draw_training", "training_curves"]

_CURVES = (
    ("loss", "training loss", 1.0),
    ("eval_f1", "F1", 1.0),
    ("density_encoder", "encoder weights that\nare not zero, %", 100.0),
)
"""Key in the logs, what it is called, and what it is multiplied by."""

Curve = tuple[str, list[tuple[int, float]]]


def training_curves(log_history: Iterable[Mapping[str, Any]]) -> list[Curve]:
    """What a Trainer logged of loss, F1 and density: name and ``(step, value)`` of each with two points or more.

    A density that never fell is left out.
    """
    logs = list(log_history)
    found = []
    for key, name, scale in _CURVES:
        points = sorted({entry["step"]: scale * float(entry[key]) for entry in logs if key in entry}.items())
        if len(points) > 1 and not (key == "density_encoder" and min(value for _, value in points) == scale):
            found.append((name, points))
    return found


def draw_training(curves: Sequence[Curve], file: Path) -> bool:
    """Draw ``curves``, one below the other, into ``file``, a PNG; False, and no file, without the extra ``plot``."""
    if not curves or importlib.util.find_spec("matplotlib") is None:
        return False
    from matplotlib.figure import Figure  # without pyplot, so without a global state or a display

    figure = Figure(figsize=(8, 0.6 + 1.7 * len(curves)), layout="constrained")
    rows = figure.subplots(len(curves), 1, sharex=True, squeeze=False)[:, 0]
    for axes, (name, points) in zip(rows, curves, strict=True):
        steps, values = zip(*points, strict=True)
        axes.plot(steps, values, color="#2f6db3", marker="o" if len(points) < 30 else None, markersize=3)
        axes.set_ylabel(name, fontsize=9)
        axes.set_ylim(0, 1.08 * max(values) or 1)
        axes.grid(axis="y", color="#e6e6e6")
        axes.spines[["top", "right"]].set_visible(False)
    rows[-1].set_xlabel("optimizer step")
    figure.savefig(file, dpi=120)
    return True
