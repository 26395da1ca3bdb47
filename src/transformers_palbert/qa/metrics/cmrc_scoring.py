"""Exact match and F1 as the official CMRC 2018 script, versions 5 and 6, counts them, as pure functions.

Source: Cui et al. 2019 (arXiv 1810.07366), ``cmrc2018_evaluate.py``, "v5 - special", and version 6, which counts alike.
Latin words are cut as NLTK 3.8.1 cuts them; :mod:`~transformers_palbert.qa.metrics.segmentation` says why.

F1 rests on the longest common *substring* of two lists of segments, not on their common bag of words, and not on the
longest common subsequence.
"""

from __future__ import annotations

from collections.abc import Sequence

from ...errors import DatasetFormatError
from .inputs import ScoredQuestion
from .segmentation import mixed_segmentation, remove_punctuation

__all__ = ["longest_common_run", "score_cmrc2018", "segment_f1"]


def score_cmrc2018(questions: Sequence[ScoredQuestion]) -> dict[str, float]:
    """Score CMRC 2018 (also the usual scorer of DRCD).

    Returns:
        ``AVERAGE`` = (EM + F1) / 2, ``F1`` and ``EM`` in percent over all questions, ``TOTAL`` questions, and ``SKIP``,
        the questions without a prediction, which score 0. Nothing is rounded; the official script prints 3 decimals.

    Raises:
        DatasetFormatError: if a question has no reference answer.
    """
    exact, f1, skipped = 0, 0.0, 0
    for question in questions:
        if not question.answers:
            raise DatasetFormatError(
                f"question {question.id!r} has no reference answer, and CMRC 2018 cannot score that. Use 'squad_v2'."
            )
        if question.prediction is None:
            skipped += 1
            continue
        answers = set(question.answers)  # development questions often repeat an answer
        prediction = remove_punctuation(question.prediction)
        exact += any(remove_punctuation(answer) == prediction for answer in answers)
        guess = mixed_segmentation(question.prediction)
        f1 += max(segment_f1(mixed_segmentation(answer), guess) for answer in answers)
    total = len(questions)
    f1_percent, exact_percent = 100.0 * f1 / total, 100.0 * exact / total
    return {
        "AVERAGE": (exact_percent + f1_percent) * 0.5,
        "F1": f1_percent,
        "EM": exact_percent,
        "TOTAL": total,
        "SKIP": skipped,
    }


def segment_f1(answer: Sequence[str], prediction: Sequence[str]) -> float:
    """F1 in [0, 1] of precision ``l / len(prediction)`` and recall ``l / len(answer)``.

    ``l`` is :func:`longest_common_run`; without a common segment F1 is 0, also where both sides are empty.
    """
    length = longest_common_run(answer, prediction)
    if length == 0:
        return 0.0
    precision, recall = length / len(prediction), length / len(answer)
    return 2 * precision * recall / (precision + recall)


def longest_common_run(first: Sequence[str], second: Sequence[str]) -> int:
    """Length of the longest run of equal neighbours in both lists.

    Each distinct segment becomes one character, so that Python's substring search does the work: about ``len(first)``
    searches instead of a table of ``len(first) * len(second)`` entries.
    """
    codes: dict[str, str] = {}
    haystack, needle = (
        "".join(codes.setdefault(segment, chr(len(codes))) for segment in segments) for segments in (second, first)
    )
    best = 0
    for start in range(len(needle)):
        while start + best < len(needle) and needle[start : start + best + 1] in haystack:
            best += 1
    return best
