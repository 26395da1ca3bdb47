"""The constraint that hard-concrete gates learn under: what they are expected to cost is to be the scheduled share.

With ``c`` the expected cost of the model as a share of the dense one, and ``t`` the share that the schedule asks for,
the loss is augmented by::

    λ₁ · (c - t) + λ₂ · (c - t)²          λ₁ ← λ₁ + η · (c - t)          λ₂ ← λ₂ + η · (c - t)²

The optimizer descends in the gates' odds, the multipliers ascend. ``λ₂`` begins well above zero, so that gates follow
the schedule without swinging around it. Multipliers are in units of the loss's own gradient: ``λ₁ = 1`` pushes the
gates as hard as the loss does in this step, root mean square over all gates, however large the loss and the model are.

Sources: Wang, Wohlwend and Lei, "Structured Pruning of Large Language Models" (FLOP, arXiv 1910.04732), Eq. 7; Xia,
Zhong and Chen (CoFi, arXiv 2204.00408), Eq. 3.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from .budget import Budget
from .hard_concrete import open_probability

__all__ = ["Multipliers", "expected_share"]

RATE = 100.0
"""How far λ₁ goes in a whole run in which the cost exceeds its target by the whole dense model."""

START = 50.0
"""Where λ₂ begins: an excess of one hundredth of the dense model pushes as hard as the loss does."""


@dataclass(frozen=True)
class Multipliers:
    """λ₁ and λ₂."""

    linear: float = 0.0
    quadratic: float = START

    def push(self, excess: float) -> float:
        """``∂/∂c`` of the constraint's terms, where the expected share exceeds the target by ``excess``."""
        return self.linear + 2.0 * self.quadratic * excess

    def after(self, excess: float, total_steps: int) -> Multipliers:
        """Those of the next step, in a run of ``total_steps``."""
        rate = RATE / total_steps
        return Multipliers(self.linear + rate * excess, self.quadratic + rate * excess**2)


def expected_share(budget: Budget, log_alphas: Sequence[Tensor]) -> tuple[float, list[Tensor]]:
    """The cost of a model at the expected number of its open gates, as a share of the dense one, and its gradients.

    A block whose gates are open with the probabilities ``p`` costs what its curve says at ``Σ p`` units: its expected
    cost where the curve is straight.

    Args:
        budget: The blocks, and what they cost.
        log_alphas: Log-odds of the gates of each set.

    Returns:
        The share, and its gradient by each of ``log_alphas``, float64, on the CPU.
    """
    opened = [open_probability(log_alpha.detach().double().cpu()) for log_alpha in log_alphas]
    slopes = [torch.zeros_like(probability[:, :1]) for probability in opened]
    cost = budget.rest
    for block in budget.blocks:
        count = float(opened[block.units][block.application].sum())
        cost += block.times * float(block.curve.at(count))
        slopes[block.units][block.application] = block.times * block.curve.slope(count)
    gradients = [slope * p * (1.0 - p) / budget.total for slope, p in zip(slopes, opened, strict=True)]
    return cost / budget.total, gradients


def root_mean_square(tensors: Sequence[Tensor]) -> float:
    """Of all entries of all tensors, as float64."""
    flat = torch.cat([tensor.detach().reshape(-1).double() for tensor in tensors])
    return float(np.sqrt(flat.square().mean().item()))
