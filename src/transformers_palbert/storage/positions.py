"""Where the written values stand in a matrix: as a bitmask, or as the gaps between them. numpy only."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from ..errors import StorageError

__all__ = [
    "bitmask_blocks",
    "check_bitmask",
    "check_gaps",
    "encode_bitmask",
    "encode_gaps",
    "every_place",
    "gap_blocks",
]

ESCAPE = 255
"""A gap byte that says: 255 more zeros, and no value yet."""
BLOCK = 1 << 16
"""Elements handled at a time: what is needed for them stays in the cache and adds nothing to the peak of memory."""

Bytes = NDArray[np.uint8]
Blocks = Iterator[tuple[int, NDArray[np.intp]]]
"""Pairs of an offset and the places, relative to it, of the next values."""


def encode_bitmask(nonzero: NDArray[np.bool_]) -> Bytes:
    """Bit ``i % 8`` (from the highest) of byte ``i // 8`` is 1 where element ``i`` is written; ``[ceil(n / 8)]``."""
    return np.packbits(nonzero)


def check_bitmask(mask: Bytes, size: int, nnz: int) -> None:
    """Raise a `StorageError` unless the mask has ``nnz`` ones, none of them behind the last of ``size`` elements."""
    count = sum(np.count_nonzero(bits) for bits in _bits(mask, size))
    if count != nnz:
        raise StorageError(f"The bitmask of the packed tensor has {count} ones, and its header counts {nnz} values.")
    if size % 8 and mask[-1] & (0xFF >> size % 8):
        raise StorageError(f"The bitmask of the packed tensor has ones behind its {size} elements.")


def _bits(mask: Bytes, size: int) -> Iterator[NDArray[np.bool_]]:
    for start in range(0, size, BLOCK):
        # Over bool, numpy finds and counts ten times as fast as over uint8.
        yield np.unpackbits(mask[start // 8 : (start + BLOCK) // 8]).view(np.bool_)


def bitmask_blocks(mask: Bytes, size: int) -> Blocks:
    """The places of a checked bitmask."""
    for block, bits in enumerate(_bits(mask, size)):
        yield block * BLOCK, np.flatnonzero(bits)


def encode_gaps(nonzero: NDArray[np.bool_]) -> Bytes:
    """For each written element the number of zeros before it since the last: ``gap // 255`` escapes, ``gap % 255``."""
    gaps = np.diff(np.flatnonzero(nonzero), prepend=-1) - 1
    escapes = gaps // ESCAPE
    stream = np.full(len(gaps) + int(escapes.sum()), ESCAPE, np.uint8)
    stream[np.cumsum(escapes + 1) - 1] = gaps % ESCAPE
    return stream


def check_gaps(gaps: Bytes, size: int, nnz: int) -> None:
    """Raise a `StorageError` unless the gaps lead to ``nnz`` values within ``size`` elements, and end with the last."""
    count = int(np.count_nonzero(gaps != ESCAPE))
    if count != nnz:
        raise StorageError(f"The gaps of the packed tensor lead to {count} values, and its header counts {nnz}.")
    end = int(gaps.sum(dtype=np.int64)) + count
    if end > size or (len(gaps) and gaps[-1] == ESCAPE):
        raise StorageError(f"The gaps of the packed tensor end at element {end}, and it has {size}.")


def gap_blocks(gaps: Bytes) -> Blocks:
    """The places of checked gaps."""
    start = 0
    for first in range(0, len(gaps), BLOCK // 8):
        block = gaps[first : first + BLOCK // 8]
        written = block != ESCAPE
        ends = np.cumsum(block.astype(np.intp) + written)
        yield start, ends[written] - 1
        start += int(ends[-1])


def every_place(size: int) -> Blocks:
    """The places of a matrix of which all elements are written."""
    for start in range(0, size, BLOCK):
        yield start, np.arange(min(BLOCK, size - start))
