"""What the removal of heads and feed-forward units costs, estimated from a few hundred examples."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from itertools import cycle
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from ..errors import ConfigurationError
from ..model.applications import SlicedLinear
from ..model.modes import evaluating
from ..model.removal import layer_path, layer_sizes
from ..model.structure import encoder_layers, layer_applications
from .orders import plain_order, removal_order

__all__ = ["DAMPING", "LABELS", "RemovalCosts", "application_costs", "removal_costs"]

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
    costs = {}
    for path, layer, blocks in _measured_layers(model, batches, each=False):
        size = layer_sizes(model)[path]
        counts = {layer.attention_output: size.heads, layer.ffn_out: size.units}
        pairs = [_block_costs(linear, counts[linear], found[0], examples) for linear, found, examples in blocks]
        costs[path] = (pairs[0], pairs[1])
    return costs


def application_costs(
    model: nn.Module, batches: Iterable[Mapping[str, Tensor]]
) -> dict[tuple[str, int], tuple[RemovalCosts, RemovalCosts]]:
    """Costs of removing heads, and of removing feed-forward units, from every application of shared layers.

    As :func:`removal_costs`, but nothing makes up for what is removed: the weights of the others serve every other
    application as well.

    Args:
        model: As in :func:`removal_costs`; a PAL-BERT whose applications keep units of their own may lose more.
        batches: Likewise.

    Returns:
        Path of a layer and number of its application -> costs of its heads and of its units, which are numbered as in
        the whole layer. Those that an application lost before are not among them.

    Raises:
        ConfigurationError: as :func:`removal_costs`.
    """
    costs = {}
    for path, layer, blocks in _measured_layers(model, batches, each=True):
        size = layer_sizes(model)[path]
        counts = {layer.attention_output: size.heads, layer.ffn_out: size.units}
        for number in range(len(blocks[0][1])):
            pairs = [_applied_costs(linear, counts[linear], number, *rest) for linear, *rest in blocks]
            costs[path, number] = (pairs[0], pairs[1])
    return costs


def _measured_layers(model: nn.Module, batches: Iterable[Mapping[str, Tensor]], *, each: bool) -> Iterator[Any]:
    """Path and modules of each layer, and of its two blocks: projection, statistics of applications, examples."""
    seen, found = _statistics(model, batches, each=each)
    for layer in encoder_layers(model):
        blocks = [(linear, found[linear], seen) for linear in (layer.attention_output, layer.ffn_out)]
        yield layer_path(model, layer), layer, blocks


def _block_costs(linear: nn.Linear, units: int, statistics: _Statistics, examples: int) -> RemovalCosts:
    if units == 0:
        return RemovalCosts(np.zeros(0, dtype=np.int64), np.zeros(1))
    moments = statistics.moments
    moments = moments + DAMPING * moments.diagonal().mean().clamp_min(1e-12) * torch.eye(len(moments)).to(moments)
    weighted = linear.weight.detach().float() * statistics.sensitivity.sqrt()[:, None]
    return _summed(linear, *removal_order(weighted, moments, units), examples)


def _applied_costs(
    linear: nn.Linear, units: int, number: int, statistics: Sequence[_Statistics], examples: int
) -> RemovalCosts:
    """Costs of one application of a block, of which ``units`` is the number in the whole layer."""
    kept = linear.kept[number] if isinstance(linear, SlicedLinear) else torch.arange(linear.in_features)
    width = linear.in_features // max(1, units)
    left = kept[::width] // width if width else kept
    if not len(left):
        return RemovalCosts(np.zeros(0, dtype=np.int64), np.zeros(1))
    weighted = linear.weight.detach().float() * statistics[number].sensitivity.sqrt()[:, None]
    columns = kept.to(weighted.device)
    order, steps = plain_order(weighted[:, columns], statistics[number].moments, len(left))
    found = _summed(linear, order, steps, examples)
    return RemovalCosts(left.numpy()[found.order], found.losses)


def _summed(linear: nn.Linear, order: list[int], steps: list[float], examples: int) -> RemovalCosts:
    if not np.isfinite(steps).all():
        raise ConfigurationError(
            f"What removals cost is not a finite number for a projection of {linear.in_features} inputs: gradients or"
            f" activations overflow in {linear.weight.dtype}. Load the model with dtype='float32'."
        )
    return RemovalCosts(np.array(order), np.cumsum([0.0, *steps]) / (2 * examples))


class _Statistics:
    """Of one block: second moments of the projection's inputs, and mean square gradient of the sum it adds to."""

    def __init__(self, linear: nn.Linear, inputs: int) -> None:
        kind: dict[str, Any] = {"dtype": torch.float32, "device": linear.weight.device}
        self.moments = torch.zeros(inputs, inputs, **kind)
        self.squares, self.tokens = torch.zeros(linear.out_features, **kind), 0

    @property
    def sensitivity(self) -> Tensor:
        """``[out]``."""
        return self.squares / max(1, self.tokens)


_Found = dict[nn.Linear, list[_Statistics]]


def _statistics(model: nn.Module, batches: Iterable[Mapping[str, Tensor]], *, each: bool) -> tuple[int, _Found]:
    """Number of examples, and statistics of every block: of all its applications together, or of each of them."""
    layers = encoder_layers(model)
    blocks = [(layer.attention_output, layer.attention_norm) for layer in layers]
    blocks += [(layer.ffn_out, layer.ffn_norm) for layer in layers]
    applied = layer_applications(model.config)
    times = [applied.count(layer_path(model, layer)) if each else 1 for layer in layers] * 2
    found = {linear: _empty(linear, count) for (linear, _), count in zip(blocks, times, strict=True)}
    seen = 0
    with evaluating(model), _frozen(model), _unscaled(model.config):
        for batch in batches:
            seen += _watch(model, batch, blocks, found)
    if seen == 0:
        raise ConfigurationError("Costs are estimated on examples, and there are none: give some with labels.")
    return seen, found


def _empty(linear: nn.Linear, applications: int) -> list[_Statistics]:
    if isinstance(linear, SlicedLinear) and applications > 1:
        return [_Statistics(linear, len(kept)) for kept in linear.kept]
    return [_Statistics(linear, linear.in_features) for _ in range(applications)]


def _watch(model: nn.Module, batch: Mapping[str, Tensor], blocks: Any, found: _Found) -> int:
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


def _note_moments(statistics: Sequence[_Statistics], real: Tensor | None) -> Any:
    turns = cycle(statistics)

    def hook(_: nn.Module, args: tuple[Tensor, ...]) -> None:
        rows = args[0].detach()
        rows = (rows.flatten(0, -2) if real is None else rows[real]).float()
        next(turns).moments += rows.T @ rows

    return hook


def _note_gradients(statistics: Sequence[_Statistics], real: Tensor | None, count: int) -> Any:
    turns = cycle(statistics)

    def note(gradient: Tensor, of: _Statistics) -> None:
        rows = gradient.flatten(0, -2) if real is None else gradient[real]
        of.squares += (rows.float() * count).square().sum(0)
        of.tokens += len(rows)

    def hook(_: nn.Module, args: tuple[Tensor, ...]) -> None:
        args[0].register_hook(partial(note, of=next(turns)))

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


@contextmanager
def _unscaled(config: Any) -> Iterator[None]:
    """Inside the block every application of PAL-BERT's layers has its own gradient, as without ``layer_lr_decay``.

    That scale says how fast weights learn at a depth; what a removal costs does not depend on it.
    """
    decay = getattr(config, "layer_lr_decay", None)
    try:
        if decay is not None:
            config.layer_lr_decay = 1.0
        yield
    finally:
        if decay is not None:
            config.layer_lr_decay = decay
