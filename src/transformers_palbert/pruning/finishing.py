"""The end of a pruning run: the exact final density, the masks baked in, and a config that says so."""

from __future__ import annotations

import warnings

import torch
from torch import nn

from ..errors import NoEffectWarning, PruningError
from ..model.pruning_state import PruningState
from .config import PruningConfig
from .convert import apply_density, bake_masks, kept_weights, pruned_matrices, unit_scores, weights_under_masks

__all__ = ["finish_pruning", "warn_of_late_cut", "write_state"]

LATE_CUT = 0.01
"""Share of the targeted weights that the last step may remove without a warning: slow schedules end in tiny cuts."""


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


def finish_pruning(model: nn.Module, config: PruningConfig, density: float) -> int:
    """Keep exactly ``density`` of the targeted weights, bake the masks in, and write the state into the config.

    Returns:
        The number of targeted weights that are kept.

    Raises:
        PruningError: if a score is not a finite number.
    """
    _require_finite(model, config)
    targets, kept = pruned_matrices(model, config), kept_weights(model, config, density)
    if weights_under_masks(model, config) != kept:
        apply_density(model, config, density)
    bake_masks(model)
    write_state(model, config, density, "final", targets)
    return kept


def write_state(
    model: nn.Module, config: PruningConfig, density: float, status: str, targets: list[str] | None = None
) -> None:
    """Write how far ``model`` is pruned into its config, as plain values.

    Args:
        model: A prepared model, or one whose masks are baked in.
        config: The settings of the run.
        density: Share of the targeted weights that is kept.
        status: One of :data:`~transformers_palbert.model.pruning_state.STATUSES`.
        targets: Names of the pruned modules; None takes those that are prepared.
    """
    names = pruned_matrices(model, config) if targets is None else targets
    settings = {name: value for name, value in config.to_dict().items() if name != "targets"}
    PruningState(tuple(names), density, status, settings).write(model)


def _require_finite(model: nn.Module, config: PruningConfig) -> None:
    for name, scores in unit_scores(model, config).items():
        if not bool(torch.isfinite(scores).all()):
            raise PruningError(f"Scores of {name} are not finite: a NaN or infinite gradient reached the optimizer.")
