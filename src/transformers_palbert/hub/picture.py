"""A picture of what pruning left: one bar per matrix."""

from __future__ import annotations

import importlib.util
from collections.abc import Sequence
from pathlib import Path

from ..sizes import MatrixReport

__all__ = ["draw_densities"]


def draw_densities(matrices: Sequence[MatrixReport], file: Path) -> bool:
    """Draw the density of every matrix into ``file``, a PNG; False, and no file, without the extra ``plot``."""
    if not matrices or importlib.util.find_spec("matplotlib") is None:
        return False
    from matplotlib.figure import Figure  # without pyplot, so without a global state or a display

    names = [matrix.name.removesuffix(".weight") for matrix in matrices]
    figure = Figure(figsize=(8, 0.9 + 0.26 * len(names)), layout="constrained")
    axes = figure.subplots()
    axes.barh(names, [100.0] * len(names), color="#e6e6e6")
    bars = axes.barh(names, [100 * matrix.density for matrix in matrices], color="#2f6db3")
    axes.bar_label(bars, fmt="%.1f %%", padding=3, fontsize=8)
    axes.invert_yaxis()  # the first matrix on top
    axes.set(xlim=(0, 100), xlabel="weights that are not zero, %")
    axes.tick_params(axis="y", labelsize=8)
    axes.spines[["top", "right"]].set_visible(False)
    figure.savefig(file, dpi=120)
    return True
