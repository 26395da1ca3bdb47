"""``palbert inspect``: what pruning left of a checkpoint."""

from __future__ import annotations

import re
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from .inputs import model_folder
from .layers import draw_layers, layer_facts
from .output import JsonOption, format_bytes, format_count, make_table, show, write_json

if TYPE_CHECKING:
    from ..sizes import MatrixReport, PruningReport, Totals
    from .output import FittedTable

_SIZES = ("layer_sizes", "application_heads", "application_units")
"""Fields of a configuration whose layers, or applications of layers, have sizes of their own."""

COLUMNS = ("matrix", "shape", "parameters", "density", "dense", "stored")


def inspect(
    model: Annotated[str, typer.Argument(help="Folder of a saved model, or its name on the Hub.")],
    json: JsonOption = False,
) -> None:
    """Show density, parameters and bytes of a checkpoint, and what each layer kept.

    Counted by matrix, for the encoder, in total, and of the file. Where heads or feed-forward units were removed, a
    drawing shows those that each layer, or each application of a shared layer, kept.

    Reads config.json and the safetensors files alone, without building the model. Bytes are counted twice: dense, as in
    memory, and as stored in the file, where a packed matrix takes less.

    Example: palbert inspect ./my-model
    """
    from ..model.described_sizes import described_sizes
    from ..sizes import inspect_checkpoint
    from ..storage.model_files import CONFIGS, WEIGHTS

    folder = model_folder(model, (*WEIGHTS, *CONFIGS))
    report = inspect_checkpoint(folder)
    config = _config(folder)
    sizes = {} if config is None else described_sizes(config)
    if json:
        write_json({**report.to_dict(), "layers": layer_facts(sizes)})
    else:
        cut = any(getattr(config, field, None) is not None for field in _SIZES)
        show(*_tables(report), *(["", draw_layers(sizes)] if cut else []))


def _config(folder: Path) -> Any:
    """The configuration; None for weights without one, or of an architecture whose layers are not known."""
    from transformers import AutoConfig

    from ..model.structure import known_structure
    from ..storage.files import CONFIG_FILE, read_json

    if not (folder / CONFIG_FILE).is_file():
        return None
    known = known_structure(str(read_json(folder / CONFIG_FILE).get("model_type")))
    return None if known is None else AutoConfig.from_pretrained(folder)


def _tables(report: PruningReport) -> list[FittedTable | str]:
    """One table of the matrices (vectors summed up in one row), one of the totals."""
    matrices = [matrix for matrix in report.matrices if len(matrix.shape) > 1]
    vectors = [matrix for matrix in report.matrices if len(matrix.shape) <= 1]
    rows: list[tuple[str, ...]] = []
    for module, members in groupby(matrices, key=lambda matrix: _split(matrix.name)[0]):
        if module:
            rows.append((module, *[""] * (len(COLUMNS) - 1)))
        rows.extend(_matrix_row(matrix) for matrix in members)
    if vectors:
        size = type(report.total).of(vectors)
        rows.append((f"{len(vectors)} vectors", "", format_count(size.numel), "", *_bytes(size)))
    totals = [("encoder matrices", *_total(report.encoder)), ("total", *_total(report.total))]
    if report.file_bytes is not None:
        totals.append(("file", "", "", "", "", format_bytes(report.file_bytes)))
    return [
        make_table(COLUMNS, rows),
        "",
        make_table(["", "parameters", "non-zero", "density", "dense", "stored"], totals),
    ]


def _split(name: str) -> tuple[str, str]:
    """Split a parameter's name after its layer's number, or else before its last part: a heading and what is under it.

    ``bert.encoder.layer.0.attention.self.query.weight`` gives ``bert.encoder.layer.0`` and ``attention.self.query``.
    """
    name = name.removesuffix(".weight")
    if numbered := re.match(r"(.*\.\d+)\.(.+)", name):
        return numbered[1], numbered[2]
    module, _, leaf = name.rpartition(".")
    return module, leaf


def _matrix_row(matrix: MatrixReport) -> tuple[str, ...]:
    module, leaf = _split(matrix.name)
    shape = "×".join(map(str, matrix.shape))
    indent = "  " if module else ""
    return indent + leaf, shape, format_count(matrix.numel), f"{matrix.density:.2%}", *_bytes(matrix)


def _total(size: Totals) -> tuple[str, ...]:
    return format_count(size.numel), format_count(size.nonzero), f"{size.density:.2%}", *_bytes(size)


def _bytes(size: MatrixReport | Totals) -> tuple[str, str]:
    return format_bytes(size.bytes), "" if size.stored_bytes is None else format_bytes(size.stored_bytes)
