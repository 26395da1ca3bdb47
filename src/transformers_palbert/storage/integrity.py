"""Whether the weights of a checkpoint are those that its config describes: every tensor, and no other.

``config.json`` lists a digest of each tensor, packed or plain. So a bit that flipped, a shard of another save, and a
config beside weights of another save are all found before a weight is used.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Iterable, Mapping
from pathlib import Path

import torch

from ..errors import StorageError
from .files import CONFIG_FILE, StoredTensor, open_weights, read_headers, read_json, weight_files
from .sparse_config import SparseConfig, sparse_config_in

__all__ = ["digests_of", "read_checked_headers", "require_as_described"]

DIGEST_BYTES = 16
NAMED = 5
"""Damaged tensors that a message names at most."""


def digests_of(stored: Iterable[StoredTensor]) -> dict[str, str]:
    """Name -> digest: BLAKE2b of 16 bytes over dtype, shape and the bytes in the file, in hexadecimal.

    The hashed text begins with a line such as ``F32 768 3072``, in the words of safetensors.

    Raises:
        StorageError: if a file is damaged.
    """
    by_file: dict[Path, list[StoredTensor]] = {}
    for tensor in stored:
        by_file.setdefault(tensor.file, []).append(tensor)
    digests = {}
    for file, tensors in by_file.items():
        with open_weights(file) as reader:
            for tensor in tensors:
                digests[tensor.name] = _digest(tensor, reader.get_tensor(tensor.name))
    return digests


def _digest(stored: StoredTensor, tensor: torch.Tensor) -> str:
    described = " ".join([stored.dtype, *map(str, stored.shape)]) + "\n"
    digest = hashlib.blake2b(described.encode(), digest_size=DIGEST_BYTES)
    digest.update(tensor.reshape(-1).view(torch.uint8).numpy().data if tensor.numel() else b"")
    return digest.hexdigest()


def read_checked_headers(folder: Path) -> dict[str, StoredTensor]:
    """Every tensor of the checkpoint in ``folder`` by its name, after the checks that loading it makes.

    Without a ``config.json`` there is nothing to compare with.

    Raises:
        StorageError: if a file is damaged, or :func:`require_as_described` finds something.
    """
    stored = read_headers(weight_files(folder))
    if (folder / CONFIG_FILE).is_file():
        require_as_described(stored, sparse_config_in(read_json(folder / CONFIG_FILE)))
    return stored


def require_as_described(stored: Mapping[str, StoredTensor], config: SparseConfig) -> None:
    """Check what the files hold against what the config says: which tensors are packed, and the digest of each.

    Version 1 of the format has no digests. There the packed tensors carry a checksum each, and the plain ones nothing.

    Raises:
        StorageError: naming the tensors that are missing, too many or changed.
    """
    listed = set(config.tensors)
    packed = {tensor.name for tensor in stored.values() if tensor.packed is not None}
    problems = {
        "listed as packed but missing": listed - stored.keys(),
        "listed as packed but dense": (listed & stored.keys()) - packed,
        "packed but not listed": packed - listed,
    }
    if config.format_version > 1:
        problems["missing"] = config.digests.keys() - stored.keys()
        problems["not described by config.json"] = stored.keys() - config.digests.keys()
    for problem, names in problems.items():
        if names:
            raise _foreign(stored, names, problem)
    if config.format_version > 1:
        found = digests_of(stored.values())
        if changed := {name for name, digest in config.digests.items() if found[name] != digest}:
            raise _foreign(stored, changed, "not as they were saved: they are damaged, or of another save")


def _foreign(stored: Mapping[str, StoredTensor], names: Collection[str], problem: str) -> StorageError:
    first = sorted(names)[:NAMED]
    more = " and others" if len(names) > NAMED else ""
    where = f" ({stored[first[0]].file})" if first[0] in stored else ""
    hint = (
        " A new model that was made from the config of a packed one looks like this, if it was saved where"
        " transformers_palbert was not imported: then delete the entry `quantization_config` of its config.json."
        if problem == "listed as packed but dense" and not any(tensor.packed for tensor in stored.values())
        else ""
    )
    return StorageError(
        f"{len(names)} tensors in the checkpoint are {problem}: {', '.join(first)}{more}{where}."
        f" config.json and weights do not belong together; save or download both again.{hint}"
    )
