"""In which order the units of a projection go, each time the one whose loss changes its output least."""

from __future__ import annotations

import torch
from torch import Tensor

__all__ = ["plain_order", "removal_order"]


def removal_order(weight: Tensor, moments: Tensor, units: int) -> tuple[list[int], list[float]]:
    """Remove the units that meet the columns of ``weight`` one after the other, each time the cheapest.

    When unit ``u`` goes, the other columns change so that the output changes least over the inputs ``x``. With
    ``H = Σ x xᵀ`` and its inverse taken over the units that are left, that costs, and changes::

        cost_u = tr(W_u · ([H⁻¹]_uu)⁻¹ · W_uᵀ)            = Σ ‖change of the output‖²
        W ← W - W_u · ([H⁻¹]_uu)⁻¹ · [H⁻¹]_u

    Source: the optimal brain surgeon (Hassibi and Stork, 1992) on structures, as in ZipLM (Kurtic et al., NeurIPS 2023,
    arXiv 2302.04089), Eq. 2 and 3.

    Args:
        weight: ``[out, in]``, float; not changed.
        moments: ``H``, ``[in, in]``, positive definite.
        units: Number of units; they divide the inputs evenly, in their order.

    Returns:
        The units in the order in which they go, and the cost of each step.
    """
    width = weight.size(1) // units
    weight, inverse = weight.clone(), torch.linalg.inv(moments)
    numbers = torch.arange(units, device=weight.device)  # of the units that the two still hold
    left = torch.ones_like(numbers, dtype=torch.bool)
    order, costs = [], []
    for gone in range(units):
        if 2 * (units - gone) <= len(numbers):  # half of what is held is gone: hold it no longer
            places = left.repeat_interleave(width)
            weight, inverse = weight[:, places], inverse[places][:, places]
            numbers, left = numbers[left], left[left]
        blocks = _diagonal_blocks(inverse, width)
        cost = _step_costs(weight, blocks, width).masked_fill(~left, torch.inf)
        unit = int(cost.argmin())
        order.append(int(numbers[unit]))
        costs.append(float(cost[unit].clamp_min(0.0)))
        left[unit] = False
        columns = slice(unit * width, (unit + 1) * width)
        solved = torch.linalg.solve(blocks[unit], inverse[columns])
        weight.addmm_(weight[:, columns].clone(), solved, alpha=-1)
        inverse.addmm_(inverse[:, columns].clone(), solved, alpha=-1)
        weight[:, columns] = 0.0
        inverse[columns] = inverse[:, columns] = 0.0
        inverse[columns, columns] = torch.eye(width, dtype=inverse.dtype, device=inverse.device)
    return order, costs


def plain_order(weight: Tensor, moments: Tensor, units: int) -> tuple[list[int], list[float]]:
    """As :func:`removal_order`, where the other columns cannot change.

    Without the units of a set ``S`` the output changes by ``W_S x_S``, which sums up, with ``H`` as there, to::

        cost(S) = Σ ‖W_S x_S‖² = Σ over u, v in S of  sum(W_uᵀ W_v ⊙ H_uv)

    Args:
        weight: ``[out, in]``, float.
        moments: ``H``, ``[in, in]``.
        units: Number of units; they divide the inputs evenly, in their order.

    Returns:
        The units in the order in which they go, and how much each step adds, at least 0.
    """
    width = weight.size(1) // units
    products = ((weight.T @ weight) * moments).view(units, width, units, width).sum((1, 3))
    own, with_gone = products.diagonal().clone(), torch.zeros_like(products[0])
    order, costs, total, highest = [], [], 0.0, 0.0
    for _ in range(units):
        cost = own + 2 * with_gone
        unit = int(cost.argmin())
        total += float(cost[unit])
        order.append(unit)
        costs.append(max(0.0, total - highest))
        highest = max(highest, total)
        with_gone += products[unit]
        own[unit] = torch.inf
    return order, costs


def _diagonal_blocks(matrix: Tensor, width: int) -> Tensor:
    """``[units, width, width]``."""
    if width == 1:
        return matrix.diagonal()[:, None, None]
    return torch.stack([matrix[at : at + width, at : at + width] for at in range(0, matrix.size(0), width)])


def _step_costs(weight: Tensor, blocks: Tensor, width: int) -> Tensor:
    if width == 1:
        return weight.square().sum(0) / blocks[:, 0, 0]
    columns = weight.T.unflatten(0, (-1, width))  # [units, width, out]
    return (columns * torch.linalg.solve(blocks, columns)).sum((1, 2))
