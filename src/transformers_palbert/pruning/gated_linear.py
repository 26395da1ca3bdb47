"""A Linear whose inputs pass through gates, one for each unit: an attention head, a feed-forward unit.

Scaling an input is scaling the column of the weight that it meets, so a gate of zero takes the unit out of the model.
Unlike a mask of weights, a gate may be any number, has one score for all the weights of its unit, and may differ
between the applications of a shared layer.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from ..model.layers import scale_gradient
from .hard_concrete import sample_gates
from .maskable import MaskableLinear
from .masks import mask_weight

__all__ = ["GatedLinear"]


class GatedLinear(MaskableLinear):
    """``y = (x ⊙ z_a) Wᵀ + b``, with the gates ``z_a`` of the application ``a`` that is running.

    With one set of gates, the effective weight of a checkpoint is ``W ⊙ z``, column by column. With a set for each
    application no single weight can say it; then the checkpoint holds ``W``, and the model's configuration the gates.

    Args:
        linear: The Linear to replace.
        gates: Number of units; they divide the inputs evenly, in their order.
        applications: Applications of the layer that have gates of their own; 1 where all of them share one set.
        state: What the score remembers of the gates.

    Attributes:
        application: Which application is running, set by the layer before each.
        gradient_scale: What the layer multiplies the gradient of its weights by there. It says how fast weights learn,
            and nothing of what a unit is worth, so it is undone for the gates.
        scores: ``[applications, gates]``, float32, a Parameter whose gradient is ``∂L/∂z ⊙ 1``; or None.
        mask: ``z``, ``[applications, gates]``, float32. Where gates are drawn in training, what is kept of them so far.
    """

    def __init__(
        self, linear: nn.Linear, gates: int, applications: int = 1, state: Mapping[str, Tensor] | None = None
    ) -> None:
        super().__init__(linear, torch.ones(applications, gates, device=linear.weight.device), state)
        self.application = 0
        self.gradient_scale = 1.0
        self._noise: Tensor | None = None

    @property
    def differs(self) -> bool:
        """Whether each application of the layer has gates of its own."""
        return self.mask.size(0) > 1

    def forward(self, input: Tensor) -> Tensor:
        row = scale_gradient(self.built()[self.application if self.differs else 0], 1.0 / self.gradient_scale)
        row = row.to(input.dtype)
        return functional.linear(input * self._of_inputs(row), self.weight, self.bias)

    def set_noise(self, noise: Tensor | None) -> None:
        """Draw the gates by this noise while the layer trains, see :mod:`.hard_concrete`; None: they are the mask.

        Args:
            noise: ``[applications, gates]``, in (0, 1).
        """
        self._noise = None if noise is None else noise.to(self.mask.device)
        self._built = None

    def _build(self, dtype: torch.dtype | None) -> Tensor:
        if self.training and self._noise is not None and self.scores is not None:
            gates = sample_gates(self.scores, self._noise.to(self.scores.device))  # a replica may be elsewhere
        else:
            gates = mask_weight(torch.ones_like(self.mask), self.mask, self.scores)
        return gates if dtype is None else gates.to(dtype)

    def _of_inputs(self, row: Tensor) -> Tensor:
        """One gate for each input, ``[in]``, from one for each unit."""
        width = self.in_features // row.numel()
        return row if width == 1 else row.repeat_interleave(width)

    def _halves(self, weight: Tensor) -> tuple[Tensor, Tensor | None]:
        if self.differs:
            return weight, None
        gates = self._of_inputs(self.mask[0])
        effective = (weight * gates.to(weight.dtype)).masked_fill(gates == 0, 0.0)  # no negative zeros
        return effective, weight.masked_fill(gates == 1, 0.0)

    def _apply(self, *args: Any, **kwargs: Any) -> GatedLinear:
        super()._apply(*args, **kwargs)
        self.set_noise(self._noise)
        self.mask = self.mask.float()  # model.half() is for the weights; a gate is compared with 0 and 1
        return self
