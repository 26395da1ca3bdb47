"""Bootstrap confidence of mean scores, and of the difference between two models that answered the same questions.

A score of an evaluation set is a mean over its questions. Another sample of questions would have given another mean;
how far it varies is found by drawing the same number of questions from the set, with replacement, many times (Efron
1979, doi 10.1214/aos/1176344552). Two models are compared on the *same* draws, so that what makes a draw easy or hard
for both cancels (the paired bootstrap of Koehn 2004, "Statistical Significance Tests for Machine Translation
Evaluation").

* The 95 % interval runs from the 2.5th to the 97.5th percentile of the drawn means (Efron and Tibshirani 1993, chapter
  13).
* The p-value of a difference ``d`` is two-sided: the share of draws whose difference ``d*`` is at least as far from
  ``d`` as ``d`` is from 0, that is ``|d* - d| >= |d|`` (the draws are centred on the null hypothesis; Berg-Kirkpatrick,
  Burkett and Klein 2012, "An Empirical Investigation of Statistical Significance in NLP"). One is added to both sides
  of the fraction, so that it is never 0 (Davison and Hinkley 1997, section 4.2).

Questions are drawn one by one, although several may share a context. On the 3,219 questions of CMRC 2018 dev, drawing
whole contexts instead changes the standard error of EM, F1 and their differences by less than 3 %.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from ..errors import ConfigurationError
from ..qa.window_decoding import require_positive

__all__ = [
    "LEVEL",
    "RESAMPLES",
    "SMALL_SAMPLE",
    "Difference",
    "Estimate",
    "bootstrap_means",
    "difference_of",
    "estimate_of",
    "estimates",
]

FloatArray = npt.NDArray[np.float64]

LEVEL = 0.95
"""Confidence of every interval."""

RESAMPLES = 10_000
"""Draws by default: an interval then hardly depends on the seed, and the smallest p-value is 0.0001."""

SMALL_SAMPLE = 300
"""Below this many questions the intervals are wide, and themselves uncertain; the smallest test set of Koehn 2004."""

_CHUNK = 4_000_000  # draws held in memory at once


@dataclass(frozen=True)
class Estimate:
    """A mean and the ends of its 95 % confidence interval, all in the unit of the scores."""

    value: float
    low: float
    high: float


@dataclass(frozen=True)
class Difference(Estimate):
    """A difference of two means; ``p`` in (0, 1] is the probability of one as large if the models were equal."""

    p: float


def bootstrap_means(scores: npt.ArrayLike, *, resamples: int = RESAMPLES, seed: int = 0) -> FloatArray:
    """Means of every column over ``resamples`` draws of rows; all columns see the same draws.

    Args:
        scores: One row per question, one column per model and metric, shape ``(questions, columns)``.
        resamples: How many times to draw.
        seed: Seed of the random draws; the same seed gives the same draws whatever the columns.

    Returns:
        Float64, shape ``(resamples, columns)``.

    Raises:
        ConfigurationError: if there is no question, ``scores`` has another shape, or ``resamples`` is below 1.
    """
    require_positive(resamples=resamples)
    table = np.asarray(scores, dtype=np.float64)
    if table.ndim != 2 or not len(table):
        raise ConfigurationError(f"Scores of shape {table.shape} cannot be drawn from: give (questions, columns).")
    chunks = [counts @ table for counts in _drawn_counts(len(table), resamples, np.random.default_rng(seed))]
    return np.concatenate(chunks) / len(table)


def _drawn_counts(questions: int, resamples: int, rng: np.random.Generator) -> Iterator[FloatArray]:
    """How often each draw holds each question, ``(draws, questions)``: a mean is then one matrix product."""
    rows = max(_CHUNK // questions, 1)
    for begin in range(0, resamples, rows):
        draws = min(rows, resamples - begin)
        drawn = rng.integers(0, questions, (draws, questions)) + np.arange(draws)[:, None] * questions
        counts = np.bincount(drawn.ravel(), minlength=draws * questions)
        yield counts.reshape(draws, questions).astype(np.float64)


def estimates(scores: npt.ArrayLike, *, resamples: int = RESAMPLES, seed: int = 0) -> list[Estimate]:
    """The mean of every column of ``scores`` with its interval; see :func:`bootstrap_means` for the arguments."""
    table = np.asarray(scores, dtype=np.float64)
    drawn = bootstrap_means(table, resamples=resamples, seed=seed)
    return [estimate_of(float(mean), drawn[:, column]) for column, mean in enumerate(table.mean(axis=0))]


def estimate_of(value: float, drawn: npt.NDArray[Any]) -> Estimate:
    """``value`` with the percentile interval of the means ``drawn`` for it."""
    low, high = np.quantile(drawn, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return Estimate(value, float(low), float(high))


def difference_of(value: float, drawn: npt.NDArray[Any]) -> Difference:
    """``value`` with the percentile interval and the p-value of the differences ``drawn`` for it."""
    interval = estimate_of(value, drawn)
    rounding = 1e-9 * max(1.0, abs(value))  # sums in another order must not decide about a tie
    extreme = np.count_nonzero(np.abs(drawn - value) >= abs(value) - rounding)
    return Difference(value, interval.low, interval.high, float((1 + extreme) / (1 + len(drawn))))
