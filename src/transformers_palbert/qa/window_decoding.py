"""The decoding of the pipeline ``question-answering``: the most probable spans of a window.

It is that of the old task of transformers, for those who ask: every span of the context is scored, by the probability
of its start times that of its end. Figures are made by the other decoding, which says how the two divide the work:
:mod:`transformers_palbert.qa.evaluation_decoding`.

Pure numpy functions over batches of windows; no Python loop runs over tokens. A span is an inclusive pair of tokens.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from ..errors import ConfigurationError

__all__ = ["DecodedWindows", "decode_windows", "normalized_over_documents", "require_positive", "top_spans"]

FloatArray = npt.NDArray[np.floating[Any]]
IntArray = npt.NDArray[np.int64]


@dataclass(frozen=True)
class DecodedWindows:
    """The most probable spans of every window, best first.

    Attributes:
        start: First token of the span in its window, -1 where a window has fewer spans; shape ``(windows, top_k)``.
        end: Last token of the span, likewise.
        probability: Probability of the start times that of the end, 0 to 1, float32, shape ``(windows, top_k)``.
        null: Probability of ``[CLS]`` as start times that as end, 0 without such a token, shape ``(windows,)``.
        log_norm: Logarithms of the denominators of the two softmaxes, of starts and of ends, shape ``(windows, 2)``.
    """

    start: IntArray
    end: IntArray
    probability: FloatArray
    null: FloatArray
    log_norm: FloatArray


def decode_windows(
    start_logits: FloatArray,
    end_logits: FloatArray,
    *,
    context_start: IntArray,
    context_length: IntArray,
    cls_index: IntArray,
    top_k: int,
    max_answer_length: int,
) -> DecodedWindows:
    """Find the most probable spans in the context of every window.

    Probabilities are a softmax over the context tokens and ``[CLS]``, for starts and ends apart; all other tokens
    have none. Everything is added up as logarithms, so that an improbable span keeps its rank where the product would
    round to zero.

    Args:
        start_logits: Float32, shape ``(windows, tokens)``.
        end_logits: Likewise.
        context_start: Index of the first context token, shape ``(windows,)``.
        context_length: Number of context tokens, shape ``(windows,)``.
        cls_index: Index of the ``[CLS]`` token or -1, shape ``(windows,)``.
        top_k: How many spans of each window to return.
        max_answer_length: Longest span, in tokens.

    Raises:
        ConfigurationError: if ``top_k`` or ``max_answer_length`` is below 1, or a logit that counts is NaN.
    """
    require_positive(top_k=top_k, max_answer_length=max_answer_length)
    tokens = np.arange(max(int(context_length.max(initial=0)), 1))
    columns = np.minimum(context_start[:, None] + tokens, start_logits.shape[1] - 1)
    outside = tokens >= context_length[:, None]
    cls_column = np.maximum(cls_index, 0)[:, None]

    def split(logits: FloatArray) -> tuple[FloatArray, FloatArray, FloatArray]:
        """Logits of the context and of ``[CLS]``, and the logarithm of their softmax's denominator."""
        context = np.take_along_axis(logits, columns, axis=1)
        context[outside] = -np.inf
        cls = np.take_along_axis(logits, cls_column, axis=1)
        cls[cls_index < 0] = -np.inf
        both = np.concatenate([context, cls], axis=1)
        top = np.max(both, axis=1, keepdims=True, initial=np.finfo(both.dtype).min)
        with np.errstate(divide="ignore"):  # neither context nor [CLS]: no span either
            return context, cls[:, 0], (top + np.log(np.exp(both - top).sum(axis=1, keepdims=True)))[:, 0]

    start, start_cls, start_norm = split(start_logits)
    end, end_cls, end_norm = split(end_logits)
    first, last, score = top_spans(start, end, top_k=top_k, max_answer_length=max_answer_length)
    log_norm = np.stack([start_norm, end_norm], axis=1)
    norm = log_norm.sum(axis=1)
    if np.isnan(norm).any():
        raise ConfigurationError(
            "The logits of a window hold NaN, so that no answer can be ranked. The model diverged in training, or"
            " overflows in half precision: load it in bfloat16 or float32."
        )
    missing = np.isneginf(score)
    with np.errstate(invalid="ignore"):
        probability = np.where(missing, 0, np.exp(score - norm[:, None]))
        null = np.where(cls_index < 0, 0, np.exp(start_cls + end_cls - norm))
    begin = context_start[:, None]
    places = np.where(missing, -1, first + begin), np.where(missing, -1, last + begin)
    return DecodedWindows(*places, probability, null, log_norm)


def normalized_over_documents(decoded: DecodedWindows, document: IntArray) -> DecodedWindows:
    """The same spans, with probabilities that compare the windows of a document with each other.

    A softmax over one window gives away all of its probability there, also where the answer is in another window. Here
    it is taken over the context tokens and ``[CLS]`` of all windows of a document: the probability of a span is
    ``exp(start logit + end logit) / (Σ exp(start logits) · Σ exp(end logits))``, with sums over the document (shared
    normalization, Clark and Gardner 2018, arXiv 1710.10723, section 3). A document of one window keeps its
    probabilities.

    Args:
        decoded: Spans of windows.
        document: Number of the document that each window belongs to, from 0, shape ``(windows,)``.
    """
    whole = np.full((int(document.max(initial=-1)) + 1, 2), -np.inf, dtype=decoded.log_norm.dtype)
    np.logaddexp.at(whole, document, decoded.log_norm)
    with np.errstate(invalid="ignore"):  # a window of nothing in a document of nothing
        share = np.nan_to_num(np.exp((decoded.log_norm - whole[document]).sum(axis=1)))
    return replace(decoded, probability=decoded.probability * share[:, None], null=decoded.null * share)


def top_spans(
    start: FloatArray, end: FloatArray, *, top_k: int, max_answer_length: int
) -> tuple[IntArray, IntArray, FloatArray]:
    """The ``top_k`` best spans of every row, by ``start[first] + end[last]``, best first.

    Only the band ``first <= last < first + max_answer_length`` is looked at: ``O(tokens * max_answer_length)``. Equal
    scores are ordered by first token, then by length, whatever stands beside them in the batch.

    Args:
        start: Score of every token as a start, ``-inf`` where none may be, shape ``(rows, tokens)``.
        end: Score of every token as an end, likewise.
        top_k: How many spans to return; fewer where a row has fewer places for one.
        max_answer_length: Longest span, in tokens.

    Returns:
        First tokens, last tokens and scores, each of shape ``(rows, top_k)``; the score is ``-inf`` where a row has
        fewer spans.
    """
    rows, tokens = start.shape
    length = min(max_answer_length, tokens)
    beyond = np.full((rows, length - 1), -np.inf, dtype=end.dtype)
    ends = np.lib.stride_tricks.sliding_window_view(np.concatenate([end, beyond], axis=1), length, axis=1)
    scores = (start[:, :, None] + ends).reshape(rows, tokens * length)
    if missing := max(top_k - tokens * length, 0):
        scores = np.concatenate([scores, np.full((rows, missing), -np.inf, dtype=scores.dtype)], axis=1)
    best = _top_columns(scores, top_k)
    first, extra = np.divmod(best, length)
    return first, first + extra, np.take_along_axis(scores, best, axis=1)


def _top_columns(values: FloatArray, k: int) -> IntArray:
    """Columns of the ``k`` largest values of every row, best first; of equal values, the left one first."""
    if k == 1:
        return values.argmax(axis=1, keepdims=True)
    width = values.shape[1]
    best = np.sort(np.argpartition(values, width - k, axis=1)[:, width - k :], axis=1)
    chosen = np.take_along_axis(values, best, axis=1)
    smallest = chosen.min(axis=1)
    # The partition picks any of several values equal to the smallest one; those rows need a full, stable sort.
    crowded = np.count_nonzero(values >= smallest[:, None], axis=1) > k
    for row in np.flatnonzero(crowded & ~np.isneginf(smallest)):
        best[row] = np.sort(np.argsort(-values[row], kind="stable")[:k])
        chosen[row] = values[row, best[row]]
    return np.take_along_axis(best, np.argsort(-chosen, axis=1, kind="stable"), axis=1)


def require_positive(**sizes: int) -> None:
    """Raise :class:`~transformers_palbert.errors.ConfigurationError` for the first that is no whole number from 1."""
    for name, value in sizes.items():
        if isinstance(value, bool) or not isinstance(value, int | np.integer):
            raise ConfigurationError(f"`{name}` must be a whole number, got {value!r}.")
        if value < 1:
            raise ConfigurationError(f"`{name}` must be at least 1, got {value}.")
