"""Writing a safetensors file tensor by tensor, where all of them at once would not fit into memory."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from math import prod
from pathlib import Path

import torch
from torch import Tensor

__all__ = ["FLOAT_BYTES", "dense_bytes", "write_tensors"]

FLOAT_BYTES = {"F64": 8, "F32": 4, "F16": 2, "BF16": 2, "F8_E4M3": 1, "F8_E5M2": 1}
"""The floating types of safetensors that are converted into each other, and their bytes."""

Planned = Mapping[str, tuple[str, tuple[int, ...], int]]
"""Name -> dtype as safetensors writes it, shape, bytes."""


def dense_bytes(dtype: str, shape: Iterable[int]) -> int:
    """Bytes of a floating tensor."""
    return FLOAT_BYTES[dtype] * prod(shape)


def write_tensors(file: Path, planned: Planned, tensors: Iterator[tuple[str, Tensor]]) -> None:
    """Write ``file``; only one of ``tensors``, which come in the order of ``planned``, is held at a time.

    Raises:
        ValueError: if a tensor has another name or other bytes than were planned.
    """
    with file.open("wb") as opened:
        opened.write(_header(planned))
        for name, (_, _, size) in planned.items():
            found, tensor = next(tensors)
            data = tensor.contiguous().reshape(-1).view(torch.uint8).numpy().data if tensor.numel() else b""
            if found != name or len(data) != size:
                raise ValueError(f"{name} of {size} bytes was planned, and {found} of {len(data)} came.")
            opened.write(data)


def _header(planned: Planned) -> bytes:
    entries: dict[str, object] = {"__metadata__": {"format": "pt"}}
    start = 0
    for name, (dtype, shape, size) in planned.items():
        entries[name] = {"dtype": dtype, "shape": list(shape), "data_offsets": [start, start + size]}
        start += size
    text = json.dumps(entries, separators=(",", ":"), ensure_ascii=False).encode()
    text += b" " * (-len(text) % 8)
    return len(text).to_bytes(8, "little") + text
