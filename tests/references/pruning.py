"""Naive pruning: the paper's equations in plain loops or plain autograd, and masks made by sorting.

Slow and simple on purpose: the tests compare the package with these, and the benchmarks measure against
:class:`SortingMaskedLinear`.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn
from torch.nn import functional

from transformers_palbert.pruning import PruningConfig
from transformers_palbert.pruning.targets import prunable_layers

__all__ = [
    "SortingMaskedLinear",
    "naive_apportion",
    "naive_density",
    "naive_gated_linear",
    "naive_hard_concrete",
    "naive_masked_linear",
    "naive_open",
    "naive_rank",
    "naive_sensitivity",
    "naive_shared_gradients",
    "naive_top_v",
    "naive_units_within",
]


def naive_top_v(scores: Tensor, kept: int) -> Tensor:
    """Mask of the ``kept`` largest scores by a full sort; of equal scores the first ones stay (Eq. 1)."""
    order = sorted(range(scores.numel()), key=lambda index: (-scores.flatten()[index].item(), index))
    mask = torch.zeros(scores.numel(), dtype=torch.bool)
    for index in order[:kept]:
        mask[index] = True
    return mask.view(scores.shape)


def naive_apportion(density: float, sizes: Sequence[int]) -> list[int]:
    """KeptUnits entries per matrix, from the rounded share of everything up to and including it."""
    totals = [0, *(round(density * sum(sizes[: index + 1])) for index in range(len(sizes)))]
    return [after - before for before, after in itertools.pairwise(totals)]


def naive_density(
    step: int, total: int, final: float, schedule: str, warmup: float = 0.0, cooldown: float = 0.0
) -> float:
    """Density after ``step`` of ``total`` steps, piece by piece."""
    if step == total:
        return final
    first, last = warmup * total, total - cooldown * total
    if step < first:
        return 1.0
    if step >= last or schedule == "constant":
        return final
    way = (step - first) / (last - first)
    left = {"linear": 1 - way, "cubic": (1 - way) ** 3}[schedule]
    return final + (1 - final) * left


def naive_masked_linear(
    inputs: Tensor, weight: Tensor, mask: Tensor, bias: Tensor, upstream: Tensor
) -> dict[str, Tensor]:
    """Eq. 2-5 for one application, entry by entry.

    Args:
        inputs: ``x``, ``[batch, in]``.
        weight: ``W``, ``[out, in]``.
        mask: ``M``, ``[out, in]``.
        bias: ``b``, ``[out]``.
        upstream: ``∂L/∂a``, ``[batch, out]``.

    Returns:
        ``output`` and the gradients of ``weight``, ``scores``, ``bias`` and ``inputs``, float64.
    """
    (batch, width), height = inputs.shape, weight.shape[0]
    output = torch.zeros(batch, height, dtype=torch.float64)
    gradients = {name: torch.zeros(height, width, dtype=torch.float64) for name in ("weight", "scores")}
    gradients["bias"] = torch.zeros(height, dtype=torch.float64)
    gradients["inputs"] = torch.zeros(batch, width, dtype=torch.float64)
    for sample in range(batch):
        for out in range(height):
            output[sample, out] += bias[out]
            gradients["bias"][out] += upstream[sample, out]
            for into in range(width):
                kept = 1.0 if mask[out, into] else 0.0
                flow = upstream[sample, out] * inputs[sample, into]
                output[sample, out] += weight[out, into] * kept * inputs[sample, into]
                gradients["weight"][out, into] += flow * kept
                gradients["scores"][out, into] += flow * weight[out, into]
                gradients["inputs"][sample, into] += upstream[sample, out] * weight[out, into] * kept
    return {"output": output, **gradients}


def naive_shared_gradients(
    inputs: Tensor, weight: Tensor, mask: Tensor, bias: Tensor, applications: int
) -> dict[str, Tensor]:
    """One masked layer applied ``applications`` times with ``tanh`` between, each time with weights of its own.

    The loss is the sum of squares of the result. Plain autograd on one copy of ``W ⊙ M`` per application; Eq. 3-5
    then follow from the sum ``G`` of the copies' gradients: ``∂L/∂W = G ⊙ M`` and ``∂L/∂S = G ⊙ W``.
    """
    inputs = inputs.double().clone().requires_grad_()
    bias = bias.double().clone().requires_grad_()
    copies = [(weight.double() * mask.double()).requires_grad_() for _ in range(applications)]
    hidden = inputs
    for copy in copies:
        hidden = torch.tanh(hidden @ copy.T + bias)
    hidden.square().sum().backward()
    upstream = torch.stack([copy.grad for copy in copies if copy.grad is not None]).sum(0)
    assert inputs.grad is not None
    assert bias.grad is not None
    return {
        "output": hidden.detach(),
        "weight": upstream * mask.double(),
        "scores": upstream * weight.double(),
        "bias": bias.grad,
        "inputs": inputs.grad,
    }


class _SortedTopK(torch.autograd.Function):
    """Ones at the largest share of the scores, found by sorting all of them; the gradient passes straight through."""

    @staticmethod
    def forward(ctx: Any, scores: Tensor, kept_share: float) -> Tensor:  # noqa: ARG004
        order = scores.flatten().sort(descending=True).indices
        mask = torch.zeros_like(scores).flatten()
        mask[order[: round(kept_share * scores.numel())]] = 1.0
        return mask.view_as(scores)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:  # noqa: ARG004
        return gradients[0], None


class SortingMaskedLinear(nn.Linear):
    """Movement pruning as research code does it: sort all scores and rebuild ``W ⊙ M`` in every forward.

    The semantics of Sanh et al., "Movement Pruning" (arXiv 2005.07683), section 4: a top-k mask over the scores,
    straight-through for their gradient, applied wherever the layer is.

    Args:
        linear: The Linear to replace; weight and bias are shared with it.
        density: Share of the weights that stay, in [0, 1]; may be set anew between forwards.
    """

    def __init__(self, linear: nn.Linear, density: float = 1.0) -> None:
        nn.Module.__init__(self)
        self.in_features, self.out_features = linear.in_features, linear.out_features
        self.weight, self.bias = linear.weight, linear.bias
        self.scores = nn.Parameter(torch.zeros_like(linear.weight))
        self.density = density

    @classmethod
    def replace_targets(cls, model: nn.Module, density: float = 1.0) -> nn.Module:
        """Put one in the place of every Linear of ``model`` that the package prunes by default; returns ``model``."""
        for name, linear in prunable_layers(model, PruningConfig(target_sparsity=0.5)).items():
            model.set_submodule(name, cls(linear, density))
        return model

    def forward(self, input: Tensor) -> Tensor:
        mask = _SortedTopK.apply(self.scores, self.density)
        return functional.linear(input, self.weight * mask, self.bias)


def naive_sensitivity(
    gradients: Sequence[Tensor], decay: float, uncertainty_decay: float | None
) -> tuple[Tensor, Tensor | None]:
    """PLATON's moving means, entry by entry in float64: sensitivity and uncertainty after these ``G ⊙ W``."""
    size = gradients[0].numel()
    means, spreads = [0.0] * size, [0.0] * size
    for gradient in gradients:
        for place, value in enumerate(gradient.double().flatten().tolist()):
            now = abs(value)
            means[place] = decay * means[place] + (1 - decay) * now
            if uncertainty_decay is not None:
                spread = abs(now - means[place])
                spreads[place] = uncertainty_decay * spreads[place] + (1 - uncertainty_decay) * spread
    shape = gradients[0].shape
    mean = torch.tensor(means, dtype=torch.float64).view(shape)
    return mean, None if uncertainty_decay is None else torch.tensor(spreads, dtype=torch.float64).view(shape)


def naive_rank(weight: Tensor) -> Tensor:
    """Share of the entries of ``weight`` that come before each, by size and then by position."""
    sizes = weight.abs().double().flatten().tolist()
    ranks = [
        sum((other, at) < (size, place) for at, other in enumerate(sizes)) / len(sizes)
        for place, size in enumerate(sizes)
    ]
    return torch.tensor(ranks, dtype=torch.float64).view(weight.shape)


def naive_gated_linear(
    inputs: Tensor, weight: Tensor, gates: Tensor, bias: Tensor | None, upstream: Tensor
) -> dict[str, Tensor]:
    """Values and gradients of ``y = Σ_u z_u · W_u x_u + b``, unit by unit, with ``z`` learned like any parameter."""
    parts = inputs.flatten(0, -2).chunk(gates.numel(), dim=-1)
    columns, above = weight.chunk(gates.numel(), dim=-1), upstream.flatten(0, -2)
    output = torch.zeros_like(above) if bias is None else bias.detach().expand_as(above).clone()
    for gate, part, column in zip(gates, parts, columns, strict=True):
        output += gate * part @ column.T
    of_gates = torch.stack([(above * (x @ w.T)).sum() for x, w in zip(parts, columns, strict=True)])
    of_weight = [gate * above.T @ x for gate, x in zip(gates, parts, strict=True)]
    of_inputs = [gate * above @ w for gate, w in zip(gates, columns, strict=True)]
    return {
        "output": output.view(upstream.shape),
        "scores": of_gates,
        "weight": torch.cat(of_weight, dim=1),
        "inputs": torch.cat(of_inputs, dim=1).view(inputs.shape),
    }


def naive_units_within(
    scores: Sequence[npt.NDArray[np.float64]], costs: Sequence[npt.NDArray[np.float64]], budget: float
) -> float:
    """The most score that any choice of units keeps whose cost is within the budget: all choices are tried."""
    best = -np.inf
    for counts in itertools.product(*(range(len(block)) for block in costs)):
        if sum(block[count] for block, count in zip(costs, counts, strict=True)) <= budget * (1 + 1e-12):
            best = max(best, sum(float(block[:count].sum()) for block, count in zip(scores, counts, strict=True)))
    return best


def naive_hard_concrete(log_alpha: float, noise: float) -> tuple[float, float]:
    """One gate of Louizos et al. (arXiv 1712.01312), Eq. 10-11, and its derivative by ``log α``, in plain numbers."""
    beta, low, high = 2 / 3, -0.1, 1.1
    s = 1 / (1 + math.exp(-(math.log(noise) - math.log(1 - noise) + log_alpha) / beta))
    stretched = s * (high - low) + low
    if not 0 < stretched < 1:
        return min(1.0, max(0.0, stretched)), 0.0
    return stretched, (high - low) * s * (1 - s) / beta


def naive_open(log_alpha: float, draws: int = 0) -> float:
    """The probability that a gate is not zero: by where its noise must lie; or counted over evenly spread ``draws``."""
    if draws:
        noises = [(place + 0.5) / draws for place in range(draws)]
        return sum(naive_hard_concrete(log_alpha, noise)[0] > 0 for noise in noises) / draws
    edge = 0.1 / 1.2  # s must be above it
    at_edge = math.log(edge) - math.log(1 - edge)
    return 1 - 1 / (1 + math.exp(-(at_edge * 2 / 3 - log_alpha)))
