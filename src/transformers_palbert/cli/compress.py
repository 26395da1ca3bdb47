"""``palbert compress`` and ``palbert decompress``: checkpoints made small, and plain again."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from .output import JsonOption, format_bytes, make_table, show, write_json

if TYPE_CHECKING:
    from ..sizes import PruningReport

__all__ = ["compress", "decompress"]

Values = Literal["auto", "float32", "float16", "bfloat16", "int8"]

SourceArgument = Annotated[Path, typer.Argument(exists=True, file_okay=False, help="Folder of a saved model.")]
TargetArgument = Annotated[Path, typer.Argument(help="New folder to write; it must not exist, or be empty.")]


def compress(
    model: SourceArgument,
    out: TargetArgument,
    values: Annotated[
        Values, typer.Option(help="Values of the weights; auto keeps their own type and loses nothing.")
    ] = "auto",
    embeddings: Annotated[Values, typer.Option(help="Values of the embedding tables; auto is like --values.")] = "auto",
    entropy: Annotated[
        bool, typer.Option("--entropy", help="Compress further with Zstandard; slower to write.")
    ] = False,
    json: JsonOption = False,
) -> None:
    """Pack a checkpoint: the zeros that pruning left take a bit each, and the other values less if asked to.

    Works on any model that save_pretrained wrote as safetensors. The result loads with from_pretrained after
    `import transformers_palbert`; without that, loading it is an error. Tokenizer and card are copied.

    By default nothing is lost. --values float16 halves what float32 takes, --values int8 quarters it; evaluate the
    model afterwards, to know what that costs.

    Example: palbert compress ./my-model ./small --values int8 --entropy
    """
    from ..storage.config import StorageConfig
    from ..storage.folders import compress_folder

    compress_folder(model, out, StorageConfig(values, embeddings, entropy))
    _report(model, out, json)


def decompress(model: SourceArgument, out: TargetArgument, json: JsonOption = False) -> None:
    """Unpack a packed checkpoint into a plain, dense one.

    It holds the weights that loading the packed one gives, and loads without this package where its architecture is
    one of transformers. What lossy values lost does not come back.

    Example: palbert decompress ./small ./plain
    """
    from ..storage.folders import decompress_folder

    decompress_folder(model, out)
    _report(model, out, json)


def _report(before: Path, after: Path, json: bool) -> None:
    from ..sizes import inspect_checkpoint

    reports = {str(folder): inspect_checkpoint(folder) for folder in (before, after)}
    if json:
        write_json({kind: r.file_bytes for kind, r in zip(("before", "after"), reports.values(), strict=True)})
        return
    show(make_table(["", "density", "bytes", "in the file"], [_row(name, report) for name, report in reports.items()]))


def _row(name: str, report: PruningReport) -> tuple[str, ...]:
    return name, f"{report.total.density:.2%}", format_bytes(report.total.bytes), format_bytes(report.file_bytes or 0)
