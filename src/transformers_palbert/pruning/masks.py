"""Masks: which entries stay (``top_v``), how many of them (:func:`apportion`), and the two gradients of ``W ⊙ M``.

Equation numbers are those of Zheng et al., "PAL-BERT" (doi 10.32604/cmes.2023.046692); the straight-through gradient
of the scores is that of Sanh et al., "Movement Pruning" (arXiv 2005.07683), section 4.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ..errors import PruningError

__all__ = ["apportion", "mask_weight", "top_v", "top_v_global"]


def apportion(density: float, sizes: Sequence[int]) -> list[int]:
    """Numbers of kept entries for matrices of ``sizes`` entries, whose sum is exactly ``round(density · Σ sizes)``.

    Each matrix gets its share of the running total, so no matrix is off by more than one entry and rounding errors
    never add up.
    """
    kept, seen, given = [], 0, 0
    for size in sizes:
        seen += size
        kept.append(round(density * seen) - given)
        given += kept[-1]
    return kept


def top_v(scores: Tensor, kept: int) -> Tensor:
    """Mask of the ``kept`` largest scores of Eq. 1. Exact: ties are broken by position.

    The threshold comes from a selection, not from a sort: numpy's vectorised ``partition`` on the CPU,
    ``torch.topk`` elsewhere, without reading a value back to the host.

    Args:
        scores: Any shape, floating point.
        kept: Number of entries to keep, in [0, scores.numel()].

    Returns:
        A bool tensor of the shape of ``scores`` with exactly ``kept`` True entries.

    Raises:
        PruningError: if ``kept`` is out of range, or (CPU only, where looking costs nothing) a score is not a number.
    """
    size = scores.numel()
    if not 0 <= kept <= size:
        raise PruningError(f"kept={kept} is not in [0, {size}], the number of scores.")
    if kept in (0, size):
        return torch.full_like(scores, kept > 0, dtype=torch.bool)
    select = _select_on_cpu if scores.device.type == "cpu" else _select_on_device
    return select(scores.detach().reshape(-1).float(), kept).view(scores.shape)


def _select_on_cpu(scores: Tensor, kept: int) -> Tensor:
    values = scores.numpy()
    threshold = np.partition(values, values.size - kept)[values.size - kept]
    mask = values > threshold
    missing = kept - np.count_nonzero(mask)
    # NaN sorts last, so with one among the scores the selection is not what it claims to be: it shows in the count
    ties = np.flatnonzero(values == threshold)
    if np.isnan(threshold) or missing > ties.size or np.isnan(values.max()):
        raise PruningError(
            f"{np.count_nonzero(np.isnan(values))} of {values.size} scores are NaN. A NaN loss or gradient reached the"
            " optimizer: lower the learning rate, clip gradients, or use bf16 instead of fp16."
        )
    mask[ties[:missing]] = True
    return torch.from_numpy(mask)


def _select_on_device(scores: Tensor, kept: int) -> Tensor:
    threshold = scores.topk(kept, sorted=True).values[-1]
    above, ties = scores > threshold, scores == threshold
    return above | (ties & (ties.cumsum(0) <= kept - above.sum()))


def top_v_global(scores: Sequence[Tensor], kept: int) -> list[Tensor]:
    """:func:`top_v` over several tensors taken as one, so that important matrices keep more than others."""
    flat = top_v(torch.cat([score.detach().reshape(-1) for score in scores]), kept)
    parts = flat.split([score.numel() for score in scores])
    return [part.view(score.shape) for part, score in zip(parts, scores, strict=True)]


class _MaskWeight(torch.autograd.Function):
    """``W ⊙ M`` with the gradients of Eq. 3–5 for ``W`` and ``S``, both from the one upstream gradient."""

    @staticmethod
    def forward(ctx: Any, weight: Tensor, scores: Tensor, mask: Tensor) -> Tensor:  # noqa: ARG004 (for its gradient)
        ctx.save_for_backward(weight, mask)
        return weight * mask

    @staticmethod
    def backward(ctx: Any, *grad_outputs: Tensor) -> tuple[Tensor | None, Tensor | None, None]:
        (upstream,) = grad_outputs
        weight, mask = ctx.saved_tensors
        for_weight = upstream * mask if ctx.needs_input_grad[0] else None
        for_scores = upstream.float() * weight.float() if ctx.needs_input_grad[1] else None
        return for_weight, for_scores, None


def mask_weight(weight: Tensor, mask: Tensor, scores: Tensor | None = None) -> Tensor:
    """Effective weight ``W ⊙ M`` (Eq. 2) with the paper's gradients.

    For the upstream gradient ``G = ∂L/∂(W ⊙ M) = (∂L/∂a) xᵀ``::

        ∂L/∂W = G ⊙ M        only kept weights learn
        ∂L/∂S = G ⊙ W        straight-through: every entry, kept or not, goes on being scored

    A descent step on ``S`` raises the score of a weight exactly when its own descent step would move it away from
    zero.

    Args:
        weight: ``[out, in]``, floating point.
        mask: ``[out, in]``, bool.
        scores: ``[out, in]``, float32, or None when no score is learned (magnitude pruning).

    Returns:
        ``[out, in]``, the dtype of ``weight``.
    """
    if scores is None:
        return weight * mask
    return _MaskWeight.apply(weight, scores, mask)
