"""The scores in the model's optimizer, whatever groups it was made with: no weight decay, and a rate of their own.

Decay pulls every score towards zero and so forgets early evidence. A stock Trainer puts the scores into its decaying
group (it exempts by name: biases and norms), and groups added later than ``create_optimizer`` break
``resume_from_checkpoint``. So the scores leave their groups just for the optimizer's step; and scores that the
optimizer is not to touch lend it nothing but the place where a GradScaler finds their gradients.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterable
from typing import Any

from torch import Tensor, nn
from torch.optim import Optimizer

from ..errors import NoEffectWarning, PruningError
from ..model.structure import known_structure, part_of
from .convert import masked_layers, score_parameters, update_scores
from .selection import Selection
from .stochastic_gates import StochasticGates

__all__ = [
    "ScoreStep",
    "require_in_optimizer",
    "restore_groups",
    "separate_groups",
    "take_gradients",
    "warn_of_one_rate",
]


class ScoreStep:
    """What happens to the scores of a model around each step of its optimizer.

    Args:
        selection: The units of a prepared model.
        total_steps: Optimizer steps of the whole run.
        seed: Of what is drawn at random: the gates of a method that is stochastic.

    Attributes:
        gates: The gates that are drawn in each step, if the method draws any.
    """

    def __init__(self, selection: Selection, total_steps: int, seed: int = 0) -> None:
        self.model, self.config, self.total_steps = selection.model, selection.config, total_steps
        self.gates = StochasticGates(selection, total_steps, seed) if self.config.score.stochastic else None
        self._changed: list[tuple[dict[str, Any], list[Any]]] = []
        self._gradients: list[Tensor | None] = []

    def before(self, optimizer: Optimizer, step: int) -> None:
        """Take the scores out of the groups that decay, or their gradients away where the optimizer has no say.

        Args:
            optimizer: What is about to step.
            step: Its finished steps.
        """
        scores = score_parameters(self.model)
        if self.gates is not None:
            self.gates.constrain(step)
        if self.config.score.by_optimizer and not self._rests(step):
            self._changed = separate_groups(optimizer, scores, self._learning_rate())
        else:
            self._gradients = take_gradients(scores)

    def draw(self, step: int) -> None:
        """Draw the gates of the step that follows ``step`` finished ones, if the method draws any."""
        if self.gates is not None:
            self.gates.draw(step)

    @property
    def expected(self) -> float | None:
        """The expected cost of the last step, as a share of the dense model's, where gates were held to a budget."""
        return None if self.gates is None else self.gates.share

    @property
    def multiplier(self) -> float | None:
        """That of the constraint on gates that are drawn, to be stored with the run; None: there is no such gate."""
        return None if self.gates is None else self.gates.multiplier

    def go_on(self, multiplier: float | None) -> None:
        """Go on with the :attr:`multiplier` of a run that was interrupted; None: there is none."""
        if self.gates is not None and multiplier is not None:
            self.gates.multiplier = multiplier

    def _rests(self, step: int) -> bool:
        """Whether the scores learn no more: the gates they stand for are drawn no more."""
        return self.gates is not None and self.gates.rests(step)

    def after(self, optimizer: Optimizer, skipped: bool = False, scale: Tensor | None = None) -> None:
        """Put back what :meth:`before` took, and update the scores that the optimizer does not.

        Args:
            optimizer: The same as before.
            skipped: Whether the step did not take place, as a GradScaler decides when gradients overflow.
            scale: What the gradients that were taken are still to be divided by; None: nothing.
        """
        restore_groups(optimizer, self._changed)
        gradients, self._changed, self._gradients = self._gradients, [], []
        if scale is not None:
            gradients = [gradient if gradient is None else gradient / scale for gradient in gradients]
        if self.gates is not None:
            self.gates.settle(skipped)
        elif gradients and not skipped:
            update_scores(self.model, self.config, gradients)

    def _learning_rate(self) -> float | None:
        """None where the rate of the model will do: then only the order of the scores counts."""
        span = self.config.score.span
        return None if span is None else self.config.score_learning_rate or span / self.total_steps


def require_in_optimizer(optimizer: Optimizer, model: nn.Module) -> None:
    """Raise unless ``optimizer`` updates the scores of every prunable layer of ``model``.

    Raises:
        PruningError: naming the cause and the cure.
    """
    layers = {name: layer for name, layer in masked_layers(model).items() if layer.scores is not None}
    if frozen := [name for name, layer in layers.items() if not layer.scores.requires_grad]:  # type: ignore[union-attr]
        raise PruningError(
            f"The scores of {len(frozen)} layers, the first of them {frozen[0]}, are frozen (requires_grad=False), so"
            " nothing would say which of their weights to keep. Freeze layers before they are prepared for pruning:"
            " before the Trainer is made, or prepare_pruning is called. Or leave them out with exclude=[…]."
        )
    known = {id(parameter) for group in optimizer.param_groups for parameter in group["params"]}
    missing = sum(id(layer.scores) not in known for layer in layers.values())
    if missing:
        raise PruningError(
            f"The optimizer does not know {missing} of the score tensors, so nothing would say which weights to keep."
            " It was made before the model was prepared: call prepare_pruning(model, config) first and make the"
            " optimizer afterwards, or let Trainer make it."
        )


def warn_of_one_rate(model: nn.Module, optimizer: Optimizer) -> None:
    """Warn if the model's ``layer_lr_decay`` asks for slower embeddings, and ``optimizer`` has one rate for all.

    Between the layers the model sees to it itself; embeddings and head need groups of their own, which a stock
    ``Trainer`` does not make.
    """
    decay = getattr(getattr(model, "config", None), "layer_lr_decay", 1.0)
    rates = {id(p): group.get("initial_lr", group["lr"]) for group in optimizer.param_groups for p in group["params"]}
    structure, by_part = known_structure(model), dict[str | None, set[float]]()
    for name, parameter in model.named_parameters():
        if id(parameter) in rates:
            by_part.setdefault(part_of(name, structure), set()).add(float(rates[id(parameter)]))
    if decay != 1.0 and by_part.get("embeddings", set()) & by_part.get("head", set()):
        warnings.warn(
            f"layer_lr_decay={decay} works between the layers alone: the optimizer has one learning rate for embeddings"
            " and head. Use QuestionAnsweringTrainer, which makes groups for them, or give your Trainer an optimizer of"
            " transformers_palbert.training.optimizer.parameter_groups(…).",
            NoEffectWarning,
            stacklevel=3,
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
