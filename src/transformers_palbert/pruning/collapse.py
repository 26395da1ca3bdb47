"""Say when pruning destroys the model, by the losses that a run has logged and by nothing else.

Whatever an interrupted run has logged is in its ``trainer_state.json``, so a resumed one needs no state of its own.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from statistics import fmean
from typing import Any

__all__ = ["Collapse", "LossWatch"]

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


class LossWatch:
    """The level of a run's loss, log by log, and whether the model has collapsed.

    The level is the mean of :data:`WINDOW` logs in a row. The model has collapsed when the level has been above
    :data:`FACTOR` times its lowest value so far, and :data:`MARGIN` above it, without a break, for :data:`PATIENCE` of
    the run, and weights have been removed. The lowest value, and not the mean before the first cut alone: where a model
    is fine-tuned for the first time, its loss falls from a start that says nothing.

    Args:
        total_steps: Optimizer steps of the whole run.
    """

    def __init__(self, total_steps: int) -> None:
        self.total_steps = total_steps
        self._dense_sum, self._dense_count = 0.0, 0
        self._recent: deque[float] = deque(maxlen=WINDOW)
        self._best = math.inf
        self._since: Collapse | None = None

    @classmethod
    def of(cls, history: Iterable[Mapping[str, Any]], total_steps: int) -> LossWatch:
        """A watch that has seen ``history``, the ``TrainerState.log_history`` of a run with a pruning callback."""
        watch = cls(total_steps)
        for entry in history:
            if "loss" in entry and "density_encoder" in entry:
                watch.add(entry["step"], entry["density_encoder"], entry["loss"])
        return watch

    @property
    def dense(self) -> float | None:
        """Mean of the losses that were logged before the first weight was removed; None if there is none."""
        return self._dense_sum / self._dense_count if self._dense_count else None

    def add(self, step: int, density: float, loss: float) -> Collapse | None:
        """See one more log; the collapse that it makes certain, or None."""
        if density == 1:
            self._dense_sum, self._dense_count = self._dense_sum + loss, self._dense_count + 1
        self._recent.append(loss)
        if len(self._recent) < WINDOW:
            return None
        level = fmean(self._recent)
        if density == 1 or level <= max(FACTOR * self._best, self._best + MARGIN):
            self._best, self._since = min(self._best, level), None
        elif self._since is None:
            self._since = Collapse(step, density, self._best, level)
        if self._since is None or step - self._since.step < PATIENCE * self.total_steps:
            return None
        return replace(self._since, now=level)
