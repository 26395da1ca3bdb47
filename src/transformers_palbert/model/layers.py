"""Layers that PAL-BERT adds to ALBERT: gradient scaling and pooling over layer applications. torch only."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

__all__ = ["LayerPool", "scale_gradient"]


class _ScaleGradient(torch.autograd.Function):
    """Identity forward, ``dL/dx = scale * dL/dy`` backward."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, scale: float) -> Tensor:
        ctx.scale = scale
        return x.view_as(x)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        return gradients[0] * ctx.scale, None


def scale_gradient(x: Tensor, scale: float) -> Tensor:
    """Return ``x`` unchanged; on the way back its gradient is multiplied by ``scale``.

    A layer ``F`` applied at depth ``l`` as ``scale_gradient(F(scale_gradient(x, 1 / s)), s)`` gives its weights ``s``
    times their gradient and leaves the gradient of ``x``, which flows on to the layers below, as it was.

    Args:
        x: Any shape, any floating dtype.
        scale: Factor of the gradient. 1.0 returns ``x`` itself and adds no operation, and so does an ``x`` for which
            no gradient is being recorded.
    """
    if scale == 1.0 or not (torch.is_grad_enabled() and x.requires_grad):
        return x
    return _ScaleGradient.apply(x, scale)


class LayerPool(nn.Module):
    """Make one sequence of hidden states from those of several layer applications.

    ==============  ============================================================================
    mode            result for hidden states ``h_1 … h_n``, each ``[batch, length, hidden]``
    ==============  ============================================================================
    "last"          ``h_n``
    "mean"          ``(h_1 + … + h_n) / n``
    "max"           elementwise maximum
    "concat"        ``[batch, length, n * hidden]``, ``h_1`` first
    "weighted_sum"  ``Σ softmax(w)_i h_i`` with learned ``w``, zero at the start, so a mean then
    ==============  ============================================================================

    Args:
        num_layers: ``n``, at least 1.
        mode: One of the modes above.

    Raises:
        ValueError: for another mode, or fewer than one layer.
    """

    MODES = ("last", "mean", "max", "concat", "weighted_sum")

    layer_weights: nn.Parameter | None

    def __init__(self, num_layers: int, mode: str) -> None:
        super().__init__()
        if mode not in self.MODES:
            raise ValueError(f"mode={mode!r} is not allowed; allowed: {', '.join(map(repr, self.MODES))}.")
        if num_layers < 1:
            raise ValueError(f"num_layers={num_layers} is not allowed; there must be a layer to pool.")
        self.num_layers, self.mode = num_layers, mode
        weights = nn.Parameter(torch.zeros(num_layers)) if mode == "weighted_sum" else None
        self.register_parameter("layer_weights", weights)

    def output_size(self, hidden_size: int) -> int:
        """Width of the result for hidden states of width ``hidden_size``."""
        return self.num_layers * hidden_size if self.mode == "concat" else hidden_size

    def forward(self, layers: Sequence[Tensor]) -> Tensor:
        """Pool ``layers``, ``n`` tensors of one shape ``[batch, length, hidden]``, lowest layer first."""
        if len(layers) != self.num_layers:
            raise ValueError(f"expected the hidden states of {self.num_layers} layers, got {len(layers)}.")
        if self.mode == "last":
            return layers[-1]
        if self.mode == "concat":
            return torch.cat(tuple(layers), dim=-1)
        stacked = torch.stack(tuple(layers))
        if self.layer_weights is not None:
            return torch.einsum("n,nblh->blh", self.layer_weights.softmax(dim=0).to(stacked.dtype), stacked)
        return stacked.amax(dim=0) if self.mode == "max" else stacked.mean(dim=0)

    def extra_repr(self) -> str:
        return f"num_layers={self.num_layers}, mode={self.mode!r}"
