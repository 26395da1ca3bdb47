"""Pack a tensor into one vector of bytes that describes itself, and unpack it. numpy only; bytes as in ``FORMAT.md``.

A pruned matrix is written as the places of its non-zero weights, as a bitmask or as gaps, and their values; a matrix
with few zeros as all of its values. bfloat16 arrays are uint16 arrays with their bits.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import StorageError
from .header import DTYPES, ITEM_BYTES, LAYOUTS, MAX_DIMS, MAX_ELEMENTS, VALUES, Header, parse_header
from .positions import bitmask_blocks, check_bitmask, check_gaps, encode_bitmask, encode_gaps, every_place, gap_blocks
from .streams import FAST, THOROUGH, Stream, decode_stream, encode_stream, stream_blocks
from .values import (
    NUMPY_DTYPES,
    cast,
    check_scales,
    check_values,
    count_infinite,
    multiply_scales,
    nonzero_mask,
    quantize_rows,
)

__all__ = ["count_nonzero", "decode", "encode", "read_header"]

NO_BYTES = np.empty(0, np.uint8)
CHECKSUM = slice(12, 16)

Array = NDArray[Any]
Bytes = NDArray[np.uint8]
Scales = NDArray[np.float32]


def encode(array: Array, *, dtype: str, values: str = "auto", layout: str = "auto", entropy: bool = False) -> Bytes:
    """Pack an array.

    Args:
        array: 1 to 8 dimensions, at least one element; float32, float16, or uint16 with the bits of bfloat16.
        dtype: Which of the three: "float32", "float16", "bfloat16". `decode` returns the same.
        values: Type that values are written in: one of these, or "int8" with a float32 scale for each row (each index
            of the first dimension), or "auto": ``dtype``, so that nothing is lost.
        layout: "dense", "bitmask", "gaps", or "auto": the shortest of them.
        entropy: Also compress each of positions, scales and values with zstd, where that makes it shorter.

    Returns:
        uint8 ``[bytes]``. ``-0.0`` is a zero and comes back as ``0.0``. Everything else comes back bit for bit if
        ``values`` can represent it: NaN, infinities and subnormals too. For int8, see `quantize_rows`.

    Raises:
        StorageError: for a wrong dtype or shape or an unknown name; for a finite weight that would be infinite in
            ``values``; for int8 values of an array with NaN or infinite weights.
    """
    values = dtype if values == "auto" else values
    _check_request(array, dtype, values, layout)
    scales, written = _write_values(array, dtype, values)
    nonzero = nonzero_mask(written, values)
    nnz = int(np.count_nonzero(nonzero))
    levels = (FAST,) if entropy else ()
    candidates = []
    if layout == "dense" or (layout == "auto" and 2 * nnz >= array.size):  # else another is always shorter
        kept = encode_stream(np.where(nonzero, written, 0).view(np.uint8), ITEM_BYTES[values], levels)
        candidates.append(("dense", array.size, Stream("raw", NO_BYTES), kept))
    if layout != "dense":
        kept = encode_stream(written[nonzero].view(np.uint8), ITEM_BYTES[values], levels)
        positions = _write_positions(nonzero, nnz, layout, levels)
        candidates += [(name, nnz, stream, kept) for name, stream in positions.items()]
    best = min(candidates, key=lambda candidate: sum(len(stream.data) for stream in candidate[2:]))
    name, count, places, kept = best
    scale_stream = encode_stream(scales.astype("<f4").view(np.uint8), 4, levels)
    return _join(dtype, values, name, array.shape, count, (places, scale_stream, kept))


def _write_positions(nonzero: NDArray[np.bool_], nnz: int, layout: str, levels: Sequence[int]) -> dict[str, Stream]:
    """The positions in the layouts worth trying: gaps are for few values."""
    streams = {}
    if layout in ("bitmask", "auto"):
        streams["bitmask"] = encode_stream(encode_bitmask(nonzero), 1, (*levels, THOROUGH) if levels else ())
    if layout == "gaps" or (layout == "auto" and 4 * nnz <= nonzero.size):
        streams["gaps"] = encode_stream(encode_gaps(nonzero), 1, levels)
    return streams


def _check_request(array: Array, dtype: str, values: str, layout: str) -> None:
    if dtype not in DTYPES or values not in VALUES or layout not in (*LAYOUTS, "auto"):
        raise StorageError(
            f"Cannot pack dtype {dtype!r} with values {values!r} and layout {layout!r}: the dtype is one of {DTYPES},"
            f" values are one of {VALUES} or 'auto', and the layout is one of {LAYOUTS} or 'auto'."
        )
    if array.dtype != NUMPY_DTYPES[dtype]:
        raise StorageError(f"A {dtype} array must have the numpy type {NUMPY_DTYPES[dtype]}, not {array.dtype}.")
    if not 1 <= array.ndim <= MAX_DIMS or not 1 <= array.size <= MAX_ELEMENTS:
        raise StorageError(
            f"An array of the shape {list(array.shape)} cannot be packed: 1 to {MAX_DIMS} dimensions and"
            f" 1 to {MAX_ELEMENTS} elements are allowed."
        )


def _write_values(array: Array, dtype: str, values: str) -> tuple[Scales, Array]:
    """Scales (for int8), and all values, flat, of the type ``values``."""
    if values == "int8":
        scales, quantized = quantize_rows(array.reshape(len(array) if array.ndim > 1 else 1, -1), dtype)
        return scales, quantized.reshape(-1)
    written = np.ascontiguousarray(cast(array.reshape(-1), dtype, values))
    if count_infinite(written, values) != count_infinite(array, dtype):
        raise StorageError(f"A weight is too large for {values} values. Write them as bfloat16 or {dtype}.")
    return np.empty(0, np.float32), written


def _join(
    dtype: str, values: str, layout: str, shape: tuple[int, ...], nnz: int, streams: tuple[Stream, Stream, Stream]
) -> Bytes:
    a, b, c = streams
    codings, lengths = (a.coding, b.coding, c.coding), (len(a.data), len(b.data), len(c.data))
    header = Header(dtype, values, layout, shape, nnz, codings, lengths)
    packed = np.concatenate([np.frombuffer(header.to_bytes(), np.uint8), a.data, b.data, c.data])
    packed[CHECKSUM] = np.frombuffer(_checksum(packed).to_bytes(4, "little"), np.uint8)
    return packed


def _checksum(packed: Bytes) -> int:
    return zlib.crc32(packed[CHECKSUM.stop :].data, zlib.crc32(packed[: CHECKSUM.start].data))


def read_header(packed: Bytes) -> Header:
    """Read and check the header of a packed tensor, without looking at its data.

    Raises:
        StorageError: if the header is damaged, hostile or of an unknown version.
    """
    if packed.dtype != np.uint8 or packed.ndim != 1:
        raise StorageError(f"A packed tensor is a uint8 vector, not {packed.dtype} {list(packed.shape)}.")
    return parse_header(packed, len(packed))


def decode(packed: Bytes, *, shape: Sequence[int] | None = None, dtype: str | None = None) -> tuple[Array, str]:
    """Unpack an array.

    Args:
        packed: uint8 ``[bytes]``, as `encode` returned it.
        shape: The shape that it must have. None trusts the header, by which few bytes may ask for an array of up to
            2³¹ elements, so give the shape wherever it is known.
        dtype: Convert the result to this one of the three types, without a copy of the whole in between.

    Returns:
        The array, writable and with memory of its own, and its dtype; without ``dtype``, as `encode` was given them.

    Raises:
        StorageError: if anything in the bytes contradicts ``shape``, the format or itself. The array is allocated when
            all of that was checked.
    """
    header = read_header(packed)
    target = dtype or header.dtype
    if target not in DTYPES:
        raise StorageError(f"Cannot unpack to dtype {target!r}; it is one of {DTYPES}.")
    if shape is not None and header.shape != tuple(shape):
        raise StorageError(f"The packed tensor has the shape {list(header.shape)}, and {list(shape)} was expected.")
    packed = np.ascontiguousarray(packed)
    _require_checksum(header, packed)
    positions, scales, written = _split(header, packed)
    check_scales(scales)
    check_values(written, header.values, header.layout == "dense")
    if header.layout == "bitmask":
        check_bitmask(positions, header.size, header.nnz)
    elif header.layout == "gaps":
        check_gaps(positions, header.size, header.nnz)
    return _place(header, positions, scales, written, target).reshape(header.shape), target


def _require_checksum(header: Header, packed: Bytes) -> None:
    if _checksum(packed) != header.checksum:
        raise StorageError("The packed tensor's checksum is wrong: its bytes were damaged. Download or save it again.")


def count_nonzero(packed: Bytes) -> int:
    """How many values of a packed tensor are not zero, in memory that does not depend on what it unfolds to.

    Raises:
        StorageError: if header, checksum or the stream of values are wrong. Positions and scales are not looked at.
    """
    header = read_header(packed)
    packed = np.ascontiguousarray(packed)
    _require_checksum(header, packed)
    if header.layout != "dense":
        return header.nnz
    item, (_, _, (length, _)) = ITEM_BYTES[header.values], header.raw_lengths()
    blocks = stream_blocks(packed[len(packed) - header.lengths[2] :], header.codings[2], length, item)
    kind = NUMPY_DTYPES[header.values]
    return sum(
        int(np.count_nonzero(nonzero_mask(np.ascontiguousarray(block).view(kind), header.values))) for block in blocks
    )


def _split(header: Header, packed: Bytes) -> tuple[Bytes, Scales, Array]:
    """The three streams, decoded."""
    items = (1, 4, ITEM_BYTES[header.values])
    stops = np.cumsum([header.header_bytes, *header.lengths])
    positions, scales, written = (
        decode_stream(packed[start:stop], coding, limits, item)
        for start, stop, coding, limits, item in zip(
            stops[:-1], stops[1:], header.codings, header.raw_lengths(), items, strict=True
        )
    )
    return positions, scales.view("<f4"), written.view(NUMPY_DTYPES[header.values])


def _place(header: Header, positions: Bytes, scales: Scales, written: Array, target: str) -> Array:
    """Put the values where they belong, a block at a time."""
    if header.layout == "dense" and header.values == header.dtype == target:
        return written.copy()
    array = np.zeros(header.size, NUMPY_DTYPES[target])
    columns = header.size // header.rows
    taken = 0
    for start, places in _blocks(header, positions):
        values = written[taken : taken + len(places)]
        taken += len(places)
        if header.values == "int8":
            values = multiply_scales(values, scales, (places + start) // columns)
        floats = cast(values, "float32" if header.values == "int8" else header.values, header.dtype)
        array[start:][places] = cast(floats, header.dtype, target)
    return array


def _blocks(header: Header, positions: Bytes) -> Iterator[tuple[int, NDArray[np.intp]]]:
    if header.layout == "bitmask":
        return bitmask_blocks(positions, header.size)
    return gap_blocks(positions) if header.layout == "gaps" else every_place(header.size)
