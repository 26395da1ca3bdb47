"""Applications of a shared layer that keep only some of its heads and feed-forward units.

ALBERT applies one set of weights at every depth. A PAL-BERT may say, for each application, which heads and units it
uses: the file holds the shared weights once, the configuration one bit for each head and unit of each application, and
every application computes with its own slices of the weights, which are cut once.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from threading import RLock
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from ..errors import ConfigurationError
from .empty_linear import apply_empty
from .structure import EncoderLayer, encoder_layers, layer_applications

__all__ = [
    "SlicedLinear",
    "cut_applications",
    "mask_from_text",
    "mask_to_text",
    "one_at_a_time",
    "require_whole_applications",
    "run_application",
    "uncut_applications",
    "write_applications",
]


def mask_to_text(mask: Sequence[bool] | Tensor) -> str:
    """A mask as hexadecimal digits: bit ``i % 8`` of byte ``i // 8`` says whether unit ``i`` is kept."""
    return np.packbits(np.asarray(mask, dtype=bool), bitorder="little").tobytes().hex()


def mask_from_text(text: str, count: int) -> list[bool]:
    """The mask of ``count`` units that :func:`mask_to_text` wrote.

    Raises:
        ConfigurationError: if the text is not hexadecimal, or holds another number of bits.
    """
    try:
        packed = np.frombuffer(bytes.fromhex(text), dtype=np.uint8)
    except (TypeError, ValueError) as error:
        raise ConfigurationError(f"{text!r} is no mask of {count} units in hexadecimal digits.") from error
    bits = np.unpackbits(packed, bitorder="little")
    if packed.size != -(-count // 8) or bits[count:].any():
        raise ConfigurationError(f"{text!r} is no mask of {count} units: it has {2 * packed.size} hexadecimal digits.")
    return [bool(bit) for bit in bits[:count]]


_TURN = RLock()
"""Of the threads that run layers whose applications differ."""


class SlicedLinear(nn.Linear):
    """A Linear of which each application uses some rows, or some columns.

    In evaluation mode, without gradients, the slices are cut once and kept; else they are cut at each application, and
    the whole weight learns.

    Args:
        linear: The Linear to replace; its Parameters are taken over.
        kept: For each application, the indices of the rows or columns that it uses, int64.
        rows: Whether they are rows (with their biases) or columns.

    Attributes:
        application: Which application is running.
    """

    def __init__(self, linear: nn.Linear, kept: Sequence[Tensor], *, rows: bool) -> None:
        nn.Module.__init__(self)
        self.in_features, self.out_features = linear.in_features, linear.out_features
        self.weight, self.bias = linear.weight, linear.bias
        self.kept, self.rows, self.application = list(kept), rows, 0
        self._cuts: dict[int, tuple[tuple[object, ...], tuple[Tensor, Tensor | None]]] = {}

    def forward(self, input: Tensor) -> Tensor:
        if self.width == 0 and not self.training:
            return apply_empty(input, 0 if self.rows else self.out_features, self.bias)
        return functional.linear(input, *self._cut())

    @property
    def width(self) -> int:
        """Number of rows or columns that the running application uses."""
        return self.kept[self.application].numel()

    def keep(self, applications: Sequence[int]) -> None:
        """Know only these of the applications from now on."""
        self.kept, self._cuts = [self.kept[index] for index in applications], {}

    def train(self, mode: bool = True) -> SlicedLinear:
        """As any module; what was cut is forgotten, since optimizers may change weights without a trace."""
        self._cuts = {}
        return super().train(mode)

    def _cut(self) -> tuple[Tensor, Tensor | None]:
        if self.training or torch.is_grad_enabled() or torch.compiler.is_compiling():
            return self._slice()
        parameters = [tensor for tensor in (self.weight, self.bias) if tensor is not None]
        key = torch.is_inference_mode_enabled(), *((t.data_ptr(), t.dtype, _version(t)) for t in parameters)
        known = self._cuts.get(self.application)
        if known is None or known[0] != key:
            known = self._cuts[self.application] = key, self._slice()
        return known[1]

    def _slice(self) -> tuple[Tensor, Tensor | None]:
        index = self.kept[self.application].to(self.weight.device)
        weight = self.weight.index_select(0 if self.rows else 1, index)
        bias = self.bias.index_select(0, index) if self.rows and self.bias is not None else self.bias
        return weight, bias

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_cuts": {}}

    def _apply(self, *args: Any, **kwargs: Any) -> SlicedLinear:
        self._cuts = {}  # another dtype or device
        return super()._apply(*args, **kwargs)


def _version(tensor: Tensor) -> int | None:
    return None if tensor.is_inference() else tensor._version


def one_at_a_time(layer: nn.Module) -> AbstractContextManager[object]:
    """What lets one thread through ``layer`` at a time, where its applications differ; else it lets all through.

    Which application is running stands in modules that the threads share.
    """
    if torch.compiler.is_compiling() or not any(isinstance(module, SlicedLinear) for module in layer.modules()):
        return nullcontext()
    return _TURN


def run_application(layer: nn.Module, application: int, gradient_scale: float = 1.0) -> None:
    """Tell the Linears of ``layer`` which of its applications comes now; those that do not care do not listen.

    Args:
        layer: A layer that is applied several times.
        application: Which of them, from 0.
        gradient_scale: What the weights' gradient is multiplied by in it.
    """
    for module in layer.modules():
        if hasattr(module, "application"):
            module.application = application  # type: ignore[assignment] # modules hold more than tensors
        if hasattr(module, "gradient_scale"):
            module.gradient_scale = gradient_scale  # type: ignore[assignment]


def require_whole_applications(model: nn.Module) -> None:
    """Check that no application of a shared layer keeps units of its own.

    Raises:
        ConfigurationError: if one does.
    """
    if any(isinstance(module, SlicedLinear) for module in model.modules()):
        raise ConfigurationError(
            "The applications of this model's layers keep heads or units of their own, so its shared weights must stay"
            " whole: heads and units can be neither pruned nor removed further."
        )


def cut_applications(model: nn.Module) -> None:
    """Let every application of ``model``, a PAL-BERT, use what ``config.application_heads`` and ``…_units`` keep."""
    for layer, rows in _masks_of_layers(model, model.config):
        heads, units = rows["application_heads"], rows["application_units"]
        if heads is not None:
            width = layer.query.out_features // len(heads[0])
            kept = [torch.tensor(mask, device="cpu").repeat_interleave(width).nonzero()[:, 0] for mask in heads]
            for name in ("query", "key", "value"):
                _replace(layer, getattr(layer, name), SlicedLinear(getattr(layer, name), kept, rows=True))
            _replace(layer, layer.attention_output, SlicedLinear(layer.attention_output, kept, rows=False))
        if units is not None:
            kept = [torch.tensor(mask, device="cpu").nonzero()[:, 0] for mask in units]
            _replace(layer, layer.ffn_in, SlicedLinear(layer.ffn_in, kept, rows=True))
            _replace(layer, layer.ffn_out, SlicedLinear(layer.ffn_out, kept, rows=False))


def uncut_applications(module: nn.Module) -> None:
    """Put plain Linears with the whole weights back into ``module``; its configuration stays as it is."""
    sliced = [(name, linear) for name, linear in module.named_modules() if isinstance(linear, SlicedLinear)]
    for name, linear in sliced:
        plain = nn.Linear(linear.in_features, linear.out_features, bias=linear.bias is not None, device="meta")
        plain.weight, plain.bias = linear.weight, linear.bias
        module.set_submodule(name, plain.train(linear.training))


def _replace(layer: EncoderLayer, old: nn.Module, new: nn.Module) -> None:
    path = next(path for path, module in layer.module.named_modules() if module is old)
    layer.module.set_submodule(path, new)


def _masks_of_layers(model: nn.Module, config: Any) -> Iterator[tuple[EncoderLayer, dict[str, Any]]]:
    """Each layer, with the masks of its applications by the field of ``config`` that says them, or None."""
    applied = layer_applications(config)
    sizes = {"application_heads": config.num_attention_heads, "application_units": config.intermediate_size}
    for layer in encoder_layers(model):
        own = [place for place, path in enumerate(applied) if layer.name.endswith(path)]
        yield (
            layer,
            {
                field: None
                if (texts := getattr(config, field)) is None
                else [mask_from_text(texts[i], size) for i in own]
                for field, size in sizes.items()
            },
        )


def write_applications(model: nn.Module, field: str, masks: dict[str, Tensor]) -> None:
    """Write what the applications keep into the configuration of ``model``.

    Args:
        model: A PAL-BERT.
        field: ``"application_heads"`` or ``"application_units"``.
        masks: Name of a layer -> bool ``[applications, units]``.
    """
    applied, texts = layer_applications(model.config), []
    seen = dict.fromkeys(applied, 0)
    for path in applied:
        mask = next(mask for name, mask in masks.items() if name.endswith(path))
        texts.append(mask_to_text(mask[seen[path]].cpu()))
        seen[path] += 1
    setattr(model.config, field, texts)
