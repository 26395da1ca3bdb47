"""How large a model is: density, parameters and bytes per matrix, for the encoder, the whole model and the file.

Density is ``non-zero / all``; sparsity is ``1 - density``. The three totals are reported beside each other because they
tell different stories: with a vocabulary of 21,128 the embeddings are 70 % of ALBERT-tiny and 18 % of ALBERT-large.

A module whose parameters are not what it computes with (masks, scores) has a method ``effective_parameters``, and is
counted by what that returns; nothing here knows more of pruning.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from .errors import StorageError
from .model.pruning_state import is_training_key
from .model.structure import Structure, known_structure, part_of
from .storage.files import CONFIG_FILE, StoredTensor, read_json, read_tensor
from .storage.integrity import read_checked_headers
from .storage.tensors import count_packed

__all__ = [
    "MatrixReport",
    "PruningReport",
    "Totals",
    "encoder_matrices",
    "inspect_checkpoint",
    "pruning_report",
    "weight_bytes",
]

_WEIGHT_FILES = (
    "model.safetensors", "model-*.safetensors", "pytorch_model.bin", "pytorch_model-*.bin", "model.onnx*",
    "openvino_model.*",
)  # fmt: skip


@dataclass(frozen=True)
class MatrixReport:
    """One tensor: ``numel`` entries of which ``nonzero`` are not zero.

    ``bytes`` is what it takes dense, in memory; ``stored_bytes`` what it takes in the file, None where there is none.
    """

    name: str
    shape: tuple[int, ...]
    numel: int
    nonzero: int
    bytes: int
    stored_bytes: int | None = None

    @property
    def density(self) -> float:
        """``nonzero / numel``, in [0, 1]; 1 for an empty tensor."""
        return self.nonzero / self.numel if self.numel else 1.0


@dataclass(frozen=True)
class Totals:
    """Sums over several tensors; those of a file and of the model in it are equal."""

    numel: int
    nonzero: int
    bytes: int
    stored_bytes: int | None = field(default=None, compare=False)

    @property
    def density(self) -> float:
        """``nonzero / numel``, in [0, 1]; 1 where there is nothing."""
        return self.nonzero / self.numel if self.numel else 1.0

    @classmethod
    def of(cls, matrices: Iterable[MatrixReport]) -> Totals:
        """Add up ``matrices``."""
        items = list(matrices)
        stored = [m.stored_bytes for m in items if m.stored_bytes is not None]
        return cls(
            sum(m.numel for m in items),
            sum(m.nonzero for m in items),
            sum(m.bytes for m in items),
            sum(stored) if len(stored) == len(items) else None,
        )


@dataclass(frozen=True)
class PruningReport:
    """Sizes of a model.

    Attributes:
        matrices: Every tensor of the model, in its own order.
        encoder: The weight matrices (two dimensions) of the encoder's layers: what pruning works on by default.
        total: Every tensor.
        file_bytes: Bytes of the weights' files, or None for a model in memory.
    """

    matrices: list[MatrixReport]
    encoder: Totals
    total: Totals
    file_bytes: int | None = None

    @classmethod
    def of(
        cls, measured: Iterable[MatrixReport], structure: Structure | None, file_bytes: int | None = None
    ) -> PruningReport:
        """Add up what was ``measured`` of a model of this ``structure``."""
        matrices = list(measured)
        encoder = Totals.of(encoder_matrices(matrices, structure))
        return cls(matrices, encoder, Totals.of(matrices), file_bytes)

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON, densities included."""
        matrices = [{**asdict(m), "shape": list(m.shape), "density": m.density} for m in self.matrices]
        totals = {key: {**asdict(t), "density": t.density} for key, t in self._totals()}
        return {"matrices": matrices, **totals, "file_bytes": self.file_bytes}

    def _totals(self) -> list[tuple[str, Totals]]:
        return [("encoder", self.encoder), ("total", self.total)]


def encoder_matrices(measured: Iterable[MatrixReport], structure: Structure | None) -> list[MatrixReport]:
    """The weight matrices of the encoder's layers."""
    return [m for m in measured if len(m.shape) == 2 and part_of(m.name, structure) == "encoder"]


def weight_bytes(folder: str | Path) -> int | None:
    """Bytes of the files that hold the weights of the model in ``folder``, all shards together; None if there are none.

    Other weights in the folder, such as those of checkpoints, do not count.
    """
    found = next((files for pattern in _WEIGHT_FILES if (files := list(Path(folder).glob(pattern)))), [])
    return sum(file.stat().st_size for file in found) or None


def _measure(name: str, tensor: Tensor) -> MatrixReport:
    nonzero = int(torch.count_nonzero(tensor))
    return MatrixReport(name, tuple(tensor.shape), tensor.numel(), nonzero, tensor.numel() * tensor.element_size())


def pruning_report(model: nn.Module) -> PruningReport:
    """Sizes of a model in memory, in training or finished: masked weights count as zero, scores do not count.

    Shared and tied parameters count once.
    """
    measured = [_measure(name, tensor) for name, tensor in _effective_parameters(model)]
    return PruningReport.of(measured, known_structure(model))


def _effective_parameters(model: nn.Module) -> Iterator[tuple[str, Tensor]]:
    seen: set[int] = set()
    for path, module in model.named_modules():
        own = dict(module.named_parameters(recurse=False))
        effective = module.effective_parameters() if hasattr(module, "effective_parameters") else own
        for name, tensor in effective.items():
            if id(own[name]) not in seen:
                seen.add(id(own[name]))
                yield f"{path}.{name}" if path else name, tensor.detach()


def inspect_checkpoint(folder: str | Path) -> PruningReport:
    """Sizes of a saved model, read from its safetensors file or shards without building the model.

    No packed tensor is unpacked: its values are counted as they are read, in little memory, whatever it claims to
    unpack to. In a checkpoint written in the middle of training, the scores and what the masks hide count in
    ``file_bytes`` only.

    Raises:
        StorageError: if the folder holds no ``model.safetensors``, whole or in shards, or one that is damaged, or not
            what its config describes, as in loading.
    """
    stored = read_checked_headers(Path(folder))
    files = {tensor.file for tensor in stored.values()}
    file_bytes = sum(file.stat().st_size for file in files)  # and no shard that an older save left
    measured = (_measure_stored(tensor) for name, tensor in stored.items() if not is_training_key(name))
    return PruningReport.of(measured, _structure_in(Path(folder)), file_bytes)


def _structure_in(folder: Path) -> Structure | None:
    """What the config beside the weights says; None where there is none that can be read."""
    try:
        return known_structure(str(read_json(folder / CONFIG_FILE).get("model_type")))
    except (OSError, StorageError):  # the weights can be counted without it
        return None


def _measure_stored(stored: StoredTensor) -> MatrixReport:
    tensor, header = read_tensor(stored), stored.packed
    if header is None:
        return replace(_measure(stored.name, tensor), stored_bytes=stored.bytes)
    try:
        nonzero = count_packed(tensor)
    except StorageError as error:
        raise StorageError(f"{stored.name}: {error}") from error
    return MatrixReport(stored.name, header.shape, header.size, nonzero, header.dense_bytes, stored.bytes)
