"""Keep weight decay away from the scores, whatever groups the optimizer was made with.

Decay pulls every score towards zero and so forgets early evidence. A stock Trainer puts the scores into its decaying
group (it exempts by name: biases and norms), and groups added later than ``create_optimizer`` break
``resume_from_checkpoint``. So the scores leave their groups just for the optimizer's step.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from torch import nn
from torch.optim import Optimizer

from ..errors import PruningError

__all__ = ["exempt_from_decay", "require_in_optimizer", "restore_groups"]


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


def exempt_from_decay(optimizer: Optimizer, scores: Iterable[nn.Parameter]) -> list[tuple[dict[str, Any], list[Any]]]:
    """Move ``scores`` from groups that decay into temporary ones that do not; undo with :func:`restore_groups`.

    Returns:
        The changed groups, each with its parameters as they were.
    """
    exempt = {id(parameter) for parameter in scores}
    changed: list[tuple[dict[str, Any], list[Any]]] = []
    for group in list(optimizer.param_groups):
        moved = [parameter for parameter in group["params"] if id(parameter) in exempt]
        if moved and group.get("weight_decay", 0.0) != 0.0:
            changed.append((group, group["params"]))
            group["params"] = [parameter for parameter in group["params"] if id(parameter) not in exempt]
            optimizer.param_groups.append({**group, "params": moved, "weight_decay": 0.0})
    return changed


def restore_groups(optimizer: Optimizer, changed: list[tuple[dict[str, Any], list[Any]]]) -> None:
    """Undo :func:`exempt_from_decay`: the same groups with the same parameters in the same order."""
    if changed:
        del optimizer.param_groups[-len(changed) :]
    for group, parameters in changed:
        group["params"] = parameters
