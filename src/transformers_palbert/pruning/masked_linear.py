"""A Linear whose weights are masked, built once per forward however often the layer is applied.

ALBERT applies one set of weights at every depth. Rebuilding ``W ⊙ M`` at each application would cost as much as the
depth; :class:`MaskedLinear` builds it at the first application and shares it, tensor and gradient, with the others.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn
from torch.nn import functional

from .maskable import MaskableLinear
from .masks import mask_weight

__all__ = ["MaskedLinear"]


class MaskedLinear(MaskableLinear):
    """``y = x (W ⊙ M)ᵀ + b``.

    Args:
        linear: The Linear to replace.
        state: What the score remembers of the weights.

    Attributes:
        scores: ``[out, in]``, float32, a Parameter whose gradient is ``G ⊙ W`` with ``G = ∂L/∂(W ⊙ M)``; or None.
        mask: ``M``, ``[out, in]``, bool.
    """

    def __init__(self, linear: nn.Linear, state: Mapping[str, Tensor] | None = None) -> None:
        super().__init__(linear, torch.ones_like(linear.weight, dtype=torch.bool), state)

    def forward(self, input: Tensor) -> Tensor:
        return functional.linear(input, self.effective_weight(), self.bias)

    def effective_weight(self) -> Tensor:
        """``W ⊙ M`` in the dtype that the matrix product will use; the same tensor until something changes."""
        return self.built()

    def _build(self, dtype: torch.dtype | None) -> Tensor:
        weight = mask_weight(self.weight, self.mask, self.scores)
        return weight if dtype is None else weight.to(dtype)

    def _halves(self, weight: Tensor) -> tuple[Tensor, Tensor]:
        return weight.masked_fill(~self.mask, 0.0), weight.masked_fill(self.mask, 0.0)
