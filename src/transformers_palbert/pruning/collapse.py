"""Say when pruning destroys the model: a pure function of the losses that a run has logged.

Whatever an interrupted run has logged is in its ``trainer_state.json``, so a resumed one needs no state of its own.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Any

__all__ = ["Collapse", "dense_loss", "find_collapse"]

FACTOR, MARGIN = 2.0, 1.0
"""A loss is far above the best level of the run if it is this many times as high, and higher by this many nats."""

WINDOW = 3
"""Logged losses in a row whose mean is a level: one bad batch is no collapse."""

PATIENCE = 0.1
"""Share of the run for which the level must stay there: a model that recovers between two cuts has not collapsed."""


@dataclass(frozen=True)
class Collapse:
    """What happened, and where.

    Attributes:
        step: Optimizer steps when the loss rose.
        density: Share of the encoder's weights that were kept then.
        before: Best level of the loss until then.
        now: Its level at the last log.
    """

    step: int
    density: float
    before: float
    now: float

    def __str__(self) -> str:
        return (
            f"The training loss rose from {self.before:.2f} to {self.now:.2f} and does not come back: since step"
            f" {self.step}, at density {self.density:.2f}, pruning removes what the model needs."
        )


def _losses(history: Sequence[Mapping[str, Any]]) -> list[tuple[int, float, float]]:
    """Step, density and loss of every training log."""
    return [
        (entry["step"], entry["density_encoder"], entry["loss"])
        for entry in history
        if "loss" in entry and "density_encoder" in entry
    ]


def dense_loss(history: Sequence[Mapping[str, Any]]) -> float | None:
    """Mean of the losses that were logged before the first weight was removed; None if there is none."""
    dense = [loss for _, density, loss in _losses(history) if density == 1]
    return fmean(dense) if dense else None


def find_collapse(history: Sequence[Mapping[str, Any]], total_steps: int) -> Collapse | None:
    """The collapse that the logs show, or None.

    The level of the loss is the mean of :data:`WINDOW` logs in a row. The model has collapsed when the level has been
    above :data:`FACTOR` times its lowest value so far, and :data:`MARGIN` above it, without a break, for
    :data:`PATIENCE` of the run, and weights have been removed. The lowest value, and not the mean before the first cut
    alone: where a model is fine-tuned for the first time, its loss falls from a start that says nothing.

    Args:
        history: ``TrainerState.log_history`` of a run with a pruning callback.
        total_steps: Optimizer steps of the whole run.
    """
    losses = _losses(history)
    best, since = float("inf"), None
    level = float("nan")
    for last in range(WINDOW - 1, len(losses)):
        step, density, _ = losses[last]
        level = fmean(loss for _, _, loss in losses[last + 1 - WINDOW : last + 1])
        if density == 1 or level <= max(FACTOR * best, best + MARGIN):
            best, since = min(best, level), None
        elif since is None:
            since = Collapse(step, density, best, level)
    if since is None or losses[-1][0] - since.step < PATIENCE * total_steps:
        return None
    return Collapse(since.step, since.density, since.before, level)
