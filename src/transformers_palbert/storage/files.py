"""The safetensors files of a checkpoint folder: found, checked, and described from their headers alone."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any

from ..errors import StorageError
from .header import MAGIC, Header, parse_header

__all__ = [
    "INDEX_FILE",
    "WEIGHTS_FILE",
    "StoredTensor",
    "open_weights",
    "read_headers",
    "require_inside",
    "require_room",
    "weight_files",
]

WEIGHTS_FILE = "model.safetensors"
INDEX_FILE = "model.safetensors.index.json"
MAX_HEADER_BYTES = 112  # of a packed tensor


@dataclass(frozen=True)
class StoredTensor:
    """What the headers say of one tensor.

    Attributes:
        name: Its key.
        file: The file that holds it.
        dtype: As safetensors writes it: "F32", "BF16", "U8" …
        shape: Its shape as stored; that of a packed tensor is its number of bytes.
        bytes: What it takes in the file.
        packed: The header of the packed tensor, if it is one.
    """

    name: str
    file: Path
    dtype: str
    shape: tuple[int, ...]
    bytes: int
    packed: Header | None


@contextmanager
def open_weights(file: str | Path, framework: str = "pt") -> Iterator[Any]:
    """Open a safetensors file for reading tensors of torch, or of numpy ("np").

    Raises:
        StorageError: if it is damaged or no safetensors file, also when that is found only while reading.
    """
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(file, framework=framework) as reader:
            yield reader
    except SafetensorError as error:
        raise StorageError(f"{file} is damaged or no safetensors file: {error}. Save or download it again.") from error


def read_headers(files: Iterable[str | Path]) -> dict[str, StoredTensor]:
    """Every tensor of ``files`` by its name, from the headers alone.

    Raises:
        StorageError: if a file or the header of a packed tensor is damaged, or two files hold a tensor of one name.
    """
    found: dict[str, StoredTensor] = {}
    for file in files:
        with open_weights(file, "np") as reader:
            for name in reader.keys():  # noqa: SIM118 (not a dict: it has no iterator)
                if name in found:
                    raise StorageError(f"{name} is both in {found[name].file} and in {file}: one of them is damaged.")
                found[name] = _describe(name, Path(file), reader.get_slice(name))
    return found


def _describe(name: str, file: Path, part: Any) -> StoredTensor:
    dtype, shape = str(part.get_dtype()), tuple(part.get_shape())
    size = -(-prod(shape) * int("".join(filter(str.isdigit, dtype.partition("_")[0])) or 8) // 8)
    packed = None
    if dtype == "U8" and len(shape) == 1 and shape[0] >= len(MAGIC):
        start = bytes(part[: min(shape[0], MAX_HEADER_BYTES)])
        try:
            packed = parse_header(start, shape[0]) if start.startswith(MAGIC) else None
        except StorageError as error:
            raise StorageError(f"{name} in {file}: {error}") from error
    return StoredTensor(name, file, dtype, shape, size, packed)


def weight_files(folder: str | Path) -> list[Path]:
    """The weights of a checkpoint: ``model.safetensors``, or else the shards that its index names.

    Raises:
        StorageError: if there are none, a shard is missing or outside of the folder, the index is damaged, or it does
            not agree with what the shards hold.
    """
    folder = Path(folder)
    if (folder / WEIGHTS_FILE).is_file():
        return [folder / WEIGHTS_FILE]
    if not (folder / INDEX_FILE).is_file():
        raise StorageError(
            f"{folder / WEIGHTS_FILE} does not exist; give a folder that save_pretrained or Trainer wrote"
            " (safetensors, no pickle)."
        )
    return _shards(folder / INDEX_FILE)


def _shards(index: Path) -> list[Path]:
    weight_map = _weight_map(index)
    files = []
    for name in sorted(set(weight_map.values())):
        if Path(name).name != name or "\\" in name or not name.endswith(".safetensors"):
            raise StorageError(f"{index} names {name!r}, which is no safetensors file beside it.")
        if not (index.parent / name).is_file():
            raise StorageError(f"{index.parent / name} is missing; {index.name} names it. Download it again.")
        files.append(index.parent / name)
    held = {name: tensor.file.name for name, tensor in read_headers(files).items()}
    if wrong := sorted(name for name in held.keys() | weight_map.keys() if held.get(name) != weight_map.get(name)):
        raise StorageError(
            f"{index} is damaged: it has {wrong[0]} in {weight_map.get(wrong[0])}, and that is in {held.get(wrong[0])}."
        )
    return files


def _weight_map(index: Path) -> dict[str, str]:
    try:
        weight_map = json.loads(index.read_text(encoding="utf-8"), object_pairs_hook=_without_duplicates)["weight_map"]
        if not (weight_map and all(isinstance(name, str) for name in weight_map.values())):
            raise ValueError("it maps no tensors to files")
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise StorageError(f"{index} is damaged: it has no readable `weight_map` ({error}).") from error
    return dict(weight_map)


def _without_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    result = dict(pairs)
    if len(result) != len(pairs):
        names = [name for name, _ in pairs]
        raise ValueError(f"it names {next(name for name in names if names.count(name) > 1)} twice")
    return result


def require_inside(files: Iterable[str], folder: str) -> None:
    """Check that no name in an index leads out of a local ``folder``; for a Hub id, the Hub's client checks that.

    Raises:
        StorageError: if one does.
    """
    for file in files if os.path.isdir(folder) else ():
        path = os.path.relpath(os.path.abspath(file), os.path.abspath(folder))  # links stay: a cache is made of them
        if path.split(os.sep)[0] == os.pardir:
            raise StorageError(f"{file} lies outside of {folder}: the checkpoint's index is hostile. Do not use it.")


def require_room(stored: Iterable[StoredTensor]) -> None:
    """Check that what the packed tensors claim to unpack to fits into the machine's memory.

    Where a model is loaded, its own shapes are what is compared; here there is nothing else to hold a claim against.

    Raises:
        StorageError: if it does not.
    """
    claimed = sum(tensor.packed.dense_bytes for tensor in stored if tensor.packed is not None)
    if claimed > (memory := _memory_bytes()):
        raise StorageError(
            f"The packed tensors claim to unpack to {claimed / 1e9:.1f} GB, and this machine has {memory / 1e9:.1f} GB"
            " of memory: the checkpoint is hostile, or needs a larger machine."
        )


def _memory_bytes() -> float:
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, ValueError):  # a system that does not tell, such as Windows
        return float("inf")
