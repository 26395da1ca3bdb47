"""The evaluation decoding: from the logits of many questions to their answers, n-best lists and null scores.

There are two decodings, and each has one purpose. This one makes every figure that is reported, in training and after
it: exact spans of tokens, as in the question-answering examples of transformers. It is called through
:func:`transformers_palbert.qa.answering.decode_answers`. The sibling :mod:`transformers_palbert.qa.window_decoding` is
that of the pipeline ``question-answering``, whose probabilities, merging of equal texts and alignment to words callers
of the old task know; no figure is made of it.

:func:`postprocess_predictions` joins the best starts of every window with its best ends. All pairs of a few thousand
windows are formed and ranked in one numpy operation each, without a Python loop over tokens.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from ..errors import ConfigurationError, DatasetFormatError
from .window_decoding import require_positive

if TYPE_CHECKING:
    from datasets import Dataset

__all__ = ["FloatArray", "QAPredictions", "postprocess_predictions"]

FloatArray = npt.NDArray[np.floating[Any]]
IntArray = npt.NDArray[np.int64]
BoolArray = npt.NDArray[np.bool_]
Rows = Any  # a `datasets.Dataset`, or a sequence of mappings; mypy sees no types in the former
Candidates = npt.NDArray[np.void]  # of the fields of `_CANDIDATE`

_CHUNK = 4096  # windows whose pairs of start and end are held in memory at once


@dataclass(frozen=True)
class QAPredictions:
    """Answers to an evaluation set, by question id.

    Attributes:
        predictions: The answer; ``""`` where the context holds none.
        nbest: Up to ``n_best_size`` candidates per question, best first: ``text``, ``probability`` among these
            candidates (0 to 1), ``start_logit``, ``end_logit``, and the characters ``start`` and ``end`` of the
            context. The null answer is a candidate with the text ``""``.
        null_odds: Null score minus the score of the best answer; above the threshold, the question counts as
            unanswerable. Empty unless ``version_2_with_negative``.
    """

    predictions: dict[str, str]
    nbest: dict[str, list[dict[str, Any]]]
    null_odds: dict[str, float]


def postprocess_predictions(
    examples: Dataset | Sequence[Mapping[str, Any]],
    features: Dataset | Sequence[Mapping[str, Any]],
    logits: tuple[npt.ArrayLike, npt.ArrayLike],
    *,
    n_best_size: int = 20,
    max_answer_length: int = 30,
    version_2_with_negative: bool = False,
    null_score_diff_threshold: float = 0.0,
) -> QAPredictions:
    """Choose the answer to every question from the logits of all its windows.

    The score of a span is ``start_logit + end_logit``. Candidates are the spans that join one of the ``n_best_size``
    best starts of a window with one of its ``n_best_size`` best ends, lie in the context, and are no longer than
    ``max_answer_length`` tokens. The null score of a question is the smallest score of token 0 among its windows. Of
    equal logits, the later token ranks first; of equal spans, the one that these rankings meet first.

    These are the semantics of ``postprocess_qa_predictions`` in the examples of transformers
    (``examples/pytorch/question-answering/utils_qa.py``), but for two things: a question without any candidate gets
    the answer ``""`` rather than the word "empty", and the logits of padding are never among the best, so that the
    answers do not depend on what shared a batch.

    Args:
        examples: The questions, with columns ``id`` and ``context``.
        features: Their windows, with columns ``example_id`` and ``offset_mapping`` (of
            :func:`~transformers_palbert.qa.features.build_features`, or lists with None outside the context).
        logits: Start and end logits, each of shape ``(windows, tokens)``; padding at the end is ignored.
        n_best_size: How many starts, ends and candidates to keep.
        max_answer_length: Longest answer, in tokens.
        version_2_with_negative: Whether a question may have no answer.
        null_score_diff_threshold: How far the null score must exceed the best answer's to win.

    Raises:
        ConfigurationError: if a size is below 1, or the logits do not fit the features or hold NaN.
        DatasetFormatError: if ids repeat, or a window belongs to no question.
    """
    require_positive(n_best_size=n_best_size, max_answer_length=max_answer_length)
    ids, contexts = _column(examples, "id"), _column(examples, "context")
    example = _example_of_window(ids, _column(features, "example_id"))
    starts, ends = (_checked_logits(array, len(example)) for array in logits)
    offsets = _Offsets.read(features, starts.shape[1])
    starts, ends = offsets.without_padding(starts), offsets.without_padding(ends)
    candidates = _candidates(starts, ends, offsets, n_best_size, max_answer_length)
    candidates = candidates[_best_of_group(example[candidates["window"]], candidates["score"], n_best_size)]
    bounds = np.searchsorted(example[candidates["window"]], np.arange(len(ids) + 1))
    nulls = _null_candidates(example, starts, ends, len(ids)) if version_2_with_negative else None

    result = QAPredictions({}, {}, {})
    for index, (question_id, context) in enumerate(zip(ids, contexts, strict=True)):
        spans = candidates[bounds[index] : bounds[index + 1]]
        if nulls is None:
            nbest = _nbest(spans, context)
            text = nbest[0]["text"]
        else:
            nbest = _nbest(_insert_null(spans, nulls[index], n_best_size), context)
            text, odds = _answer_or_null(nbest, nulls[index], null_score_diff_threshold)
            result.null_odds[question_id] = odds
        result.predictions[question_id], result.nbest[question_id] = text, nbest
    return result


_CANDIDATE = np.dtype(
    [
        ("window", np.int64),
        ("start", np.int32),  # characters of the context
        ("end", np.int32),
        ("start_logit", np.float32),
        ("end_logit", np.float32),
        ("score", np.float32),
    ]
)


def _candidates(starts: FloatArray, ends: FloatArray, offsets: _Offsets, n_best: int, max_length: int) -> Candidates:
    """The best ``n_best`` candidates of every window, windows in order, best first."""
    chunks = [
        _candidates_of_chunk(starts[at : at + _CHUNK], ends[at : at + _CHUNK], at, offsets, n_best, max_length)
        for at in range(0, len(starts), _CHUNK)
    ]
    return np.concatenate(chunks) if chunks else np.empty(0, _CANDIDATE)


def _candidates_of_chunk(
    starts: FloatArray, ends: FloatArray, begin: int, offsets: _Offsets, n_best: int, max_length: int
) -> Candidates:
    """Candidates of consecutive windows, the first of which is window ``begin``."""
    first, last = _ranked(starts, n_best), _ranked(ends, n_best)
    windows = np.arange(begin, begin + len(starts))[:, None]
    first_char, last_char = offsets.at(windows, first)[..., 0], offsets.at(windows, last)[..., 1]
    extra = last[:, None, :] - first[:, :, None]
    allowed = (first_char >= 0)[:, :, None] & (last_char >= 0)[:, None, :] & (extra >= 0) & (extra < max_length)
    row, i, j = np.nonzero(allowed)  # in the order of the loops: window, rank of the start, rank of the end
    found = np.empty(len(row), _CANDIDATE)
    found["window"] = row + begin
    found["start"], found["end"] = first_char[row, i], last_char[row, j]
    found["start_logit"], found["end_logit"] = starts[row, first[row, i]], ends[row, last[row, j]]
    found["score"] = found["start_logit"] + found["end_logit"]
    return found[_best_of_group(row, found["score"], n_best)]


def _ranked(logits: FloatArray, k: int) -> IntArray:
    """Tokens with the ``k`` largest logits of every row, best first; of equal logits, the later token first."""
    return np.argsort(logits, axis=1, kind="stable")[:, ::-1][:, :k]


def _best_of_group(group: IntArray, score: FloatArray, k: int) -> IntArray:
    """Indices of the ``k`` best scores of every group, ordered by group, then best first; ties keep their order."""
    order = np.lexsort((-score, group))
    groups = group[order]
    rank = np.arange(len(order)) - np.searchsorted(groups, groups)
    return order[rank < k]


def _null_candidates(example: IntArray, starts: FloatArray, ends: FloatArray, examples: int) -> Candidates:
    """The null candidate of every example: token 0 of the window where it scores least, the first of equals."""
    score = starts[:, 0] + ends[:, 0]
    order = np.lexsort((score, example))
    present, at = np.unique(example[order], return_index=True)
    nulls = np.zeros(examples, _CANDIDATE)
    nulls["window"][present] = order[at]
    nulls["start_logit"][present], nulls["end_logit"][present] = starts[order[at], 0], ends[order[at], 0]
    nulls["score"][present] = score[order[at]]
    return nulls


def _insert_null(spans: Candidates, null: np.void, n_best: int) -> Candidates:
    """Put the null candidate where its score belongs, behind equals; it stays in the list however bad it is."""
    place = int(np.count_nonzero(spans["score"] >= null["score"]))
    merged = np.insert(spans, place, null)
    return merged if place >= n_best else merged[:n_best]


def _nbest(spans: Candidates, context: str) -> list[dict[str, Any]]:
    """Candidates as dictionaries, with probabilities; one empty answer where there is no candidate."""
    if not len(spans):
        spans = np.zeros(1, _CANDIDATE)
    weights = np.exp(spans["score"] - spans["score"].max())
    probabilities = (weights / weights.sum()).tolist()
    return [
        {
            "text": context[start:end],
            "probability": probability,
            "start_logit": start_logit,
            "end_logit": end_logit,
            "start": start,
            "end": end,
        }
        for (_, start, end, start_logit, end_logit, _), probability in zip(spans.tolist(), probabilities, strict=True)
    ]


def _answer_or_null(nbest: list[dict[str, Any]], null: np.void, threshold: float) -> tuple[str, float]:
    """The best answer with a text, or ``""`` where the null score exceeds its score by more than the threshold."""
    best = next((entry for entry in nbest if entry["text"]), None)
    if best is None:
        return "", float(null["score"])
    odds = float(null["score"] - np.float32(best["start_logit"]) - np.float32(best["end_logit"]))
    return ("" if odds > threshold else best["text"]), odds


@dataclass(frozen=True)
class _Offsets:
    """Character offsets of all tokens of all windows, end to end, so that windows of any length need no padding."""

    flat: npt.NDArray[np.int32]  # (all tokens, 2)
    begin: IntArray  # first token of every window in `flat`, and the end of the last one: (windows + 1,)

    def at(self, windows: IntArray, tokens: IntArray) -> npt.NDArray[np.int32]:
        """Offsets of tokens, shape ``(…, 2)``; negative for tokens outside the context or behind the window."""
        position = self.begin[windows] + tokens
        behind = position >= self.begin[windows + 1]
        found = self.flat[np.where(behind, 0, position)]
        found[behind] = -1
        return found

    def without_padding(self, logits: FloatArray) -> FloatArray:
        """The logits with ``-inf`` behind the end of every window but at token 0, which scores the null answer."""
        behind = np.arange(logits.shape[1]) >= np.maximum(np.diff(self.begin), 1)[:, None]
        return np.where(behind, np.float32(-np.inf), logits)

    @classmethod
    def read(cls, features: Rows, width: int) -> _Offsets:
        """Read the column ``offset_mapping``, straight from Arrow where its type allows."""
        flat, lengths = _offsets_from_arrow(features) or _offsets_from_rows(_column(features, "offset_mapping"))
        if lengths.max(initial=0) > width:
            raise ConfigurationError(
                f"The logits cover {width} tokens of a window, but window {int(lengths.argmax())} has"
                f" {lengths.max()}. Pass the logits of exactly these features, in their order."
            )
        return cls(flat, np.concatenate([[0], np.cumsum(lengths)]))


def _offsets_from_arrow(features: Rows) -> tuple[npt.NDArray[np.int32], IntArray] | None:
    """Offsets and numbers of tokens from a ``datasets.Dataset`` with offsets of fixed-size pairs, or None."""
    if not hasattr(features, "with_format"):
        return None
    column = features.select_columns("offset_mapping").with_format("arrow")[:]["offset_mapping"].combine_chunks()
    if not str(column.type.value_type).startswith("fixed_size_list"):
        return None
    lengths = column.value_lengths().to_numpy(zero_copy_only=False).astype(np.int64)
    return column.flatten().flatten().to_numpy(zero_copy_only=False).reshape(-1, 2), lengths


def _offsets_from_rows(rows: Iterable[Any]) -> tuple[npt.NDArray[np.int32], IntArray]:
    """Likewise from lists of pairs, where None stands for a token outside the context."""
    rows = list(rows)
    if rows and all(isinstance(row, np.ndarray) for row in rows):
        return np.concatenate(rows).astype(np.int32), np.array([len(row) for row in rows], dtype=np.int64)
    rows = [[(-1, -1) if pair is None else pair for pair in row] for row in rows]
    flat = np.array([pair for row in rows for pair in row], dtype=np.int32).reshape(-1, 2)
    return flat, np.array([len(row) for row in rows], dtype=np.int64)


def _column(rows: Rows, name: str) -> list[Any]:
    """One column as a list, without reading the other columns of a data set."""
    if hasattr(rows, "column_names"):
        return list(rows[name])
    return [row[name] for row in rows]


def _example_of_window(ids: list[str], window_ids: list[str]) -> IntArray:
    """Index of the example that each window belongs to."""
    index = {question_id: position for position, question_id in enumerate(ids)}
    if len(index) < len(ids):
        repeated = next(question_id for position, question_id in enumerate(ids) if index[question_id] != position)
        raise DatasetFormatError(f"The id {repeated!r} occurs more than once. Give every question an id of its own.")
    try:
        return np.array([index[window_id] for window_id in window_ids], dtype=np.int64)
    except KeyError as error:
        raise DatasetFormatError(
            f"A window belongs to question {error.args[0]!r}, which is not among the {len(ids)} examples. Pass the"
            " examples from which the features were built."
        ) from None


def _checked_logits(logits: npt.ArrayLike, windows: int) -> FloatArray:
    """Logits as float32, one row per window, without NaN."""
    array = np.asarray(logits, dtype=np.float32)
    if array.ndim != 2 or len(array) != windows:
        raise ConfigurationError(
            f"Logits of shape {array.shape} do not fit {windows} windows: expected ({windows}, tokens). Pass the"
            " logits of exactly these features, in their order."
        )
    if np.isnan(array).any():
        window = int(np.isnan(array).any(axis=1).argmax())
        raise ConfigurationError(
            f"The logits of window {window} hold NaN, so that no answer can be ranked. The model diverged, or"
            " overflowed in half precision: evaluate it in bfloat16 or float32."
        )
    return array
