"""The safetensors files of a checkpoint folder: found, checked, and described from their headers alone."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any

from ..errors import StorageError
from ..json_text import read_json
from .header import MAGIC, Header, parse_header

__all__ = [
    "CONFIG_FILE",
    "INDEX_FILE",
    "POINTER",
    "WEIGHTS_FILE",
    "StoredTensor",
    "named_weights",
    "open_weights",
    "read_headers",
    "read_json",
    "read_tensor",
    "require_inside",
    "weight_files",
]

CONFIG_FILE = "config.json"
WEIGHTS_FILE = "model.safetensors"
INDEX_FILE = "model.safetensors.index.json"
POINTER = "transformers_weights"
"""The field of ``config.json`` in which transformers looks for the name of the weights, or of their index."""

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


def read_tensor(stored: StoredTensor) -> Any:
    """The tensor as it stands in its file, a ``torch.Tensor``, not unpacked.

    Raises:
        StorageError: if the file is damaged.
    """
    with open_weights(stored.file) as reader:
        return reader.get_tensor(stored.name)


def named_weights(settings: Mapping[str, Any]) -> str | None:
    """The file of weights, or of their index, that a config names, as it does while a save is under way; else None."""
    name = settings.get(POINTER)
    return name if isinstance(name, str) and name.endswith((".safetensors", ".safetensors.index.json")) else None


def weight_files(folder: str | Path) -> list[Path]:
    """The weights of a checkpoint: what its config names, or ``model.safetensors``, or the shards that its index names.

    Raises:
        StorageError: if there are none, a file is missing or outside of the folder, config or index are damaged, or the
            index does not agree with what the shards hold.
    """
    folder = Path(folder)
    if name := named_weights(read_json(folder / CONFIG_FILE)) if (folder / CONFIG_FILE).is_file() else None:
        _require_beside(folder / CONFIG_FILE, name)
        return _shards(folder / name) if name.endswith(".json") else [folder / name]
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
        _require_beside(index, name, ".safetensors")
        files.append(index.parent / name)
    held = {name: tensor.file.name for name, tensor in read_headers(files).items()}
    if wrong := sorted(name for name in held.keys() | weight_map.keys() if held.get(name) != weight_map.get(name)):
        raise StorageError(
            f"{index} is damaged: it has {wrong[0]} in {weight_map.get(wrong[0])}, and that is in {held.get(wrong[0])}."
        )
    return files


def _require_beside(origin: Path, name: str, suffix: str = "") -> None:
    if Path(name).name != name or "\\" in name or not name.endswith(suffix):
        raise StorageError(f"{origin} names {name!r}, which is no safetensors file beside it.")
    if not (origin.parent / name).is_file():
        raise StorageError(f"{origin.parent / name} is missing; {origin.name} names it. Download it again.")


def _weight_map(index: Path) -> dict[str, str]:
    weight_map = read_json(index).get("weight_map")
    named = isinstance(weight_map, dict) and all(isinstance(name, str) for name in weight_map.values())
    if not (named and weight_map):
        raise StorageError(f"{index} is damaged: it has no readable `weight_map`.")
    return dict(weight_map)


def require_inside(files: Iterable[str], folder: str) -> None:
    """Check that no name in an index leads out of a local ``folder``; for a Hub id, the Hub's client checks that.

    Raises:
        StorageError: if one does.
    """
    for file in files if os.path.isdir(folder) else ():
        path = os.path.relpath(os.path.abspath(file), os.path.abspath(folder))  # links stay: a cache is made of them
        if path.split(os.sep)[0] == os.pardir:
            raise StorageError(f"{file} lies outside of {folder}: the checkpoint's index is hostile. Do not use it.")
