"""SBERT: how close question and passage are in meaning.

Reimers and Gurevych 2019, arXiv 1908.10084::

    S(q, p) = cos(e(q), e(p))

``e`` is a sentence encoder: any that the library sentence-transformers loads, from a folder or from the Hub; a plain
encoder of transformers as well, whose token vectors are then averaged. What it has not been trained for (another
language, questions) its scores are not good for.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from importlib.metadata import version
from typing import Any

import numpy as np
import numpy.typing as npt

from ...errors import require
from ...model.digest import model_digest
from ..passages import Passages
from .base import Scored, describe_tokenizer, dot_products

__all__ = ["SbertScorer"]


_SETTINGS = ("max_seq_length", "prompts", "default_prompt_name")
"""What an encoder does to texts that no weight shows."""


@dataclass(frozen=True)
class SbertScorer:
    """Cosine of the embeddings of question and passage, from -1 to 1.

    Args:
        encoder: A ``SentenceTransformer``, or what has its ``encode``.
        batch_size: Texts that pass through the encoder at once.
    """

    encoder: Any
    batch_size: int = 32

    name = "sbert"

    @classmethod
    def load(cls, model: str, *, device: str | None = None, batch_size: int = 32) -> SbertScorer:
        """Load an encoder from a folder or the Hub; without ``device`` to the fastest there is.

        Raises:
            MissingExtraError: if sentence-transformers is not installed.
        """
        library = require("sentence_transformers", "reduction")
        return cls(library.SentenceTransformer(model, device=device), batch_size)

    def describe(self) -> dict[str, Any]:
        library = f"sentence-transformers {version('sentence-transformers')}"
        return {
            "scorer": self.name,
            "model": model_digest(self.encoder),
            "modules": repr(self.encoder),  # and so how token vectors are pooled
            "settings": {name: getattr(self.encoder, name, None) for name in _SETTINGS},
            "lower case": [getattr(part, "do_lower_case", None) for part in self.encoder.children()],
            "tokenizer": describe_tokenizer(getattr(self.encoder, "tokenizer", None)),
            "library": library,
        }

    def __call__(self, batch: Sequence[Passages]) -> Scored:
        """Score passages; see :class:`~transformers_palbert.reduction.scorers.base.Scorer`."""
        return dot_products(batch, self._embed, self._embed)

    def _embed(self, texts: list[str]) -> npt.NDArray[Any]:
        embedded = self.encoder.encode(
            texts, batch_size=self.batch_size, normalize_embeddings=True, show_progress_bar=False
        )
        return np.asarray(embedded)
