"""Questions of the SQuAD schema and their answers, in contexts that become shorter."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from ..text.shortened import Shortened
from .passages import Passages

__all__ = ["Answers", "Tally", "answer_spans", "holds_answer", "keeps_answer", "move_answers", "passages_of_spans"]

BoolArray = npt.NDArray[np.bool_]
Spans = Sequence[tuple[int, int]]
Answers = Mapping[str, Sequence[Any]]
"""``{"text": […], "answer_start": […]}``, as in the SQuAD schema."""


def answer_spans(answers: Answers) -> list[tuple[int, int]]:
    """Characters ``[start, end)`` of the answers whose place in the context is known."""
    pairs = zip(answers["answer_start"], answers["text"], strict=True)
    return [(start, start + len(text)) for start, text in pairs if start >= 0]


def passages_of_spans(row: Passages, spans: Spans) -> list[int]:
    """Numbers of the passages that hold a character of one of the ``spans``, ascending."""
    found: set[int] = set()
    for start, end in spans:
        first = bisect_right(row.spans, start, key=lambda span: span[0]) - 1
        found.update(range(first, max(bisect_left(row.spans, end, key=lambda span: span[0]), first + 1)))
    return sorted(found)


def holds_answer(row: Passages, answers: Answers) -> BoolArray:
    """Which passages hold a character of an answer, ``(passages,)``."""
    holds = np.zeros(len(row), dtype=bool)
    holds[passages_of_spans(row, answer_spans(answers))] = True
    return holds


def keeps_answer(row: Passages, kept: BoolArray, spans: Spans) -> bool:
    """Whether all of one of the answers at ``spans`` is in passages that are kept."""
    return any(kept[passages_of_spans(row, [span])].all() for span in spans)


def move_answers(answers: Answers, shorter: Shortened) -> dict[str, list[Any]]:
    """The same answers in a shortened context: texts as they were, ``answer_start`` -1 where not all was kept."""
    places = [
        shorter.from_original(start, start + len(text)) if start >= 0 else None
        for start, text in zip(answers["answer_start"], answers["text"], strict=True)
    ]
    return {"text": list(answers["text"]), "answer_start": [-1 if place is None else place[0] for place in places]}


@dataclass
class Tally:
    """What was kept of a data set.

    Attributes:
        questions: Questions; as many as there were.
        answerable: Of these, those with an answer whose place in the whole context is known.
        answers_kept: Of these, those of which one such answer still stands at its place.
        answers_elsewhere: Of the others, those of whose answers a text still occurs, somewhere else.
        tokens_before: Tokens of all contexts, counted once per question.
        tokens_after: Tokens of the shorter contexts, likewise.
    """

    questions: int = 0
    answerable: int = 0
    answers_kept: int = 0
    answers_elsewhere: int = 0
    tokens_before: int = 0
    tokens_after: int = 0

    def add(self, row: Passages, kept: BoolArray, answers: Answers, shorter: Shortened | None = None) -> None:
        """Count one question.

        Args:
            row: Its passages.
            kept: Which of them are kept, ``(passages,)``.
            answers: Its answers in the whole context.
            shorter: What was kept; without it, ``answers_elsewhere`` is not counted.
        """
        self.questions += 1
        self.tokens_before += sum(row.tokens)
        self.tokens_after += int(np.asarray(row.tokens)[kept].sum())
        spans = answer_spans(answers)
        self.answerable += bool(spans)
        if keeps_answer(row, kept, spans):
            self.answers_kept += 1
        elif spans and shorter is not None:
            self.answers_elsewhere += any(text in shorter.text for text in answers["text"])

    @property
    def answers_cut(self) -> int:
        """Questions whose answers are gone from their places."""
        return self.answerable - self.answers_kept

    def to_dict(self) -> dict[str, Any]:
        """All counts, and the shares of tokens and answers that were kept, from 0 to 1."""
        shares = {
            "tokens_share": self.tokens_after / self.tokens_before if self.tokens_before else 1.0,
            "answers_share": self.answers_kept / self.answerable if self.answerable else 1.0,
        }
        return asdict(self) | {"answers_cut": self.answers_cut} | shares
