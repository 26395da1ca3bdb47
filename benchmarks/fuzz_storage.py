"""Fuzz the reader of packed tensors, guided by coverage, with atheris (`pip install 'transformers-palbert[fuzz]'`).

    python benchmarks/fuzz_storage.py --seconds 300

Inputs are packed tensors. The mutator knows their structure: it changes fields of the header, or the content of a
stream, before or after compression, and then puts lengths and checksum right, so that the checks behind those are
reached; one input in eight is mutated blindly. An input must raise a StorageError, or give the array that the naive
reference reads from it, and that array must survive being packed again. Anything else stops the run with an error.
"""

from __future__ import annotations

import argparse
import random
import re
import struct
import subprocess
import sys
import tempfile
import zlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import zstandard

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))
LARGEST = 1 << 14
"""Elements of an array that is compared with the reference."""


def seeds() -> list[bytes]:
    """Small valid inputs of every dtype, kind of values, layout and coding."""
    from transformers_palbert.storage.codec import encode

    generator = np.random.default_rng(0)
    packed = []
    for dtype, numpy_type in (("float32", "<f4"), ("float16", "<f2"), ("bfloat16", "<u2")):
        for values in ("float32", "float16", "bfloat16", "int8"):
            for layout in ("dense", "bitmask", "gaps"):
                kept = generator.random((5, 67)) < 0.1
                weights = np.where(kept, generator.standard_normal((5, 67)), 0)
                array = weights.astype("<f4").view("<u4") >> 16 if dtype == "bfloat16" else weights
                for entropy in (False, True):
                    vector = encode(
                        array.astype(numpy_type), dtype=dtype, values=values, layout=layout, entropy=entropy
                    )
                    packed.append(vector.tobytes())
    packed.append(encode(np.eye(300, dtype="<f4"), dtype="float32", layout="gaps", entropy=True).tobytes())
    return packed


def mutate(data: bytes, max_size: int, seed: int) -> bytes:
    """A changed input, with lengths and checksum that are right unless they are what was changed."""
    import atheris

    choose = random.Random(seed)
    parts = _take_apart(data)
    if parts is None or choose.random() < 1 / 8:
        return bytes(atheris.Mutate(data, max_size))
    head, dims, streams = parts
    what = choose.choice(("header", "shape", "stream", "stream", "stream", "coding", "lengths"))
    if what == "header":
        head[choose.choice((4, 5, 6, 7, 8, 9, 10, 11, 16, 17))] = choose.choice((0, 1, 2, 3, choose.randrange(256)))
    elif what == "shape":
        place = choose.randrange(len(dims))
        dims[place] = choose.choice(
            (0, 1, dims[place] // 2, dims[place] * 2 % 2**64, choose.getrandbits(choose.randrange(64)))
        )
    elif what == "stream":
        place = choose.randrange(3)
        streams[place] = _mutate_stream(streams[place], head[8 + place], choose)
    elif what == "coding":
        place = choose.randrange(3)
        content = _unfold(streams[place], head[8 + place])
        head[8 + place] = choose.randrange(3)
        streams[place] = zstandard.compress(content) if head[8 + place] else content
    lengths = [len(stream) for stream in streams]
    if what == "lengths":
        lengths[choose.randrange(3)] = choose.getrandbits(choose.randrange(64))
    if choose.random() < 0.5:
        head[16:24] = _matching_count(head, streams).to_bytes(8, "little")
    return _seal(bytes(head) + struct.pack(f"<{len(dims) + 3}Q", *dims, *lengths) + b"".join(streams))[:max_size]


def _take_apart(data: bytes) -> tuple[bytearray, list[int], list[bytes]] | None:
    """Header, dimensions and streams, if the lengths allow it."""
    if len(data) < 24 or not 1 <= data[11] <= 8 or len(data) < 48 + 8 * data[11]:
        return None
    numbers = struct.unpack_from(f"<{data[11] + 3}Q", data, 24)
    streams, start = [], 48 + 8 * data[11]
    for length in numbers[-3:]:
        streams.append(data[start : start + length])
        start += length
    return bytearray(data[:24]), list(numbers[:-3]), streams


def _mutate_stream(stream: bytes, coding: int, choose: random.Random) -> bytes:
    import atheris

    if not coding or choose.random() < 0.3:
        return bytes(atheris.Mutate(stream, len(stream) + 16))
    content = bytes(atheris.Mutate(_unfold(stream, coding), 4096))
    return zstandard.ZstdCompressor(write_content_size=choose.random() < 0.9).compress(content)


def _unfold(stream: bytes, coding: int) -> bytes:
    try:
        return zstandard.ZstdDecompressor().stream_reader(stream).read(1 << 16) if coding else stream
    except zstandard.ZstdError:
        return stream


def _matching_count(head: bytearray, streams: Sequence[bytes]) -> int:
    """The count of values that fits the positions."""
    positions = _unfold(streams[0], head[8])
    if head[7] == 1:
        return sum(byte.bit_count() for byte in positions)
    if head[7] == 2:
        return len(positions) - positions.count(255)
    return len(_unfold(streams[2], head[10])) // {0: 4, 3: 1}.get(head[6], 2)


def _seal(data: bytes) -> bytes:
    return data[:12] + zlib.crc32(data[:12] + data[16:]).to_bytes(4, "little") + data[16:]


def try_input(data: bytes) -> None:
    """One input; raises whatever is not allowed to happen."""
    from transformers_palbert.errors import StorageError
    from transformers_palbert.storage.codec import count_nonzero, decode, encode, read_header

    vector = np.frombuffer(data, np.uint8)
    try:
        header = read_header(vector)
        array, dtype = decode(vector, shape=header.shape if header.size <= LARGEST else (1, 1))
    except StorageError:
        _count(vector)
        return
    assert array.shape == header.shape
    assert np.count_nonzero(array) <= count_nonzero(vector) <= header.nnz
    _compare(data, array, dtype)
    again, _ = decode(encode(array, dtype=dtype, entropy=len(data) % 2 == 0), shape=array.shape)
    bits = array.view(f"<u{array.itemsize}")
    assert np.array_equal(again.view(bits.dtype), np.where(bits == 1 << (8 * array.itemsize - 1), 0, bits))


def _count(vector: np.ndarray) -> None:
    """Counting reads less than decoding, and must stay within the limits of it all the same."""
    from transformers_palbert.errors import StorageError
    from transformers_palbert.storage.codec import count_nonzero, read_header

    try:
        if read_header(vector).size <= LARGEST:
            count_nonzero(vector)
    except StorageError:
        pass


def _compare(data: bytes, array: np.ndarray, dtype: str) -> None:
    """With the reference; NaN is NaN, whatever its bits."""
    from tests.references import storage as reference

    expected, shape, name = reference.decode(data)
    assert (shape, name) == (array.shape, dtype)
    infinity = {"float32": 0x7F800000, "float16": 0x7C00, "bfloat16": 0x7F80}[dtype]
    magnitude = (1 << 8 * array.itemsize - 1) - 1  # all bits but the sign; only NaN is above infinity
    for mine, theirs in zip(array.view(f"<u{array.itemsize}").reshape(-1).tolist(), expected, strict=True):
        assert mine == theirs or min(mine & magnitude, theirs & magnitude) > infinity


def fuzz(arguments: list[str]) -> None:
    """Run libFuzzer in this process; it does not return."""
    import atheris

    with atheris.instrument_imports(include=["transformers_palbert.storage"]):
        import transformers_palbert.storage.codec  # noqa: F401
    atheris.Setup([sys.argv[0], *arguments], try_input, custom_mutator=mutate)
    atheris.Fuzz()


def main() -> None:
    """Parse the command line and run."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=int, default=300)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--corpus", type=Path, help="folder for the inputs that reached something new")
    parser.add_argument("--replay", type=Path, help="only try the inputs in this folder, such as under coverage.py")
    parser.add_argument("--worker", nargs=argparse.REMAINDER, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.worker is not None:
        fuzz(args.worker)
    elif args.replay:
        for file in sorted(args.replay.iterdir()):
            try_input(file.read_bytes())
    else:
        with tempfile.TemporaryDirectory() as folder:
            _report(args, args.corpus or Path(folder))


def _report(args: argparse.Namespace, corpus: Path) -> None:
    from machine import describe_run, write_result

    corpus.mkdir(exist_ok=True)
    for number, data in enumerate(seeds()):
        (corpus / f"seed-{number:03}").write_bytes(data)
    options = [f"-max_total_time={args.seconds}", f"-seed={args.seed}", "-max_len=4096", "-rss_limit_mb=1024"]
    command = [sys.executable, __file__, "--worker", *options, f"-artifact_prefix={corpus.parent}/", str(corpus)]
    run = subprocess.run(command, stderr=subprocess.PIPE, text=True, check=False, timeout=2 * args.seconds + 60)
    if run.returncode:  # the input is beside the corpus
        sys.exit(run.stderr[-4000:])
    inputs, seconds = map(int, re.findall(r"Done (\d+) runs in (\d+) second", run.stderr)[-1])
    edges, features = map(int, re.findall(r"cov: (\d+) ft: (\d+)", run.stderr)[-1])
    (first, _) = map(int, re.findall(r"INITED cov: (\d+) ft: (\d+)", run.stderr)[0])
    result = {"inputs": inputs, "seconds": seconds, "edges_of_seeds": first, "edges": edges, "features": features}
    print(write_result("fuzz_storage", {**describe_run(args.seed), **result, "corpus": len(list(corpus.iterdir()))}))


if __name__ == "__main__":
    main()
