"""Projections of blocks that lost all of their heads or units, without a product of matrices."""

from __future__ import annotations

from torch import Tensor, nn

__all__ = ["EmptyLinear", "apply_empty"]


class EmptyLinear(nn.Linear):
    """A Linear without inputs, which gives its bias, or without outputs.

    Runtimes that models are exported to know no empty matrices, so none is multiplied when the model infers. Training
    multiplies them: a distributed training waits for the gradient of every parameter, of empty ones too.
    """

    def forward(self, input: Tensor) -> Tensor:
        """``[…, out]`` for ``[…, in]``, where one of the two is 0."""
        if self.training:
            return super().forward(input)
        return apply_empty(input, self.out_features, self.bias)


def apply_empty(input: Tensor, out_features: int, bias: Tensor | None) -> Tensor:
    """What a projection ``[out_features, in]`` with ``out_features`` or ``in`` of 0 makes of ``input``, ``[…, in]``."""
    if out_features == 0:
        return input[..., :0]
    nothing = input.new_zeros(*input.shape[:-1], out_features)
    return nothing if bias is None else nothing + bias
