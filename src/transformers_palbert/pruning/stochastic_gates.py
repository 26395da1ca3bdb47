"""What ``method="hard_concrete"`` does around each optimizer step: noise for the gates, and their constraint."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property

import torch
from torch import Tensor

from .budget import fetched
from .gated_linear import GatedLinear
from .hard_concrete import START, gate_noise
from .lagrangian import ASCENT, PENALTY, expected_share, shift_to_share
from .schedules import schedule_progress
from .selection import Selection

__all__ = ["StochasticGates"]


class StochasticGates:
    """Gates that are drawn for each optimizer step, until the cool-down begins; then they stay as the masks say.

    All micro-batches of a step, and all processes, see the same gates. The gradient of the constraint is added to that
    of the loss once per step, after accumulation, averaging and clipping.

    Args:
        selection: The units of the model.
        total_steps: Optimizer steps of the whole run.
        seed: Of the noise.

    Attributes:
        multiplier: λ, to be stored with the run.
        share: The expected cost after the last step, as a share of the dense model's; None where nothing held it down.
    """

    def __init__(self, selection: Selection, total_steps: int, seed: int = 0) -> None:
        self.selection, self.total_steps, self.seed = selection, total_steps, seed
        self.multiplier = 0.0
        self.share: float | None = None
        gated = (selection.layers[units.gate] for units in selection.sets if units.gate is not None)
        self.layers = [layer for layer in gated if isinstance(layer, GatedLinear)]
        self._target: float | None = None  # of the step that is being made

    def rests(self, step: int) -> bool:
        """Whether the gates are drawn no more after ``step`` finished steps."""
        return self._progress(step) >= 1

    def _progress(self, step: int) -> float:
        config = self.selection.config
        return schedule_progress(step, self.total_steps, warmup=config.warmup, cooldown=config.cooldown)

    def draw(self, step: int) -> None:
        """Give the layers their noise for the step that follows ``step`` finished ones."""
        shapes = [layer.mask.shape for layer in self.layers]
        noises: Sequence[Tensor | None] = [None] * len(shapes)
        if not self.rests(step):
            noises = gate_noise(shapes, self.seed, step)
        for layer, noise in zip(self.layers, noises, strict=True):
            layer.set_noise(noise)

    @torch.no_grad()
    def constrain(self, step: int) -> None:
        """Add the gradient of the constraint to that of the odds, after ``step`` steps; from the end of the warm-up on.

        What is added is proportional to the gradient of the loss, so that it does not matter whether a GradScaler has
        divided that by its factor already.
        """
        self._target = None
        of_loss = [odd.grad for odd in self._odds if odd.grad is not None]
        if self._progress(step) < 0 or self.rests(step) or len(of_loss) < len(self._odds):
            return
        self._target = min(self.selection.config.density_at(step + 1, self.total_steps), self._fresh)
        share, gradients = expected_share(self.selection.budget, fetched(self._odds))
        push = self.multiplier + PENALTY * (share - self._target)
        scale = _root_mean_square(of_loss) * (push / float(_root_mean_square(gradients)))
        for gradient, of_cost in zip(of_loss, gradients, strict=True):
            gradient.add_(scale * of_cost.to(gradient))

    @torch.no_grad()
    def settle(self, skipped: bool) -> None:
        """After a step that was not skipped, move the multiplier, and all odds to where they cost what they should."""
        self.share, target, self._target = None, self._target, None
        if target is None or skipped:
            return
        shift, shares = shift_to_share(self.selection.budget, fetched(self._odds), target)
        self.multiplier += ASCENT * (shares[0] - target)
        self.share = shares[-1]
        for odd in self._odds:
            odd.sub_(shift)

    @property
    def _odds(self) -> list[Tensor]:
        """The log-odds of each set of gates."""
        return [layer.scores for layer in self.layers if layer.scores is not None]

    @cached_property
    def _fresh(self) -> float:
        """The expected share of gates that have learned nothing yet; none is opened further to cost more than that."""
        return expected_share(self.selection.budget, [torch.full(odd.shape, START) for odd in self._odds])[0]


def _root_mean_square(tensors: Sequence[Tensor]) -> Tensor:
    """Of all entries of all tensors, on their device; 1 where all of them are 0."""
    found = torch.cat([tensor.reshape(-1) for tensor in tensors]).square().mean().sqrt()
    return torch.where(found == 0, 1.0, found)
