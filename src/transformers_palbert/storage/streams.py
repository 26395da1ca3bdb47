"""Entropy coding of a packed tensor's streams with zstd (RFC 8878), and bounded decoding."""

from __future__ import annotations

import io
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
import zstandard
from numpy.typing import NDArray

from ..errors import StorageError
from .header import MAX_EXPANSION

__all__ = ["FAST", "MAX_WINDOW", "THOROUGH", "Stream", "decode_stream", "encode_stream", "stream_blocks"]

FAST, THOROUGH = 1, 19
"""Levels of zstd. Weights and random masks have no repetitions to find, only frequencies, which the fastest level codes
as well as any; the masks of structured pruning are made of repetitions."""

MAX_WINDOW = 2**23
"""Bytes that a zstd decoder must be able to look back, 8 MiB: what RFC 8878 asks every decoder to support."""

BLOCK_ITEMS = 1 << 16
"""Items that `stream_blocks` holds at a time."""

Bytes = NDArray[np.uint8]


class Stream(NamedTuple):
    """A stream as it is written: the name of its coding, and its bytes."""

    coding: str
    data: Bytes


def encode_stream(raw: Bytes, item_bytes: int, levels: Sequence[int] = ()) -> Stream:
    """Write a stream in the shortest way.

    Args:
        raw: The stream, uint8.
        item_bytes: Bytes of one value in it.
        levels: Levels of zstd to try; without any, the stream stays as it is.
    """
    candidates = [Stream("raw", raw)]
    for level in levels if len(raw) else ():
        candidates.append(Stream("zstd", _compress([raw], level)))
        if item_bytes > 1:
            candidates.append(Stream("zstd-planes", _compress(raw.reshape(-1, item_bytes).T, level)))
    return min(candidates, key=lambda stream: len(stream.data))


def _compress(parts: Sequence[Bytes] | Bytes, level: int) -> Bytes:
    """One zstd frame with the parts one after another, no block of which spans two parts, as they differ in kind."""
    coder = zstandard.ZstdCompressor(level=level).compressobj(size=sum(len(part) for part in parts))
    blocks = []
    for part in parts:
        blocks += [coder.compress(part.tobytes()), coder.flush(zstandard.COMPRESSOBJ_FLUSH_BLOCK)]
    return np.frombuffer(b"".join([*blocks, coder.flush()]), np.uint8)


def decode_stream(stored: Bytes, coding: str, limits: tuple[int, int], item_bytes: int) -> Bytes:
    """Undo `encode_stream`.

    Args:
        stored: The stream as written.
        coding: Its coding.
        limits: The least and the most bytes that it may unfold to. A raw stream was checked with its header.
        item_bytes: Bytes of one value in it.

    Raises:
        StorageError: unless ``stored`` is one whole zstd frame that says how long its content is, within ``limits``.
            That is looked up before anything is decompressed.
    """
    if coding == "raw":
        return stored
    content = _decompress(stored.tobytes(), *limits)
    return _interleave(content.reshape(item_bytes, -1)) if coding == "zstd-planes" else content


def _decompress(frame: bytes, least: int, most: int) -> Bytes:
    length = _content_size(frame, least, most)
    try:
        content = zstandard.ZstdDecompressor().decompress(frame, allow_extra_data=False)
    except zstandard.ZstdError as error:
        raise StorageError(f"A stream of the packed tensor is damaged: {error}.") from error
    if len(content) != length:
        raise _other_length(len(content), length)
    return np.frombuffer(content, np.uint8)


def _content_size(frame: bytes, least: int, most: int) -> int:
    """What the frame says that it unfolds to, after the checks that need no decompression."""
    try:
        parameters = zstandard.get_frame_parameters(frame)
    except zstandard.ZstdError as error:
        raise StorageError(f"A stream of the packed tensor is damaged: {error}.") from error
    length = parameters.content_size  # a huge number if it is unknown
    if not least <= length <= min(most, MAX_EXPANSION * len(frame)):
        raise StorageError(f"A stream of the packed tensor unfolds to {length} bytes, not to {least} to {most}.")
    if parameters.window_size > MAX_WINDOW:
        raise StorageError(
            f"A stream of the packed tensor has a window of {parameters.window_size} bytes; {MAX_WINDOW} are allowed."
        )
    return int(length)


def _other_length(found: int, promised: int) -> StorageError:
    return StorageError(f"A stream of the packed tensor is damaged: {found} bytes, and it promised {promised}.")


def stream_blocks(stored: Bytes, coding: str, length: int, item_bytes: int) -> Iterator[Bytes]:
    """The items of a stream, ``[items, item_bytes]``, some at a time: memory stays small, whatever it unfolds to.

    Args:
        stored: The stream as written.
        coding: Its coding.
        length: The bytes that it unfolds to.
        item_bytes: Bytes of one value in it.

    Raises:
        StorageError: as `decode_stream`.
    """
    if coding == "raw":
        items = stored.reshape(-1, item_bytes)
        for start in range(0, len(items), BLOCK_ITEMS):
            yield items[start : start + BLOCK_ITEMS]
        return
    frame = stored.tobytes()
    _content_size(frame, length, length)
    count = length // item_bytes
    planes = item_bytes if coding == "zstd-planes" else 1
    readers = [_reader_at(frame, plane * count) for plane in range(planes)]
    for start in range(0, count, BLOCK_ITEMS):
        taken = min(BLOCK_ITEMS, count - start)
        parts = [_read(reader, taken * item_bytes // planes) for reader in readers]
        yield parts[0].reshape(-1, item_bytes) if planes == 1 else np.stack(parts, axis=1)
    if len(_read_some(readers[-1], 1)):
        raise StorageError(f"A stream of the packed tensor is damaged: it goes on behind its {length} bytes.")


def _reader_at(frame: bytes, offset: int) -> zstandard.ZstdDecompressionReader:
    reader = zstandard.ZstdDecompressor().stream_reader(io.BytesIO(frame), read_across_frames=False)
    while offset:
        skipped = len(_read_some(reader, min(offset, BLOCK_ITEMS)))
        if not skipped:
            raise StorageError("A stream of the packed tensor is damaged: it ends too early.")
        offset -= skipped
    return reader


def _read(reader: zstandard.ZstdDecompressionReader, size: int) -> Bytes:
    data = bytearray()
    while len(data) < size:
        part = _read_some(reader, size - len(data))
        if not part:
            raise StorageError("A stream of the packed tensor is damaged: it ends too early.")
        data += part
    return np.frombuffer(data, np.uint8)


def _read_some(reader: zstandard.ZstdDecompressionReader, size: int) -> bytes:
    try:
        return reader.read(size)
    except zstandard.ZstdError as error:
        raise StorageError(f"A stream of the packed tensor is damaged: {error}.") from error


def _interleave(planes: Bytes) -> Bytes:
    items = np.empty((planes.shape[1], planes.shape[0]), np.uint8)
    for place, plane in enumerate(planes):  # several times as fast as to copy the transposed array
        items[:, place] = plane
    return items.reshape(-1)
