"""The scores in the model's optimizer, whatever groups it was made with: no weight decay, and a rate of their own.

Decay pulls every score towards zero and so forgets early evidence. A stock Trainer puts the scores into its decaying
group (it exempts by name: biases and norms), and groups added later than ``create_optimizer`` break
``resume_from_checkpoint``. So the scores leave their groups just for the optimizer's step; and scores that the
optimizer is not to touch lend it nothing but the place where a GradScaler finds their gradients.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from torch import Tensor, nn
from torch.optim import Optimizer

from ..errors import PruningError

__all__ = ["require_in_optimizer", "restore_groups", "separate_groups", "take_gradients"]


def require_in_optimizer(optimizer: Optimizer, scores: Iterable[nn.Parameter]) -> None:
    """Raise unless ``optimizer`` updates every one of ``scores``.

    Raises:
        PruningError: naming the cure.
    """
    known = {id(parameter) for group in optimizer.param_groups for parameter in group["params"]}
    missing = sum(id(parameter) not in known for parameter in scores)
    if missing:
        raise PruningError(
            f"The optimizer does not know {missing} of the score tensors, so movement pruning could not learn which"
            " weights to keep. It was made before the model was prepared: call prepare_pruning(model, callback.config)"
            " first and make the optimizer afterwards, or let Trainer make it."
        )


def separate_groups(
    optimizer: Optimizer, scores: Iterable[nn.Parameter], learning_rate: float | None = None
) -> list[tuple[dict[str, Any], list[Any]]]:
    """Move ``scores`` into temporary groups that do not decay; undo with :func:`restore_groups`.

    Args:
        optimizer: The optimizer that is about to step.
        scores: Parameters to move.
        learning_rate: Their peak rate, which follows the schedule of the group that they come from; None: its rate.

    Returns:
        The changed groups, each with its parameters as they were.
    """
    exempt = {id(parameter) for parameter in scores}
    changed: list[tuple[dict[str, Any], list[Any]]] = []
    for group in list(optimizer.param_groups):
        moved = [parameter for parameter in group["params"] if id(parameter) in exempt]
        if moved and (learning_rate is not None or group.get("weight_decay", 0.0) != 0.0):
            rate = group["lr"] if learning_rate is None else learning_rate * _schedule(group)
            changed.append((group, group["params"]))
            group["params"] = [parameter for parameter in group["params"] if id(parameter) not in exempt]
            optimizer.param_groups.append({**group, "params": moved, "weight_decay": 0.0, "lr": rate})
    return changed


def _schedule(group: dict[str, Any]) -> float:
    """The factor, in [0, 1], that a learning rate scheduler has set; 1 without one."""
    peak = group.get("initial_lr", group["lr"])
    return group["lr"] / peak if peak else 0.0


def take_gradients(scores: Iterable[nn.Parameter]) -> list[Tensor | None]:
    """The gradients of ``scores``, taken away: an optimizer passes over parameters without one, and keeps no state."""
    taken = []
    for parameter in scores:
        taken.append(parameter.grad)
        parameter.grad = None
    return taken


def restore_groups(optimizer: Optimizer, changed: list[tuple[dict[str, Any], list[Any]]]) -> None:
    """Undo :func:`separate_groups`: the same groups with the same parameters in the same order."""
    if changed:
        del optimizer.param_groups[-len(changed) :]
    for group, parameters in changed:
        group["params"] = parameters
