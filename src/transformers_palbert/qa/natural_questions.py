"""Natural Questions: examples of the official release, in its simplified form and in its original one.

A record is a question about a whole Wikipedia page, with what annotators answered: one in the training files, five in
the development files. A page is a list of tokens, some of them HTML tags; answers are spans of tokens.

==============  ===================================================================  ===============================
field           simplified (``…simplified-nq-train.jsonl.gz``)                       original (``nq-dev-….jsonl.gz``)
==============  ===================================================================  ===============================
page            ``document_text``, tokens joined by blanks                           ``document_tokens``, with offsets
                                                                                     into ``document_html``
title           in ``document_url``                                                  ``document_title``
answers         ``annotations``: ``short_answers`` and ``long_answer`` as            the same
                ``start_token`` and ``end_token`` (exclusive), and ``yes_no_answer``
==============  ===================================================================  ===============================

The official conversion makes the first form of the second: it joins the tokens by blanks, after replacing blanks in
them by ``_``. So does this reader, and both forms give the same questions. The context is that text, tags included, and
offsets of answers are exact.

What counts as answered is what the official scoring says: at least two annotators (or the one there is) gave a short
answer, be it spans or yes or no. Then every span of every annotator is an answer, and so are ``yes`` and ``no``, which
are no text of the page: training sets such a question aside, unless somebody gave spans too.

No file of the official release was at hand when this was written: it follows the published description, and is tested
on small files made for it.

Source: Kwiatkowski et al. 2019, "Natural Questions: A Benchmark for Question Answering Research", TACL 7.
"""

from __future__ import annotations

import html
from bisect import bisect_right
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from itertools import accumulate
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

from ..errors import DatasetFormatError
from .raw_questions import RawAnswer, RawQuestion, encodable, expect, get_field, identifier, list_field, text_field
from .record_files import read_records

__all__ = [
    "ANNOTATIONS_NEEDED",
    "Annotation",
    "NaturalQuestion",
    "TokenSpan",
    "is_answered",
    "natural_question",
    "parse_natural_question",
    "read_natural_questions",
]

ANNOTATIONS_NEEDED = 2
"""So many annotators must have given an answer for a question to have one, where there are so many."""

YES_NO = ("none", "yes", "no")


@dataclass(frozen=True, order=True)
class TokenSpan:
    """Tokens of a page, from ``start`` up to but without ``end``."""

    start: int
    end: int


@dataclass(frozen=True)
class Annotation:
    """What one annotator answered.

    Attributes:
        long: The paragraph, table or list that holds the answer; None if there is none.
        short: The spans that together are the short answer; empty if there are none.
        yes_no: ``"none"``, ``"yes"`` or ``"no"``.
    """

    long: TokenSpan | None
    short: tuple[TokenSpan, ...]
    yes_no: str = "none"

    @property
    def has_short(self) -> bool:
        """Whether there is a short answer, be it spans or yes or no."""
        return bool(self.short) or self.yes_no != "none"


def is_answered(given: int, annotations: int, needed: int = ANNOTATIONS_NEEDED) -> bool:
    """Whether a question counts as answered where ``given`` of its ``annotations`` hold an answer."""
    return given >= min(needed, max(annotations, 1))


@dataclass(frozen=True)
class NaturalQuestion:
    """One record of the release.

    Attributes:
        where: Its place in the file.
        id: ``example_id``.
        title: Title of the page, ``""`` where nothing says it.
        question: The question.
        text: The page, tokens joined by blanks.
        annotations: What the annotators answered.
        candidates: The spans that a long answer is chosen from, those at the top level of the page alone.
    """

    where: str
    id: str
    title: str
    question: str
    text: str
    annotations: tuple[Annotation, ...]
    candidates: tuple[TokenSpan, ...]

    @cached_property
    def _starts(self) -> list[int]:
        return _token_starts(self.text)

    def characters(self, span: TokenSpan) -> tuple[int, int]:
        """First character of a span in the text, and the one behind its last."""
        behind = self._starts[span.end] - 1 if span.end < len(self._starts) else len(self.text)
        return self._starts[span.start], behind

    def tokens(self, start: int, end: int) -> TokenSpan:
        """The tokens that hold the characters from ``start`` up to but without ``end``."""
        return TokenSpan(bisect_right(self._starts, start) - 1, bisect_right(self._starts, max(start, end - 1)))

    def long_answer(self, short: TokenSpan) -> TokenSpan | None:
        """The first candidate that holds a short answer; None if none does."""
        return next((span for span in self.candidates if span.start <= short.start and short.end <= span.end), None)


def read_natural_questions(path: Path) -> Iterator[NaturalQuestion]:
    """Read the records of a file with all annotations, one at a time.

    Raises:
        DatasetFormatError: if the file cannot be read, or a record is not of one of the two forms.
    """
    return (parse_natural_question(record, f"{path.name}: {position}") for position, record in read_records(path))


def parse_natural_question(record: Any, where: str) -> NaturalQuestion:
    """Read one record of either form.

    Raises:
        DatasetFormatError: if a field is missing or wrong, or a span lies outside of the page.
    """
    text = _page(record, where)
    size = text.count(" ") + 1
    annotations = tuple(
        _annotation(annotation, size, f"{where}.annotations[{index}]")
        for index, annotation in enumerate(list_field(record, "annotations", where))
    )
    question = text_field(record, "question_text", where)
    title = text_field(record, "document_title", where, optional=True) or _title_in_url(record, where)
    key = identifier(record, "example_id", where)
    return NaturalQuestion(where, str(key), title, question, text, annotations, _candidates(record, size, where))


def natural_question(record: Any, where: str) -> RawQuestion:
    """Read one record as a question with the short answers of all annotators; see the module's text."""
    question = parse_natural_question(record, where)
    return RawQuestion(
        where, question.id, question.title, question.text, question.question, tuple(_short_answers(question))
    )


def _short_answers(question: NaturalQuestion) -> Iterator[RawAnswer]:
    given = sum(annotation.has_short for annotation in question.annotations)
    if not given or not is_answered(given, len(question.annotations)):
        return
    for annotation in question.annotations:
        if annotation.yes_no != "none":
            yield RawAnswer(annotation.yes_no, None, in_context=False)
        for span in annotation.short:
            start, end = question.characters(span)
            yield RawAnswer(question.text[start:end], start)


def _page(record: Any, where: str) -> str:
    if isinstance(record, dict) and "document_text" in record:
        return text_field(record, "document_text", where)
    tokens = list_field(record, "document_tokens", where)
    places = ((token, f"{where}.document_tokens[{index}]") for index, token in enumerate(tokens))
    return " ".join(text_field(token, "token", place).replace(" ", "_") for token, place in places)


def _token_starts(text: str) -> list[int]:
    lengths = (len(token) + 1 for token in text.split(" ")[:-1])
    return list(accumulate(lengths, initial=0))


def _annotation(annotation: Any, size: int, where: str) -> Annotation:
    shorts = [
        _span(span, size, f"{where}.short_answers[{index}]")
        for index, span in enumerate(list_field(annotation, "short_answers", where))
    ]
    yes_no = text_field(annotation, "yes_no_answer", where, optional=True).lower() or "none"
    if yes_no not in YES_NO:
        raise DatasetFormatError(f"{where}.yes_no_answer: expected one of {', '.join(YES_NO)}, got {yes_no!r}")
    long = _span(get_field(annotation, "long_answer", where), size, f"{where}.long_answer")
    return Annotation(long, tuple(span for span in shorts if span is not None), yes_no)


def _candidates(record: Any, size: int, where: str) -> tuple[TokenSpan, ...]:
    found = get_field(record, "long_answer_candidates", where, optional=True) or []
    places = [(span, f"{where}.long_answer_candidates[{index}]") for index, span in enumerate(found)]
    spans = [_span(span, size, place) for span, place in places if get_field(span, "top_level", place, optional=True)]
    return tuple(span for span in spans if span is not None)


def _span(value: Any, size: int, where: str) -> TokenSpan | None:
    """A span of tokens; None where both ends are -1, which stands for no span."""
    expect(value, dict, where)
    start, end = (_whole(get_field(value, name, where), f"{where}.{name}") for name in ("start_token", "end_token"))
    if start < 0 and end < 0:
        return None
    if not 0 <= start < end <= size:
        raise DatasetFormatError(f"{where}: tokens {start} to {end} are no span of a page with {size} tokens")
    return TokenSpan(start, end)


def _whole(value: Any, where: str) -> int:
    if isinstance(value, bool) or not isinstance(value, int):
        raise DatasetFormatError(f"{where}: expected an integer, got {type(value).__name__} {value!r:.60}")
    return value


def _title_in_url(record: Any, where: str) -> str:
    """The title that the address of a Wikipedia page holds, as in ``…/w/index.php?title=Email_marketing&oldid=…``."""
    address = urlsplit(html.unescape(text_field(record, "document_url", where, optional=True)))
    found = parse_qs(address.query).get("title") or [""]
    return encodable(found[0].replace("_", " "), f"{where}.document_url")
