"""What ``method="hard_concrete"`` does around each optimizer step: noise for the gates, and their constraint."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from .gated_linear import GatedLinear
from .hard_concrete import gate_noise
from .lagrangian import Multipliers, expected_share, root_mean_square
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
        multipliers: λ₁ and λ₂, to be stored with the run.
        share: The expected cost in the last step, as a share of the dense model's; None where nothing held it down.
    """

    def __init__(self, selection: Selection, total_steps: int, seed: int = 0) -> None:
        self.selection, self.total_steps, self.seed = selection, total_steps, seed
        self.multipliers = Multipliers()
        self.share: float | None = None
        gated = (selection.layers[units.gate] for units in selection.sets if units.gate is not None)
        self.layers = [layer for layer in gated if isinstance(layer, GatedLinear)]
        self._excess: float | None = None

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
        self._excess = self.share = None
        odds = [layer.scores for layer in self.layers if layer.scores is not None]
        if self._progress(step) < 0 or self.rests(step) or any(odd.grad is None for odd in odds):
            return
        self.share, gradients = expected_share(self.selection.budget, odds)
        self._excess = self.share - self.selection.config.density_at(step + 1, self.total_steps)
        of_loss, of_cost = root_mean_square(_gradients(odds)), root_mean_square(gradients)
        push = self.multipliers.push(self._excess) * (of_loss or 1.0) / (of_cost or 1.0)
        for odd, gradient in zip(odds, gradients, strict=True):
            odd.grad.add_((push * gradient).to(odd))  # type: ignore[union-attr] # looked at above

    def ascend(self, skipped: bool) -> None:
        """Move the multipliers, after a step that was not skipped."""
        if self._excess is not None and not skipped:
            self.multipliers = self.multipliers.after(self._excess, self.total_steps)

    def state(self) -> list[float]:
        """λ₁ and λ₂, as plain values."""
        return [self.multipliers.linear, self.multipliers.quadratic]

    def go_on(self, state: Any) -> None:
        """Take what :meth:`state` returned in the run that was interrupted."""
        self.multipliers = Multipliers(*map(float, state))


def _gradients(parameters: Sequence[nn.Parameter]) -> list[Tensor]:
    return [parameter.grad for parameter in parameters if parameter.grad is not None]
