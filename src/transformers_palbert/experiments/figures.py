"""Pictures of the paper that no run is needed for."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import torch
from torch.nn.functional import mish, relu

from ..errors import require

__all__ = ["FIGURES", "draw_activations"]


def draw_activations(file: Path) -> None:
    """ReLU and Mish (paper, Fig. 3, Eq. 8-9): ``max(0, x)`` and ``x · tanh(ln(1 + eˣ))`` for x in [-4, 4].

    Drawn are the functions that ``hidden_act`` applies under the names ``relu`` and ``mish``.

    Raises:
        MissingExtraError: without matplotlib.
    """
    require("matplotlib", "plot").use("Agg")
    pyplot = require("matplotlib.pyplot", "plot")
    x = torch.linspace(-4, 4, 401)
    figure, axes = pyplot.subplots(figsize=(6.4, 4.0), layout="constrained")
    for label, activation in (("ReLU", relu), ("Mish", mish)):
        axes.plot(x.numpy(), activation(x).numpy(), label=label)
    axes.set_xlabel("x")
    axes.set_ylabel("activation")
    axes.grid(alpha=0.3)
    axes.legend()
    file.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(file, dpi=130)
    pyplot.close(figure)


FIGURES: dict[str, tuple[str, Callable[[Path], None]]] = {
    "figure3": ("ReLU and Mish (paper, Fig. 3)", draw_activations),
}
"""Name -> title, and what draws it into a file."""
