"""Exact match and F1 of all questions together and of every single one, under any of the package's metrics."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from ..errors import ConfigurationError
from ..qa.metrics import compute_metric

__all__ = ["default_metric", "score_all", "score_each"]

_KEYS = {  # the metric's names of exact match and F1, and what they count up to
    "cmrc2018": ("EM", "F1", 100.0),
    "palbert_qa": ("accuracy", "f1", 1.0),
    "squad": ("exact_match", "f1", 100.0),
    "squad_v2": ("exact", "f1", 100.0),
}


def score_all(metric: str, predictions: Mapping[str, str], references: Sequence[dict[str, Any]]) -> dict[str, float]:
    """Exact match and F1 of all questions, in percent: the very figures of training and of ``palbert evaluate``.

    The means of :func:`score_each` are equal to them but for the rounding of another sum.

    Args:
        metric: One of :data:`~transformers_palbert.qa.metrics.METRICS`; its accuracy counts as exact match.
        predictions: Text by question id.
        references: The questions, SQuAD schema.

    Returns:
        ``{"em": …, "f1": …}``, 0 to 100.

    Raises:
        ConfigurationError: if the metric is unknown.
        DatasetFormatError: if two questions have the same id, or the metric cannot score one.
    """
    found = compute_metric(metric, predictions, references)
    exact, f1, full = _KEYS[metric]
    percent = 100.0 / full  # 1 for those in percent, which are not touched
    return {"em": found[exact] * percent, "f1": found[f1] * percent}


def score_each(
    metric: str, predictions: Sequence[str], references: Sequence[dict[str, Any]]
) -> npt.NDArray[np.float64]:
    """Score every answer by itself, in percent.

    All metrics are means over questions, so the means of the two columns are the metric's exact match and F1.

    Args:
        metric: One of :data:`~transformers_palbert.qa.metrics.METRICS`; its accuracy counts as exact match.
        predictions: One text per question, ``""`` for "no answer".
        references: The questions in the same order, SQuAD schema (``answers``).

    Returns:
        Exact match and F1, 0 to 100, shape ``(questions, 2)``.

    Raises:
        ConfigurationError: if the metric is unknown, or there are more or fewer predictions than questions.
        DatasetFormatError: if the metric cannot score a question, such as one without an answer.
    """
    if len(predictions) != len(references):
        raise ConfigurationError(
            f"{len(predictions)} predictions cannot be scored against {len(references)} questions: give one text per"
            ' question, "" for no answer.'
        )
    rows = np.zeros((len(references), 2))
    for row, prediction, reference in zip(rows, predictions, references, strict=True):
        key = str(reference["id"])
        found = compute_metric(metric, {key.strip(): prediction}, [{"id": key, "answers": reference["answers"]}])
        exact, f1, full = _KEYS[metric]
        row[:] = 100.0 * found[exact] / full, 100.0 * found[f1] / full
    return rows


def default_metric(references: Sequence[dict[str, Any]]) -> str:
    """The metric that suits the data.

    ``squad_v2`` if any question has no answer; else ``cmrc2018`` if most questions hold Chinese characters; else
    ``squad``.
    """
    if any(not reference["answers"]["text"] for reference in references):
        return "squad_v2"
    chinese = sum(any("\u4e00" <= c <= "\u9fff" for c in reference["question"]) for reference in references)
    return "cmrc2018" if 2 * chinese > len(references) else "squad"
