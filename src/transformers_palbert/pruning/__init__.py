"""Pruning: scores, masks, schedules, the conversion of models, and the callback that drives them in a Trainer."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .callback import MovementPruningCallback as MovementPruningCallback

from .config import PruningConfig
from .convert import bake_masks, is_prepared, masked_layers, prepare_pruning
from .pruner import Pruner
from .schedules import density_at, schedule_progress
from .selection import apply_density
from .targets import PruningPlan, prunable_layers, pruning_plan

__all__ = [
    "MovementPruningCallback",
    "Pruner",
    "PruningConfig",
    "PruningPlan",
    "apply_density",
    "bake_masks",
    "density_at",
    "is_prepared",
    "masked_layers",
    "prepare_pruning",
    "prunable_layers",
    "pruning_plan",
    "schedule_progress",
]


def __getattr__(name: str) -> Any:
    """Load the callback on first use: it imports the Trainer, which a model alone does not need."""
    if name == "MovementPruningCallback":
        from .callback import MovementPruningCallback

        return MovementPruningCallback
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
