"""Naive question answering: windows, labels and answers in plain loops over tokens.

Slow and simple on purpose: the tests compare the package with these.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

__all__ = ["naive_label", "naive_pipeline", "naive_postprocess", "naive_spans", "naive_windows"]


def naive_windows(question: list[int], context: list[int], room: int, stride: int) -> list[tuple[list[int], int]]:
    """Token ids and first context token of every window: steps of ``room - stride`` until the context is covered."""
    windows = []
    begin = 0
    while True:
        windows.append((question + context[begin : begin + room], begin))
        if begin + room >= len(context):
            return windows
        begin += room - stride


def naive_label(offsets: Sequence[tuple[int, int] | None], cls: int, start: int, end: int) -> tuple[int, int]:
    """First and last token that share a character with the answer, if the window's context spans all of it."""
    context = [token for token, pair in enumerate(offsets) if pair is not None]
    if not context or offsets[context[0]][0] > start or offsets[context[-1]][1] < end:
        return cls, cls
    touching = [t for t in context if any(start <= char < end for char in range(*offsets[t]))]
    return (touching[0], touching[-1]) if touching else (cls, cls)


def naive_postprocess(
    examples: Sequence[dict[str, Any]],
    features: Sequence[dict[str, Any]],
    starts: np.ndarray,
    ends: np.ndarray,
    *,
    n_best_size: int = 20,
    max_answer_length: int = 30,
    version_2_with_negative: bool = False,
    null_score_diff_threshold: float = 0.0,
) -> tuple[dict[str, str], dict[str, list[tuple[str, float]]], dict[str, float]]:
    """The standard evaluation, one span at a time: answers, n-best (text, probability) and null odds by id."""
    answers, nbest, odds = {}, {}, {}
    for example in examples:
        spans: list[dict[str, Any]] = []
        null: dict[str, Any] | None = None
        for feature, start, end in zip(features, starts, ends, strict=True):
            if feature["example_id"] != example["id"]:
                continue
            offsets = feature["offset_mapping"]
            start, end = start[: len(offsets)], end[: len(offsets)]  # padding is no part of a window
            if null is None or start[0] + end[0] < null["score"]:
                null = {"score": start[0] + end[0], "start": start[0], "end": end[0], "text": ""}
            best_starts = sorted(range(len(start)), key=lambda t: (start[t], t), reverse=True)[:n_best_size]
            best_ends = sorted(range(len(end)), key=lambda t: (end[t], t), reverse=True)[:n_best_size]
            for first in best_starts:
                for last in best_ends:
                    if offsets[first] is None or offsets[last] is None:
                        continue
                    if last < first or last - first + 1 > max_answer_length:
                        continue
                    text = example["context"][offsets[first][0] : offsets[last][1]]
                    spans.append(
                        {"score": start[first] + end[last], "start": start[first], "end": end[last], "text": text}
                    )
        if version_2_with_negative:
            spans.append(null)
        ranked = sorted(spans, key=lambda span: span["score"], reverse=True)[:n_best_size]
        if version_2_with_negative and not any(span is null for span in ranked):
            ranked.append(null)
        if not ranked:
            ranked = [{"score": 0.0, "start": 0.0, "end": 0.0, "text": ""}]
        weights = [math.exp(span["score"] - max(span["score"] for span in ranked)) for span in ranked]
        nbest[example["id"]] = [(s["text"], w / sum(weights)) for s, w in zip(ranked, weights, strict=True)]
        answers[example["id"]] = ranked[0]["text"]
        if version_2_with_negative:
            with_text = [span for span in ranked if span["text"]]
            best = with_text[0] if with_text else {"start": 0.0, "end": 0.0, "text": ""}
            odds[example["id"]] = float(null["score"] - best["start"] - best["end"])
            answers[example["id"]] = "" if odds[example["id"]] > null_score_diff_threshold else best["text"]
    return answers, nbest, odds


def naive_spans(
    start: np.ndarray, end: np.ndarray, context: range, cls: int, max_answer_length: int
) -> tuple[list[tuple[int, int, float]], float]:
    """All spans of one window with their probability, best first, and the probability of the null answer."""
    allowed = [*context] + ([cls] if cls >= 0 else [])

    def softmax(logits: np.ndarray) -> dict[int, float]:
        top = max(float(logits[token]) for token in allowed)
        weights = {token: math.exp(float(logits[token]) - top) for token in allowed}
        return {token: weight / sum(weights.values()) for token, weight in weights.items()}

    if not allowed:
        return [], 0.0
    starts, ends = softmax(start), softmax(end)
    spans = [
        (first, last, starts[first] * ends[last])
        for first in context
        for last in context
        if first <= last < first + max_answer_length
    ]
    null = starts[cls] * ends[cls] if cls >= 0 else 0.0
    return sorted(spans, key=lambda span: -span[2]), null


def naive_pipeline(
    model: Any,
    tokenizer: Any,
    question: str,
    context: str,
    *,
    top_k: int = 1,
    doc_stride: int = 128,
    max_seq_len: int = 384,
    max_answer_len: int = 15,
    handle_impossible_answer: bool = False,
    align_to_words: bool | str = "auto",
    normalize_over: str = "window",
) -> list[dict[str, Any]]:
    """One question, one window after the other, as the pipeline of transformers 4 decodes it.

    With ``normalize_over="document"``, the softmax is over what all windows hold. Two things are better than there: of
    equal answers, the place is that of the most probable, not of the first; and no answer has white space around it.
    """
    context_id = 1 if tokenizer.padding_side == "right" else 0
    batch = tokenizer(
        *((question, context) if context_id else (context, question)),
        truncation="only_second" if context_id else "only_first",
        max_length=max_seq_len,
        stride=doc_stride,
        return_overflowing_tokens=True,
    )
    windows = []
    for number, encoding in enumerate(batch.encodings):
        inputs = {name: torch.tensor([batch[name][number]]) for name in tokenizer.model_input_names if name in batch}
        with torch.no_grad():
            outputs = model(**inputs, return_dict=True)
        inside = [token for token, sequence in enumerate(encoding.sequence_ids) if sequence == context_id]
        cls = encoding.ids.index(tokenizer.cls_token_id) if tokenizer.cls_token_id in encoding.ids else -1
        logits = outputs.start_logits[0].float().numpy(), outputs.end_logits[0].float().numpy()
        windows.append((encoding, inside, cls, *logits))
    shares = _shares(windows) if normalize_over == "document" else [1.0] * len(windows)
    places: dict[str, list[tuple[float, dict[str, Any]]]] = {}
    nulls = []
    for (encoding, inside, cls, start, end), share in zip(windows, shares, strict=True):
        context_tokens = range(inside[0], inside[-1] + 1) if inside else range(0)
        spans, null = naive_spans(start, end, context_tokens, cls, max_answer_len)
        spans = [(first, last, score * share) for first, last, score in spans]
        nulls.append(null * share)
        for first, last, score in spans[: top_k * 2 + 10 if align_to_words else top_k]:
            if align_to_words and encoding.word_ids[first] is not None and encoding.word_ids[last] is not None:
                begin = min(encoding.offsets[t][0] for t in inside if encoding.word_ids[t] == encoding.word_ids[first])
                stop = max(encoding.offsets[t][1] for t in inside if encoding.word_ids[t] == encoding.word_ids[last])
                if align_to_words == "auto" and any(
                    "\u4e00" <= c <= "\u9fff" for c in _word_at(encoding, context, first)
                ):
                    begin = encoding.offsets[first][0]
                if align_to_words == "auto" and any(
                    "\u4e00" <= c <= "\u9fff" for c in _word_at(encoding, context, last)
                ):
                    stop = encoding.offsets[last][1]
            else:
                begin, stop = encoding.offsets[first][0], encoding.offsets[last][1]
            while context[begin].isspace() and begin < stop - 1:
                begin += 1
            while context[stop - 1].isspace() and begin < stop - 1:
                stop -= 1
            text = context[begin:stop]
            places.setdefault(text.lower(), []).append((score, {"start": begin, "end": stop, "answer": text}))
    answers = [
        {"score": sum(score for score, _ in found), **max(found, key=lambda one: one[0])[1]}
        for found in places.values()
    ]
    if handle_impossible_answer:
        answers.append({"score": min(nulls), "start": 0, "end": 0, "answer": ""})
    return sorted(answers, key=lambda answer: answer["score"], reverse=True)[:top_k]


def _shares(windows: list[Any]) -> list[float]:
    """Which share of all probability each window has: that of its starts times that of its ends."""
    sums = []
    for _, inside, cls, start, end in windows:
        tokens = inside + ([cls] if cls >= 0 else [])
        sums.append([sum(math.exp(float(logits[token])) for token in tokens) for logits in (start, end)])
    starts, ends = (sum(column) for column in zip(*sums, strict=True))
    return [start / starts * end / ends for start, end in sums]


def _word_at(encoding: Any, context: str, token: int) -> str:
    """The text of the word that a token is part of."""
    sequence, word = encoding.sequence_ids[token], encoding.word_ids[token]
    tokens = [
        t for t, ids in enumerate(zip(encoding.sequence_ids, encoding.word_ids, strict=True)) if ids == (sequence, word)
    ]
    return context[encoding.offsets[tokens[0]][0] : encoding.offsets[tokens[-1]][1]]
