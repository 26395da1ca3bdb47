"""Entropy coding of a packed tensor's streams with zstd (RFC 8878), and bounded decoding."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import zstandard
from numpy.typing import NDArray

from ..errors import StorageError
from .header import MAX_EXPANSION

__all__ = ["FAST", "THOROUGH", "Stream", "decode_stream", "encode_stream"]

FAST, THOROUGH = 1, 19
"""Levels of zstd. Weights and random masks have no repetitions to find, only frequencies, which the fastest level codes
as well as any; the masks of structured pruning are made of repetitions."""

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
    try:
        length = zstandard.get_frame_parameters(frame).content_size  # a huge number if it is unknown
        if not least <= length <= min(most, MAX_EXPANSION * len(frame)):
            raise StorageError(f"A stream of the packed tensor unfolds to {length} bytes, not to {least} to {most}.")
        content = zstandard.ZstdDecompressor().decompress(frame, allow_extra_data=False)
    except zstandard.ZstdError as error:
        raise StorageError(f"A stream of the packed tensor is damaged: {error}.") from error
    if len(content) != length:
        raise StorageError(f"A stream of the packed tensor is damaged: {len(content)} bytes, and it promised {length}.")
    return np.frombuffer(content, np.uint8)


def _interleave(planes: Bytes) -> Bytes:
    items = np.empty((planes.shape[1], planes.shape[0]), np.uint8)
    for place, plane in enumerate(planes):  # several times as fast as to copy the transposed array
        items[:, place] = plane
    return items.reshape(-1)
