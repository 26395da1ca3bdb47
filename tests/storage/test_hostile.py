"""What a damaged or hostile packed tensor may do: raise a StorageError, before it costs memory, and nothing else."""

from __future__ import annotations

import struct
import tracemalloc
import zlib
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import zstandard
from hypothesis import given, settings
from hypothesis import strategies as st

from transformers_palbert.errors import StorageError
from transformers_palbert.storage import decode, encode, read_header
from transformers_palbert.storage.codec import count_nonzero
from transformers_palbert.storage.streams import FAST, MAX_WINDOW, THOROUGH, decode_stream, encode_stream

DIMS = 24
"""Offset of the first dimension; two of them, then three lengths, then the streams at `START`."""
LENGTHS = 40
START = 64
HUGE = 2**64 - 1


def seal(packed: bytes | bytearray) -> np.ndarray:
    """The bytes with a checksum that is right."""
    packed = bytearray(packed)
    if len(packed) >= 16:
        packed[12:16] = zlib.crc32(packed[:12] + packed[16:]).to_bytes(4, "little")
    return np.frombuffer(bytes(packed), np.uint8)


def example(**options: Any) -> bytes:
    weights = np.zeros((6, 7), np.float32)
    weights.reshape(-1)[[1, 5, 6, 20, 41]] = [1.5, -2, 3, 0.25, -7]
    return encode(weights, dtype="float32", **options).tobytes()


def change(packed: bytes, offset: int, value: int, size: int = 1) -> bytes:
    return packed[:offset] + value.to_bytes(size, "little") + packed[offset + size :]


def insert(packed: bytes, stream: int, data: bytes, coding: int = 0) -> bytes:
    """Put ``data`` in the place of a stream, with a length and a coding that fit."""
    lengths = list(struct.unpack_from("<3Q", packed, LENGTHS))
    start = START + sum(lengths[:stream])
    packed = packed[:start] + data + packed[start + lengths[stream] :]
    packed = change(packed, LENGTHS + 8 * stream, len(data), 8)
    return change(packed, 8 + stream, coding)


def zstd(data: bytes, **options: Any) -> bytes:
    return zstandard.ZstdCompressor(**options).compress(data)


def refuse(packed: bytes | np.ndarray, message: str | None = None, shape: tuple[int, ...] | None = (6, 7)) -> None:
    vector = np.frombuffer(packed, np.uint8) if isinstance(packed, bytes) else packed
    with pytest.raises(StorageError, match=message):
        decode(vector, shape=shape)


BITMASK = example(layout="bitmask")
GAPS = example(layout="gaps")
DENSE = example(layout="dense")
INT8 = example(values="int8", layout="bitmask")
ENTROPY = encode(np.eye(60, dtype=np.float32), dtype="float32", values="int8", layout="bitmask", entropy=True).tobytes()
VALID = (BITMASK, GAPS, DENSE, INT8, ENTROPY)


def test_the_examples_are_valid() -> None:
    for packed in VALID:
        decode(seal(packed))
    assert "zstd" in read_header(seal(ENTROPY)).codings


@pytest.mark.parametrize("packed", VALID, ids=["bitmask", "gaps", "dense", "int8", "entropy"])
def test_every_truncation_is_refused(packed: bytes) -> None:
    for length in range(len(packed)):
        refuse(packed[:length], shape=None)
        refuse(seal(packed[:length]), shape=None)


@pytest.mark.parametrize("packed", VALID, ids=["bitmask", "gaps", "dense", "int8", "entropy"])
def test_trailing_bytes_are_refused(packed: bytes) -> None:
    refuse(seal(packed + b"\0"), "has .* bytes, and its header says", shape=None)


@pytest.mark.parametrize("packed", VALID, ids=["bitmask", "gaps", "dense", "int8", "entropy"])
def test_every_flipped_bit_is_found(packed: bytes) -> None:
    for bit in range(8 * len(packed)):
        damaged = bytearray(packed)
        damaged[bit // 8] ^= 1 << bit % 8
        refuse(bytes(damaged), shape=None)


@pytest.mark.parametrize(
    ("packed", "message"),
    [
        pytest.param(change(BITMASK, 0, 0x50), "not a packed tensor: they begin with '50504254'", id="magic"),
        pytest.param(change(BITMASK, 4, 2), "format version 2.*newer transformers-palbert", id="version"),
        pytest.param(change(BITMASK, 4, 0), "format version 0", id="version 0"),
        pytest.param(change(BITMASK, 5, 3), "unknown dtype 3", id="dtype"),
        pytest.param(change(BITMASK, 6, 4), "unknown type of values 4", id="values"),
        pytest.param(change(BITMASK, 7, 3), "unknown layout 3", id="layout"),
        pytest.param(change(BITMASK, 8, 3), "unknown positions coding 3", id="coding"),
        pytest.param(change(BITMASK, 10, 255), "unknown values coding 255", id="coding of values"),
        pytest.param(change(BITMASK, 11, 0), "claims 0 dimensions", id="no dimension"),
        pytest.param(change(BITMASK, 11, 9), "claims 9 dimensions", id="dimensions"),
        pytest.param(change(BITMASK, 11, 8), "cut off|claims", id="more dimensions than bytes"),
        pytest.param(change(BITMASK, 16, HUGE, 8), "values for 42 elements", id="non-zeros"),
        pytest.param(change(DENSE, 16, 41, 8), "41 values for 42 elements in the layout 'dense'", id="dense"),
        pytest.param(change(BITMASK, DIMS, 0, 8), r"claims the shape \[0, 7\]", id="a dimension of 0"),
        pytest.param(change(BITMASK, DIMS, HUGE, 8), r"claims the shape \[18446744073709551615, 7\]", id="-1"),
        pytest.param(change(BITMASK, DIMS, 2**63, 8), "claims the shape", id="the sign bit"),
        pytest.param(
            change(change(BITMASK, DIMS, 2**32, 8), DIMS + 8, 2**32, 8), "claims the shape", id="a product of 0 mod 2⁶⁴"
        ),
        pytest.param(change(GAPS, DIMS, 2**40, 8), "claims the shape", id="2⁴⁰ rows"),
        pytest.param(change(BITMASK, LENGTHS, 7, 8), "and its header says", id="length"),
        pytest.param(change(BITMASK, LENGTHS, HUGE, 8), "and its header says", id="a length that wraps around"),
        pytest.param(
            change(change(BITMASK, LENGTHS, 7, 8), LENGTHS + 16, 19, 8), "positions have 7 bytes", id="swapped lengths"
        ),
        pytest.param(insert(BITMASK, 1, bytes(4)), "scales have 4 bytes", id="scales without int8"),
        pytest.param(insert(INT8, 1, bytes(20)), "scales have 20 bytes", id="a scale is missing"),
        pytest.param(insert(DENSE, 0, bytes(6)), "positions have 6 bytes", id="positions of a dense layout"),
        pytest.param(insert(GAPS, 0, bytes(4)), "positions have 4 bytes", id="fewer gaps than values"),
        pytest.param(insert(BITMASK, 2, bytes(19)), "values have 19 bytes", id="half a value"),
        pytest.param(change(BITMASK, START, 0xFF), "ones, and its header counts 5 values", id="more ones than values"),
        pytest.param(change(BITMASK, START, 0), "ones, and its header counts 5 values", id="fewer ones than values"),
        pytest.param(
            change(change(BITMASK, START, 0x06), START + 5, 0x60), "behind its 42 elements", id="ones behind the end"
        ),
        pytest.param(change(GAPS, START, 200), "end at element 241, and it has 42", id="gaps behind the end"),
        pytest.param(change(GAPS, START, 255), "lead to 4 values", id="fewer gaps that end"),
        pytest.param(
            insert(change(change(GAPS, DIMS, 600, 8), 16, 5, 8), 0, GAPS[START : START + 5] + b"\xff"),
            "end at element",
            id="gaps end with an escape",
        ),
        pytest.param(change(INT8, START + 6, struct.unpack("<I", b"\0\0\xc0\x7f")[0], 4), "scale nan", id="NaN scale"),
        pytest.param(change(INT8, START + 6, struct.unpack("<I", b"\0\0\x80\x7f")[0], 4), "scale inf", id="inf scale"),
        pytest.param(change(INT8, START + 10, struct.unpack("<I", b"\0\0\x80\xbf")[0], 4), "scale -1.0 for row 1"),
        pytest.param(change(INT8, START + 10, 1 << 31, 4), "scale -0.0 for row 1", id="a negative zero for a scale"),
        pytest.param(change(INT8, len(INT8) - 1, 0x80), "the value -128", id="-128"),
        pytest.param(change(INT8, len(INT8) - 1, 0), "the value 0 among those", id="a zero among int8"),
        pytest.param(change(BITMASK, len(BITMASK) - 4, 0, 4), "the value 0 among those", id="a zero in a bitmask"),
        pytest.param(change(GAPS, len(GAPS) - 4, 0, 4), "the value 0 among those", id="a zero in gaps"),
        pytest.param(change(GAPS, len(GAPS) - 4, 1 << 31, 4), "the value -0.0", id="a negative zero in gaps"),
        pytest.param(change(DENSE, len(DENSE) - 4, 1 << 31, 4), "the value -0.0", id="a negative zero, dense"),
    ],
)
def test_hostile_fields_are_refused_and_named(packed: bytes, message: str) -> None:
    refuse(seal(packed), message, shape=None)


def bomb(size: int, content: int | None = None) -> bytes:
    """A zstd frame of ``size`` zeros that may promise another ``content``."""
    frame = bytearray(zstd(bytes(size)))
    if content is not None:
        assert frame[4] >> 6 == 2  # the content size has four bytes
        frame[5:9] = content.to_bytes(4, "little")
    return bytes(frame)


@pytest.mark.parametrize(
    ("packed", "message"),
    [
        pytest.param(insert(BITMASK, 0, b"", 1), "positions have 0 bytes", id="an empty frame"),
        pytest.param(insert(BITMASK, 1, zstd(b""), 1), "scales have", id="a frame for nothing"),
        pytest.param(insert(BITMASK, 0, b"no zstd", 1), "is damaged", id="no zstd"),
        pytest.param(insert(BITMASK, 0, zstd(bytes(5)), 1), "unfolds to 5 bytes, not to 6 to 6", id="too short"),
        pytest.param(insert(BITMASK, 0, bomb(10**7), 1), "unfolds to 10000000 bytes", id="bomb"),
        pytest.param(insert(BITMASK, 0, zstd(bytes(6), write_content_size=False), 1), "unfolds to", id="no size"),
        pytest.param(insert(BITMASK, 0, zstd(BITMASK[START : START + 6]) * 2, 1), "is damaged", id="two frames"),
        pytest.param(insert(BITMASK, 0, zstd(BITMASK[START : START + 6]) + b"\0", 1), "is damaged", id="more bytes"),
        pytest.param(insert(BITMASK, 0, zstd(BITMASK[START : START + 6])[:-1], 1), "is damaged", id="cut off"),
        pytest.param(
            insert(BITMASK, 0, b"\x50\x2a\x4d\x18\x00\x00\x00\x00", 1), "unfolds to|damaged", id="a skippable frame"
        ),
    ],
)
def test_hostile_streams_are_refused(packed: bytes, message: str) -> None:
    refuse(seal(packed), message)


def test_a_frame_that_holds_less_or_more_than_it_says() -> None:
    weights = np.zeros((1024, 1024), np.float32)
    packed = encode(weights, dtype="float32", layout="bitmask").tobytes()
    for size in (70_000, 2**17 - 1, 2**17 + 1, 2**20):
        refuse(seal(insert(packed, 0, bomb(size, content=2**17), 1)), "is damaged", shape=None)


def test_a_frame_that_wants_a_dictionary() -> None:
    words = [bytes(np.random.default_rng(seed).integers(0, 20, 100, np.uint8)) for seed in range(200)]
    dictionary = zstandard.train_dictionary(1000, words)
    frame = zstandard.ZstdCompressor(dict_data=dictionary).compress(BITMASK[START : START + 6])
    refuse(seal(insert(BITMASK, 0, frame, 1)), "is damaged")


def test_a_frame_with_a_vast_window() -> None:
    """A decoder that reads piece by piece would have to keep the whole of it in memory."""
    content = np.random.default_rng(0).integers(0, 256, MAX_WINDOW + 8, np.uint8).tobytes()
    header = claims(2**20 + 1, 64, 1, 0, b"")
    for log, refused in ((23, False), (24, True)):
        parameters = zstandard.ZstdCompressionParameters(window_log=log, compression_level=1)
        frame = zstandard.ZstdCompressor(compression_params=parameters).compress(content)
        assert zstandard.get_frame_parameters(frame).window_size > MAX_WINDOW or not refused
        refuse(seal(insert(header, 0, frame, 1)), "window of" if refused else "ones, and its header counts", shape=None)


@pytest.mark.parametrize("level", [FAST, THOROUGH])
def test_the_own_frames_keep_within_the_window(level: int) -> None:
    raw = np.zeros(3 * MAX_WINDOW // 2, np.uint8)
    stream = encode_stream(raw, 1, (level,))
    assert stream.coding == "zstd"
    assert zstandard.get_frame_parameters(stream.data.tobytes()).window_size <= MAX_WINDOW
    assert np.array_equal(decode_stream(stream.data, "zstd", (len(raw), len(raw)), 1), raw)


@pytest.mark.parametrize("values", ["float32", "float16", "bfloat16", "int8"])
@pytest.mark.parametrize("layout", ["dense", "bitmask", "gaps"])
@pytest.mark.parametrize("entropy", [False, True])
def test_counting_is_decoding_and_counting(values: str, layout: str, entropy: bool) -> None:
    random = np.random.default_rng(3)
    weights = np.where(random.random((301, 700)) < 0.4, random.standard_normal((301, 700)), 0).astype(np.float32)
    packed = encode(weights, dtype="float32", values=values, layout=layout, entropy=entropy)
    assert count_nonzero(packed) == np.count_nonzero(decode(packed)[0]) > 0
    damaged = packed.copy()
    damaged[-1] ^= 1
    with pytest.raises(StorageError, match="checksum"):
        count_nonzero(damaged)


@pytest.mark.parametrize("coding", [1, 2])
def test_a_bomb_is_counted_in_little_memory(coding: int) -> None:
    """2²⁶ zeros in a few thousand bytes: 256 MB, were they unpacked."""
    rows = columns = 2**13
    frame = zstd(bytes(4 * rows * columns))
    packed = seal(insert(claims(rows, columns, 0, rows * columns, b""), 2, frame, coding))
    assert len(packed) < 50_000
    assert _peak(lambda: check_equal(count_nonzero(packed), 0)) < 3_000_000


def check_equal(found: int, expected: int) -> None:
    assert found == expected


@pytest.mark.parametrize("end", [-5, -1])
def test_a_bomb_that_is_cut_off_is_refused_when_counted(end: int) -> None:
    frame = zstd(np.random.default_rng(0).integers(0, 256, 4 * 64 * 64, np.uint8).tobytes())[:end]
    with pytest.raises(StorageError, match="is damaged"):
        count_nonzero(seal(insert(claims(64, 64, 0, 64 * 64, b""), 2, frame, 1)))


def test_another_shape_than_the_model_has() -> None:
    refuse(BITMASK, r"has the shape \[6, 7\], and \[7, 6\] was expected", (7, 6))
    refuse(BITMASK, "was expected", (42,))
    refuse(BITMASK, "was expected", (1, 6, 7))
    assert decode(np.frombuffer(BITMASK, np.uint8), shape=[6, 7])[0].shape == (6, 7)


@pytest.mark.parametrize("packed", [np.zeros(64, np.float32), np.zeros((8, 8), np.uint8), np.array(7, np.uint8)])
def test_what_is_no_vector_of_bytes(packed: np.ndarray) -> None:
    refuse(packed, "is a uint8 vector", shape=None)
    with pytest.raises(StorageError, match="is a uint8 vector"):
        read_header(packed)


def claims(rows: int, columns: int, layout: int, nnz: int, positions: bytes, coding: int = 0, values: int = 0) -> bytes:
    """A well-formed vector that claims much and holds little."""
    head = b"\x93PBT" + bytes([1, 0, values, layout, coding, 0, 0, 2, 0, 0, 0, 0])
    return head + struct.pack("<6Q", nnz, rows, columns, len(positions), 0, 0) + positions


FEW_BYTES = {
    "2⁴⁰ elements": claims(2**20, 2**20, 2, 0, b""),
    "2³¹ elements, all written": claims(2**16, 2**15, 0, 2**31, b""),
    "a bitmask of 2²⁸ bytes": claims(2**16, 2**15, 1, 0, b"\0" * 36),
    "a compressed bitmask of 2²⁸ bytes": claims(2**16, 2**15, 1, 0, zstd(bytes(6)), 1),
    "a frame that claims 2²⁸ bytes": claims(2**16, 2**15, 1, 0, bomb(2**17, 2**28)[:36], 1),
    "2³¹ scales": claims(2**31, 1, 2, 0, b"", values=3),
}


@pytest.mark.parametrize("packed", FEW_BYTES.values(), ids=FEW_BYTES)
def test_few_bytes_that_claim_much_cost_nothing(packed: bytes) -> None:
    assert len(packed) <= 100
    assert _peak(lambda: refuse(seal(packed), shape=None)) < 300_000


def test_a_vast_matrix_costs_nothing_where_a_small_one_is_expected() -> None:
    """2³¹ zeros are a valid tensor of 64 bytes, so only the model's shape can tell that it is hostile."""
    packed = seal(claims(2**16, 2**15, 2, 0, b""))
    assert read_header(packed).size == 2**31
    assert _peak(lambda: refuse(packed, "was expected")) < 100_000


def test_a_bomb_within_the_limits_is_decoded_before_the_matrix_is_allocated() -> None:
    """The worst that a stream can do: unfold to the bitmask of the expected shape, with a wrong count of ones."""
    rows, columns = 1024, 8192
    packed = seal(claims(rows, columns, 1, 0, zstd(b"\x01" * (rows * columns // 8)), 1))
    peak = _peak(lambda: refuse(packed, "1048576 ones", shape=(rows, columns)))
    assert peak < 0.2 * 4 * rows * columns


def _peak(call: Callable[[], None]) -> int:
    tracemalloc.start()
    try:
        call()
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("values", ["float32", "float16", "int8"])
@pytest.mark.parametrize("entropy", [False, True])
def test_decoding_takes_little_more_than_the_result(values: str, entropy: bool) -> None:
    random = np.random.default_rng(0)
    weights = np.where(random.random((1024, 1024)) < 0.3, random.standard_normal((1024, 1024)), 0).astype(np.float32)
    packed = encode(weights, dtype="float32", values=values, entropy=entropy)
    unfolded = (2 * len(packed)) if entropy else 0
    assert _peak(lambda: decode(packed)) < weights.nbytes + unfolded + 2_000_000


SPOTS = st.tuples(st.integers(0, 1000), st.sampled_from([1, 1, 2, 4, 8]), st.integers(0, HUGE))
CUTS = st.tuples(st.integers(0, 1000), st.integers(0, 9), st.binary(max_size=9))


@settings(max_examples=1000)
@given(st.sampled_from(VALID), st.lists(SPOTS, max_size=4), st.lists(CUTS, max_size=2), st.booleans())
def test_mutations_raise_or_give_an_array_of_the_declared_shape(
    packed: bytes, spots: list[tuple[int, int, int]], cuts: list[tuple[int, int, bytes]], sealed: bool
) -> None:
    mutated = bytearray(packed)
    for place, size, value in spots:
        start = place % len(mutated)
        mutated[start : start + size] = (value % 256**size).to_bytes(size, "little")[: len(mutated) - start]
    for place, size, data in cuts:
        start = place % (len(mutated) + 1)
        mutated[start : start + size] = data
    vector = seal(mutated) if sealed else np.frombuffer(bytes(mutated), np.uint8)
    try:
        header = read_header(vector)
        if header.size > 2**22:
            return  # honest about its size; the model's shape refuses it
        array, dtype = decode(vector)
    except StorageError:
        return
    assert array.shape == header.shape
    assert dtype == header.dtype
    assert np.count_nonzero(array) <= header.nnz
    assert array.flags.writeable


@settings(max_examples=300)
@given(st.binary(max_size=200))
def test_any_bytes_are_refused(data: bytes) -> None:
    refuse(data, shape=None)
    refuse(seal(b"\x93PBT\x01" + data), shape=(2, 3))
