"""A reducer: everything that shortens contexts, in one object."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from ..errors import ConfigurationError
from ..text.shortened import Shortened, join_passages
from .fusion import Fusion
from .limits import Limit, choose
from .passages import Cutting, Passages
from .records import answer_spans, move_answers, passages_of_spans
from .scorers.base import Scorer

__all__ = ["Reducer"]

FloatArray = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Reducer:
    """Shortens contexts to the passages that matter for a question.

        reducer = Reducer([Bm25Scorer()], MaxTokens(256))
        shorter = reducer.shorten(["Who wrote it?"], [long_text])[0]
        shorter.text, shorter.to_original(0, 12)        # the text, and where its first 12 characters stood
        dataset.map(reducer, batched=True)              # a data set of the SQuAD schema, streaming or not

    Args:
        scorers: What scores passages; names differ.
        limit: How much is kept.
        fusion: How the scores become one.
        cutting: How contexts are cut into passages.
        neighbours: Passages on either side of one that is kept, which are kept with it.
        keep_answer: In data sets: keep the passages that hold the answers, whatever their scores. For training alone:
            where the answer is asked for, it would give it away.

    Raises:
        ConfigurationError: if there is no scorer, two have one name, or a weight belongs to none.
    """

    scorers: Sequence[Scorer]
    limit: Limit
    fusion: Fusion = field(default_factory=Fusion)
    cutting: Cutting = field(default_factory=Cutting)
    neighbours: int = 0
    keep_answer: bool = False

    def __post_init__(self) -> None:
        names = [scorer.name for scorer in self.scorers]
        if not names or len(set(names)) < len(names):
            raise ConfigurationError(f"A reducer needs scorers with different names, got {names}.")
        self.fusion.require(names)

    def relevance(self, batch: Sequence[Passages]) -> list[FloatArray]:
        """The fused scores of the passages of each question, from 0 to 1."""
        scored = {scorer.name: scorer(batch).scores for scorer in self.scorers}
        return [self.fusion({name: scores[row] for name, scores in scored.items()}) for row in range(len(batch))]

    def shorten(
        self,
        questions: Sequence[str],
        contexts: Sequence[str],
        required: Sequence[Sequence[tuple[int, int]]] | None = None,
    ) -> list[Shortened]:
        """Shorten the context of each question.

        Args:
            questions: The questions.
            contexts: One context per question.
            required: Of each question, characters ``[start, end)`` of the context that must be kept.

        Raises:
            ConfigurationError: if there are more questions than contexts, or fewer.
            DatasetFormatError: if a text holds half of a surrogate pair.
        """
        if len(questions) != len(contexts):
            raise ConfigurationError(
                f"{len(questions)} questions cannot be asked of {len(contexts)} contexts: give one for each question."
            )
        if not questions:
            return []
        batch = self.cutting.cut(questions, contexts)
        spans = required or [()] * len(batch)
        return [
            self._join(row, relevance, kept)
            for row, relevance, kept in zip(batch, self.relevance(batch), spans, strict=True)
        ]

    def _join(self, row: Passages, relevance: FloatArray, required: Sequence[tuple[int, int]]) -> Shortened:
        kept = choose(
            relevance,
            row.tokens,
            self.limit,
            neighbours=self.neighbours,
            required=passages_of_spans(row, required),
        )
        return join_passages(row.context, row.spans, kept)

    def __call__(self, batch: Mapping[str, list[Any]]) -> dict[str, list[Any]]:
        """Shorten a batch of the SQuAD schema, for ``dataset.map(reducer, batched=True)``.

        Offsets of answers are those in the shorter context; an answer that was cut away keeps its text, with
        ``answer_start`` -1. No question is lost.
        """
        spans = [answer_spans(answers) for answers in batch["answers"]]
        shorter = self.shorten(batch["question"], batch["context"], spans if self.keep_answer else None)
        answers = [move_answers(old, new) for old, new in zip(batch["answers"], shorter, strict=True)]
        return {**batch, "context": [row.text for row in shorter], "answers": answers}
