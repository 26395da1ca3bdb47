"""DPR: two encoders, trained so that a question lies near the passages that answer it.

Karpukhin et al. 2020, arXiv 2004.04906::

    D(q, p) = e_Q(q) · e_P(p)

``e_Q`` and ``e_P`` are the vectors that the question encoder and the passage encoder give for ``[CLS]``. A question is
compared with the passages of its own context, some dozens: one product of matrices. An index such as faiss finds some
passages among very many without comparing all; here all are wanted, and none is used.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from transformers import AutoTokenizer, DPRContextEncoder, DPRQuestionEncoder

from ...model.digest import model_digest
from ..passages import Passages
from .base import Scored, describe_tokenizer, dot_products

__all__ = ["DprScorer"]


@dataclass(frozen=True)
class DprScorer:
    """Dot product of the embeddings of question and passage, without bounds.

    Args:
        question_encoder: A ``DPRQuestionEncoder``.
        question_tokenizer: Its tokenizer.
        passage_encoder: A ``DPRContextEncoder``.
        passage_tokenizer: Its tokenizer.
        batch_size: Texts that pass through an encoder at once.
        max_length: Texts are cut to this many tokens.
    """

    question_encoder: Any
    question_tokenizer: Any
    passage_encoder: Any
    passage_tokenizer: Any
    batch_size: int = 32
    max_length: int = 256

    name = "dpr"

    @classmethod
    def load(
        cls, question_model: str, passage_model: str, *, device: str | None = None, batch_size: int = 32
    ) -> DprScorer:
        """Load both encoders with their tokenizers, from folders or the Hub.

        Such as ``facebook/dpr-question_encoder-single-nq-base`` and ``facebook/dpr-ctx_encoder-single-nq-base``.
        """
        where = torch.device(device or ("cuda" if torch.cuda.is_available() else "cpu"))
        asking: Any = DPRQuestionEncoder.from_pretrained(question_model)
        answering: Any = DPRContextEncoder.from_pretrained(passage_model)
        return cls(
            asking.to(where).eval(),
            AutoTokenizer.from_pretrained(question_model),
            answering.to(where).eval(),
            AutoTokenizer.from_pretrained(passage_model),
            batch_size,
        )

    def describe(self) -> dict[str, Any]:
        return {
            "scorer": self.name,
            "models": [model_digest(model) for model in (self.question_encoder, self.passage_encoder)],
            "tokenizers": [describe_tokenizer(one) for one in (self.question_tokenizer, self.passage_tokenizer)],
            "max_length": self.max_length,
        }

    def __call__(self, batch: Sequence[Passages]) -> Scored:
        """Score passages; see :class:`~transformers_palbert.reduction.scorers.base.Scorer`."""
        return dot_products(
            batch,
            lambda texts: self._embed(texts, self.question_encoder, self.question_tokenizer),
            lambda texts: self._embed(texts, self.passage_encoder, self.passage_tokenizer),
        )

    @torch.inference_mode()
    def _embed(self, texts: list[str], encoder: Any, tokenizer: Any) -> npt.NDArray[Any]:
        """Vectors of texts, ``(texts, width)``; those of nearly one length share a batch."""
        order = np.argsort([-len(text) for text in texts], kind="stable")
        parts = []
        for at in range(0, len(order), self.batch_size):
            chosen = [texts[number] for number in order[at : at + self.batch_size]]
            inputs = tokenizer(chosen, truncation=True, max_length=self.max_length, padding=True, return_tensors="pt")
            parts.append(encoder(**inputs.to(encoder.device)).pooler_output.float().cpu().numpy())
        return np.concatenate(parts)[np.argsort(order)]
