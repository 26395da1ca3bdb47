"""The threshold between the best span and "there is no answer", chosen on some questions and judged on others.

A threshold that is chosen on the questions that it is judged by flatters the model: the official SQuAD 2.0 script calls
the figure ``best_f1`` for that reason. Here a development part chooses it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from ..errors import ConfigurationError, DatasetFormatError
from .evaluation_decoding import QAPredictions
from .metrics.inputs import ScoredQuestion, pair_questions
from .metrics.squad_scoring import f1_of, score_squad_v2

__all__ = ["FittedThreshold", "best_spans", "choose_null_threshold", "fit_null_threshold"]


@dataclass(frozen=True)
class FittedThreshold:
    """A threshold for ``null_score_diff_threshold``, and what it is good for.

    Attributes:
        threshold: The score of no answer minus that of the best span, above which a question counts as unanswerable.
        before: Figures of SQuAD 2.0 (see :func:`~.metrics.squad_scoring.score_squad_v2`) of the other questions, with
            the threshold as it was.
        after: The same with the one that was chosen.
        chosen_on, scored_on: How many questions chose it, and how many it was judged by.
    """

    threshold: float
    before: dict[str, float]
    after: dict[str, float]
    chosen_on: int
    scored_on: int

    def to_dict(self) -> dict[str, Any]:
        """Return nested plain dictionaries, ready for JSON."""
        return asdict(self)


def fit_null_threshold(
    spans: Mapping[str, str],
    odds: Mapping[str, float],
    development: Sequence[Mapping[str, Any]],
    test: Sequence[Mapping[str, Any]],
    *,
    before: float = 0.0,
) -> FittedThreshold:
    """Choose the threshold on ``development``, and score ``test`` with it and with the threshold ``before``.

    Args:
        spans: The best span of every question, by id, see :func:`best_spans`; ``""`` where there is none.
        odds: Score of no answer minus that of the best span, by id: ``null_odds``.
        development: Questions in the SQuAD schema that choose the threshold.
        test: Other such questions, which are scored.
        before: The threshold to compare with.

    Raises:
        ConfigurationError: if one part is empty, or a question is in both.
        DatasetFormatError: if a question has no span or no odds.
    """
    if both := {question["id"] for question in development} & {question["id"] for question in test}:
        raise ConfigurationError(
            f"{len(both)} questions would both choose the threshold and be judged by it, such as {min(both)!r}."
        )
    if not development or not test:
        raise ConfigurationError("A threshold needs questions that choose it, and others that it is judged by.")
    if missing := [question["id"] for question in [*development, *test] if question["id"] not in odds]:
        raise DatasetFormatError(
            f"{len(missing)} questions have no score of no answer, such as {missing[0]!r}. Give one for each question."
        )
    chosen = choose_null_threshold(_paired(spans, development), odds)
    asked = _paired(spans, test)
    own = {question.id: odds[question.id] for question in asked}
    return FittedThreshold(
        chosen, _figures(asked, own, before), _figures(asked, own, chosen), len(development), len(test)
    )


def _figures(questions: Sequence[ScoredQuestion], odds: Mapping[str, float], threshold: float) -> dict[str, float]:
    """Figures of SQuAD 2.0 at one threshold, without those of the best one on these very questions."""
    scores = score_squad_v2(questions, odds, threshold)
    return {name: value for name, value in scores.items() if not name.startswith("best_")}


def choose_null_threshold(questions: Sequence[ScoredQuestion], odds: Mapping[str, float]) -> float:
    """The threshold with the best F1 of SQuAD 2.0.

    It lies in the middle between the last question that is answered and the first that is not; one step of 1 beyond the
    outermost question where all, or none, are answered. Of equal F1, the lowest threshold wins.

    Args:
        questions: With the best span as prediction; ``""`` predicts that there is no answer.
        odds: Score of no answer minus that of the best span, by id.
    """
    ranked = sorted(questions, key=lambda question: odds[question.id])
    gains = [f1_of(question) - float(not question.answers) for question in ranked]
    best = current = 0.0
    answered = 0  # how many of the ranked are answered
    for count, (question, gain) in enumerate(zip(ranked, gains, strict=True), 1):
        current += gain
        tied = count < len(ranked) and odds[ranked[count].id] == odds[question.id]
        if not tied and current > best:
            best, answered = current, count
    if answered == 0:
        return odds[ranked[0].id] - 1.0
    last = odds[ranked[answered - 1].id]
    return (last + odds[ranked[answered].id]) / 2 if answered < len(ranked) else last + 1.0


def best_spans(answers: QAPredictions) -> dict[str, str]:
    """The best candidate with a text of every question, whatever its threshold said; ``""`` where there is none."""
    return {
        key: next((entry["text"] for entry in candidates if entry["text"]), "")
        for key, candidates in answers.nbest.items()
    }


def _paired(spans: Mapping[str, str], records: Sequence[Mapping[str, Any]]) -> list[ScoredQuestion]:
    wanted = [record["id"] for record in records]
    return pair_questions({key: spans[key] for key in wanted if key in spans}, records, gaps=False, strict=True)
