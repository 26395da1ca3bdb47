"""Several scores of the same passages made one.

The scores of one question are first put on one scale, then added up with weights::

    relevance(p) = Σ_k w_k · n(s_k(p)),    n(s) = (s - min) / (max - min)    or    n(s) = (s - mean) / deviation

minimum, mean and so on being those of the question's passages. The sum is ours: "IDS-Extract" shows its formula as a
picture only. Reciprocal-rank fusion needs no scale, as it looks at ranks alone (Cormack, Clarke and Büttcher 2009,
doi 10.1145/1571941.1572114)::

    relevance(p) = Σ_k w_k / (60 + rank_k(p))

Either is put on the scale from 0 (the question's worst passage) to 1 (its best), so that thresholds mean the same for
every question.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from ..errors import ConfigurationError

__all__ = ["METHODS", "Fusion", "fit_weights", "min_max", "ranks", "require_scale", "z_scores"]

FloatArray = npt.NDArray[np.float64]
BoolArray = npt.NDArray[np.bool_]

METHODS = ("min-max", "z", "rrf")
"""Ways of fusing: weighted sums of scores on either scale, and reciprocal ranks."""

RANK_CONSTANT = 60
"""How little the first ranks count above others; the value of the source."""

_PENALTY = 1e-3  # on squared weights: they stay finite where scores tell passages apart perfectly
_STEPS = 100


def min_max(scores: FloatArray) -> FloatArray:
    """Scores from 0 to 1, ``(passages,)``; all 1 where all are equal, since none is worse than another."""
    low, high = scores.min(), scores.max()
    return (scores - low) / (high - low) if high > low else np.ones_like(scores)


def z_scores(scores: FloatArray) -> FloatArray:
    """Scores with mean 0 and standard deviation 1, ``(passages,)``; all 0 where all are equal."""
    deviation = scores.std()
    return (scores - scores.mean()) / deviation if deviation > 0 else np.zeros_like(scores)


def ranks(scores: FloatArray) -> FloatArray:
    """Rank of every score, the highest has 1; equal scores share the mean of their ranks."""
    falling = np.sort(-scores)
    return (np.searchsorted(falling, -scores, "left") + np.searchsorted(falling, -scores, "right") + 1) / 2


_SCALES = {"min-max": min_max, "z": z_scores}


def require_scale(method: str) -> None:
    """Raise unless ``method`` puts scores on a scale, which weights can be fitted for."""
    if method not in _SCALES:
        raise ConfigurationError(f"Weights can be fitted for min-max and z, not for {method!r}, which looks at ranks.")


@dataclass(frozen=True)
class Fusion:
    """How the scores of several scorers become one.

    Args:
        method: One of :data:`METHODS`; see the formulas of this module.
        weights: Name of a scorer -> its weight; without them all scorers count the same. A scorer that is not named
            does not count.

    Raises:
        ConfigurationError: if the method is unknown, or no weight is a number other than 0.
    """

    method: str = "min-max"
    weights: Mapping[str, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.method not in METHODS:
            raise ConfigurationError(f"fusion={self.method!r} is not known; known are {', '.join(METHODS)}.")
        values = list(self.weights.values())
        if values and (not all(map(math.isfinite, values)) or not any(values)):
            raise ConfigurationError(f"The weights {dict(self.weights)} must be finite, and one at least not 0.")

    def __call__(self, scores: Mapping[str, FloatArray]) -> FloatArray:
        """Relevance of the passages of one question, from 0 to 1, ``(passages,)``.

        Args:
            scores: Name of a scorer -> its scores, ``(passages,)``.

        Raises:
            ConfigurationError: if a weight is given for a scorer that is not there, or a score is no finite number.
        """
        self.require(scores)
        weights = self.weights or dict.fromkeys(scores, 1.0)
        if broken := [name for name in weights if not np.isfinite(scores[name]).all()]:
            raise ConfigurationError(
                f"The scorer {broken[0]} gave scores that are no finite numbers, so they say nothing about passages. A"
                " model in half precision may do so: take float32, or check its weights."
            )
        scale = {**_SCALES, "rrf": _reciprocal_ranks}[self.method]
        parts = [weight * scale(scores[name]) for name, weight in weights.items()]
        return min_max(np.sum(parts, axis=0))

    def require(self, names: Mapping[str, object] | Sequence[str]) -> None:
        """Raise where a weight belongs to none of the scorers ``names``."""
        if unknown := sorted(set(self.weights) - set(names)):
            raise ConfigurationError(
                f"There are weights for {', '.join(unknown)}, but the scorers are {', '.join(names)}. Give weights for"
                " these alone."
            )


def _reciprocal_ranks(scores: FloatArray) -> FloatArray:
    return 1 / (RANK_CONSTANT + ranks(scores))


def fit_weights(
    scores: Sequence[Mapping[str, FloatArray]], labels: Sequence[BoolArray], method: str = "min-max"
) -> dict[str, float]:
    """Weights that tell best which passages hold an answer: logistic regression on the scaled scores.

    The loss is ``Σ -log σ(± (b + Σ_k w_k · n(s_k)))`` over all passages of all questions, with + for those that hold an
    answer, plus a little of ``|w|²``; it is minimised by Newton's method. The weights are given so that their absolute
    values sum to 1. A weight may be negative: then its scorer is worth something as a correction of the others alone.

    Args:
        scores: Of each question, name of a scorer -> its scores, ``(passages,)``.
        labels: Of each question, which passages hold an answer, ``(passages,)``.
        method: ``"min-max"`` or ``"z"``.

    Raises:
        ConfigurationError: if no passage, or every passage, holds an answer, or the method has no scale.
    """
    require_scale(method)
    scale = _SCALES[method]
    names = list(scores[0]) if scores else []
    holds = np.concatenate(labels).astype(np.float64) if labels else np.zeros(0)
    if not 0 < holds.sum() < len(holds):
        raise ConfigurationError(
            f"Weights cannot be fitted on {len(scores)} questions with {int(holds.sum())} passages that hold an answer"
            f" and {int(len(holds) - holds.sum())} that hold none: both kinds are needed."
        )
    columns = [np.concatenate([scale(row[name]) for row in scores]) for name in names]
    weights = _logistic_regression(np.column_stack(columns), holds)
    total = np.abs(weights).sum()
    if total == 0:
        raise ConfigurationError("The scores say nothing about which passages hold an answer: all weights are 0.")
    return dict(zip(names, (weights / total).tolist(), strict=True))


def _logistic_regression(features: FloatArray, labels: FloatArray) -> FloatArray:
    """Weights of the columns of ``features`` without that of the constant."""
    table = np.column_stack([features, np.ones(len(features))])
    penalty = _PENALTY * len(table) * np.diag([*[1.0] * features.shape[1], 0.0])
    weights = np.zeros(table.shape[1])
    for _ in range(_STEPS):
        likely = 1 / (1 + np.exp(-np.clip(table @ weights, -30, 30)))
        gradient = table.T @ (likely - labels) + penalty @ weights
        curvature = (table * (likely * (1 - likely))[:, None]).T @ table + penalty
        step = np.linalg.lstsq(curvature, gradient, rcond=None)[0]  # a constant column has no curvature of its own
        weights -= step
        if np.abs(step).max() < 1e-8:
            break
    return weights[:-1]
