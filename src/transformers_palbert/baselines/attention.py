"""How question and context meet, and how the answer's two ends are pointed at."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from .inputs import MASKED

__all__ = ["AlignedQuestion", "AttentionFlow", "SpanPointer", "attend"]


def attend(scores: Tensor, values: Tensor, mask: Tensor) -> Tensor:
    """``softmax(scores) values`` over the values that ``mask`` allows; zero for a row that allows none.

    Args:
        scores: Shape ``(rows, queries, keys)``.
        values: Shape ``(rows, keys, width)``.
        mask: Bool, shape ``(rows, keys)``.

    Returns:
        Shape ``(rows, queries, width)``.
    """
    weights = scores.masked_fill(~mask[:, None], MASKED).softmax(-1)
    return (weights * mask[:, None]) @ values


class AlignedQuestion(nn.Module):
    """For every context word, the question words that resemble it (Chen et al. 2017, arXiv 1704.00051, section 3.2).

    ``f(p_i) = Σ_j a_ij e(q_j)``, ``a_ij = softmax_j(α(e(p_i)) · α(e(q_j)) / √d)``, ``α(x) = ReLU(W x + b)``.
    """

    def __init__(self, size: int) -> None:
        super().__init__()
        self.projection = nn.Linear(size, size)

    def forward(self, context: Tensor, question: Tensor, question_mask: Tensor) -> Tensor:
        """Word vectors (rows, length, size) of either part to vectors of the context's shape."""
        ahead, back = self.projection(context).relu(), self.projection(question).relu()
        scores = ahead @ back.transpose(1, 2) / math.sqrt(context.shape[2])
        return attend(scores, question, question_mask)


class AttentionFlow(nn.Module):
    """Attention in both directions (Seo et al. 2016, arXiv 1611.01603, section 2, "attention flow").

    Similarity ``S_ij = (W h_i) · u_j / √d``. Context to question: ``ũ_i = Σ_j softmax_j(S_ij) u_j``; question to
    context: ``h̃ = Σ_i softmax_i(max_j S_ij) h_i``. Returned is ``[h; ũ; h ∘ ũ; h ∘ h̃]``. The similarity is bilinear,
    where the paper has a linear map of ``[h; u; h ∘ u]``: the same meeting in one matrix product.
    """

    def __init__(self, size: int) -> None:
        super().__init__()
        self.similarity = nn.Linear(size, size, bias=False)

    def forward(self, context: Tensor, context_mask: Tensor, question: Tensor, question_mask: Tensor) -> Tensor:
        """States (rows, length, size) and masks (rows, length) to ``(rows, context length, 4 size)``."""
        scores = self.similarity(context) @ question.transpose(1, 2) / math.sqrt(context.shape[2])
        asked = attend(scores, question, question_mask)
        best = scores.masked_fill(~question_mask[:, None], MASKED).amax(2)
        relevant = attend(best[:, None], context, context_mask)
        return torch.cat([context, asked, context * asked, context * relevant], dim=-1)


class SpanPointer(nn.Module):
    """Start and end of the answer from states and the question's summary; the end knows where the start may be.

    ``start_i = m_i · (W_s q + b_s) / √d``, ``s = Σ_i softmax_i(start_i) m_i``,
    ``end_i = m_i · (W_e [q; s] + b_e) / √d``: the bilinear terms of Chen et al. (2017), section 3.3, with the
    dependence on the start of Seo et al. (2016).
    """

    def __init__(self, size: int) -> None:
        super().__init__()
        self.start = nn.Linear(size, size)
        self.end = nn.Linear(2 * size, size)

    def forward(self, states: Tensor, mask: Tensor, question: Tensor) -> tuple[Tensor, Tensor]:
        """States (rows, length, size), mask (rows, length), summary (rows, 1, size) to two logits (rows, length)."""
        start = self._score(states, self.start(question))
        begun = attend(start[:, None], states, mask)
        return start, self._score(states, self.end(torch.cat([question, begun], dim=-1)))

    @staticmethod
    def _score(states: Tensor, query: Tensor) -> Tensor:
        return (states @ query.transpose(1, 2))[..., 0] / math.sqrt(states.shape[2])
