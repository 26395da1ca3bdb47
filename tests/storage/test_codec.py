from __future__ import annotations

import re
import zlib
from importlib.resources import files
from typing import Any

import numpy as np
import pytest
import zstandard
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.references import storage as reference
from transformers_palbert.errors import StorageError
from transformers_palbert.storage import decode, encode, read_header

DTYPES = ("float32", "float16", "bfloat16")
VALUES = (*DTYPES, "int8")
LAYOUTS = ("dense", "bitmask", "gaps")
BITS = {"float32": np.dtype("<u4"), "float16": np.dtype("<u2"), "bfloat16": np.dtype("<u2")}
FLOATS = {"float32": np.dtype("<f4"), "float16": np.dtype("<f2"), "bfloat16": np.dtype("<u2")}
EXPONENT = {"float32": 0x7F800000, "float16": 0x7C00, "bfloat16": 0x7F80}
SIGN = {"float32": 1 << 31, "float16": 1 << 15, "bfloat16": 1 << 15}


@st.composite
def bit_patterns(draw: st.DrawFn, finite: bool = False) -> tuple[str, np.ndarray]:
    """A dtype, and an array of any bits of it, many of them zero."""
    dtype = draw(st.sampled_from(DTYPES))
    shape = draw(st.lists(st.integers(1, 9), min_size=1, max_size=3))
    size = int(np.prod(shape))
    anything = st.integers(0, 2 * SIGN[dtype] - 1)
    if finite:
        anything = anything.filter(lambda bits: bits & EXPONENT[dtype] != EXPONENT[dtype])
    element = st.one_of(st.just(0), st.just(SIGN[dtype]), anything)
    bits = draw(st.lists(element, min_size=size, max_size=size))
    return dtype, np.array(bits, BITS[dtype]).reshape(shape)


def without_negative_zero(bits: np.ndarray, dtype: str) -> np.ndarray:
    return np.where(bits == SIGN[dtype], 0, bits).astype(bits.dtype)


def sparse(density: float, dtype: type = np.float32, shape: tuple[int, ...] = (64, 96)) -> np.ndarray:
    random = np.random.default_rng(7)
    weights = random.standard_normal(shape) * np.exp(random.standard_normal((shape[0], *[1] * (len(shape) - 1))))
    return np.where(random.random(shape) < density, weights, 0).astype(dtype)


@settings(max_examples=300)
@given(bit_patterns(), st.sampled_from(["auto", *LAYOUTS]), st.booleans())
def test_every_bit_but_the_sign_of_zero_comes_back(example: tuple[str, np.ndarray], layout: str, entropy: bool) -> None:
    dtype, bits = example
    array, name = decode(
        encode(bits.view(FLOATS[dtype]), dtype=dtype, layout=layout, entropy=entropy), shape=bits.shape
    )
    assert name == dtype
    assert array.dtype == FLOATS[dtype]
    assert np.array_equal(array.view(BITS[dtype]), without_negative_zero(bits, dtype))


@settings(max_examples=500)
@given(bit_patterns(finite=True), st.sampled_from(VALUES), st.sampled_from(LAYOUTS))
def test_bytes_are_those_of_the_reference(example: tuple[str, np.ndarray], values: str, layout: str) -> None:
    dtype, bits = example
    expected = reference.encode(bits.reshape(-1).tolist(), bits.shape, dtype, values, layout)
    try:
        packed = encode(bits.view(FLOATS[dtype]), dtype=dtype, values=values, layout=layout)
    except StorageError:  # only where a value became infinite
        floats = [reference.to_float(value, dtype) for value in bits.reshape(-1).tolist()]
        assert any(np.isinf(reference.to_float(reference.to_bits(value, values), values)) for value in floats)
        return
    assert packed.tobytes() == expected


@pytest.mark.parametrize("entropy", [False, True])
@pytest.mark.parametrize("values", VALUES)
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("density", [0.02, 0.4, 1.0])
def test_the_reference_reads_what_is_written(dtype: str, values: str, density: float, entropy: bool) -> None:
    weights = sparse(density)
    array = (weights.view(np.uint32) >> 16).astype("<u2") if dtype == "bfloat16" else weights.astype(FLOATS[dtype])
    for layout in LAYOUTS:
        packed = encode(array, dtype=dtype, values=values, layout=layout, entropy=entropy)
        bits, shape, name = reference.decode(packed.tobytes())
        mine, _ = decode(packed)
        assert (shape, name) == (array.shape, dtype)
        assert mine.view(BITS[dtype]).reshape(-1).tolist() == bits
        assert read_header(packed).entropy_coded == entropy or density < 0.1


@settings(max_examples=300)
@given(bit_patterns(finite=True))
def test_int8_is_within_half_a_scale_and_keeps_zeros(example: tuple[str, np.ndarray]) -> None:
    dtype, bits = example
    packed = encode(bits.view(FLOATS[dtype]), dtype=dtype, values="int8", layout="dense")
    header = read_header(packed)
    scales = packed[header.header_bytes :][: header.lengths[1]].view("<f4").astype(np.float64)
    decoded = decode(packed)[0].view(BITS[dtype])
    before, after = (np.array([reference.to_float(b, dtype) for b in x.reshape(-1).tolist()]) for x in (bits, decoded))
    # A row of zeros has the scale 0; what was no zero there is below half of the smallest scale.
    half = np.repeat(np.maximum(scales, 2.0**-126), bits.size // len(scales)) / 2
    own_rounding = np.array([_half_ulp(b, dtype) for b in decoded.reshape(-1).tolist()])
    assert np.all(np.abs(before - after) <= half + own_rounding)
    assert not np.any(after[before == 0])


def _half_ulp(bits: int, dtype: str) -> float:
    """Half the distance from a finite number to the next larger one; what a product is rounded by at most."""
    if dtype == "float32":
        return 0.0  # products are exact
    magnitude = int(bits) & (SIGN[dtype] - 1)
    below = reference.to_float(max(magnitude - 1, 0), dtype)
    return max(reference.to_float(magnitude, dtype) - below, reference.to_float(magnitude + 1, dtype) - below) / 2


@settings(max_examples=500)
@given(bit_patterns(finite=True), st.sampled_from(VALUES), st.booleans())
def test_packing_what_was_unpacked_gives_the_same_bytes(
    example: tuple[str, np.ndarray], values: str, entropy: bool
) -> None:
    dtype, bits = example
    try:
        packed = encode(bits.view(FLOATS[dtype]), dtype=dtype, values=values, entropy=entropy)
    except StorageError:
        return  # too large for the values
    assert np.array_equal(encode(decode(packed)[0], dtype=dtype, values=values, entropy=entropy), packed)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("scale", [1e-44, 1e-38, 1e-7, 0.02, 1.0, 3e4, 2.9e36, 1e38])
def test_packing_ints_again_changes_nothing_in_large_matrices_either(dtype: str, scale: float) -> None:
    weights = np.clip(np.random.default_rng(3).standard_normal((200, 300)) * scale, -3.4e38, 3.4e38).astype(np.float32)
    if dtype == "float16":
        weights = np.clip(weights, -65504, 65504).astype("<f2")
    elif dtype == "bfloat16":
        weights = (weights.view(np.uint32) >> 16).astype("<u2")
    packed = encode(weights, dtype=dtype, values="int8")
    assert np.array_equal(encode(decode(packed)[0], dtype=dtype, values="int8"), packed)


@pytest.mark.parametrize(("density", "layout"), [(0.0, "gaps"), (0.05, "gaps"), (0.3, "bitmask"), (1.0, "dense")])
@pytest.mark.parametrize("values", ["float32", "float16", "int8"])
def test_the_shortest_layout_is_chosen(density: float, layout: str, values: str) -> None:
    weights = sparse(density)
    packed = encode(weights, dtype="float32", values=values)
    lengths = {name: len(encode(weights, dtype="float32", values=values, layout=name)) for name in LAYOUTS}
    assert read_header(packed).layout == layout
    assert len(packed) == lengths[layout] == min(lengths.values())


@given(st.floats(0, 1), st.sampled_from(VALUES))
def test_no_layout_is_shorter_than_the_chosen_one(density: float, values: str) -> None:
    weights = sparse(density, shape=(16, 33))
    lengths = [len(encode(weights, dtype="float32", values=values, layout=name)) for name in LAYOUTS]
    assert len(encode(weights, dtype="float32", values=values)) == min(lengths)


@pytest.mark.parametrize("values", VALUES)
def test_entropy_coding_comes_near_the_entropy(values: str) -> None:
    random = np.random.default_rng(0)
    weights = np.where(random.random((1024, 512)) < 0.3, random.standard_normal((1024, 512)), 0).astype(np.float32)
    plain, coded = (encode(weights, dtype="float32", values=values, entropy=entropy) for entropy in (False, True))
    header = read_header(coded)
    _, positions_and_values = header.lengths[0], sum(header.lengths)
    mask = encode(weights, dtype="float32", values=values, layout="bitmask")[64:][: header.size // 8]
    written = plain[-header.nnz * {"float32": 4, "float16": 2, "bfloat16": 2, "int8": 1}[values] :]
    planes = written.reshape(header.nnz, -1).T
    limit = _entropy_bytes(mask) + sum(_entropy_bytes(plane) for plane in planes) + header.lengths[1]
    assert limit < positions_and_values < 1.03 * limit
    assert len(coded) < 0.98 * len(plain)


def _entropy_bytes(symbols: np.ndarray) -> float:
    counts = np.bincount(symbols)
    shares = counts[counts > 0] / len(symbols)
    return float(-(shares * np.log2(shares)).sum() * len(symbols) / 8)


def test_masks_of_structured_pruning_nearly_vanish() -> None:
    blocks = np.kron(np.random.default_rng(0).random((16, 16)) < 0.3, np.ones((32, 32)))
    header = read_header(encode(blocks.astype(np.float32), dtype="float32", layout="bitmask", entropy=True))
    assert header.lengths[0] < header.size / 8 / 50


def test_long_gaps_are_escaped() -> None:
    for gap in (0, 1, 253, 254, 255, 256, 509, 510, 511, 70000):
        weights = np.zeros((1, gap + 2), np.float32)
        weights[0, gap] = 3
        packed = encode(weights, dtype="float32", layout="gaps")
        assert np.array_equal(decode(packed)[0], weights)
        assert read_header(packed).lengths[0] == gap // 255 + 1


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("values", VALUES)
def test_matrices_of_many_blocks(values: str, layout: str) -> None:
    """Larger than what is handled at a time, by a number that is no multiple of 8."""
    weights = sparse(0.2, shape=(301, 701))
    array, _ = decode(encode(weights, dtype="float32", values=values, layout=layout))
    expected, _ = decode(encode(weights, dtype="float32", values=values, layout="dense"))
    assert np.array_equal(array, expected)
    assert np.array_equal(array != 0, expected != 0)


def test_arrays_need_not_be_contiguous_nor_bytes_aligned() -> None:
    weights = sparse(0.3)
    packed = encode(weights[::2, ::-1], dtype="float32", values="int8")
    shifted = np.concatenate([np.zeros(1, np.uint8), packed])[1:]
    spread = np.repeat(packed, 2)[::2]
    for same in (shifted, spread):
        assert np.array_equal(decode(same)[0], decode(packed)[0])
    assert np.array_equal(decode(encode(weights.T, dtype="float32"))[0], weights.T)


def test_the_result_is_writable_and_ones_own() -> None:
    for layout in LAYOUTS:
        packed = encode(sparse(0.3), dtype="float32", layout=layout)
        before = packed.copy()
        decode(packed)[0][:] = 1
        assert np.array_equal(packed, before)


def test_examples_of_the_format_page() -> None:
    page = files("transformers_palbert").joinpath("storage/FORMAT.md").read_text(encoding="utf-8")
    blocks = re.findall(r"```text\n(.*?)```", page, re.DOTALL)
    packed = [
        bytes.fromhex("".join(re.match(r"(?:[0-9a-f]{2} {0,2})+", line)[0] for line in block.splitlines()))  # type: ignore[index]
        for block in blocks
    ]
    matrix = np.array([[0, 1.5, 0, 0, -2], [0, 0, 0.25, 0, 0]], np.float32)
    assert [len(example) for example in packed] == [72, 78]
    first, second = (decode(np.frombuffer(example, np.uint8), shape=(2, 5))[0] for example in packed)
    assert np.array_equal(first, matrix)
    assert np.abs(second - matrix).max() < 0.0157485 / 2
    assert encode(matrix, dtype="float32", values="float16", layout="bitmask").tobytes() == packed[0]
    assert encode(matrix, dtype="float32", values="int8", layout="gaps").tobytes() == packed[1]


@pytest.mark.parametrize(
    ("array", "options", "message"),
    [
        (np.zeros((2, 2)), {}, "must have the numpy type float32, not float64"),
        (np.zeros((2, 2), np.float32), {"dtype": "int8"}, "Cannot pack dtype 'int8'"),
        (np.zeros((2, 2), np.float32), {"dtype": "bfloat16"}, "must have the numpy type uint16"),
        (np.zeros((2, 2), np.float32), {"values": "int4"}, "values 'int4'"),
        (np.zeros((2, 2), np.float32), {"layout": "csr"}, "layout 'csr'"),
        (np.zeros((2, 0), np.float32), {}, r"shape \[2, 0\]"),
        (np.zeros((), np.float32), {}, r"shape \[\]"),
        (np.zeros([1] * 9, np.float32), {}, "1 to 8 dimensions"),
        (np.full((2, 2), 7e4, np.float32), {"values": "float16"}, "too large for float16"),
        (np.full((2, 2), 3.4028e38, np.float32), {"values": "bfloat16"}, "too large for bfloat16"),
        (np.full((2, 2), np.nan, np.float32), {"values": "int8"}, "NaN or infinite"),
        (np.full((2, 2), -np.inf, np.float32), {"values": "int8"}, "NaN or infinite"),
        (np.full((2, 2), 0x7F80, np.uint16), {"dtype": "bfloat16", "values": "int8"}, "NaN or infinite"),
    ],
)
def test_what_cannot_be_packed(array: np.ndarray, options: dict[str, Any], message: str) -> None:
    with pytest.raises(StorageError, match=message):
        encode(array, **{"dtype": "float32", **options})


def test_infinities_and_nans_survive_a_cast() -> None:
    weights = np.array([[np.inf, -np.inf, np.nan, 1]], np.float32)
    for values in ("float16", "bfloat16"):
        assert np.array_equal(decode(encode(weights, dtype="float32", values=values))[0], weights, equal_nan=True)
    carries = np.array([[0x7FFFFFFF, 0xFFFFFFFF, 0x7F800001]], np.uint32).view(np.float32)
    assert np.isnan(decode(encode(carries, dtype="float32", values="bfloat16"))[0]).all()


def test_zstd_frames_are_read_whoever_wrote_them() -> None:
    """Another level, a checksum, and a window of its own are allowed."""
    weights = sparse(0.3)
    plain = encode(weights, dtype="float32", layout="bitmask")
    header = read_header(plain)
    start, stop = header.header_bytes, header.header_bytes + header.lengths[0]
    for level in (-5, 3, 22):
        frame = zstandard.ZstdCompressor(level=level, write_checksum=True).compress(plain[start:stop].tobytes())
        packed = bytearray(plain[:start].tobytes() + frame + plain[stop:].tobytes())
        packed[8] = 1
        packed[40:48] = len(frame).to_bytes(8, "little")
        packed[12:16] = zlib.crc32(packed[:12] + packed[16:]).to_bytes(4, "little")
        assert np.array_equal(decode(np.frombuffer(bytes(packed), np.uint8))[0], weights)


def test_the_dtype_to_unpack_to_must_be_known() -> None:
    packed = encode(sparse(0.3), dtype="float32")
    assert decode(packed, dtype="float16")[1] == "float16"
    with pytest.raises(StorageError, match="Cannot unpack to dtype 'int8'"):
        decode(packed, dtype="int8")
