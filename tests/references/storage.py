"""The packed format, written and read one value at a time, from FORMAT.md alone: slow, and in plain Python.

Floats are handled as their bits, integers of 32 or 16 bits.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Sequence
from fractions import Fraction
from math import floor, isnan, log2, prod

import zstandard

DTYPES = ("float32", "float16", "bfloat16", "int8")
SIZE = {"float32": 4, "float16": 2, "bfloat16": 2, "int8": 1}


def to_float(bits: int, dtype: str) -> float:
    if dtype == "bfloat16":
        bits, dtype = bits << 16, "float32"
    if dtype == "float16":
        return float(struct.unpack("<e", bits.to_bytes(2, "little"))[0])
    return float(struct.unpack("<f", bits.to_bytes(4, "little"))[0])


def to_bits(value: float, dtype: str) -> int:
    """Nearest, ties to even; too large is infinite; NaN is some NaN."""
    if isnan(value):
        return {"float32": 0x7FC00000, "float16": 0x7E00, "bfloat16": 0x7FC0}[dtype]
    code, infinity = ("<e", 0x7C00) if dtype == "float16" else ("<f", 0x7F800000)
    try:
        bits = int.from_bytes(struct.pack(code, value), "little")
    except OverflowError:
        bits = infinity | ((0x8000 if dtype == "float16" else 0x80000000) if value < 0 else 0)
    if dtype == "bfloat16":
        high, low = bits >> 16, bits & 0xFFFF
        bits = high + (low > 0x8000 or (low == 0x8000 and high & 1))
    return bits


def round_scale(largest: float) -> float:
    """The least number of 16 significant bits that is at least ``largest / 127``, within the limits."""
    exact = Fraction(largest) / 127
    unit = Fraction(2) ** (floor(log2(exact)) - 15)
    while exact / unit < 2**15:  # log2 is not exact
        unit /= 2
    while exact / unit >= 2**16:
        unit *= 2
    rounded = -((-exact) // unit) * unit
    return float(min(max(rounded, Fraction(2) ** -126), 33026 * Fraction(2) ** 106))


def quantize(row: list[float]) -> tuple[float, list[int]]:
    largest = max(abs(value) for value in row)
    if largest == 0:
        return 0.0, [0] * len(row)
    scale = round_scale(largest)
    integers = [max(-127, min(127, round(Fraction(value) / Fraction(scale)))) for value in row]
    return (scale if any(integers) else 0.0), integers


def encode(bits: Sequence[int], shape: Sequence[int], dtype: str, values: str, layout: str) -> bytes:
    """Without compression."""
    rows = shape[0] if len(shape) > 1 else 1
    columns = len(bits) // rows
    scales: list[float] = []
    if values == "int8":
        integers: list[int] = []
        for start in range(0, len(bits), columns):
            scale, row = quantize([to_float(value, dtype) for value in bits[start : start + columns]])
            scales.append(scale)
            integers += row
        written = [integer & 0xFF for integer in integers]
    else:
        written = [value if values == dtype else to_bits(to_float(value, dtype), values) for value in bits]
    sign = {"float32": 1 << 31, "int8": 0}.get(values, 1 << 15)
    written = [0 if value == sign else value for value in written]
    places = [place for place, value in enumerate(written) if value or layout == "dense"]
    positions = b""
    if layout == "bitmask":
        mask = bytearray((len(bits) + 7) // 8)
        for place in places:
            mask[place // 8] |= 0x80 >> place % 8
        positions = bytes(mask)
    elif layout == "gaps":
        gaps, last = bytearray(), -1
        for place in places:
            gap = place - last - 1
            gaps += b"\xff" * (gap // 255) + bytes([gap % 255])
            last = place
        positions = bytes(gaps)
    streams = [
        positions,
        b"".join(struct.pack("<f", scale) for scale in scales),
        b"".join(written[place].to_bytes(SIZE[values], "little") for place in places),
    ]
    start = b"\x93PBT" + bytes(
        [1, DTYPES.index(dtype), DTYPES.index(values), ("dense", "bitmask", "gaps").index(layout), 0, 0, 0, len(shape)]
    )
    rest = len(places).to_bytes(8, "little")
    rest += b"".join(number.to_bytes(8, "little") for number in [*shape, *map(len, streams)])
    rest += b"".join(streams)
    return start + zlib.crc32(start + rest).to_bytes(4, "little") + rest


def decode(packed: bytes) -> tuple[list[int], tuple[int, ...], str]:
    """Bits, shape and dtype of a valid packed tensor."""
    assert packed[:5] == b"\x93PBT\x01"
    assert int.from_bytes(packed[12:16], "little") == zlib.crc32(packed[:12] + packed[16:])
    dtype, values, layout = DTYPES[packed[5]], DTYPES[packed[6]], packed[7]
    codings, dims = packed[8:11], packed[11]
    nnz, *numbers = struct.unpack_from(f"<{4 + dims}Q", packed, 16)
    shape, lengths = tuple(numbers[:dims]), numbers[dims:]
    streams, start = [], 16 + 8 * (4 + dims)
    for coding, length, size in zip(codings, lengths, (1, 4, SIZE[values]), strict=True):
        stream = packed[start : start + length]
        start += length
        if coding:
            stream = zstandard.ZstdDecompressor().decompress(stream)
        if coding == 2:
            count = len(stream) // size
            stream = bytes(stream[plane * count + item] for item in range(count) for plane in range(size))
        streams.append(stream)
    assert start == len(packed)
    places = _places(layout, streams[0], prod(shape))
    assert len(places) == nnz
    rows = shape[0] if dims > 1 else 1
    bits = [0] * prod(shape)
    for item, place in enumerate(places):
        value = int.from_bytes(streams[2][item * SIZE[values] : (item + 1) * SIZE[values]], "little")
        if values == "int8":
            (scale,) = struct.unpack_from("<f", streams[1], 4 * (place * rows // prod(shape)))
            product = to_bits((value - 256 if value > 127 else value) * scale, "float32")
            value = to_bits(to_float(product, "float32"), dtype)
        elif values != dtype:
            value = to_bits(to_float(value, values), dtype)
        bits[place] = value
    return bits, shape, dtype


def _places(layout: int, positions: bytes, size: int) -> list[int]:
    if layout == 0:
        return list(range(size))
    if layout == 1:
        return [place for place in range(size) if positions[place // 8] & 0x80 >> place % 8]
    places, place = [], 0
    for gap in positions:
        place += gap
        if gap < 255:
            places.append(place)
            place += 1
    return places
