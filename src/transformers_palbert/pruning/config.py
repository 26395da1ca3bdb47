"""What to prune, how far, how fast, and by which score."""

from __future__ import annotations

import re
from dataclasses import asdict, dataclass
from typing import Any

from ..errors import ConfigurationError
from .granularity import GRANULARITIES
from .schedules import SCHEDULES
from .scores import SCORES

__all__ = ["DEFAULT_EXCLUDE", "SCOPES", "PruningConfig"]

SCOPES = ("global", "matrix")

DEFAULT_EXCLUDE = (
    r"embed",
    r"pooler",
    r"classifier",
    r"qa_outputs",
    r"predictions",
    r"lm_head",
    r"vocab_",
    r"(^|\.)cls(\.|$)",
)
"""Modules that stay dense unless asked for by name: embeddings and their projection, pooler, and task heads."""


@dataclass(frozen=True)
class PruningConfig:
    """Settings of one pruning run. Orthogonal axes: score × granularity × scope × schedule × targets.

    Args:
        target_sparsity: Share of the targeted weights that are zero at the end, in [0, 1). 0.7 keeps 30 %.
        method: How weights are scored, a key of :data:`~transformers_palbert.pruning.scores.SCORES`: ``"movement"``
            (first order) or ``"magnitude"`` (zeroth order).
        granularity: What is kept or removed as one, a key of
            :data:`~transformers_palbert.pruning.granularity.GRANULARITIES`: ``"element"``.
        scope: ``"matrix"`` gives every matrix the same density; ``"global"`` compares scores across matrices.
        schedule: Way from density 1 to the final density: ``"cubic"``, ``"linear"`` or ``"constant"``.
        warmup: Fraction of the optimizer steps before pruning starts, in [0, 1).
        cooldown: Fraction of the optimizer steps after the final density is reached, in [0, 1); fine-tuning at the
            final density. ``warmup + cooldown`` must be below 1.
        targets: Regular expressions, searched in module names; a Linear that any of them matches is pruned. None takes
            every Linear except those that ``DEFAULT_EXCLUDE`` matches.
        exclude: Regular expressions of Linears to leave alone. None means ``DEFAULT_EXCLUDE`` when ``targets`` is None,
            and nothing when ``targets`` is given.

    Raises:
        ConfigurationError: naming the field, its value and the allowed values.
    """

    target_sparsity: float
    method: str = "movement"
    granularity: str = "element"
    scope: str = "matrix"
    schedule: str = "cubic"
    warmup: float = 0.1
    cooldown: float = 0.3
    targets: tuple[str, ...] | None = None
    exclude: tuple[str, ...] | None = None

    def __post_init__(self) -> None:
        for field in ("targets", "exclude"):
            value = getattr(self, field)
            if isinstance(value, str):
                value = (value,)
            object.__setattr__(self, field, None if value is None else tuple(value))
            _require_patterns(field, getattr(self, field) or ())
        _require_choice("method", self.method, SCORES)
        _require_choice("granularity", self.granularity, GRANULARITIES)
        _require_choice("scope", self.scope, SCOPES)
        _require_choice("schedule", self.schedule, SCHEDULES)
        for field in ("target_sparsity", "warmup", "cooldown"):
            _require_fraction(field, getattr(self, field))
        if self.warmup + self.cooldown >= 1:
            raise ConfigurationError(
                f"warmup={self.warmup} + cooldown={self.cooldown} is not below 1: both are fractions of the run, and"
                " no step is left to prune in. Lower one of them."
            )

    @property
    def final_density(self) -> float:
        """Share of the targeted weights kept at the end, ``1 - target_sparsity``."""
        return round(1.0 - self.target_sparsity, 12)  # 0.3, not 0.30000000000000004

    def to_dict(self) -> dict[str, Any]:
        """Plain values, as they stand in ``config.json`` and ``trainer_state.json``."""
        return {key: list(value) if isinstance(value, tuple) else value for key, value in asdict(self).items()}


def _require_choice(field: str, value: object, choices: Any) -> None:
    if not isinstance(value, str) or value not in choices:
        raise ConfigurationError(f"{field}={value!r} is not allowed; choose one of {sorted(choices)}.")


def _require_patterns(field: str, patterns: tuple[str, ...]) -> None:
    for pattern in patterns:
        try:
            re.compile(pattern)
        except (re.error, TypeError) as error:
            raise ConfigurationError(f"{field}: {pattern!r} is no regular expression: {error}.") from error


def _require_fraction(field: str, value: object) -> None:
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 <= value < 1:
        hint = " Give a fraction, 0.7 rather than 70." if isinstance(value, (int, float)) and value > 1 else ""
        raise ConfigurationError(f"{field}={value!r} must be a number in [0, 1).{hint}")
