"""Questions with passages: the form of the MRQA 2019 shared task, and that of DPR (Dense Passage Retrieval).

**MRQA.** JSON lines, mostly ``.jsonl.gz``: a first line with a ``header``, then one context a line with its ``qas``.
``detected_answers`` are places in the context, with ``char_spans`` whose ends are inclusive; ``answers`` are the texts
that people wrote. Each detected answer gives one answer: what the context has at its first span, if that is the
detected text but for case, articles and punctuation. Otherwise the text is looked for near that span. Texts that were
detected nowhere come behind, for scoring.

**DPR.** A list of questions with the texts of their ``answers`` and passages ``positive_ctxs`` that hold one. The
context is the first such passage in which an answer stands character by character; else the first passage, and else
``""``: then no answer is in it, so training sets the question aside, and evaluation counts it. Negative passages are
not used.

Source: Fisch et al. 2019 (arXiv 1910.09753); Karpukhin et al. 2020 (arXiv 2004.04906). No file of either was at hand:
the reader follows their published descriptions, and is tested on small files made for it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from ..errors import DatasetFormatError
from .metrics.squad_scoring import normalize_answer
from .raw_questions import RawAnswer, RawQuestion, encodable, expect, get_field, identifier, list_field, text_field

__all__ = ["dpr_question", "mrqa_questions"]


def mrqa_questions(record: Any, where: str) -> Iterator[RawQuestion]:
    """Read one line of an MRQA file: a context with its questions, or the header, which has none.

    Raises:
        DatasetFormatError: if a field is missing or wrong, or a span lies outside of the context.
    """
    expect(record, Mapping, where)
    if "header" in record and "qas" not in record:
        return
    context = text_field(record, "context", where)
    for index, qa in enumerate(list_field(record, "qas", where)):
        place = f"{where}.qas[{index}]"
        expect(qa, Mapping, place)
        key = identifier(qa, "qid" if "qid" in qa or "id" not in qa else "id", place)
        answers = tuple(_mrqa_answers(qa, context, place))
        yield RawQuestion(place, key, "", context, text_field(qa, "question", place), answers)


def _mrqa_answers(qa: Mapping[str, Any], context: str, where: str) -> Iterator[RawAnswer]:
    found = []
    for index, detected in enumerate(get_field(qa, "detected_answers", where, optional=True) or []):
        answer = _detected(detected, context, f"{where}.detected_answers[{index}]")
        found += [answer.text, text_field(detected, "text", f"{where}.detected_answers[{index}]")]
        yield answer
    for index, text in enumerate(get_field(qa, "answers", where, optional=True) or []):
        expect(text, str, f"{where}.answers[{index}]")
        if text and text not in found:
            yield RawAnswer(encodable(text, f"{where}.answers[{index}]"), None)


def _detected(detected: Any, context: str, where: str) -> RawAnswer:
    text = text_field(detected, "text", where)
    spans = list_field(detected, "char_spans", where)
    if not spans:
        return RawAnswer(text, None)
    start, last = _span(spans[0], len(context), f"{where}.char_spans[0]")
    there = context[start : last + 1]
    return RawAnswer(there if normalize_answer(there) == normalize_answer(text) else text, start)


def _span(value: Any, size: int, where: str) -> tuple[int, int]:
    numbers = value if isinstance(value, list) else []
    if len(numbers) != 2 or any(isinstance(n, bool) or not isinstance(n, int) for n in numbers):
        raise DatasetFormatError(f"{where}: expected first and last character of the answer, got {value!r:.60}")
    start, last = numbers
    if not 0 <= start <= last < size:
        raise DatasetFormatError(f"{where}: characters {start} to {last} are no span of a context with {size}")
    return start, last


def dpr_question(record: Any, where: str) -> RawQuestion:
    """Read one question of a DPR file.

    Raises:
        DatasetFormatError: if a field is missing or wrong.
    """
    texts = [
        encodable(expect(text, str, f"{where}.answers[{index}]"), f"{where}.answers[{index}]")
        for index, text in enumerate(list_field(record, "answers", where))
    ]
    texts = [text for text in texts if text]
    passages = [
        (text_field(passage, "title", place, optional=True), text_field(passage, "text", place))
        for index, passage in enumerate(list_field(record, "positive_ctxs", where))
        for place in (f"{where}.positive_ctxs[{index}]",)
    ]
    holding = [passage for passage in passages if any(text in passage[1] for text in texts)]
    title, context = next(iter(holding or passages), ("", ""))
    question = text_field(record, "question", where)
    key = identifier(record, "id", where, optional=True)
    return RawQuestion(where, key, title, context, question, tuple(RawAnswer(text, None) for text in texts))
