"""Hard-concrete gates: how much of a unit is open in a training step, drawn anew for each, and learned by its odds.

A gate ``z`` in [0, 1] is drawn from a distribution that has mass at both ends, so that gates open and close wholly and
still have a gradient. For noise ``u``, uniform in (0, 1), and the learned log-odds ``log α``::

    s = σ((ln u - ln(1 - u) + log α) / β)                z = min(1, max(0, s · (ζ - γ) + γ))
    P(z ≠ 0) = σ(log α - β · ln(-γ / ζ))

Source: Louizos, Welling and Kingma, "Learning Sparse Neural Networks through L0 Regularization" (arXiv 1712.01312),
Eq. 10-12, with their β, γ and ζ; on heads and feed-forward units: McCarley et al. (arXiv 1910.06360).
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

__all__ = ["BETA", "GAMMA", "START", "ZETA", "gate_noise", "open_probability", "sample_gates"]

BETA, GAMMA, ZETA = 2 / 3, -0.1, 1.1

START = 3.0
"""Where ``log α`` starts: 99 % of the gates are open then, and one in five not wholly, so that all of them learn."""

_EDGE = 1e-6
"""How near the noise comes to 0 and 1, where its log-odds are infinite."""


def sample_gates(log_alpha: Tensor, noise: Tensor) -> Tensor:
    """Gates ``z`` in [0, 1], of the shape and dtype of ``log_alpha``, with gradients for it.

    Args:
        log_alpha: Log-odds of the gates.
        noise: ``u`` in (0, 1), of the same shape.
    """
    stretched = torch.sigmoid((torch.logit(noise) + log_alpha) / BETA) * (ZETA - GAMMA) + GAMMA
    return stretched.clamp(0.0, 1.0)


def open_probability(log_alpha: Tensor) -> Tensor:
    """``P(z ≠ 0)``, of the shape and dtype of ``log_alpha``."""
    return torch.sigmoid(log_alpha - BETA * math.log(-GAMMA / ZETA))


def gate_noise(shapes: Sequence[Sequence[int]], seed: int, step: int) -> list[Tensor]:
    """The noise of one optimizer step: the same on every machine, in every process and in a run that goes on.

    Args:
        shapes: Of the gates of each layer.
        seed: Of the run.
        step: Finished optimizer steps.

    Returns:
        Uniform in (0, 1), float32, on the CPU.
    """
    generator = torch.Generator().manual_seed((seed * 1_000_003 + step) % 2**63)
    return [torch.rand(tuple(shape), generator=generator).clamp(_EDGE, 1.0 - _EDGE) for shape in shapes]
