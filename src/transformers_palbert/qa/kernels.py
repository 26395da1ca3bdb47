"""Faster kernels for the same functions, for a model that only infers.

Equal up to the order of float32 additions; nothing here changes the precision, and no weight is copied or converted.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager, nullcontext
from functools import lru_cache
from typing import Any

import torch
from torch.nn import functional
from torch.overrides import TorchFunctionMode
from transformers.activations import FastGELUActivation, NewGELUActivation

__all__ = ["fast_linear", "fuse_activations"]


def fuse_activations(model: torch.nn.Module) -> None:
    """Replace activations that are written as eight operations by the one kernel of torch for the same function."""
    for parent in list(model.modules()):
        for name, child in parent.named_children():
            if type(child) in (NewGELUActivation, FastGELUActivation):
                setattr(parent, name, torch.nn.GELU(approximate="tanh"))


def fast_linear(model: torch.nn.Module, device: torch.device) -> AbstractContextManager[Any]:
    """Context in which linear layers run on oneDNN where that is faster than torch's default.

    On a CPU, torch multiplies float32 matrices with MKL, which leaves the wide vector units of other makers' processors
    unused; oneDNN, which torch ships and its compiler calls, does not. On an AMD EPYC with AVX-512, a linear layer
    takes less than half the time. Which one is faster is measured once, in some milliseconds.
    """
    compiled = hasattr(model, "_orig_mod") or getattr(model, "_compiled_call_impl", None) is not None
    if device.type != "cpu" or compiled or torch.is_autocast_enabled("cpu") or not _onednn_is_faster():
        return nullcontext()
    return _OneDnnLinear()


class _OneDnnLinear(TorchFunctionMode):
    """Sends float32 matrix products of linear layers to oneDNN."""

    def __torch_function__(
        self, func: Callable[..., Any], types: Iterable[type], args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        plain = func is functional.linear and not kwargs and all(_is_plain(tensor) for tensor in args)
        if plain and args[1].numel():  # oneDNN knows no empty matrix, such as that of a layer that lost all its units
            return _onednn_linear(*args)
        return func(*args, **(kwargs or {}))


def _is_plain(tensor: torch.Tensor | None) -> bool:
    """Whether a tensor is float32 in ordinary memory, or no bias at all."""
    if tensor is None:
        return True
    plain = type(tensor) in (torch.Tensor, torch.nn.Parameter) and tensor.layout == torch.strided
    return plain and tensor.dtype == torch.float32 and tensor.device.type == "cpu"


def _onednn_linear(inputs: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None = None) -> torch.Tensor:
    """``inputs @ weight.T + bias`` by oneDNN; without gradient."""
    return torch.ops.mkldnn._linear_pointwise(inputs, weight, bias, "none", [], "")


@lru_cache(maxsize=1)
def _onednn_is_faster() -> bool:
    """Whether oneDNN needs less than 80 % of the default's time for one linear layer of BERT-base."""
    if not torch.backends.mkldnn.is_available() or not hasattr(torch.ops.mkldnn, "_linear_pointwise"):
        return False
    with torch.no_grad():
        inputs, weight, bias = torch.zeros(256, 768), torch.zeros(768, 768), torch.zeros(768)
        return _seconds(_onednn_linear, inputs, weight, bias) < 0.8 * _seconds(functional.linear, inputs, weight, bias)


def _seconds(function: Callable[..., Any], *args: Any, repetitions: int = 7) -> float:
    """Shortest time of several calls."""
    times = []
    for _ in range(repetitions):
        start = time.perf_counter()
        function(*args)
        times.append(time.perf_counter() - start)
    return min(times)
