"""Answers of the question-answering pipeline to a whole data set."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from ..pipelines.inputs import blocks

__all__ = ["Answering", "question_blocks"]

_BATCHES = 16  # batches in a block: as many as the pipeline reads ahead, so that cutting costs no padding


@dataclass(frozen=True)
class Answering:
    """How questions are asked.

    Attributes:
        batch_size: Windows that pass through the model at once.
        max_answer_length: Longest answer, in tokens.
        max_seq_length: Tokens of a window; None for 384 or what the tokenizer allows.
        impossible: Whether "no answer" is a candidate.
        top_k: How many answers to return, best first.
    """

    batch_size: int = 16
    max_answer_length: int = 30
    max_seq_length: int | None = None
    impossible: bool = False
    top_k: int = 1

    def ask(self, pipe: Any, records: Sequence[dict[str, Any]], *, batch_size: int | None = None) -> list[list[Any]]:
        """Answers to every question: lists of dicts with ``score``, ``start``, ``end`` and ``answer``, best first.

        Args:
            pipe: The question-answering pipeline.
            records: Questions in the SQuAD schema.
            batch_size: In place of that of ``self``.

        Raises:
            ConfigurationError: if a question or context is empty.
        """
        found = pipe(
            [{"question": record["question"], "context": record["context"]} for record in records],
            batch_size=batch_size or self.batch_size,
            max_answer_len=self.max_answer_length,
            max_seq_len=self.max_seq_length,
            handle_impossible_answer=self.impossible,
            top_k=self.top_k,
        )
        if len(records) == 1:  # the pipeline unpacks a single question, and a single answer
            found = [found]
        return [answers if isinstance(answers, list) else [answers] for answers in found]


def question_blocks(records: Sequence[dict[str, Any]], batch_size: int) -> list[list[Any]]:
    """Cut ``records`` into blocks of some batches, within which the pipeline sorts windows by length."""
    return list(blocks(records, batch_size * _BATCHES))
