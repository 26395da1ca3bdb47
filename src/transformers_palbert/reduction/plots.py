"""What was kept, as a picture."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ..errors import require

__all__ = ["plot_curves"]


def plot_curves(curves: Mapping[str, Sequence[Mapping[str, Any]]], file: Path) -> None:
    """Share of answers kept against share of tokens kept, one line per scorer.

    Args:
        curves: Name of a line -> its points, each with ``tokens_share`` and ``answers_share``, from 0 to 1.
        file: The picture to write, such as a PNG.

    Raises:
        MissingExtraError: without matplotlib.
    """
    require("matplotlib", "plot").use("Agg")
    pyplot = require("matplotlib.pyplot", "plot")
    figure, axes = pyplot.subplots(figsize=(6.4, 4.0), layout="constrained")
    for name, points in curves.items():
        ordered = sorted(points, key=lambda point: point["tokens_share"])
        tokens = [100 * point["tokens_share"] for point in ordered]
        axes.plot(tokens, [100 * point["answers_share"] for point in ordered], marker="o", label=name)
    axes.set_xlabel("tokens kept, %")
    axes.set_ylabel("answers kept, %")
    axes.grid(alpha=0.3)
    axes.legend()
    figure.savefig(file, dpi=130)
    pyplot.close(figure)
