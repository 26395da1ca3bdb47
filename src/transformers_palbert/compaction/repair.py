"""What removal broke, mended without training: output projections that give again what the whole model gave."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from typing import Any

import torch
from torch import Tensor, nn

from ..model.applications import SlicedLinear
from ..model.modes import evaluating
from ..model.removal import layer_path
from ..model.structure import encoder_layers, layer_applications, structure_of
from ..qa.kernels import fast_linear
from .costs import LABELS

__all__ = ["repair_projections"]

_SWEEPS = 4
_BLOCKS = (("attention_output", "attention_norm"), ("ffn_out", "ffn_norm"))


@torch.no_grad()
def repair_projections(
    small: nn.Module, whole: nn.Module, batches: Sequence[Mapping[str, Tensor]], *, ridge: float = 1e-3
) -> None:
    """Solve each output projection of ``small`` anew, block by block from below.

    For the inputs ``x`` of a projection, the residual ``r`` beside it, and the sum ``t`` that the block of the whole
    model hands to its LayerNorm, over all tokens of all applications of the layer::

        min over W, b of  Σ ‖x Wᵀ + b + r - t‖² + ridge · mean(Σ x²) · ‖W - W₀‖²

    where ``W`` is zero wherever ``W₀`` is, so that what was pruned stays so.

    Each block is solved after those below it have been, so it also mends what they could not. A shared layer has no
    order of below and above: there all blocks are solved in turns, several times, and where applications keep units of
    their own, one projection is fitted to all of them. Source: the least squares
    of Kwon et al. (arXiv 2204.09656), section 4.3, with all weights of the projection instead of one per unit.

    Args:
        small: The model that lost units; its projections are changed in place.
        whole: The model before.
        batches: Inputs, on the device of both; a few hundred examples.
        ridge: How strongly a weight is held where it was, relative to the mean square of the inputs.
    """
    inputs = [{name: tensor for name, tensor in batch.items() if name not in LABELS} for batch in batches]
    applied = layer_applications(small.config)
    with evaluating(small, whole):
        for _ in range(_SWEEPS if structure_of(small).shared else 1):
            for layer, original in zip(encoder_layers(small), encoder_layers(whole), strict=True):
                times = applied.count(layer_path(small, layer))
                for projection, norm in _BLOCKS:
                    linear, sums = getattr(layer, projection), (getattr(layer, norm), getattr(original, norm))
                    _solve(linear, _rows_and_errors((small, whole), linear, sums, times, inputs), ridge)


def _rows_and_errors(
    models: tuple[nn.Module, nn.Module],
    linear: nn.Linear,
    norms: tuple[nn.Module, nn.Module],
    times: int,
    batches: Sequence[Mapping[str, Tensor]],
) -> Iterator[tuple[Tensor, Tensor]]:
    """What a projection receives, ``[tokens, in]``, and what its block lacks, ``[tokens, out]``, without padding."""
    small, whole = models
    for batch in batches:
        with _recorded(linear) as given, _recorded(norms[0], times) as found:
            _run_until_recorded(small, batch)
        with _recorded(norms[1], times) as wanted:
            _run_until_recorded(whole, batch)
        real = batch["attention_mask"].bool() if "attention_mask" in batch else None
        for number, (x, present, target) in enumerate(zip(given, found, wanted, strict=True)):
            yield _real_rows(_whole_inputs(linear, x, number), real), _real_rows(target - present, real)


def _whole_inputs(linear: nn.Linear, inputs: Tensor, application: int) -> Tensor:
    """Inputs of the whole weight, ``[…, in]``, with zeros for what this application of it does not use."""
    if not isinstance(linear, SlicedLinear):
        return inputs
    whole = inputs.new_zeros(*inputs.shape[:-1], linear.in_features)
    whole[..., linear.kept[application].to(inputs.device)] = inputs
    return whole


def _solve(linear: nn.Linear, rows_and_errors: Iterator[tuple[Tensor, Tensor]], ridge: float) -> None:
    """Change weight and bias by what the normal equations say, which are added up in float64."""
    size = linear.in_features + 1
    squares = torch.zeros(size, size, dtype=torch.float64, device=linear.weight.device)
    products = torch.zeros(size, linear.out_features, dtype=torch.float64, device=linear.weight.device)
    for inputs, errors in rows_and_errors:
        with_one = torch.cat([inputs, inputs.new_ones(len(inputs), 1)], dim=1)
        squares += with_one.T @ with_one
        products += with_one.T @ errors
    if linear.in_features:
        mean = squares.diagonal()[:-1].mean()
        squares.diagonal()[:-1].add_(ridge * mean if mean > 0 else 1.0)  # without inputs the bias alone is fitted
    for rows, kept in _rows_by_zeros(linear.weight):
        change = torch.linalg.solve(squares[kept][:, kept], products[kept][:, rows])
        linear.weight[rows[:, None], kept[:-1]] += change[:-1].T.to(linear.weight.dtype)
        if linear.bias is not None:
            linear.bias[rows] += change[-1].to(linear.bias.dtype)


def _rows_by_zeros(weight: Tensor) -> Iterator[tuple[Tensor, Tensor]]:
    """Rows with zeros in the same places, and the columns that these keep, with one more for the bias.

    What was pruned stays so; a row is fitted by the weights that it has.
    """
    stays = torch.cat([weight != 0, weight.new_ones(len(weight), 1, dtype=torch.bool)], dim=1)
    patterns, numbers = stays.unique(dim=0, return_inverse=True)
    for number, pattern in enumerate(patterns):
        yield (numbers == number).nonzero()[:, 0], pattern.nonzero()[:, 0]


def _real_rows(tensor: Tensor, real: Tensor | None) -> Tensor:
    """``[tokens, features]``, float32, without padding."""
    return (tensor.flatten(0, -2) if real is None else tensor[real]).float()


class _Recorded(Exception):  # noqa: N818 (no error: what was wanted has been seen)
    """Ends a forward pass whose rest is of no use."""


def _run_until_recorded(model: nn.Module, batch: Mapping[str, Tensor]) -> None:
    with suppress(_Recorded), fast_linear(model, next(iter(batch.values())).device):
        model(**batch)


@contextmanager
def _recorded(module: nn.Module, times: int | None = None) -> Iterator[list[Tensor]]:
    """Inside the block, the list fills with the inputs of ``module``; after so many calls, the forward pass ends."""
    found: list[Tensor] = []

    def record(_: nn.Module, args: tuple[Any, ...]) -> None:
        found.append(args[0])
        if len(found) == times:
            raise _Recorded

    handle = module.register_forward_pre_hook(record)
    try:
        yield found
    finally:
        handle.remove()
