"""Masks that came from a checkpoint: a run goes on with them only if they are those of its place in the schedule."""

from __future__ import annotations

from torch import nn

from ..errors import PruningError
from .config import PruningConfig
from .convert import weights_under_masks
from .gates import write_gates

__all__ = ["take_loaded_masks"]


def take_loaded_masks(model: nn.Module, config: PruningConfig, kept: int) -> None:
    """Check the masks of a model whose state was loaded, and say in its configuration what each application keeps.

    Args:
        model: A prepared model.
        config: The settings of the run.
        kept: Targeted weights that are kept at the run's place in the schedule.

    Raises:
        PruningError: if the masks keep another number of weights.
    """
    if (found := weights_under_masks(model, config)) != kept:
        raise PruningError(
            f"The masks of the checkpoint should keep {kept} weights, and they keep {found}: it was written with other"
            " settings than those of this run, or the tensors called …mask were changed, or the state of the model was"
            " not loaded. Load it, and go on with the settings of the run that wrote it."
        )
    write_gates(model)
