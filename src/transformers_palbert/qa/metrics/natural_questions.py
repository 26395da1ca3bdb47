"""Short and long answers of Natural Questions, as the official script ``nq_eval`` counts them, as pure functions.

The rules were compared with the published text of that script, which was not run: it is written for Python 2. Tests
compare the figures with a slow and literal reference. The rules:

- A question has an answer if at least two of its annotators gave one (see
  :func:`~transformers_palbert.qa.natural_questions.is_answered`); spans, yes and no are all short answers.
- A predicted short answer is right if its set of spans is that of one annotator, or if it says yes or no as one
  annotator does. Spans are equal if they are the same tokens of the page. A predicted long answer is right if it is the
  span of one annotator.
- Precision counts the questions for which an answer is predicted, recall those that have one.
- A threshold on the predictions' scores leaves out those below it; of all thresholds, the one with the best F1 counts.

Figures are in percent here, where that script counts to 1.

Source: Kwiatkowski et al. 2019, "Natural Questions: A Benchmark for Question Answering Research", TACL 7, section 5.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ...errors import DatasetFormatError
from ..natural_questions import YES_NO, Annotation, NaturalQuestion, TokenSpan, is_answered
from ..raw_questions import identifier, is_number, kind_of, list_field

if TYPE_CHECKING:
    from ..evaluation_decoding import QAPredictions

__all__ = [
    "NaturalAnswer",
    "Outcome",
    "best_threshold_figures",
    "figures",
    "long_outcome",
    "natural_answers",
    "read_natural_answers",
    "score_natural_questions",
    "short_outcome",
]


@dataclass(frozen=True)
class NaturalAnswer:
    """What was predicted for one question.

    Attributes:
        short: Spans that together are the short answer; empty for none.
        short_score: How sure that is, any real number; higher is surer.
        yes_no: ``"none"``, ``"yes"`` or ``"no"``, in place of spans.
        long: The long answer, or None.
        long_score: How sure that is.
    """

    short: tuple[TokenSpan, ...] = ()
    short_score: float = 0.0
    yes_no: str = "none"
    long: TokenSpan | None = None
    long_score: float = 0.0


@dataclass(frozen=True)
class Outcome:
    """Whether a question has an answer, whether one is predicted, whether it is right, and how sure it is."""

    has_answer: bool
    predicted: bool
    right: bool
    score: float


def score_natural_questions(
    annotations: Mapping[str, Sequence[Annotation]], answers: Mapping[str, NaturalAnswer]
) -> dict[str, float]:
    """Score predictions.

    Args:
        annotations: What the annotators answered, by question id.
        answers: What is predicted, by the same ids.

    Returns:
        ``short_f1``, ``short_precision``, ``short_recall`` of all predictions, the same as ``short_best_*`` with the
        best threshold, and ``short_best_threshold``, all but the last in percent; the same as ``long_*`` where a long
        answer is predicted; ``total``.

    Raises:
        DatasetFormatError: if the ids differ, or there is no question.
    """
    _require_same_ids(annotations.keys(), answers.keys())
    kinds = {"short": short_outcome}
    if any(answer.long is not None for answer in answers.values()):
        kinds["long"] = long_outcome
    scores: dict[str, float] = {}
    for kind, outcome_of in kinds.items():
        outcomes = [outcome_of(given, answers[key]) for key, given in annotations.items()]
        scores |= {f"{kind}_{name}": value for name, value in figures(outcomes).items()}
        scores |= {f"{kind}_best_{name}": value for name, value in best_threshold_figures(outcomes).items()}
    return {**scores, "total": len(annotations)}


def short_outcome(annotations: Sequence[Annotation], answer: NaturalAnswer) -> Outcome:
    """Compare a predicted short answer with what the annotators gave."""
    has_answer = is_answered(sum(given.has_short for given in annotations), len(annotations))
    predicted = bool(answer.short) or answer.yes_no != "none"
    if answer.yes_no != "none":
        same = any(given.yes_no == answer.yes_no for given in annotations)
    else:
        same = any(set(given.short) == set(answer.short) for given in annotations)
    return Outcome(has_answer, predicted, has_answer and predicted and same, answer.short_score)


def long_outcome(annotations: Sequence[Annotation], answer: NaturalAnswer) -> Outcome:
    """Compare a predicted long answer with what the annotators gave."""
    has_answer = is_answered(sum(given.long is not None for given in annotations), len(annotations))
    predicted = answer.long is not None
    same = any(given.long == answer.long for given in annotations)
    return Outcome(has_answer, predicted, has_answer and predicted and same, answer.long_score)


def figures(outcomes: Iterable[Outcome]) -> dict[str, float]:
    """``f1``, ``precision`` and ``recall`` in percent of all predictions, whatever their scores."""
    found = list(outcomes)
    right, predicted, answered = (
        sum(getattr(outcome, name) for outcome in found) for name in ("right", "predicted", "has_answer")
    )
    return _figures(right, predicted, answered)


def best_threshold_figures(outcomes: Iterable[Outcome]) -> dict[str, float]:
    """The same, and ``threshold``, where only predictions whose score is not below the threshold count.

    Every score is tried, from the highest on; of equal F1, the highest threshold wins. If nothing is right at any, all
    figures are 0, the threshold too.
    """
    found = sorted(outcomes, key=lambda outcome: -outcome.score)
    answered = sum(outcome.has_answer for outcome in found)
    right = predicted = 0
    best = {**_figures(0, 0, answered), "threshold": 0.0}
    for index, outcome in enumerate(found):
        right, predicted = right + outcome.right, predicted + outcome.predicted
        if index + 1 < len(found) and found[index + 1].score == outcome.score:
            continue  # equal scores are on the same side of every threshold
        now = _figures(right, predicted, answered)
        if now["f1"] > best["f1"]:
            best = {**now, "threshold": outcome.score}
    return best


def _figures(right: int, predicted: int, answered: int) -> dict[str, float]:
    precision = right / predicted if predicted else 0.0
    recall = right / answered if answered else 0.0
    f1 = 2 * precision * recall / (precision + recall) if right else 0.0
    return {"f1": 100.0 * f1, "precision": 100.0 * precision, "recall": 100.0 * recall}


def _require_same_ids(known: Iterable[str], predicted: Iterable[str]) -> None:
    ids, others = set(known), set(predicted)
    if not ids:
        raise DatasetFormatError("There is no question to score.")
    gaps = {"questions have no prediction": ids - others, "predictions have no question": others - ids}
    for what, wrong in gaps.items():
        if wrong:
            raise DatasetFormatError(
                f"{len(wrong)} {what}, such as {min(wrong)!r}. Natural Questions are scored with one prediction for"
                " each question of the file; one without an answer has no spans."
            )


# --- predictions --------------------------------------------------------------------------------------------------


def natural_answers(questions: Iterable[NaturalQuestion], answers: QAPredictions) -> dict[str, NaturalAnswer]:
    """What a model answered, as predictions.

    The short answer is the best span of characters, widened to whole tokens of the page; its score is how far it
    exceeds that of no answer, or its own where the model may not say that there is none. The long answer is the
    first candidate that holds it. A question without any span has no answer, and the lowest score.

    Args:
        questions: The questions that were asked.
        answers: Decoded from the contexts that
            :func:`~transformers_palbert.qa.natural_questions.natural_question` gave.
    """
    found = {}
    for question in questions:
        best = next((entry for entry in answers.nbest[question.id] if entry["text"]), None)
        if best is None:
            found[question.id] = NaturalAnswer(short_score=-math.inf, long_score=-math.inf)
            continue
        own = best["start_logit"] + best["end_logit"]
        score = -answers.null_odds[question.id] if question.id in answers.null_odds else own
        span = question.tokens(best["start"], best["end"])
        found[question.id] = NaturalAnswer((span,), score, "none", question.long_answer(span), score)
    return found


def read_natural_answers(content: Any, where: str) -> dict[str, NaturalAnswer]:
    """Read predictions in the form of the official script: ``{"predictions": [{"example_id": …, …}]}``.

    Spans are read by ``start_token`` and ``end_token``; -1 stands for no span. What is left out is not predicted.

    Raises:
        DatasetFormatError: if it is anything else, or an id occurs twice.
    """
    answers: dict[str, NaturalAnswer] = {}
    for index, record in enumerate(list_field(content, "predictions", where)):
        place = f"{where}: predictions[{index}]"
        key = str(identifier(record, "example_id", place))
        if key in answers:
            raise DatasetFormatError(f"{place}.example_id: {key!r} occurs twice")
        answers[key] = _answer(record, place)
    return answers


def _answer(record: Mapping[str, Any], where: str) -> NaturalAnswer:
    spans = [
        _span(span, f"{where}.short_answers[{index}]") for index, span in enumerate(record.get("short_answers") or [])
    ]
    found = tuple(span for span in spans if span is not None)
    yes_no = str(record.get("yes_no_answer") or "none").lower()
    if yes_no not in YES_NO:
        raise DatasetFormatError(f"{where}.yes_no_answer: expected one of {', '.join(YES_NO)}, got {yes_no!r}")
    if found and yes_no != "none":
        raise DatasetFormatError(f"{where}: predicts {yes_no!r} and spans; a short answer is one or the other")
    return NaturalAnswer(
        found,
        _score(record, "short_answers_score", where),
        yes_no,
        None if record.get("long_answer") is None else _span(record["long_answer"], f"{where}.long_answer"),
        _score(record, "long_answer_score", where),
    )


def _span(value: Any, where: str) -> TokenSpan | None:
    ends: list[Any] = [value.get(name) for name in ("start_token", "end_token")] if isinstance(value, Mapping) else []
    if not ends or any(isinstance(end, bool) or not isinstance(end, int) for end in ends):
        raise DatasetFormatError(f"{where}: expected whole numbers start_token and end_token, got {kind_of(value)}")
    start, end = ends
    bytes_given = [value.get(name) for name in ("start_byte", "end_byte")]
    if start < 0 and end < 0 and any(is_number(byte) and byte >= 0 for byte in bytes_given):
        raise DatasetFormatError(f"{where}: has byte offsets alone; give start_token and end_token, which are compared")
    if start < 0 and end < 0:
        return None
    if not 0 <= start < end:
        raise DatasetFormatError(f"{where}: tokens {start} to {end} are no span")
    return TokenSpan(start, end)


def _score(record: Mapping[str, Any], name: str, where: str) -> float:
    value = record.get(name, 0.0)
    if not is_number(value) or value != value:
        raise DatasetFormatError(f"{where}.{name}: expected a number, got {kind_of(value)}")
    return float(value)
