"""BM25: what the words are worth that a passage shares with the question; by the library bm25s.

Robertson and Zaragoza 2009, doi 10.1561/1500000019::

    BM25(q, p) = Σ_{w in q} ln(1 + (N - n_w + 0.5) / (n_w + 0.5)) · f_wp / (f_wp + k1 · (1 - b + b · |p| / mean |p|))

``N`` passages, ``n_w`` of which hold the word ``w``; ``f_wp`` is how often ``p`` holds it. The passages are those of
the question's context alone, so that a text needs no collection around it. (The variant of Lucene, which no word makes
worse.)
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from importlib.metadata import version
from typing import Any

import numpy as np

from ...errors import ConfigurationError, require
from ...text.segmentation import JiebaSegmenter
from ..passages import Passages
from .base import FloatArray, Scored

__all__ = ["Bm25Scorer", "words_of"]

_CHINESE = "\u3007\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003ffff"
_RUN = re.compile(rf"[{_CHINESE}]+|[^\W_{_CHINESE}]+")
_FORMAT = 2  # part of the scores' description: raise it whenever a text becomes other words


def words_of(text: str) -> list[str]:
    """The words of a text as they are compared, without signs: jieba's in runs of Chinese characters, else by spaces.

    They are in lower case, and characters that look alike are one (Unicode's NFKC): full-width letters and digits are
    usual ones, and an accent is the same whether it is a character of its own or part of its letter.

    Raises:
        MissingExtraError: if the text is Chinese and jieba is not installed.
    """
    runs = _RUN.findall(unicodedata.normalize("NFKC", text).casefold())
    return [word for run in runs for word in (_chinese_words(run) if re.match(rf"[{_CHINESE}]", run) else [run])]


def _chinese_words(run: str) -> list[str]:
    return [run[start:end] for start, end in JiebaSegmenter().spans(run)]


@dataclass(frozen=True)
class Bm25Scorer:
    """BM25 of every passage; no model and no training.

    Args:
        k1: How much the second and third occurrence of a word count, 0 or above; 0: nothing.
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
        indexes = {key: self._index([words_of(text) for text in row.texts]) for key, row in rows.items()}
        return Scored([_scores(indexes[row.context, row.spans], words_of(row.question), len(row)) for row in batch])

    def _index(self, passages: list[list[str]]) -> Any:
        """What bm25s makes of the words of the passages; None where there are none."""
        if not any(passages):
            return None
        index = require("bm25s", "reduction").BM25(method="lucene", k1=self.k1, b=self.b)
        index.index(passages, show_progress=False)
        return index


def _scores(index: Any, question: list[str], passages: int) -> FloatArray:
    known = [] if index is None else [word for word in question if word in index.vocab_dict]
    return np.asarray(index.get_scores(known), dtype=np.float64) if known else np.zeros(passages)
