"""What a scorer is: a small object that scores the passages of some questions.

Used by itself::

    scorer = Bm25Scorer()
    passages = Cutting().cut(["Who wrote it?"], ["It is old. Jane Austen wrote it."])
    scorer(passages).scores[0]       # one number per passage, the higher the better

The file of a scorer gives its formula and source.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from ..passages import Passages, describe_tokens

__all__ = ["FloatArray", "Scored", "Scorer", "describe_tokenizer", "dot_products"]

FloatArray = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Scored:
    """What a scorer finds out about some questions.

    Attributes:
        scores: Of each question, one number per passage, ``(passages,)``; higher is better, the scale is the scorer's.
        measured: Further figures by name, one per question, for the record.
    """

    scores: list[FloatArray]
    measured: dict[str, FloatArray] = field(default_factory=dict)


class Scorer(Protocol):
    """Scores passages. The scores of a question depend on nothing but the question and its own passages."""

    @property
    def name(self) -> str:
        """How the scorer is called in settings, tables and pictures."""

    def describe(self) -> dict[str, Any]:
        """All that the scores depend on, as JSON: settings, library, a digest of the model's weights."""

    def __call__(self, batch: Sequence[Passages]) -> Scored:
        """Score the passages of some questions."""


def dot_products(
    batch: Sequence[Passages],
    embed_questions: Callable[[list[str]], npt.NDArray[Any]],
    embed_passages: Callable[[list[str]], npt.NDArray[Any]],
) -> Scored:
    """Dot products of the embedding of each question with those of its passages; every text is embedded once.

    Args:
        batch: Questions with their passages.
        embed_questions: Texts to vectors, ``(texts, width)``.
        embed_passages: Texts to vectors of the same width.
    """
    questions = list(dict.fromkeys(row.question for row in batch))
    texts = list(dict.fromkeys(text for row in batch for text in row.texts))
    asked = dict(zip(questions, embed_questions(questions), strict=True))
    place = {text: number for number, text in enumerate(texts)}
    vectors = np.asarray(embed_passages(texts), dtype=np.float64)
    return Scored([vectors[[place[text] for text in row.texts]] @ asked[row.question] for row in batch])


def describe_tokenizer(tokenizer: Any | None) -> str:
    """A digest of how a tokenizer cuts texts, for :meth:`Scorer.describe`; that of its words alone for a slow one."""
    if tokenizer is None or getattr(tokenizer, "is_fast", False):
        return describe_tokens(tokenizer)
    vocabulary = tokenizer.get_vocab() if hasattr(tokenizer, "get_vocab") else {}
    kind = json.dumps([type(tokenizer).__name__, vocabulary], sort_keys=True, default=str)
    return hashlib.sha256(kind.encode()).hexdigest()[:16]
