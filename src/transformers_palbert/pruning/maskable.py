"""What every maskable Linear has: a mask, what its score remembers, and one build per forward."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from ..errors import PruningError
from ..model.pruning_state import MASK_KEY, PRUNED_WEIGHT_KEY, SCORES_KEY

__all__ = ["MaskableLinear"]


class MaskableLinear(nn.Linear):
    """A Linear with a mask, over its weights or over units of its inputs.

    ``weight`` and ``bias`` are the Parameters of the Linear it replaces, under their own names.

    Checkpoints: the key ``weight`` holds the *effective* weight, so whoever loads the file, with or without this
    package, computes what this layer computes; ``pruned_weight``, ``mask`` and what the score remembers beside it hold
    the rest, and ``load_state_dict`` puts ``W`` together again, bit for bit (each entry stands in one of the two, zero
    in the other). A plain dense checkpoint loads too; it lacks nothing but the scores.

    Args:
        linear: The Linear to replace.
        mask: The mask to start with.
        state: What the score remembers, from :meth:`~transformers_palbert.pruning.scores.Score.initial`.

    Attributes:
        weight: ``W``, ``[out, in]``.
        scores: Of the mask's shape, float32, a Parameter to which backward brings the gradient of what is masked, times
            its value; or None.
        mask: ``M``.
    """

    mask: Tensor
    scores: nn.Parameter | None

    def __init__(self, linear: nn.Linear, mask: Tensor, state: Mapping[str, Tensor] | None = None) -> None:
        nn.Module.__init__(self)
        self.in_features, self.out_features = linear.in_features, linear.out_features
        self.weight, self.bias = linear.weight, linear.bias
        self.register_parameter(SCORES_KEY, None)
        for name, tensor in (state or {}).items():
            if name == SCORES_KEY:
                self.scores = nn.Parameter(tensor)
            else:
                self.register_buffer(name, tensor)
        self.register_buffer(MASK_KEY, mask)
        self.train(linear.training)
        self._built: tuple[tuple[Any, ...], Tensor] | None = None

    @abstractmethod
    def _build(self, dtype: torch.dtype | None) -> Tensor:
        """What a forward needs, made from the mask: in ``dtype``, or in its own."""

    @abstractmethod
    def _halves(self, weight: Tensor) -> tuple[Tensor, Tensor | None]:
        """``weight`` as the model sees it, and what is hidden of it, zero where nothing is; None: nothing ever is."""

    @property
    def own_keys(self) -> set[str]:
        """Keys of a checkpoint, beside the weight's, without which the layer cannot go on."""
        hides = self._halves(self.weight.detach())[1] is not None
        return {MASK_KEY, PRUNED_WEIGHT_KEY} if hides else {MASK_KEY}

    @property
    def score_state(self) -> dict[str, Tensor]:
        """What the score remembers, by name; to be changed in place."""
        state = {name: buffer for name, buffer in self.named_buffers(recurse=False) if name != MASK_KEY}
        return state if self.scores is None else {SCORES_KEY: self.scores.data, **state}

    def built(self) -> Tensor:
        """What :meth:`_build` makes in the dtype that the matrix product will use; the same until something changes.

        Under autocast it is cast here, once: autocast itself caches the casts of leaf tensors only.
        """
        key = self._build_key()
        if self._built is None or self._built[0] != key:
            tensor = self._build(key[0])
            if tensor.requires_grad:
                tensor.register_hook(self._forget)  # its graph is gone once the gradient has arrived
            self._built = (key, tensor)
        return self._built[1]

    def effective_parameters(self) -> dict[str, Tensor]:
        """What the parameters amount to in the model: the masked weight and the bias, without the scores."""
        weight = {"weight": self._halves(self.weight.detach())[0]}
        return weight if self.bias is None else {**weight, "bias": self.bias}

    def start_forward(self) -> None:
        """Drop what an earlier forward built, and build anew: called once per forward of the model."""
        self._built = None
        self.built()

    def set_mask(self, mask: Tensor) -> None:
        """Use ``mask``, of the shape of the present one, from now on."""
        self.mask.copy_(mask)
        self._built = None

    def bake(self) -> nn.Linear:
        """Write the effective weight into the Parameter itself and return a plain Linear that holds it."""
        linear = nn.Linear(self.in_features, self.out_features, bias=False, device="meta")
        with torch.no_grad():
            self.weight.copy_(self._halves(self.weight)[0])
        linear.weight, linear.bias = self.weight, self.bias
        self.weight.grad = None
        return linear.train(self.training)

    def _build_key(self) -> tuple[Any, ...]:
        device = self.weight.device.type
        autocast = torch.is_autocast_enabled(device) and self.weight.is_floating_point()
        dtype = torch.get_autocast_dtype(device) if autocast else None
        mode = self.training, torch.is_grad_enabled(), torch.is_inference_mode_enabled()
        return dtype, mode, self.weight._version, device

    def _forget(self, gradient: Tensor) -> None:
        self._built = None

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_built": None}  # a tensor with a graph can be neither copied nor pickled

    def _save_to_state_dict(self, destination: dict[str, Any], prefix: str, keep_vars: bool) -> None:
        super()._save_to_state_dict(destination, prefix, keep_vars)
        effective, hidden = self._halves(self.weight if keep_vars else self.weight.detach())
        destination[prefix + "weight"] = effective
        if hidden is not None:
            destination[prefix + PRUNED_WEIGHT_KEY] = hidden

    def _load_from_state_dict(self, state_dict: dict[str, Any], prefix: str, *args: Any, **kwargs: Any) -> None:
        pruned = state_dict.pop(prefix + PRUNED_WEIGHT_KEY, None)
        if pruned is not None:
            if (kept := state_dict.get(prefix + "weight")) is None:
                raise PruningError(
                    f"{prefix}{PRUNED_WEIGHT_KEY} came without {prefix}weight: the checkpoint is cut into files between"
                    " the two halves of one weight. Write it in one file, save_pretrained(…, max_shard_size='50GB')."
                )
            state_dict[prefix + "weight"] = torch.where(pruned != 0, pruned, kept)
        if prefix + "weight" in state_dict:  # a state of other layers says nothing of this one
            state_dict.setdefault(prefix + MASK_KEY, torch.ones_like(self.mask))
        super()._load_from_state_dict(state_dict, prefix, *args, **kwargs)
        self._built = None

    def _apply(self, *args: Any, **kwargs: Any) -> MaskableLinear:
        self._built = None  # another dtype or device
        return super()._apply(*args, **kwargs)
