"""The constraint that hard-concrete gates learn under: what they are expected to cost is the scheduled share, exactly.

With ``c`` the expected cost of the model as a share of the dense one, and ``t`` the share that the schedule asks for,
the loss is augmented by ``λ · (c - t) + ½ ρ · (c - t)²``. The optimizer descends in the log-odds of the gates, the
multiplier ascends, and what is then still missing is made up for at once::

    ∂L/∂log α ← ∂L/∂log α + (λ + ρ · (c - t)) · ∂c/∂log α        before the optimizer's step
    λ ← λ + κ · (c - t)                                          after it
    log α ← log α - μ                                            with the one μ at which c = t

The multiplier is the price of cost: by it a gate stays open only if it is worth what it costs. Optimizers with momentum
answer to a change of the price some ten steps later, which is long in a short run; the shift does not wait for them. It
is the same for all gates, and so leaves their order to what they learned.

The multiplier is in units of the loss's own gradient: ``λ = 1`` pushes the gates as hard as the loss does in this step,
root mean square over all gates, however large the loss and the model are.

Sources: Wang, Wohlwend and Lei, "Structured Pruning of Large Language Models" (FLOP, arXiv 1910.04732), Eq. 7, for
gates under a Lagrangian; Bertsekas, "Constrained Optimization and Lagrange Multiplier Methods" (1982), chapter 2, for
the augmented one.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from .budget import Budget
from .hard_concrete import open_probability

__all__ = ["ASCENT", "PENALTY", "expected_share", "shift_to_share"]

PENALTY = 100.0
"""``ρ``: an excess of one hundredth of the dense model pushes as hard as the loss does."""

ASCENT = 10.0
"""``κ``: how far λ goes where a step of the optimizer leaves an excess of the whole dense model."""

_CLOSE = 1e-5
"""How near the expected share comes to the one that is asked for."""

_FARTHEST = 2.0
"""How far one iteration shifts the log-odds at most: where all gates are shut or open, the slope says too little."""

_ITERATIONS = 20


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


def shift_to_share(budget: Budget, log_alphas: Sequence[Tensor], share: float) -> tuple[float, list[float]]:
    """The number ``μ`` to take from all log-odds so that :func:`expected_share` is ``share``, by Newton's method.

    Args:
        budget: The blocks, and what they cost.
        log_alphas: Log-odds of the gates of each set.
        share: Between what no gate and what all gates cost.

    Returns:
        ``μ``, and the shares on the way, from the present one to the one that ``μ`` leads to: ``share``, but where
        curves of cost are flat.
    """
    shift, shares = 0.0, list[float]()
    for _ in range(_ITERATIONS):
        found, gradients = expected_share(budget, [log_alpha - shift for log_alpha in log_alphas])
        shares.append(found)
        slope = sum(float(gradient.sum()) for gradient in gradients)
        if abs(found - share) < _CLOSE or slope == 0.0:
            break
        shift += max(-_FARTHEST, min(_FARTHEST, (found - share) / slope))
    return shift, shares
