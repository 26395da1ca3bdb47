"""The header of a packed tensor: what it says, how it is written, and every check that needs no data. Pure Python.

``FORMAT.md`` beside this file describes the same bytes for other implementations.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from dataclasses import dataclass
from math import prod
from typing import Any

from ..errors import StorageError

__all__ = [
    "CODINGS",
    "DTYPES",
    "ITEM_BYTES",
    "LAYOUTS",
    "MAGIC",
    "MAX_DIMS",
    "MAX_ELEMENTS",
    "MAX_EXPANSION",
    "VALUES",
    "VERSION",
    "Header",
    "parse_header",
]

MAGIC = b"\x93PBT"
VERSION = 1
DTYPES = ("float32", "float16", "bfloat16")
"""Element types of tensors; the code of one is its place here."""
VALUES = (*DTYPES, "int8")
"""Types that values are written in."""
ITEM_BYTES = {"float32": 4, "float16": 2, "bfloat16": 2, "int8": 1}
LAYOUTS = ("dense", "bitmask", "gaps")
CODINGS = ("raw", "zstd", "zstd-planes")
"""How the bytes of a stream are written; planes put the first bytes of all values first, then their second bytes, …"""
STREAMS = ("positions", "scales", "values")

MAX_DIMS = 8
MAX_ELEMENTS = 2**31
"""More than any matrix of a language model has; a shape beyond it is refused."""
MAX_EXPANSION = 2**15
"""A zstd block is at least 4 bytes and holds at most 2¹⁷, so no honest stream can grow more than this."""

_FIXED = struct.Struct("<4s8BIQ")  # magic; version, dtype, values, layout, 3 codings, dims; checksum; non-zeros


@dataclass(frozen=True)
class Header:
    """What the header of a packed tensor says.

    Attributes:
        dtype: Element type of the tensor, one of `DTYPES`.
        values: Type that its values are written in, one of `VALUES`.
        layout: One of `LAYOUTS`.
        shape: Shape of the tensor; 1 to `MAX_DIMS` dimensions, each at least 1, at most `MAX_ELEMENTS` elements.
        nnz: Number of values written; all elements in the dense layout, the non-zero ones in the others.
        codings: How the streams positions, scales and values are written, each one of `CODINGS`.
        lengths: Bytes of the three streams as written.
        checksum: CRC-32 of the packed bytes without the four of the checksum.
    """

    dtype: str
    values: str
    layout: str
    shape: tuple[int, ...]
    nnz: int
    codings: tuple[str, str, str]
    lengths: tuple[int, int, int]
    checksum: int = 0

    @property
    def size(self) -> int:
        """Number of elements."""
        return prod(self.shape)

    @property
    def rows(self) -> int:
        """Number of int8 scales: one for each index of the first dimension; a vector is one row."""
        return self.shape[0] if len(self.shape) > 1 else 1

    @property
    def header_bytes(self) -> int:
        """Bytes before the first stream."""
        return _FIXED.size + 8 * (len(self.shape) + len(STREAMS))

    @property
    def packed_bytes(self) -> int:
        """Bytes of the whole packed tensor."""
        return self.header_bytes + sum(self.lengths)

    @property
    def dense_bytes(self) -> int:
        """Bytes that the tensor takes unpacked."""
        return self.size * ITEM_BYTES[self.dtype]

    @property
    def density(self) -> float:
        """Share of elements that are written."""
        return self.nnz / self.size

    @property
    def entropy_coded(self) -> bool:
        """Whether any stream of the tensor is entropy-coded."""
        return any(coding != "raw" for coding in self.codings)

    def to_bytes(self) -> bytes:
        """The bytes of the header, as they stand at the start of the tensor."""
        codes = (CODINGS.index(coding) for coding in self.codings)
        kinds = (DTYPES.index(self.dtype), VALUES.index(self.values), LAYOUTS.index(self.layout))
        fixed = _FIXED.pack(MAGIC, VERSION, *kinds, *codes, len(self.shape), self.checksum, self.nnz)
        return fixed + struct.pack(f"<{len(self.shape) + len(STREAMS)}Q", *self.shape, *self.lengths)

    def raw_lengths(self) -> tuple[tuple[int, int], ...]:
        """For positions, scales and values the least and the most bytes that the stream can unfold to."""
        bitmask = -(-self.size // 8)
        most_gaps = self.nnz + (self.size - self.nnz) // 255
        positions = {"dense": (0, 0), "bitmask": (bitmask, bitmask), "gaps": (self.nnz, most_gaps)}[self.layout]
        scales = 4 * self.rows if self.values == "int8" else 0
        values = self.nnz * ITEM_BYTES[self.values]
        return positions, (scales, scales), (values, values)


def parse_header(packed: Any, total: int) -> Header:
    """Read and check a header.

    Args:
        packed: Bytes-like: at least the first ``min(total, 112)`` bytes of a packed tensor.
        total: Bytes of the whole packed tensor.

    Raises:
        StorageError: if these are not the bytes of a packed tensor of a known version, or if any field is out of
            range or contradicts another or ``total``. Nothing of the size that the header claims is allocated.
    """
    packed = bytes(packed[: _FIXED.size + 8 * (MAX_DIMS + len(STREAMS))])
    if packed[:4] != MAGIC:
        raise StorageError(f"These {total} bytes are not a packed tensor: they begin with {packed[:4].hex()!r}.")
    if len(packed) < _FIXED.size:
        raise StorageError(f"The packed tensor is cut off: {total} bytes are fewer than a header has.")
    _, version, dtype, values, layout, *codings, dims, checksum, nnz = _FIXED.unpack_from(packed)
    if version != VERSION:
        raise StorageError(
            f"The packed tensor has format version {version}, and this release reads {VERSION}."
            " Install a newer transformers-palbert."
        )
    if not 1 <= dims <= MAX_DIMS:
        raise StorageError(f"The packed tensor claims {dims} dimensions; 1 to {MAX_DIMS} are allowed.")
    if len(packed) < _FIXED.size + 8 * (dims + len(STREAMS)):
        raise StorageError(f"The packed tensor is cut off: {total} bytes are fewer than its header has.")
    numbers = struct.unpack_from(f"<{dims + len(STREAMS)}Q", packed, _FIXED.size)
    positions, scales, written = (_name(CODINGS, code, f"{s} coding") for s, code in zip(STREAMS, codings, strict=True))
    header = Header(
        dtype=_name(DTYPES, dtype, "dtype"),
        values=_name(VALUES, values, "type of values"),
        layout=_name(LAYOUTS, layout, "layout"),
        shape=numbers[:dims],
        nnz=nnz,
        codings=(positions, scales, written),
        lengths=(numbers[dims], numbers[dims + 1], numbers[dims + 2]),
        checksum=checksum,
    )
    _check_counts(header)
    _check_lengths(header, total)
    return header


def _name(names: Sequence[str], code: int, what: str) -> str:
    if code >= len(names):
        raise StorageError(f"The packed tensor has the unknown {what} {code}; known are 0 to {len(names) - 1}.")
    return names[code]


def _check_counts(header: Header) -> None:
    if min(header.shape) < 1 or header.size > MAX_ELEMENTS:
        raise StorageError(
            f"The packed tensor claims the shape {list(header.shape)}; every dimension must be at least 1 and their"
            f" product at most {MAX_ELEMENTS}."
        )
    if header.nnz > header.size or (header.layout == "dense" and header.nnz != header.size):
        raise StorageError(
            f"The packed tensor claims {header.nnz} values for {header.size} elements in the layout {header.layout!r}."
        )


def _check_lengths(header: Header, total: int) -> None:
    if header.packed_bytes != total:
        raise StorageError(f"The packed tensor has {total} bytes, and its header says {header.packed_bytes}.")
    streams = zip(STREAMS, header.codings, header.lengths, header.raw_lengths(), strict=True)
    for stream, coding, length, (least, most) in streams:
        if coding == "raw":
            fits = least <= length <= most
        else:
            fits = length > 0 and most > 0 and least <= length * MAX_EXPANSION
        if not fits:
            raise StorageError(
                f"The packed tensor's {stream} have {length} bytes ({coding}), which cannot hold the {least} to {most}"
                " that its shape and count of values ask for."
            )
