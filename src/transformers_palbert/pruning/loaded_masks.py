"""Masks that came from a checkpoint: a run goes on with them only if they are those of its place in the schedule."""

from __future__ import annotations

from ..errors import PruningError
from .gates import write_gates
from .selection import Selection

__all__ = ["take_loaded_masks"]


def take_loaded_masks(selection: Selection, density: float) -> None:
    """Check the masks of a model whose state was loaded, and say in its configuration what each application keeps.

    Args:
        selection: The units of the model.
        density: Share that is kept at the run's place in the schedule.

    Raises:
        PruningError: if the masks keep something else.
    """
    if not selection.has(density):
        raise PruningError(
            f"The masks of the checkpoint should keep {_expected(selection, density)}: it was written with other"
            " settings than those of this run, or the tensors called …mask were changed, or the state of the model was"
            " not loaded. Load it, and go on with the settings of the run that wrote it."
        )
    write_gates(selection.model)


def _expected(selection: Selection, density: float) -> str:
    if not selection.config.is_budgeted:
        return f"{selection.kept_at(density)} weights, and they keep {selection.kept()}"
    share = selection.budget.cost(selection.masks) / selection.budget.total
    return f"units that cost {density:.4f} of the dense model, and theirs cost {share:.4f}"
