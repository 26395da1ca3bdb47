"""``palbert inspect``: what pruning left of a checkpoint."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from .output import JsonOption, format_bytes, format_count, make_table, show, write_json

if TYPE_CHECKING:
    from rich.table import Table

    from ..pruning.report import MatrixReport, PruningReport, Totals

COLUMNS = ("parameters", "non-zero", "density", "bytes")


def inspect(
    model: Annotated[Path, typer.Argument(exists=True, file_okay=False, help="Folder of a saved model.")],
    json: JsonOption = False,
) -> None:
    """Show density, parameters and bytes of a checkpoint: by matrix, encoder, total and file.

    Reads the safetensors files alone, without building the model. The bytes of a matrix are what it takes in memory;
    those of the file are what it takes on disk.

    palbert inspect ./my-model
    """
    from ..pruning.report import inspect_checkpoint

    report = inspect_checkpoint(model)
    if json:
        write_json(report.to_dict())
    else:
        show(*_tables(report))


def _tables(report: PruningReport) -> list[Table | str]:
    """One table of the matrices (vectors summed up in one row), one of the totals."""
    matrices = [matrix for matrix in report.matrices if len(matrix.shape) > 1]
    vectors = [matrix for matrix in report.matrices if len(matrix.shape) <= 1]
    prefix = _common_prefix([matrix.name for matrix in matrices])
    rows = [_matrix_row(matrix, prefix) for matrix in matrices]
    if vectors:
        rows.append((f"{len(vectors)} vectors", "", *_numbers(type(report.total).of(vectors))))
    title = f"Matrices of {prefix}*" if prefix else "Matrices"
    totals = [("encoder matrices", *_numbers(report.encoder)), ("total", *_numbers(report.total))]
    if report.file_bytes is not None:
        totals.append(("file", "", "", "", format_bytes(report.file_bytes)))
    return [make_table(["name", "shape", *COLUMNS], rows, title=title), "", make_table(["totals", *COLUMNS], totals)]


def _common_prefix(names: list[str]) -> str:
    """Return the dotted prefix that all ``names`` share, or an empty string."""
    if len(names) < 2:
        return ""
    shared = []
    for parts in zip(*(name.split(".")[:-1] for name in names), strict=False):
        if len(set(parts)) > 1:
            break
        shared.append(f"{parts[0]}.")
    return "".join(shared)


def _matrix_row(matrix: MatrixReport, prefix: str) -> tuple[str, ...]:
    shape = "×".join(map(str, matrix.shape))
    return (matrix.name.removeprefix(prefix).removesuffix(".weight"), shape, *_numbers(matrix))


def _numbers(size: MatrixReport | Totals) -> tuple[str, str, str, str]:
    return format_count(size.numel), format_count(size.nonzero), f"{size.density:.2%}", format_bytes(size.bytes)
