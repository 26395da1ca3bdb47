"""Scores by kinds of questions: by question word, by length, by the model's own confidence.

Kinds of questions are those of :mod:`transformers_palbert.qa.statistics`, for English and Chinese; its text has the
rules. Lengths are in characters: of the shortest reference answer, and of the context.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from ..qa.statistics import QUESTION_TYPES, question_type
from .bootstrap import Estimate, estimates

__all__ = ["Breakdown", "Group", "break_down", "breakdowns", "range_label"]

ANSWER_EDGES = (2, 4, 8, 16, 32)
CONTEXT_EDGES = (300, 400, 500, 700, 1000)
SCORE_EDGES = (0.02, 0.05, 0.1, 0.2, 0.5, 0.8)
"""Upper bounds of the groups, inclusive; one more group holds what is above the last."""

NO_ANSWER = "no answer"

_RESAMPLES = 2000  # for a picture, where a tenth of a point is less than a pixel


@dataclass(frozen=True)
class Group:
    """Questions of one kind, and their mean scores in percent."""

    label: str
    count: int
    em: Estimate
    f1: Estimate


@dataclass(frozen=True)
class Breakdown:
    """All questions in groups.

    Attributes:
        key: Short name.
        title: What the questions are grouped by.
        groups: In a natural order; no group is empty.
        of: Index into ``groups`` of every question.
    """

    key: str
    title: str
    groups: list[Group]
    of: list[int]


def breakdowns(
    records: Sequence[dict[str, Any]], confidence: Sequence[float], scores: npt.NDArray[np.float64]
) -> list[Breakdown]:
    """Group questions by kind, answer length, context length and confidence.

    Args:
        records: Questions in the SQuAD schema.
        confidence: The model's score of its answer to each, 0 to 1.
        scores: Exact match and F1 of each in percent, ``(questions, 2)``.
    """
    answers = [min((len(text) for text in record["answers"]["text"]), default=0) for record in records]
    answer_labels = [NO_ANSWER, *_range_labels(ANSWER_EDGES)]
    answer_groups = [0 if not length else 1 + bisect_left(ANSWER_EDGES, length) for length in answers]
    return [
        break_down(
            "type",
            "question type",
            [kind.replace("_", " ") for kind in QUESTION_TYPES],
            [QUESTION_TYPES.index(question_type(record["question"])) for record in records],
            scores,
        ),
        break_down("answer", "length of the answer, characters", answer_labels, answer_groups, scores),
        break_down(
            "context",
            "length of the context, characters",
            _range_labels(CONTEXT_EDGES),
            [bisect_left(CONTEXT_EDGES, len(record["context"])) for record in records],
            scores,
        ),
        break_down(
            "confidence",
            "the model's own score",
            [
                f"{100 * low:.0f} – {100 * high:.0f} %"
                for low, high in zip((0, *SCORE_EDGES), (*SCORE_EDGES, 1), strict=True)
            ],
            [bisect_left(SCORE_EDGES, score) for score in confidence],
            scores,
        ),
    ]


def break_down(
    key: str, title: str, labels: Sequence[str], of: Sequence[int], scores: npt.NDArray[np.float64]
) -> Breakdown:
    """Mean scores of every group of questions that is not empty.

    Args:
        key: Short name.
        title: What the questions are grouped by.
        labels: The names of all groups.
        of: Index into ``labels`` of every question.
        scores: Exact match and F1 in percent, ``(questions, 2)``.
    """
    numbers = np.asarray(of, dtype=np.int64)
    present = np.unique(numbers)
    groups = []
    for number in present:
        part = scores[numbers == number]
        em, f1 = estimates(part, resamples=_RESAMPLES)
        groups.append(Group(labels[number], len(part), em, f1))
    return Breakdown(key, title, groups, np.searchsorted(present, numbers).tolist())


def range_label(low: int, high: int | None) -> str:
    """``1 – 2``, or ``33 and more``."""
    return f"{low:,} and more" if high is None else f"{low:,} – {high:,}"


def _range_labels(edges: Sequence[int]) -> list[str]:
    lows = [1, *(edge + 1 for edge in edges)]
    return [range_label(low, high) for low, high in zip(lows, [*edges, None], strict=True)]
