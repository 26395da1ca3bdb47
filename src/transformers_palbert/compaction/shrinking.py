"""A trained model made faster in minutes, without training: costs, search, removal, repair, and a measured speed-up."""

from __future__ import annotations

import copy
import logging
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from torch import Tensor
from transformers import PreTrainedModel

from ..errors import ConfigurationError, PruningError, PruningWarning
from ..model.applications import require_whole_applications
from ..model.removal import LayerSize, keep_units, layer_sizes
from ..model.structure import layer_applications
from ..pruning.convert import is_prepared
from ..pruning.removal import remove_units
from ..speed.latency import LatencyTable, applied_sizes, fastest_seconds, measure_latency
from .costs import RemovalCosts, removal_costs
from .repair import repair_projections
from .search import choose_units

__all__ = ["REPAIR_EXAMPLES", "Shrunk", "shrink"]

logger = logging.getLogger(__name__)

REPAIR_EXAMPLES = 160
"""So many examples repair the projections: their tokens are many times as many as a projection has inputs."""

_ATTEMPTS = 4
_CLOSE = 0.02
"""How far from the asked speed-up the measured one may lie: what a machine varies by."""


@dataclass(frozen=True)
class Shrunk:
    """What :func:`shrink` did.

    Attributes:
        model: The smaller model; the one that was given is as it was.
        sizes: Path of each layer -> its size.
        asked: The speed-up that was asked for.
        expected: What the latency table says of the sizes.
        speedup: What was measured: seconds of the whole model over those of the smaller one, in turns.
        batch_size, length: The inputs that it was measured with.
    """

    model: PreTrainedModel
    sizes: dict[str, LayerSize]
    asked: float
    expected: float
    speedup: float
    batch_size: int
    length: int


def shrink(
    model: PreTrainedModel,
    batches: Sequence[Mapping[str, Tensor]],
    *,
    speedup: float,
    batch_size: int = 8,
    length: int | None = None,
    multiple_of: int = 8,
) -> Shrunk:
    """Remove attention heads and feed-forward units until ``model`` is ``speedup`` times as fast on this machine.

    Times of layers of all sizes are measured (:func:`~transformers_palbert.speed.latency.measure_latency`); what each
    removal costs is estimated on the examples (:func:`~.costs.removal_costs`); the cheapest removals that make the
    model fast enough are chosen (:func:`~.search.choose_units`) and made; what is left is fitted to give what the whole
    model gave (:func:`~.repair.repair_projections`). The speed-up is measured on the way; where it falls short, more is
    removed.

    Args:
        model: Any trained model of an architecture in the table that returns a loss; on its device, and not changed.
        batches: A few hundred examples with labels, as inputs of the model.
        speedup: Above 1.
        batch_size: Examples in the batch that speed counts for.
        length: Tokens of each of them; None: the mean of the examples.
        multiple_of: Layers keep a multiple of this many feed-forward units; 8 suits the kernels of most machines.

    Raises:
        ConfigurationError: if the model cannot become that fast by removing heads and units, or a value is not allowed.
        PruningError: if the model is in the middle of being pruned.
    """
    if not speedup > 1:
        raise ConfigurationError(f"speedup={speedup!r} must be above 1: 1.5 makes a model take two thirds of its time.")
    if not batches:
        raise ConfigurationError(
            "What a removal costs is estimated on examples, and there are none: give some batches."
        )
    if is_prepared(model):
        raise PruningError(
            "The model is being pruned; finish the training, or call bake_masks(model), before shrinking."
        )
    require_whole_applications(model)
    length = length or _mean_length(batches)
    logger.info("Measuring layers with %d × %d tokens.", batch_size, length)
    table = measure_latency(model, batch_size=batch_size, length=length)
    logger.info("Estimating what removals cost, on %d batches.", len(batches))
    costs = removal_costs(model, batches)
    shape = batch_size, length
    small, found = _fast_enough(model, costs, table, speedup, multiple_of, shape)
    logger.info("Repairing %d layers.", len(costs))
    repair_projections(small, model, _spread(batches, REPAIR_EXAMPLES))
    remove_units(small, {})  # nothing more: how a model with such layers is saved
    expected = table.model(applied_sizes(model)) / table.model(applied_sizes(small))
    return Shrunk(small, layer_sizes(small), speedup, expected, found, *shape)


def _fast_enough(
    model: PreTrainedModel,
    costs: Mapping[str, tuple[RemovalCosts, RemovalCosts]],
    table: LatencyTable,
    speedup: float,
    multiple_of: int,
    shape: tuple[int, int],
) -> tuple[PreTrainedModel, float]:
    """The model without the cheapest units that is just fast enough, and its measured speed-up.

    What the table says of whole models is a little off. So the aim moves, up or down, by what was measured of the last.
    """
    whole, applied = table.model(applied_sizes(model)), layer_applications(model.config)
    aim, tried = speedup, list[tuple[float, PreTrainedModel]]()
    for _ in range(_ATTEMPTS):
        if tried and whole / aim < table.model([(1, 0)] * len(applied)):
            break  # no model is that fast; the fastest so far must do
        small = copy.deepcopy(model)
        keep_units(small, choose_units(costs, table, applied, whole / aim, multiple_of=multiple_of))
        seconds = fastest_seconds([model, small], *shape)
        found = seconds[0] / seconds[1]
        logger.info("Aimed at %.2f times the speed, measured %.2f.", aim, found)
        tried.append((found, small))
        if abs(found / speedup - 1) <= _CLOSE:
            break
        aim = max(1.0, aim * speedup / found)
    if enough := [pair for pair in tried if pair[0] >= speedup * (1 - _CLOSE)]:
        found, small = min(enough, key=lambda pair: pair[0])
    else:
        found, small = max(tried, key=lambda pair: pair[0])
        warnings.warn(
            f"Asked for {speedup:.2f} times the speed, and {found:.2f} times were measured after {_ATTEMPTS} attempts:"
            " the machine may be busy with other things. Ask for a little more, or measure again when it is idle.",
            PruningWarning,
            stacklevel=3,
        )
    return small, found


def _spread(batches: Sequence[Mapping[str, Tensor]], examples: int) -> list[Mapping[str, Tensor]]:
    """Every so many of the batches, so that about ``examples`` are left: of all lengths, where they are in order."""
    size = len(next(iter(batches[0].values())))
    return list(batches[:: max(1, len(batches) * size // examples)])


def _mean_length(batches: Sequence[Mapping[str, Tensor]]) -> int:
    """Mean number of tokens of the examples without padding, rounded up to a multiple of 8."""
    masks = [batch.get("attention_mask", next(iter(batch.values()))) for batch in batches]
    tokens = sum(int((mask != 0).sum()) for mask in masks)
    return -(-tokens // (8 * sum(len(mask) for mask in masks))) * 8
