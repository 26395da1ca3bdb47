"""The codec for torch tensors."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from ..errors import StorageError
from .codec import count_nonzero, decode, encode, read_header
from .header import MAGIC, Header

__all__ = ["count_packed", "is_packed", "pack_tensor", "packed_header", "unpack_tensor"]

_NAMES = {torch.float32: "float32", torch.float16: "float16", torch.bfloat16: "bfloat16"}
_TYPES = {name: dtype for dtype, name in _NAMES.items()}


def pack_tensor(tensor: Tensor, values: str = "auto", entropy: bool = False, layout: str = "auto") -> Tensor:
    """Pack a floating tensor with `transformers_palbert.storage.encode`, which describes the arguments.

    Args:
        tensor: float32, float16 or bfloat16, on any device.
        values: "auto", "float32", "float16", "bfloat16" or "int8".
        entropy: Also compress with zstd.
        layout: "auto", "dense", "bitmask" or "gaps".

    Returns:
        uint8 ``[bytes]``, on the CPU.

    Raises:
        StorageError: as `encode`.
    """
    name = _NAMES.get(tensor.dtype)
    if name is None:
        raise StorageError(f"A tensor of {tensor.dtype} cannot be packed; float32, float16 and bfloat16 can.")
    tensor = tensor.detach().cpu().contiguous()
    array = (tensor.view(torch.uint16) if name == "bfloat16" else tensor).numpy()
    return torch.from_numpy(encode(array, dtype=name, values=values, entropy=entropy, layout=layout))


def unpack_tensor(packed: Tensor, shape: Sequence[int] | None, dtype: torch.dtype | None = None) -> Tensor:
    """Unpack a tensor.

    Args:
        packed: uint8 ``[bytes]``, as `pack_tensor` returned it.
        shape: The shape that the model has for it; None trusts the file.
        dtype: Convert to this type; None keeps the tensor's own.

    Returns:
        A dense tensor on the CPU, with memory of its own.

    Raises:
        StorageError: if the bytes are damaged or hostile, or of another shape, or there is not memory enough.
    """
    try:
        array, name = decode(_numpy(packed), shape=shape, dtype=_NAMES.get(dtype) if dtype else None)
    except MemoryError as error:
        dense = packed_header(packed).dense_bytes
        raise StorageError(f"It unpacks to {dense / 1e9:.1f} GB, for which there is no memory.") from error
    tensor = torch.from_numpy(array)
    return (tensor.view(torch.bfloat16) if name == "bfloat16" else tensor).to(dtype or _TYPES[name])


def is_packed(tensor: Tensor) -> bool:
    """Whether this is a uint8 vector that begins as a packed tensor does."""
    if tensor.dtype != torch.uint8 or tensor.ndim != 1:
        return False
    return bytes(tensor[: len(MAGIC)].tolist()) == MAGIC


def packed_header(tensor: Tensor) -> Header:
    """The checked header of a packed tensor.

    Raises:
        StorageError: if it is damaged or hostile.
    """
    return read_header(_numpy(tensor))


def count_packed(tensor: Tensor) -> int:
    """How many values of a packed tensor are not zero, without unpacking it.

    Raises:
        StorageError: if it is damaged or hostile.
    """
    return count_nonzero(_numpy(tensor))


def _numpy(packed: Tensor) -> np.ndarray:
    return packed.detach().cpu().numpy()
