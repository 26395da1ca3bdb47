"""Warnings and cures: what a pruning run says when its settings do not suit it."""

from __future__ import annotations

import warnings

from ..errors import PruningWarning
from .config import PruningConfig

__all__ = ["SHORT_RUN", "cure_of_collapse", "warn_of_short_run", "why_not_prepared"]

SHORT_RUN = 10_000
"""Optimizer steps below which movement from zero is warned of. It destroys a model in 500, and Sanh et al. use it over
about 50,000; what lies between was not measured, and the bound is a choice."""

MOVEMENT_EVIDENCE = (
    "Over 500 steps to 70 % sparsity it took a BERT from F1 72.4 to 0.2, where sensitivity left 62.3; its authors'"
    " figures (Sanh et al.) are of about 50,000 steps."
)


def warn_of_short_run(config: PruningConfig, steps: int) -> None:
    """Warn where movement from zero is to prune in a run that is too short for it."""
    if config.method == "movement" and config.score_start == "zero" and steps < SHORT_RUN:
        warnings.warn(
            f"Movement pruning from zero needs a long run, and this one has {steps} steps. {MOVEMENT_EVIDENCE} Use"
            " method='sensitivity', or method='movement' with score_start='rank'.",
            PruningWarning,
            stacklevel=3,
        )


def cure_of_collapse(config: PruningConfig) -> str:
    """What to change where pruning has destroyed the model."""
    if config.method == "movement" and config.score_start == "zero":
        return "Movement from zero needs a long run: use method='sensitivity', or score_start='rank'."
    return (
        f"Keep more than {config.final_density:.0%} of {config.counted}, train longer, or lower the learning rate"
        " if the loss was restless before."
    )


def why_not_prepared(finished: bool) -> str:
    """Why a callback finds a model that it cannot prune, and what to do."""
    if finished:
        return (
            "This callback has finished its run: the masks are baked into the model. To prune further, make a new"
            " Trainer with a new MovementPruningCallback."
        )
    return (
        "The model was not prepared before training. Pass the callback to the constructor,"
        " Trainer(…, callbacks=[MovementPruningCallback(…)]), not to add_callback; with model_init, call"
        " prepare_pruning(model, callback.config) on the model inside it."
    )
