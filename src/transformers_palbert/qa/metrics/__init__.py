"""Metrics for extractive question answering, as pure functions and as `evaluate` modules that need no network.

    compute_metric("cmrc2018", {"DEV_0_QUERY_0": "光荣和ω-force"}, dataset)
    load_metric("squad").compute(predictions=[{"id": …, "prediction_text": …}], references=[{"id": …, "answers": …}])

======================  =========================================================================  ===========
name                    counts as                                                                  scale
======================  =========================================================================  ===========
``squad``               the official SQuAD 1.1 script                                              0 to 100
``squad_v2``            the official SQuAD 2.0 script                                              0 to 100
``cmrc2018``            the official CMRC 2018 script, versions 5 and 6, with NLTK 3.8.1           0 to 100
``palbert_qa``          accuracy, precision, recall, F1: the PAL-BERT paper's, by our counting     0 to 1
======================  =========================================================================  ===========

``palbert_qa`` keeps the scale of the paper's tables, so that its figures can be laid beside these. ``palbert evaluate``
says so when it is asked for it; ``palbert compare`` and ``palbert report`` show every metric in percent.

Natural Questions are scored by spans of tokens against what several annotators gave, not by texts, and so by functions
of their own: :mod:`~transformers_palbert.qa.metrics.natural_questions`, and ``palbert evaluate -m natural_questions``.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ...errors import ConfigurationError, NoEffectWarning
from .cmrc_scoring import score_cmrc2018
from .inputs import no_answer_probabilities_by_id, pair_questions, rename_ids
from .overlap_scoring import score_palbert_qa
from .squad_scoring import score_squad, score_squad_v2

if TYPE_CHECKING:
    import evaluate

__all__ = ["METRICS", "compute_metric", "load_metric", "metric_path"]

_SCORERS = {
    "cmrc2018": score_cmrc2018,
    "palbert_qa": score_palbert_qa,
    "squad": score_squad,
    "squad_v2": score_squad_v2,
}

_NO_THRESHOLD = 1.0  # no probability is above it

METRICS: tuple[str, ...] = tuple(_SCORERS)
"""The names that :func:`compute_metric` and :func:`load_metric` know."""


def compute_metric(
    name: str,
    predictions: Any,
    references: Any,
    *,
    no_answer_probabilities: Mapping[str, float] | None = None,
    no_answer_threshold: float = _NO_THRESHOLD,
    strict: bool = False,
) -> dict[str, float]:
    """Score predictions against references.

    Args:
        name: one of :data:`METRICS`.
        predictions: ``{id: text}``, or ``[{"id": …, "prediction_text": …, "no_answer_probability": …}, …]``, the
            last field being optional.
        references: a data set from :func:`~transformers_palbert.qa.datasets.load_qa_dataset`, or a list of records
            with ``id`` and ``answers`` in the SQuAD schema.
        no_answer_probabilities: ``{id: probability}``, for ``squad_v2`` alone.
        no_answer_threshold: above this probability a question counts as predicted to have no answer (``squad_v2``); by
            default 1.0, which no probability exceeds.
        strict: raise where the ids of predictions and references differ. Otherwise a missing prediction scores 0, a
            surplus one is ignored, and either is warned about. For ``squad_v2`` a missing one raises in any case, as
            in its official script.

    Returns:
        The metric's figures; their names and units stand in the scoring function of the same name.

    Warns:
        NoEffectWarning: if a threshold is given and no probabilities.

    Raises:
        ConfigurationError: if ``name`` is unknown, or probabilities or a threshold are given to another metric than
            ``squad_v2``.
        DatasetFormatError: if predictions or references have the wrong form.
    """
    _check_name(name)
    questions = pair_questions(predictions, references, strict=strict, gaps=name != "squad_v2")
    if name != "squad_v2":
        if no_answer_probabilities is not None or no_answer_threshold != _NO_THRESHOLD:
            raise ConfigurationError(f"Only 'squad_v2' takes no_answer_probabilities and a threshold, not {name!r}.")
        return _SCORERS[name](questions)
    if no_answer_probabilities is None:
        no_answer_probabilities = no_answer_probabilities_by_id(predictions)
    if no_answer_probabilities is None and no_answer_threshold != _NO_THRESHOLD:
        warnings.warn(
            f"no_answer_threshold={no_answer_threshold} has no effect without probabilities that there is no answer.",
            NoEffectWarning,
            stacklevel=2,
        )
    if no_answer_probabilities is not None:
        no_answer_probabilities = rename_ids(no_answer_probabilities, questions)
    return score_squad_v2(questions, no_answer_probabilities, no_answer_threshold)


def load_metric(name: str, **kwargs: Any) -> evaluate.EvaluationModule:
    """Load a metric as an `evaluate` module from the installed package; ``kwargs`` go to ``evaluate.load``."""
    import evaluate  # it imports PyTorch, which the scoring functions do without

    return evaluate.load(str(metric_path(name)), **kwargs)


def metric_path(name: str) -> Path:
    """Folder of the `evaluate` module ``name``, for ``evaluate.load(str(metric_path(name)))``."""
    _check_name(name)
    return Path(__file__).parent / name


def _check_name(name: str) -> None:
    if name not in _SCORERS:
        raise ConfigurationError(f"unknown metric {name!r}; known ones are {', '.join(METRICS)}")
