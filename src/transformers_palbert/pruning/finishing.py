"""The end of a pruning run: the exact final density, the masks baked in, and a config that says so."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn
from transformers import PreTrainedModel

from ..errors import NoEffectWarning, PruningError, PruningWarning
from ..model.pruning_state import PruningState
from ..speed.latency import fastest_seconds
from .budget import by_first_process, counted_inputs
from .config import PruningConfig
from .convert import bake_masks, dense_copy
from .gates import has_gates, has_own_gates
from .removal import remove_units
from .selection import Selection

__all__ = ["finish_pruning", "warn_of_early_end", "warn_of_late_cut", "write_state"]

logger = logging.getLogger(__name__)

LATE_CUT = 0.01
"""Share of the targeted weights that the last step may remove without a warning: slow schedules end in tiny cuts."""

_MISSED = 0.9
"""Share of the speed-up that was asked for, below which the measured one is warned of."""


def warn_of_late_cut(config: PruningConfig, total_steps: int) -> None:
    """Warn if the last step of a run removes many weights, so that the model is never trained without them."""
    if (cut := config.last_cut(total_steps)) > LATE_CUT:
        final = config.final_density
        warnings.warn(
            f"The last cut, from density {final + cut:.3f} to {final:.3f}, falls into the last of the run's"
            f" {total_steps} steps: the model is not fine-tuned without the weights that it loses there, and its last"
            " losses are not those of the result. Lower warmup, raise cooldown, or train longer.",
            NoEffectWarning,
            stacklevel=3,
        )


def warn_of_early_end(what: str, density: float, final_density: float, *, cure: str) -> None:
    """Warn if a run ended before its schedule did, so that the rest is removed at once.

    Args:
        what: What ended, and where, for the message.
        density: What is kept then.
        final_density: What is to be kept.
        cure: What to do about it.
    """
    if density > final_density:
        warnings.warn(
            f"{what}, at density {density:.3f}. The model is now cut to {final_density:.3f} in one go, without"
            f" fine-tuning: its metrics are not those of the last evaluation. {cure}",
            NoEffectWarning,
            stacklevel=4,
        )


def finish_pruning(selection: Selection, density: float, *, cut: bool = True) -> int:
    """Keep exactly ``density``, bake the masks in, cut out what is gone, and write the state into the config.

    Args:
        selection: The units of the model.
        density: Share to keep of what the target counts.
        cut: Whether heads and feed-forward units that are gone are cut out, or stay as zeros.

    Returns:
        The number of targeted weights that are kept.

    Raises:
        PruningError: if a score is not a finite number.
    """
    model, config = selection.model, selection.config
    _require_finite(selection)
    kept = selection.kept() if selection.has(density) else selection.apply(density)
    gated = has_gates(model) and not has_own_gates(model)  # those of layers that are applied once are as good as shared
    cut = cut and isinstance(model, PreTrainedModel)
    dense = dense_copy(model) if cut and config.target_speedup is not None else None
    bake_masks(model)
    if cut and gated:
        remove_units(model)  # type: ignore[arg-type] # it is one of transformers
    facts = {} if dense is None else _speedup(selection, dense, density)
    write_state(selection, selection.density_of(kept, density), "final", **facts)
    return kept


def write_state(selection: Selection, density: float, status: str, **facts: Any) -> None:
    """Write how far the model is pruned into its config, as plain values.

    Args:
        selection: The units of a prepared model, or of one whose masks are baked in.
        density: Share of the targeted weights that is kept.
        status: One of :data:`~transformers_palbert.model.pruning_state.STATUSES`.
        facts: What else the config is to say, as plain values.
    """
    settings = {name: value for name, value in selection.config.to_dict().items() if name != "targets"}
    PruningState(tuple(selection.matrices), density, status, {**settings, **facts}).write(selection.model)


def _speedup(selection: Selection, dense: nn.Module, density: float) -> dict[str, Any]:
    """How many times as fast as ``dense`` the finished model is, measured in turns, and what the table says of it."""
    config, shape = selection.config, counted_inputs(dense, selection.config)
    with _own_forward(selection.model):
        seconds = by_first_process(lambda: fastest_seconds([dense, selection.model], *shape))
    found, asked = seconds[0] / seconds[1], 1.0 / density
    expected = selection.budget.total / selection.budget.cost(selection.masks)
    facts = f"{found:.2f} times as fast as the dense model, measured in turns with {shape[0]} x {shape[1]} tokens"
    logger.info("The finished model is %s; by the table of latencies it should be %.2f.", facts, expected)
    if found < _MISSED * asked:
        warnings.warn(
            f"The finished model is {facts}, and {asked:.2f} times was the aim of {config.target}: the table of"
            " latencies was measured while the machine did other things, or it does so now. Measure again when it is"
            " idle, and ask for a little more if the speed is still short.",
            PruningWarning,
            stacklevel=4,
        )
    return {"speedup": found, "speedup_by_table": expected, "speedup_inputs": list(shape)}


@contextmanager
def _own_forward(model: nn.Module) -> Iterator[None]:
    """Inside the block ``model`` runs as its class says, without an accelerator's wrapper, as it will be loaded."""
    wrapped = model.__dict__.pop("forward", None)
    try:
        yield
    finally:
        if wrapped is not None:
            model.__dict__["forward"] = wrapped


def _require_finite(selection: Selection) -> None:
    for name, scores in selection.scores_by_matrix().items():
        if not bool(torch.isfinite(scores).all()):
            raise PruningError(f"Scores of {name} are not finite: a NaN or infinite gradient reached the optimizer.")
