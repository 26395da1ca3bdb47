"""A trained model made faster in minutes, without training: costs, search, removal, repair, and a measured speed-up."""

from __future__ import annotations

import copy
import logging
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal

import torch
from torch import Tensor
from transformers import PreTrainedModel

from ..errors import ConfigurationError, PruningError, PruningWarning
from ..model.applications import require_whole_applications
from ..model.conversion import has_palbert_form, palbert_of
from ..model.described_sizes import described_sizes
from ..model.removal import KeptUnits, LayerSize, keep_units, read_layer_sizes
from ..model.structure import layer_applications, structure_of
from ..pruning.convert import is_prepared
from ..pruning.removal import save_with_sizes
from ..speed.costs import promised_speedup
from ..speed.latency import LatencyTable, applied_sizes, fastest_seconds, longest_input
from ..speed.latency_cache import cached_latency
from ..storage.quantizer import SparseQuantizer
from ..storage.saving import disable_sparse_saving
from .applications import keep_applied_units
from .costs import RemovalCosts, application_costs, removal_costs
from .repair import repair_projections
from .search import choose_uniformly, choose_units

__all__ = ["REPAIR_EXAMPLES", "Shrunk", "shrink"]

logger = logging.getLogger(__name__)

REPAIR_EXAMPLES = 160
"""So many examples repair the projections: their tokens are many times as many as a projection has inputs."""

_ATTEMPTS = 4
_CLOSE = 0.02
"""How far from the asked speed-up the measured one may lie: what a machine varies by."""

_FAR = 0.2
"""How far from the measured speed-up the one that the latency table says may lie before the table is in doubt."""


@dataclass(frozen=True)
class Shrunk:
    """What :func:`shrink` did.

    Attributes:
        model: The smaller model; the one that was given is as it was.
        sizes: Path of each layer -> its size; where applications of shared layers keep units of their own, one row for
            each of them, as in ``"… (application 3)"``.
        asked: The speed-up that was asked for.
        promised: What the operations say that the layers no longer do.
        expected: What the latency table says of the sizes.
        speedup: What was measured: seconds of the whole model over those of the smaller one, in turns.
        batch_size, length: The inputs that it was measured with.
    """

    model: PreTrainedModel
    sizes: dict[str, LayerSize]
    asked: float
    promised: float
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
    uniform: bool = False,
    applications: Literal["each", "shared"] | None = None,
    remeasure: bool = False,
) -> Shrunk:
    """Remove attention heads and feed-forward units until ``model`` is ``speedup`` times as fast on this machine.

    Times of layers of all sizes are measured, once on each machine
    (:func:`~transformers_palbert.speed.latency_cache.cached_latency`); what each removal costs is estimated on the
    examples (:func:`~.costs.removal_costs`); the cheapest removals that make the model fast enough are chosen
    (:func:`~.search.choose_units`) and made; what is left is fitted to give what the whole model gave
    (:func:`~.repair.repair_projections`). A layer may lose its whole attention, or its whole feed-forward block. The
    speed-up is measured on the way; where it falls short, more is removed.

    ALBERT applies one layer many times, and what its layer loses it loses at every depth. So each application keeps
    heads and units of its own, which a PAL-BERT can say: that is what an ALBERT becomes here.

    Args:
        model: Any trained model of an architecture in the table that returns a loss; on its device, and not changed.
        batches: A few hundred examples with labels, as inputs of the model.
        speedup: Above 1.
        batch_size: Examples in the batch that speed counts for.
        length: Tokens of each of them; None: the mean of the examples, rounded up to a multiple of 8.
        multiple_of: Layers keep a multiple of this many feed-forward units; 8 suits the kernels of most machines.
        uniform: Keep all heads, and as many feed-forward units in every layer. Such a model is saved dense, and loads
            without this package where its architecture does. It loses more at the same speed.
        applications: ``"each"`` lets each application of a shared layer keep units of its own, ``"shared"`` makes them
            keep the same; None: the first where the model can say it.
        remeasure: Measure the times of layers again, although this machine has measured them before.

    Raises:
        ConfigurationError: if the model cannot become that fast by removing heads and units, or a value is not allowed.
        PruningError: if the model is in the middle of being pruned.
    """
    _require_inputs(model, batches, speedup=speedup, batch_size=batch_size, multiple_of=multiple_of)
    length = _timed_length(model, batches, length)
    each = _each_application(model, applications, uniform)
    whole = _with_applications(model) if each else model
    shape = batch_size, length
    table = cached_latency(whole, batch_size=batch_size, length=length, remeasure=remeasure)
    logger.info("Estimating what removals cost, on %d batches.", len(batches))
    plan = _plan(whole, batches, each=each, uniform=uniform, multiple_of=multiple_of)
    small, found = _fast_enough(plan, table, speedup, shape)
    logger.info("Repairing %d blocks.", 2 * len(plan.costs))
    repair_projections(small, whole, _spread(batches, REPAIR_EXAMPLES))
    if uniform:
        disable_sparse_saving(small)  # it may have been packed, and then it needs this package
    elif not each:
        save_with_sizes(small)
    promised = promised_speedup(whole, small, length)
    expected = table.model(applied_sizes(whole)) / table.model(applied_sizes(small))
    if abs(expected / found - 1) > _FAR:
        logger.warning(
            "By the times of layers it should be %.2f times as fast, and is %.2f: the machine was busy then or is now."
            " With remeasure=True (--remeasure) layers are measured again.",
            expected,
            found,
        )
    return Shrunk(small, described_sizes(small.config), speedup, promised, expected, found, *shape)


def _require_inputs(
    model: PreTrainedModel,
    batches: Sequence[Mapping[str, Tensor]],
    *,
    speedup: float,
    batch_size: int,
    multiple_of: int,
) -> None:
    """Check what :func:`shrink` is given, before anything is measured."""
    if not speedup > 1:
        raise ConfigurationError(f"speedup={speedup!r} must be above 1: 1.5 makes a model take two thirds of its time.")
    for name, number in (("batch_size", batch_size), ("multiple_of", multiple_of)):
        if number < 1:
            raise ConfigurationError(f"{name}={number!r} must be at least 1.")
    if not batches:
        raise ConfigurationError(
            "What a removal costs is estimated on examples, and there are none: give some batches."
        )
    if any(_real(batch).dim() != 2 for batch in batches):
        raise ConfigurationError(
            "The inputs of a batch must be rows of tokens, [batch, length], as models for question answering and for"
            f" classification take them. {type(model).__name__} cannot be shrunk with others."
        )
    if is_prepared(model):
        raise PruningError(
            "The model is being pruned; finish the training, or call bake_masks(model), before shrinking."
        )


def _with_applications(model: PreTrainedModel) -> PreTrainedModel:
    """``model`` as a PAL-BERT, which is saved packed if ``model`` is."""
    whole = palbert_of(model)
    if isinstance(quantizer := getattr(model, "hf_quantizer", None), SparseQuantizer):
        quantizer.attach(whole)
    return whole


def _each_application(model: PreTrainedModel, applications: str | None, uniform: bool) -> bool:
    """Whether applications of shared layers keep units of their own.

    Raises:
        ConfigurationError: if they should and cannot, or the model is not one that can lose units in the way asked for.
    """
    if applications not in (None, "each", "shared"):
        raise ConfigurationError(f"applications={applications!r} is not allowed; choose 'each', 'shared' or None.")
    if uniform and applications == "each":
        raise ConfigurationError("uniform=True keeps as many units everywhere, so applications='each' is not possible.")
    if uniform and (read_layer_sizes(model.config) is not None):
        raise ConfigurationError("uniform=True needs layers of one size, and those of this model differ already.")
    can = structure_of(model).shared and has_palbert_form(model) and read_layer_sizes(model.config) is None
    if applications == "each" and not can:
        raise ConfigurationError(
            f"applications='each' needs an ALBERT or PAL-BERT with layers as large as its configuration says, and this"
            f" {type(model).__name__} is none. Leave the argument out."
        )
    if uniform or applications == "shared" or not can:
        require_whole_applications(model)
        return False
    return len(layer_applications(model.config)) > 1


@dataclass(frozen=True)
class _Plan:
    """What may be removed from a model, what that costs, and how it is chosen and done.

    Attributes:
        whole: The model.
        costs: Layer, or layer and number of its application -> costs of its heads and of its units.
        applied: The keys of ``costs`` in the order in which a forward pass applies them.
        choose: From costs, latency table, ``applied`` and seconds to the units that stay.
        remove: Removes all others from a model.
    """

    whole: PreTrainedModel
    costs: Mapping[Any, tuple[RemovalCosts, RemovalCosts]]
    applied: Sequence[Any]
    choose: Callable[..., Mapping[Any, KeptUnits]]
    remove: Callable[[Any, Mapping[Any, KeptUnits]], None]


def _plan(
    model: PreTrainedModel, batches: Sequence[Mapping[str, Tensor]], *, each: bool, uniform: bool, multiple_of: int
) -> _Plan:
    choose = partial(choose_uniformly if uniform else choose_units, multiple_of=multiple_of)
    applied = layer_applications(model.config)
    if not each:
        return _Plan(model, removal_costs(model, batches), applied, choose, keep_units)
    numbered = [(path, applied[:place].count(path)) for place, path in enumerate(applied)]
    return _Plan(model, application_costs(model, batches), numbered, choose, keep_applied_units)


def _fast_enough(
    plan: _Plan, table: LatencyTable, speedup: float, shape: tuple[int, int]
) -> tuple[PreTrainedModel, float]:
    """The model without the cheapest units that is just fast enough, and its measured speed-up.

    What the table says of whole models is a little off. So the aim moves, up or down, by what was measured of the last.
    """
    seconds_before = table.model(applied_sizes(plan.whole))
    aim, tried = speedup, list[tuple[float, PreTrainedModel]]()
    for _ in range(_ATTEMPTS):
        try:
            kept = plan.choose(plan.costs, table, plan.applied, seconds_before / aim)
        except ConfigurationError:  # no removal makes it that fast
            if not tried:
                raise
            break  # what was asked for is not out of reach by the table, so the fastest so far must do
        small = copy.deepcopy(plan.whole)
        plan.remove(small, kept)
        seconds = fastest_seconds([plan.whole, small], *shape)
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
            f"Asked for {speedup:.2f} times the speed, and the most of {len(tried)} attempts is {found:.2f} times, as"
            " measured: the machine may be busy with other things. Ask for a little more, or measure again when it is"
            " idle.",
            PruningWarning,
            stacklevel=3,
        )
    return small, found


def _spread(batches: Sequence[Mapping[str, Tensor]], examples: int) -> list[Mapping[str, Tensor]]:
    """Every so many of the batches, so that about ``examples`` are left: of all lengths, where they are in order."""
    size = len(next(iter(batches[0].values())))
    return list(batches[:: max(1, len(batches) * size // examples)])


def _timed_length(model: PreTrainedModel, batches: Sequence[Mapping[str, Tensor]], length: int | None) -> int:
    """The length that was asked for, or the mean of the examples.

    Raises:
        ConfigurationError: if the model takes no inputs as long as that.
    """
    longest = longest_input(model)
    if length is None:
        mean = _mean_length(batches)
        return mean if longest is None else min(mean, longest)
    if length < 1 or (longest is not None and length > longest):
        bound = "" if longest is None else f", and at most {longest}, the tokens that {type(model).__name__} takes"
        raise ConfigurationError(f"length={length!r} must be at least 1{bound}.")
    return length


def _mean_length(batches: Sequence[Mapping[str, Tensor]]) -> int:
    """Mean number of tokens of the examples without padding, rounded up to a multiple of 8."""
    masks = [_real(batch) for batch in batches]
    tokens = sum(int((mask != 0).sum()) for mask in masks)
    return -(-tokens // (8 * sum(len(mask) for mask in masks))) * 8


def _real(batch: Mapping[str, Tensor]) -> Tensor:
    """1 for the tokens of a batch that the model sees, of the shape of the inputs."""
    return batch["attention_mask"] if "attention_mask" in batch else torch.ones_like(batch["input_ids"])
