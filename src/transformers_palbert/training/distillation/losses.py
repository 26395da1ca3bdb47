"""How far a student is from its teacher: pure functions on logits, hidden states and attention.

Each returns one number per row of the batch (a window, or a text), averaged over the row's own tokens. Rows are then
averaged by whoever calls: so the loss of a batch does not depend on how much padding its rows need, nor on how they are
spread over accumulation steps and processes.

Everything is computed in float32, or in float64 for models of float64, whatever precision the models run in.
"""

from __future__ import annotations

import math
from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional

__all__ = [
    "ATTENTION_LOSSES",
    "AttentionLoss",
    "attention_distance",
    "attention_log_probabilities",
    "class_divergence",
    "label_divergence",
    "position_divergence",
    "state_distance",
    "token_mean",
    "value_distance",
    "widened",
]

AttentionLoss = Literal["mse", "kl"]
ATTENTION_LOSSES: tuple[AttentionLoss, ...] = ("mse", "kl")


def widened(tensor: Tensor) -> Tensor:
    """``tensor`` in float32, or as it is where that is wider already."""
    return tensor.to(torch.promote_types(tensor.dtype, torch.float32))


def _masked(logits: Tensor, mask: Tensor | None) -> Tensor:
    """``logits`` with the lowest finite value where ``mask`` is 0; its probability is then exactly 0."""
    return logits if mask is None else logits.masked_fill(mask == 0, torch.finfo(logits.dtype).min)


def _divergence(student: Tensor, teacher: Tensor) -> Tensor:
    """``KL(teacher ‖ student) = Σ p_t (log p_t - log p_s)`` over the last dimension of two log-probabilities."""
    return functional.kl_div(student, teacher, reduction="none", log_target=True).sum(dim=-1)


def token_mean(values: Tensor, mask: Tensor | None) -> Tensor:
    """Mean of ``values`` over the tokens of each row that ``mask`` keeps.

    Args:
        values: ``[batch, length]``.
        mask: 1 for tokens that count, ``[batch, length]``; None: all do.

    Returns:
        ``[batch]``; 0 for a row of which no token counts.
    """
    if mask is None:
        return values.mean(dim=1)
    counts = (mask != 0).to(values.dtype)
    return (values * counts).sum(dim=1) / counts.sum(dim=1).clamp(min=1)


# --- logits -----------------------------------------------------------------------------------------------------------


def class_divergence(student: Tensor, teacher: Tensor, temperature: float = 1.0) -> Tensor:
    """How far the student's distribution over classes is from the teacher's.

    ``T² · KL(softmax(t / T) ‖ softmax(s / T))``. The factor ``T²`` keeps the size of the gradient what it is at
    ``T = 1``.

    Args:
        student: Logits, ``[..., classes]``.
        teacher: Likewise.
        temperature: ``T``, above 0; higher softens both distributions.

    Returns:
        ``[...]``, at least 0, in nats.

    Source: Hinton et al. 2015, "Distilling the Knowledge in a Neural Network" (arXiv 1503.02531), section 2.
    """
    softened = (functional.log_softmax(widened(logits) / temperature, dim=-1) for logits in (student, teacher))
    return temperature**2 * _divergence(*softened)


def position_divergence(student: Tensor, teacher: Tensor, mask: Tensor | None, temperature: float = 1.0) -> Tensor:
    """How far the student's distribution over the positions of a row is from the teacher's, padding left out.

    :func:`class_divergence`, with the tokens that ``mask`` keeps as classes: what stands at a padded position is of no
    account, neither for the value nor for the gradient.

    Args:
        student: Logits of start or end, ``[batch, length]``.
        teacher: Likewise.
        mask: 1 for tokens, 0 for padding, ``[batch, length]``; None: there is no padding.
        temperature: Above 0.

    Returns:
        ``[batch]``, at least 0, in nats.
    """
    softened = (
        functional.log_softmax(_masked(widened(logits) / temperature, mask), dim=-1) for logits in (student, teacher)
    )
    return temperature**2 * _divergence(*softened)


def label_divergence(student: Tensor, teacher: Tensor, temperature: float = 1.0) -> Tensor:
    """How far the student is from the teacher where every label is a question of its own, mean over the labels.

    ``T² · KL`` between ``sigmoid(t / T)`` and ``sigmoid(s / T)``, each a distribution over yes and no.

    Args:
        student: Logits of a multi-label classifier, ``[batch, labels]``.
        teacher: Likewise.
        temperature: Above 0.

    Returns:
        ``[batch]``, at least 0, in nats.
    """
    own, target = (
        torch.stack((widened(logits), torch.zeros_like(widened(logits))), dim=-1) for logits in (student, teacher)
    )
    return class_divergence(own, target, temperature).mean(dim=-1)


def value_distance(student: Tensor, teacher: Tensor) -> Tensor:
    """Squared distance of predicted numbers (regression), mean over those of a row: ``[batch, values] -> [batch]``."""
    return (widened(student) - widened(teacher)).square().mean(dim=-1)


# --- hidden states ----------------------------------------------------------------------------------------------------


def state_distance(student: Tensor, teacher: Tensor, mask: Tensor | None) -> Tensor:
    """Mean squared error of the hidden states of a layer, token by token: padding is left out.

    ``1 / (n · d) · Σ_i ‖s_i - t_i‖²`` over the ``n`` real tokens of a row, for states of width ``d``.

    Args:
        student: ``[batch, length, d]``; already projected, where the student is not as wide as the teacher.
        teacher: Likewise.
        mask: 1 for tokens, 0 for padding, ``[batch, length]``; None: there is no padding.

    Returns:
        ``[batch]``.

    Source: Jiao et al. 2020, "TinyBERT" (arXiv 1909.10351), equation 8; without padding as in Kurtic et al. 2023,
    "ZipLM" (arXiv 2302.04089), section on token-wise distillation.
    """
    return token_mean((widened(student) - widened(teacher)).square().mean(dim=-1), mask)


# --- attention --------------------------------------------------------------------------------------------------------


def attention_log_probabilities(query: Tensor, key: Tensor, width: int, mask: Tensor | None) -> Tensor:
    """Logarithms of attention probabilities, ``log softmax(Q Kᵀ / √width)``, before any dropout.

    Args:
        query: What the query projection returns, ``[batch, length, heads × width]``.
        key: Likewise.
        width: Of one head.
        mask: 1 for tokens, 0 for padding, ``[batch, length]``; None: there is no padding.

    Returns:
        ``[batch, heads, length, length]``: one distribution over the keys per query.
    """
    q, k = (widened(tensor).unflatten(-1, (-1, width)).transpose(1, 2) for tensor in (query, key))
    scores = q @ k.transpose(2, 3) * width**-0.5
    return functional.log_softmax(_masked(scores, None if mask is None else mask[:, None, None, :]), dim=-1)


def attention_distance(student: Tensor, teacher: Tensor, mask: Tensor | None, kind: AttentionLoss = "mse") -> Tensor:
    """How far the attention maps of a student's layer are from those of its teacher's, between real tokens.

    For the ``n`` real tokens of a row and ``H`` heads, with the probabilities ``a`` of query ``i`` and key ``j``:

    - ``"mse"``: ``1 / (H · n²) · Σ_h Σ_i Σ_j (a_s - a_t)²``
    - ``"kl"``: ``1 / (H · n) · Σ_h Σ_i Σ_j a_t (log a_t - log a_s)``, in nats

    Where the numbers of heads differ, the mean of each model's maps over its heads is compared, as if both had one.

    Args:
        student: What :func:`attention_log_probabilities` returns, ``[batch, heads, length, length]``.
        teacher: Likewise; the number of its heads may be another.
        mask: 1 for tokens, 0 for padding, ``[batch, length]``; None: there is no padding.
        kind: See above.

    Returns:
        ``[batch]``, at least 0.

    Source: Jiao et al. 2020, "TinyBERT" (arXiv 1909.10351), equation 7, there on scores before the softmax; on
    probabilities, Wang et al. 2020, "MiniLM" (arXiv 2002.10957), section 3.1.
    """
    if student.shape[1] != teacher.shape[1]:
        student, teacher = (_mean_over_heads(maps) for maps in (student, teacher))
    if kind == "kl":
        return token_mean(_divergence(student, teacher).mean(dim=1), mask)
    squares = (student.exp() - teacher.exp()).square().mean(dim=1)  # 0 for padded keys, in both
    keys = squares.shape[-1] if mask is None else (mask != 0).sum(dim=1, keepdim=True).clamp(min=1)
    return token_mean(squares.sum(dim=-1) / keys, mask)


def _mean_over_heads(maps: Tensor) -> Tensor:
    """Logarithm of the mean over heads of the probabilities whose logarithms are ``maps``."""
    return maps.logsumexp(dim=1, keepdim=True) - math.log(maps.shape[1])
