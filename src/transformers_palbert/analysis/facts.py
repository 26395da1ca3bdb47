"""What a loaded model is: architecture, parameters, bytes of its files, and where its non-zero weights lie."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from torch import nn

from ..export.loaded import ExportedForQuestionAnswering
from ..sizes import pruning_report, weight_bytes

__all__ = ["MatrixPicture", "ModelFacts", "density_pictures", "model_facts", "weights_on_disk"]

GRID = 64
"""Blocks along the longer side of a matrix in its picture."""

_BLOCK = 4  # smallest side of a block: with fewer than 16 weights in it, the picture would be noise
_MIN_GRID = 6  # blocks along the shorter side, so that embeddings are more than a line
_SIZES = {
    "layers": ("num_hidden_layers", "num_layers"),
    "hidden size": ("hidden_size", "dim"),
    "attention heads": ("num_attention_heads",),
    "feed-forward size": ("intermediate_size",),
    "activation": ("hidden_act", "activation"),
    "vocabulary": ("vocab_size",),
}


@dataclass(frozen=True)
class ModelFacts:
    """Sizes of one model; ``file_bytes`` is None where the weights' files cannot be found."""

    architecture: str
    sizes: dict[str, Any]
    parameters: int
    nonzero: int
    encoder_density: float
    file_bytes: int | None

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return asdict(self)


@dataclass(frozen=True)
class MatrixPicture:
    """Where the non-zero weights of a matrix lie.

    Attributes:
        name: The name of the parameter, without ``.weight``.
        shape: Rows and columns.
        density: Share of weights that are not zero, in [0, 1].
        empty_rows: Rows that hold zeros alone.
        empty_columns: Columns that hold zeros alone.
        blocks: Density of every block, in [0, 1], float64, at most :data:`GRID` on a side.
    """

    name: str
    shape: tuple[int, int]
    density: float
    empty_rows: int
    empty_columns: int
    blocks: npt.NDArray[np.float64]


def model_facts(model: Any) -> ModelFacts:
    """Facts of a model of transformers, its parameters counted as they are in memory, or as they were exported."""
    counted, config = _counted(model), model.config
    sizes = {label: next((v for n in names if (v := getattr(config, n, None)) is not None), None)
             for label, names in _SIZES.items()}  # fmt: skip
    return ModelFacts(
        sizes={label: value for label, value in sizes.items() if value is not None},
        **counted,
        file_bytes=weights_on_disk(getattr(model, "name_or_path", "")),
    )


def _counted(model: Any) -> dict[str, Any]:
    """Architecture and parameters; a graph in a runtime cannot be counted, and says what it was made from."""
    if isinstance(model, ExportedForQuestionAnswering):
        said = model.description
        names = ("parameters", "nonzero", "encoder_density")
        architecture = f"{said.architecture} ({said.format}, {said.precision})"
        return {"architecture": architecture, **{name: getattr(said, name) for name in names}}
    report = pruning_report(model)
    return {
        "architecture": type(model).__name__,
        "parameters": report.total.numel,
        "nonzero": report.total.nonzero,
        "encoder_density": report.encoder.density,
    }


def weights_on_disk(name_or_path: str) -> int | None:
    """Bytes of the files that hold the weights, all shards together; None if there are none on this machine.

    Args:
        name_or_path: Folder of a checkpoint, or its name on the Hub, of which the cache's newest copy is measured.
    """
    if not name_or_path:  # of a model in memory; an empty path would be the current folder
        return None
    folder = Path(name_or_path)
    if not folder.is_dir():
        from transformers.utils import cached_file

        try:
            config = cached_file(
                name_or_path, "config.json", local_files_only=True, _raise_exceptions_for_missing_entries=False
            )
        except (OSError, ValueError):  # no name of a repository at all
            return None
        if config is None:
            return None
        folder = Path(config).parent
    return weight_bytes(folder)


def density_pictures(model: nn.Module) -> list[MatrixPicture]:
    """A picture of every weight matrix of ``model``, in the model's own order; shared matrices once."""
    return [
        _picture(name.removesuffix(".weight"), parameter.detach().ne(0).cpu().numpy())
        for name, parameter in model.named_parameters()
        if parameter.ndim == 2 and min(parameter.shape) > 1
    ]


def _picture(name: str, nonzero: npt.NDArray[np.bool_]) -> MatrixPicture:
    rows, columns = nonzero.shape
    row_edges, column_edges = _edges(rows, max(nonzero.shape)), _edges(columns, max(nonzero.shape))
    counts = np.add.reduceat(
        np.add.reduceat(nonzero, row_edges[:-1], axis=0, dtype=np.int64), column_edges[:-1], axis=1
    )
    blocks = counts / np.outer(np.diff(row_edges), np.diff(column_edges))
    by_row, by_column = nonzero.any(axis=1), nonzero.any(axis=0)
    return MatrixPicture(
        name, (rows, columns), float(nonzero.mean()), int((~by_row).sum()), int((~by_column).sum()), blocks
    )


def _edges(length: int, longest: int) -> npt.NDArray[np.int64]:
    """Bounds of the blocks along one side: square blocks, of which :data:`GRID` at most make the longer side."""
    block = max(longest / GRID, _BLOCK)
    count = min(max(round(length / block), _MIN_GRID), length)
    return np.linspace(0, length, count + 1).astype(np.int64)
