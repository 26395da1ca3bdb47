"""BM25: what the words are worth that a passage shares with the question; by the library bm25s.

Robertson and Zaragoza 2009, doi 10.1561/1500000019::

    BM25(q, p) = Σ_{w in q} ln(1 + (N - n_w + 0.5) / (n_w + 0.5)) · f_wp / (f_wp + k1 · (1 - b + b · |p| / mean |p|))

``N`` passages, ``n_w`` of which hold the term ``w``; ``f_wp`` is how often ``p`` holds it. The passages are those of
the question's context alone, so that a text needs no collection around it. (The variant of Lucene, which no term makes
worse.)

The terms of Chinese are characters and pairs of neighbours, those of other scripts words and their pieces of four
characters. So "founded" finds "founder", and no dictionary has to know a name. Common English words of a question play
no part.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence, Set
from dataclasses import asdict, dataclass
from importlib.metadata import version
from typing import Any

import numpy as np

from ...errors import ConfigurationError, require
from ..passages import Passages
from .base import FloatArray, Scored

__all__ = ["COMMON", "Bm25Scorer", "asked_for", "terms_of"]

COMMON = frozenset({
    "a", "an", "and", "are", "as", "at", "be", "but", "by", "did", "do", "does", "for", "from", "had", "has",
    "have", "how", "if", "in", "into", "is", "it", "its", "no", "not", "of", "on", "or", "s", "such", "that",
    "the", "their", "then", "there", "these", "they", "this", "to", "was", "were", "what", "when", "where",
    "which", "who", "why", "will", "with"
})  # fmt: skip
"""English words that say nothing about what a question asks for."""

_CHINESE = "\u3007\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003ffff"
_RUN = re.compile(rf"[{_CHINESE}]+|[^\W_{_CHINESE}]+")
_IS_CHINESE = re.compile(f"[{_CHINESE}]").match
_PIECE = 4
_FORMAT = 2  # part of the scores' description: raise it whenever a text becomes other terms


def terms_of(text: str, without: Set[str] = frozenset()) -> list[str]:
    """What of a text is compared with another; signs are not.

    Of a run of Chinese characters these are all characters and all pairs of neighbours; of another word itself and its
    pieces of four characters, with ``~`` before them. All is in lower case, and characters that look alike are one
    (Unicode's NFKC): full-width digits are usual ones, and an accent is the same whether it is a character of its own
    or part of its letter.

    Args:
        text: Any text.
        without: Words that are left out, with their pieces.

    Example:
        >>> terms_of("北京人, Berlin")
        ['北', '京', '人', '北京', '京人', 'berlin', '~berl', '~erli', '~rlin']
    """
    terms = []
    for run in _RUN.findall(unicodedata.normalize("NFKC", text).casefold()):
        if _IS_CHINESE(run):
            terms += [*run, *_pieces(run, 2)]
        elif run not in without:
            terms += [run, *(f"~{piece}" for piece in _pieces(run, _PIECE))]
    return terms


def _pieces(word: str, length: int) -> list[str]:
    return [word[start : start + length] for start in range(len(word) - length + 1)]


@dataclass(frozen=True)
class Bm25Scorer:
    """BM25 of every passage; no model and no training.

    Args:
        k1: How much the second and third occurrence of a term count, 0 or above; 0: nothing.
        b: How much longer passages are held back, from 0 to 1.

    Raises:
        ConfigurationError: if a value is out of range.
        MissingExtraError: if bm25s is not installed.
    """

    k1: float = 1.5
    b: float = 0.75

    name = "bm25"

    def __post_init__(self) -> None:
        if self.k1 < 0 or not 0 <= self.b <= 1:
            raise ConfigurationError(f"k1={self.k1} must be 0 or above, and b={self.b} from 0 to 1.")
        require("bm25s", "reduction")

    def describe(self) -> dict[str, Any]:
        library = f"bm25s {version('bm25s')}"
        return {"scorer": self.name, "format": _FORMAT, **asdict(self), "library": library}

    def __call__(self, batch: Sequence[Passages]) -> Scored:
        """Score passages; see :class:`~transformers_palbert.reduction.scorers.base.Scorer`."""
        rows = {(row.context, row.spans): row for row in batch}  # several questions about one text share its index
        indexes = {key: self._index([terms_of(text) for text in row.texts]) for key, row in rows.items()}
        return Scored([_scores(indexes[row.context, row.spans], asked_for(row.question), len(row)) for row in batch])

    def _index(self, passages: list[list[str]]) -> Any:
        """What bm25s makes of the terms of the passages; None where there are none."""
        if not any(passages):
            return None
        index = require("bm25s", "reduction").BM25(method="lucene", k1=self.k1, b=self.b)
        index.index(passages, show_progress=False)
        return index


def asked_for(question: str) -> list[str]:
    """The terms of a question without common words, unless it has no others."""
    return terms_of(question, COMMON) or terms_of(question)


def _scores(index: Any, question: list[str], passages: int) -> FloatArray:
    known = [] if index is None else [term for term in question if term in index.vocab_dict]
    return np.asarray(index.get_scores(known), dtype=np.float64) if known else np.zeros(passages)
