"""What the scorers take: one :class:`ScoredQuestion` for each reference, made from any accepted form of input."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from ...errors import DatasetFormatError

__all__ = ["ScoredQuestion", "no_answer_probabilities_by_id", "pair_questions", "predictions_by_id", "rename_ids"]

_SHOWN = 3  # how many ids a message lists


@dataclass(frozen=True)
class ScoredQuestion:
    """One reference question beside what was predicted for it.

    Attributes:
        id: the question's id, as the references have it.
        answers: the reference answers' texts, in the order of the data set; empty if it has no answer.
        prediction: the predicted text, or None where the predictions lack this id.
    """

    id: str
    answers: tuple[str, ...]
    prediction: str | None


def pair_questions(
    predictions: Any, references: Any, *, strict: bool = False, gaps: bool = True
) -> list[ScoredQuestion]:
    """Pair every reference with its prediction, in the references' order.

    Blanks around ids do not count on either side: official CMRC scoring strips the ids as well, and no known data set
    has ids that differ in blanks alone.

    Args:
        predictions: ``{id: text}``, or a list of ``{"id": ..., "prediction_text": ...}``. A text of None counts as
            missing.
        references: a `datasets.Dataset` or any iterable of records with ``id`` and ``answers``, the latter either
            ``{"text": [...]}`` or ``[{"text": ...}, ...]``.
        strict: raise where a prediction is missing or belongs to no reference, instead of warning.
        gaps: whether the metric scores a missing prediction as 0. A metric that does not speaks for itself.

    Raises:
        DatasetFormatError: if an input has the wrong form, an id occurs twice, there is no reference at all, or
            ``strict`` is set and the ids differ.
    """
    texts = _without_blanks(predictions_by_id(predictions))
    answers = _answers_by_id(references)
    known = {key.strip() for key in answers}
    missing = [key for key in answers if texts.get(key.strip()) is None]
    extra = [key for key in texts if key not in known]
    if gaps or strict:
        _complain(missing, "references have no prediction and score 0", strict)
    _complain(extra, "predictions belong to no reference and are ignored", strict)
    return [ScoredQuestion(key, value, texts.get(key.strip())) for key, value in answers.items()]


def rename_ids(values: Mapping[str, float], questions: Iterable[ScoredQuestion]) -> dict[str, float]:
    """``values`` by the ids that ``questions`` have, which may differ from theirs in the blanks around them."""
    own = {question.id.strip(): question.id for question in questions}
    return {own.get(str(key).strip(), str(key)): value for key, value in values.items()}


def predictions_by_id(predictions: Any) -> dict[str, str | None]:
    """Bring predictions into the form ``{id: text}``; see :func:`pair_questions`."""
    if isinstance(predictions, Mapping):
        items = list(predictions.items())
    else:
        items = [
            (_field(record, "id", "predictions", index), _field(record, "prediction_text", "predictions", index))
            for index, record in enumerate(_iterate(predictions, "predictions"))
        ]
    texts: dict[str, str | None] = {}
    for key, text in items:
        if text is not None and not isinstance(text, str):
            raise DatasetFormatError(
                f"predictions[{key!r}]: expected a string, got {type(text).__name__} {text!r}."
                " Predict '' for a question without an answer."
            )
        if str(key) in texts:
            raise DatasetFormatError(f"predictions: id {key!r} occurs twice")
        texts[str(key)] = text
    return texts


def _without_blanks(texts: Mapping[str, str | None]) -> dict[str, str | None]:
    stripped: dict[str, str | None] = {}
    for key, text in texts.items():
        if key.strip() in stripped:
            raise DatasetFormatError(f"predictions: id {key!r} occurs twice, but for the blanks around it")
        stripped[key.strip()] = text
    return stripped


def no_answer_probabilities_by_id(predictions: Any) -> dict[str, float] | None:
    """Read ``no_answer_probability`` from a list of predictions; None if the predictions carry none."""
    if isinstance(predictions, Mapping):
        return None
    records = list(_iterate(predictions, "predictions"))
    if not any("no_answer_probability" in record for record in records):
        return None
    return {
        str(record["id"]): float(_field(record, "no_answer_probability", "predictions", index))
        for index, record in enumerate(records)
    }


def _answers_by_id(references: Any) -> dict[str, tuple[str, ...]]:
    if hasattr(references, "select_columns"):  # a Dataset: do not decode the contexts
        references = references.select_columns(["id", "answers"])
    answers: dict[str, tuple[str, ...]] = {}
    seen: set[str] = set()
    for index, record in enumerate(_iterate(references, "references")):
        key = str(_field(record, "id", "references", index))
        if key.strip() in seen:
            raise DatasetFormatError(f"references[{index}].id: {key!r} occurs twice")
        seen.add(key.strip())
        answers[key] = _texts(_field(record, "answers", "references", index), index)
    if not answers:
        raise DatasetFormatError("references: there is no question to score")
    return answers


def _texts(answers: Any, index: int) -> tuple[str, ...]:
    texts = (
        answers.get("text") if isinstance(answers, Mapping) else [_field(a, "text", "answers", index) for a in answers]
    )
    if not isinstance(texts, (list, tuple)) or not all(isinstance(text, str) for text in texts):
        raise DatasetFormatError(
            f"references[{index}].answers: expected {{'text': [str, ...]}} or [{{'text': str}}, ...], got {answers!r}"
        )
    return tuple(texts)


def _iterate(records: Any, name: str) -> Iterable[Any]:
    if isinstance(records, (str, bytes)) or not isinstance(records, Iterable):
        raise DatasetFormatError(f"{name}: expected a list of records, got {type(records).__name__} {records!r:.80}")
    return records


def _field(record: Any, field: str, name: str, index: int) -> Any:
    if not isinstance(record, Mapping) or field not in record:
        raise DatasetFormatError(f"{name}[{index}]: expected a record with the field '{field}', got {record!r:.120}")
    return record[field]


def _complain(ids: list[str], what: str, strict: bool) -> None:
    if not ids:
        return
    shown = ", ".join(repr(key) for key in ids[:_SHOWN]) + (", …" if len(ids) > _SHOWN else "")
    message = f"{len(ids)} {what}: {shown}"
    if strict:
        raise DatasetFormatError(f"{message}. Pass strict=False to score the rest all the same.")
    warnings.warn(message, UserWarning, stacklevel=4)
