"""What the removal of heads and feed-forward units costs, estimated from a few hundred examples."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from ..errors import ConfigurationError
from ..model.modes import evaluating
from ..model.removal import layer_path, layer_sizes
from ..model.structure import encoder_layers

__all__ = ["DAMPING", "LABELS", "RemovalCosts", "removal_costs", "removal_order"]

LABELS = frozenset({"labels", "start_positions", "end_positions"})
"""Names of the inputs that a loss needs, beside those that a prediction needs."""

DAMPING = 1e-2
"""Added to the diagonal of the inputs' second moments, relative to its mean."""


@dataclass(frozen=True)
class RemovalCosts:
    """In which order the units of a block go, and what that costs.

    Attributes:
        order: Indices of the units, the first to go first.
        losses: ``[units + 1]``: estimated rise of the loss when the first ``k`` of them are gone and the projection
            behind them makes up for it as well as it can; rises with ``k``, 0 for ``k = 0``.
    """

    order: npt.NDArray[np.int64]
    losses: npt.NDArray[np.float64]


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


def removal_costs(
    model: nn.Module, batches: Iterable[Mapping[str, Tensor]]
) -> dict[str, tuple[RemovalCosts, RemovalCosts]]:
    """Costs of removing heads, and of removing feed-forward units, in every layer.

    A change ``δ`` of what a block adds to the hidden states raises the loss by about ``½ · (gᵀδ)²`` for the gradient
    ``g`` there (empirical Fisher information, as in Kwon et al., arXiv 2204.09656). With the mean of ``g²`` over tokens
    for each hidden dimension, that makes costs of all blocks comparable.

    Args:
        model: A trained model that returns a loss, the mean over the examples of a batch.
        batches: Its inputs, labels included, on its device.

    Returns:
        Path of each layer below the base model -> costs of its heads, costs of its units.

    Raises:
        ConfigurationError: if there is no batch, or the model gives no loss for one.
    """
    sizes = layer_sizes(model)
    seen, found = _statistics(model, batches)
    costs = {}
    for layer in encoder_layers(model):
        path = layer_path(model, layer)
        blocks = ((layer.attention_output, sizes[path].heads), (layer.ffn_out, sizes[path].units))
        pairs = [_block_costs(linear, units, found[linear], seen) for linear, units in blocks]
        costs[path] = (pairs[0], pairs[1])
    return costs


def _block_costs(linear: nn.Linear, units: int, statistics: _Statistics, examples: int) -> RemovalCosts:
    if units == 0:
        return RemovalCosts(np.zeros(0, dtype=np.int64), np.zeros(1))
    moments = statistics.moments
    moments = moments + DAMPING * moments.diagonal().mean().clamp_min(1e-12) * torch.eye(len(moments)).to(moments)
    weighted = linear.weight.detach().float() * statistics.sensitivity.sqrt()[:, None]
    order, steps = removal_order(weighted, moments, units)
    if not np.isfinite(steps).all():
        raise ConfigurationError(
            f"What removals cost is not a finite number for a projection of {linear.in_features} inputs: gradients or"
            f" activations overflow in {linear.weight.dtype}. Load the model with dtype='float32'."
        )
    return RemovalCosts(np.array(order), np.cumsum([0.0, *steps]) / (2 * examples))


class _Statistics:
    """Of one block: second moments of the projection's inputs, and mean square gradient of the sum it adds to."""

    def __init__(self, linear: nn.Linear) -> None:
        kind: dict[str, Any] = {"dtype": torch.float32, "device": linear.weight.device}
        self.moments = torch.zeros(linear.in_features, linear.in_features, **kind)
        self.squares, self.tokens = torch.zeros(linear.out_features, **kind), 0

    @property
    def sensitivity(self) -> Tensor:
        """``[out]``."""
        return self.squares / max(1, self.tokens)


def _statistics(model: nn.Module, batches: Iterable[Mapping[str, Tensor]]) -> tuple[int, dict[nn.Linear, _Statistics]]:
    layers = encoder_layers(model)
    blocks = [(layer.attention_output, layer.attention_norm) for layer in layers]
    blocks += [(layer.ffn_out, layer.ffn_norm) for layer in layers]
    found = {linear: _Statistics(linear) for linear, _ in blocks}
    seen = 0
    with evaluating(model), _frozen(model):
        for batch in batches:
            seen += _watch(model, batch, blocks, found)
    if seen == 0:
        raise ConfigurationError("Costs are estimated on examples, and there are none: give some with labels.")
    return seen, found


def _watch(model: nn.Module, batch: Mapping[str, Tensor], blocks: Any, found: Mapping[nn.Linear, _Statistics]) -> int:
    """Add what one batch shows; the number of its examples."""
    count = len(next(iter(batch.values())))
    mask = batch.get("attention_mask")
    real = None if mask is None else mask.bool()
    handles = [encoder_layers(model)[0].module.register_forward_pre_hook(_begin_graph)]
    for linear, norm in blocks:
        handles.append(linear.register_forward_pre_hook(_note_moments(found[linear], real)))
        handles.append(norm.register_forward_pre_hook(_note_gradients(found[linear], real, count)))
    try:
        with torch.enable_grad():
            loss = model(**batch)["loss"] if batch.keys() & LABELS else None
            if loss is None:
                raise ConfigurationError(
                    f"The model gives no loss for inputs called {', '.join(batch)}: the examples need labels, such as"
                    " start_positions and end_positions."
                )
            loss.backward()
    finally:
        for handle in handles:
            handle.remove()
    return count


def _begin_graph(_: nn.Module, args: tuple[Any, ...]) -> tuple[Any, ...]:
    """Record gradients from the first layer on, since no parameter asks for one."""
    return (args[0] if args[0].requires_grad else args[0].detach().requires_grad_(True), *args[1:])


def _note_moments(statistics: _Statistics, real: Tensor | None) -> Any:
    def hook(_: nn.Module, args: tuple[Tensor, ...]) -> None:
        rows = args[0].detach()
        rows = (rows.flatten(0, -2) if real is None else rows[real]).float()
        statistics.moments += rows.T @ rows

    return hook


def _note_gradients(statistics: _Statistics, real: Tensor | None, count: int) -> Any:
    def note(gradient: Tensor) -> None:
        rows = gradient.flatten(0, -2) if real is None else gradient[real]
        statistics.squares += (rows.float() * count).square().sum(0)
        statistics.tokens += len(rows)

    def hook(_: nn.Module, args: tuple[Tensor, ...]) -> None:
        args[0].register_hook(note)

    return hook


@contextmanager
def _frozen(model: nn.Module) -> Iterator[None]:
    """Inside the block no parameter needs a gradient, so that none is computed for them."""
    learning = [parameter for parameter in model.parameters() if parameter.requires_grad]
    try:
        for parameter in learning:
            parameter.requires_grad_(False)
        yield
    finally:
        for parameter in learning:
            parameter.requires_grad_(True)
