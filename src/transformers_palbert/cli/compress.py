"""``palbert compress`` and ``palbert decompress``: checkpoints made small, and plain again."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from .inputs import model_folder, values
from .output import JsonOption, format_bytes, make_table, show, write_json, written

if TYPE_CHECKING:
    from ..sizes import PruningReport

__all__ = ["compress", "decompress"]

_KINDS = "auto|float32|float16|bfloat16|int8"
_SMALLER = 0.98  # of the bytes before; what is above is the same, but for a header

SourceArgument = Annotated[str, typer.Argument(help="Folder of a saved model, or its name on the Hub.")]
TargetArgument = Annotated[Path, typer.Argument(help="New folder to write; it must not exist, or be empty.")]


def compress(
    model: SourceArgument,
    out: TargetArgument,
    values: Annotated[
        str,
        typer.Option(
            parser=values,
            metavar=_KINDS,
            help="Values of the weights; auto keeps their own type and loses nothing. Also fp32, fp16, bf16.",
        ),
    ] = "auto",
    embeddings: Annotated[
        str, typer.Option(parser=values, metavar=_KINDS, help="Values of the embedding tables; auto is like --values.")
    ] = "auto",
    entropy: Annotated[
        bool, typer.Option("--entropy", help="Compress further with Zstandard; slower to write.")
    ] = False,
    json: JsonOption = False,
) -> None:
    """Pack a checkpoint: the zeros that pruning left take a bit each, and the other values less if asked to.

    Works on any model that save_pretrained wrote as safetensors. The result loads with from_pretrained after
    `import transformers_palbert`; without that, loading it is an error. The tokenizer is copied, and the card as long
    as nothing is lost: otherwise its scores would be those of other weights.

    By default nothing is lost. --values fp16 halves what float32 takes, --values int8 quarters it; evaluate the
    model afterwards, to know what that costs.

    Example: palbert compress ./my-model ./small --values int8 --entropy
    """
    from ..storage.config import StorageConfig
    from ..storage.folders import compress_folder
    from ..storage.model_files import PUSHED

    folder = model_folder(model, PUSHED)
    compress_folder(folder, out, StorageConfig(values, embeddings, entropy))
    reports = _reports(folder, out)
    _show(model, out, reports, json)
    if json:
        return
    if (reports[1].file_bytes or 0) > _SMALLER * (reports[0].file_bytes or 0):
        show(_why_nothing_shrank(reports[0], values))
    lossy = [f"palbert evaluate --model {out} -r dev.json -m cmrc2018   (what the smaller values cost)"]
    show(written(out, *(lossy if (values, embeddings) != ("auto", "auto") else []), f"palbert inspect {out}"))


def decompress(model: SourceArgument, out: TargetArgument, json: JsonOption = False) -> None:
    """Unpack a packed checkpoint into a plain, dense one.

    It holds the weights that loading the packed one gives, and loads without this package where its architecture is
    one of transformers. What lossy values lost does not come back.

    Example: palbert decompress ./small ./plain
    """
    from ..storage.folders import decompress_folder
    from ..storage.model_files import PUSHED

    folder = model_folder(model, PUSHED)
    decompress_folder(folder, out)
    _show(model, out, _reports(folder, out), json)
    if not json:
        show(written(out, f"palbert inspect {out}"))


def _reports(*folders: Path) -> list[PruningReport]:
    from ..sizes import inspect_checkpoint

    return [inspect_checkpoint(folder) for folder in folders]


def _show(before: str, after: Path, reports: Sequence[PruningReport], json: bool) -> None:
    if json:
        write_json({kind: report.file_bytes for kind, report in zip(("before", "after"), reports, strict=True)})
        return
    rows = [_row(name, report) for name, report in zip((before, str(after)), reports, strict=True)]
    show(make_table(["", "density", "bytes", "in the file"], rows))


def _why_nothing_shrank(report: PruningReport, values: str) -> str:
    """Why the file is as large as before, and what makes it smaller."""
    shrinking = "give --values fp16 (half of float32) or --values int8 (a quarter), or prune the model while it is"
    return (
        f"Nothing shrank: {report.total.density:.1%} of the weights are not zero, and --values {values} stores these as"
        f" they were. To make it smaller, {shrinking} fine-tuned: palbert train … --target_sparsity 0.7"
    )


def _row(name: str, report: PruningReport) -> tuple[str, ...]:
    return name, f"{report.total.density:.2%}", format_bytes(report.total.bytes), format_bytes(report.file_bytes or 0)
