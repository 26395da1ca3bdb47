"""A Linear whose weight is masked, built once per forward however often the layer is applied.

ALBERT applies one set of weights at every depth. Rebuilding ``W ⊙ M`` at each application would cost as much as the
depth; :class:`MaskedLinear` builds it at the first application and shares it, tensor and gradient, with the others.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from ..errors import PruningError
from ..model.pruning_state import MASK_KEY, PRUNED_WEIGHT_KEY, SCORES_KEY
from .masks import mask_weight

__all__ = ["MaskedLinear"]


class MaskedLinear(nn.Linear):
    """``y = x (W ⊙ M)ᵀ + b``.

    ``weight`` and ``bias`` are the Parameters of the Linear it replaces, under their own names.

    Checkpoints: the key ``weight`` holds the *effective* weight ``W ⊙ M``, so whoever loads the file, with or without
    this package, computes what this layer computes; ``pruned_weight``, ``mask`` and what the score remembers beside it
    hold the rest, and ``load_state_dict`` puts ``W`` together again, bit for bit (each entry stands in one of the two,
    zero in the other). A plain dense checkpoint loads too; it lacks nothing but the scores.

    Args:
        linear: The Linear to replace.
        state: What the score remembers, from :meth:`~transformers_palbert.pruning.scores.Score.initial`.

    Attributes:
        weight: ``W``, ``[out, in]``.
        scores: ``[out, in]``, float32, a Parameter whose gradient is ``G ⊙ W``; or None.
        mask: ``M``, ``[out, in]``, bool.
    """

    mask: Tensor
    scores: nn.Parameter | None

    def __init__(self, linear: nn.Linear, state: Mapping[str, Tensor] | None = None) -> None:
        nn.Module.__init__(self)
        self.in_features, self.out_features = linear.in_features, linear.out_features
        self.weight, self.bias = linear.weight, linear.bias
        self.register_parameter(SCORES_KEY, None)
        for name, tensor in (state or {}).items():
            if name == SCORES_KEY:
                self.scores = nn.Parameter(tensor)
            else:
                self.register_buffer(name, tensor)
        self.register_buffer(MASK_KEY, torch.ones_like(linear.weight, dtype=torch.bool))
        self.train(linear.training)
        self._built: tuple[tuple[Any, ...], Tensor] | None = None

    def forward(self, input: Tensor) -> Tensor:
        return functional.linear(input, self.effective_weight(), self.bias)

    @property
    def score_state(self) -> dict[str, Tensor]:
        """What the score remembers, by name; to be changed in place."""
        state = {name: buffer for name, buffer in self.named_buffers(recurse=False) if name != MASK_KEY}
        return state if self.scores is None else {SCORES_KEY: self.scores.data, **state}

    def effective_weight(self) -> Tensor:
        """``W ⊙ M`` in the dtype that the matrix product will use; the same tensor until something changes.

        Under autocast it is cast here, once: autocast itself caches the casts of leaf tensors only.
        """
        key = self._build_key()
        if self._built is None or self._built[0] != key:
            weight = mask_weight(self.weight, self.mask, self.scores)
            if key[0] is not None:
                weight = weight.to(key[0])
            if weight.requires_grad:
                weight.register_hook(self._forget)  # its graph is gone once the gradient has arrived
            self._built = (key, weight)
        return self._built[1]

    def effective_parameters(self) -> dict[str, Tensor]:
        """What the parameters amount to in the model: the masked weight and the bias, without the scores."""
        weight = {"weight": self.weight.detach().masked_fill(~self.mask, 0.0)}
        return weight if self.bias is None else {**weight, "bias": self.bias}

    def start_forward(self) -> None:
        """Drop what an earlier forward built, and build anew: called once per forward of the model."""
        self._built = None
        self.effective_weight()

    def set_mask(self, mask: Tensor) -> None:
        """Use ``mask``, bool of the weight's shape, from now on."""
        self.mask.copy_(mask)
        self._built = None

    def bake(self) -> nn.Linear:
        """Zero the masked entries of the Parameter itself and return a plain Linear that holds it."""
        linear = nn.Linear(self.in_features, self.out_features, bias=False, device="meta")
        with torch.no_grad():
            self.weight.masked_fill_(~self.mask, 0.0)
        linear.weight, linear.bias = self.weight, self.bias
        self.weight.grad = None
        return linear.train(self.training)

    def _build_key(self) -> tuple[Any, ...]:
        device = self.weight.device.type
        autocast = torch.is_autocast_enabled(device) and self.weight.is_floating_point()
        dtype = torch.get_autocast_dtype(device) if autocast else None
        return dtype, torch.is_grad_enabled(), torch.is_inference_mode_enabled(), self.weight._version, device

    def _forget(self, gradient: Tensor) -> None:
        self._built = None

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_built": None}  # a tensor with a graph can be neither copied nor pickled

    def _save_to_state_dict(self, destination: dict[str, Any], prefix: str, keep_vars: bool) -> None:
        super()._save_to_state_dict(destination, prefix, keep_vars)
        weight = self.weight if keep_vars else self.weight.detach()
        destination[prefix + "weight"] = weight.masked_fill(~self.mask, 0.0)
        destination[prefix + PRUNED_WEIGHT_KEY] = weight.masked_fill(self.mask, 0.0)

    def _load_from_state_dict(self, state_dict: dict[str, Any], prefix: str, *args: Any, **kwargs: Any) -> None:
        pruned = state_dict.pop(prefix + PRUNED_WEIGHT_KEY, None)
        if pruned is not None:
            if (kept := state_dict.get(prefix + "weight")) is None:
                raise PruningError(
                    f"{prefix}{PRUNED_WEIGHT_KEY} came without {prefix}weight: the checkpoint is cut into files between"
                    " the two halves of one weight. Write it in one file, save_pretrained(…, max_shard_size='50GB')."
                )
            state_dict[prefix + "weight"] = torch.where(pruned != 0, pruned, kept)
        state_dict.setdefault(prefix + MASK_KEY, torch.ones_like(self.mask))
        super()._load_from_state_dict(state_dict, prefix, *args, **kwargs)
        self._built = None

    def _apply(self, *args: Any, **kwargs: Any) -> MaskedLinear:
        self._built = None  # another dtype or device
        return super()._apply(*args, **kwargs)
