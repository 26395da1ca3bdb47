"""One table from end to end: models pruned in different ways, as they are and packed; F1, bytes, milliseconds.

    python benchmarks/end_to_end.py --dev squad1_dev.json --model dense=outputs/squad/dense \
        --model "unstructured 70 %=outputs/squad/sensitivity_70_2_epochs" \
        --model "structured=outputs/structure/shrunk_2.0_teacher_500_steps"

The first model is the one that the others are compared with. Each is scored in float32 on all questions, once as its
folder holds it and once packed with int8 values and entropy coding, loaded from that file again. The first is also
saved in the ways that need nothing of this package: in float16, and in torchao's int8, with activations rounded while
it computes (`pip install torchao`; without it, the result says so). All are timed in turns at the end, none of them
compiled. What is finished is kept in `--work` and skipped when the command is repeated.
"""

from __future__ import annotations

import argparse
import hashlib
from collections.abc import Callable, Mapping
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch
from machine import describe_run, steady_seconds, write_result
from runs import once, without_local_paths
from shrink import score
from transformers import AutoModelForQuestionAnswering, AutoTokenizer

from transformers_palbert import StorageConfig
from transformers_palbert.experiments.settings import content_key
from transformers_palbert.qa.datasets import load_qa_dataset
from transformers_palbert.storage.folders import compress_folder
from transformers_palbert.storage.whole_saves import new_folder

NAME = "end_to_end"
PACKED = StorageConfig("int8", entropy=True)


def packed(folder: Path, target: Path) -> None:
    """A packed copy of a model."""
    compress_folder(folder, target, PACKED)


def save(model: Any, folder: Path, target: Path) -> None:
    """Save a copy of the model in ``folder`` with its tokenizer, as a whole or not at all."""
    with new_folder(target) as new:
        model.save_pretrained(new)
        AutoTokenizer.from_pretrained(folder).save_pretrained(new)


def halved(folder: Path, target: Path) -> None:
    """A copy in float16, as transformers saves it."""
    save(AutoModelForQuestionAnswering.from_pretrained(folder, dtype=torch.float16), folder, target)


def with_torchao(folder: Path, target: Path) -> None:
    """A copy whose Linears torchao holds in int8, with activations that are rounded while it computes."""
    from torchao.quantization import Int8DynamicActivationInt8WeightConfig
    from transformers import TorchAoConfig

    rounded = TorchAoConfig(Int8DynamicActivationInt8WeightConfig())
    model = AutoModelForQuestionAnswering.from_pretrained(folder, quantization_config=rounded, dtype=torch.float32)
    save(model, folder, target)


COPIES: dict[str, Callable[[Path, Path], None]] = {"packed int8": packed}
"""How every model is stored beside what its folder holds."""

PEERS: dict[str, Callable[[Path, Path], None]] = {"float16": halved, "int8 of torchao": with_torchao}
"""How the first is stored as well."""


def stored(args: argparse.Namespace, failed: Mapping[str, str]) -> dict[tuple[str, str], Path]:
    """Name and way -> folder; copies are made once."""
    folders = {}
    for number, (name, folder) in enumerate(args.model):
        folders[name, "as saved"] = folder
        for way, store in (COPIES | PEERS if number == 0 else COPIES).items():
            target = args.work / f"{name} {content_key(folder)[:8]} {way}".replace(" ", "_")
            if way in failed:
                continue
            if not target.is_dir():
                store(folder, target)
            folders[name, way] = target
    return folders


def checksum(folder: Path) -> str:
    """SHA-256 of a model's weight file, by which a copy of it elsewhere is known."""
    with (folder / "model.safetensors").open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def measure(args: argparse.Namespace, folders: Mapping[tuple[str, str], Path]) -> list[dict[str, Any]]:
    """The scores of all models, and their milliseconds, in turns."""
    rows: list[dict[str, Any]] = [
        {"model": name, "stored": way, "sha256": checksum(folder)} for (name, way), folder in folders.items()
    ]
    questions = load_qa_dataset(args.dev)
    for row, folder in zip(rows, folders.values(), strict=True):
        file = args.work / f"{row['model']}_{row['stored']}_{content_key(folder)[:8]}.json".replace(" ", "_")
        row |= once(file, partial(score, folder, AutoTokenizer.from_pretrained(folder), questions))
    models = [AutoModelForQuestionAnswering.from_pretrained(path, dtype=torch.float32) for path in folders.values()]
    for batch_size in args.batch_sizes:
        for row, seconds in zip(rows, steady_seconds(models, batch_size, args.length), strict=True):
            row[f"milliseconds_{batch_size}"] = 1000 * seconds
    return rows


def named(text: str) -> tuple[str, Path]:
    """``NAME=FOLDER``."""
    name, found, folder = text.partition("=")
    if not (found and name and Path(folder).is_dir()):
        raise argparse.ArgumentTypeError(f"{text!r} is not NAME=FOLDER with a folder that exists")
    return name, Path(folder)


def main() -> None:
    """Parse the command line and run."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", type=named, action="append", required=True, help="NAME=FOLDER, several times")
    parser.add_argument("--dev", type=Path, required=True, help="the official SQuAD 1.1 dev set")
    parser.add_argument("--batch-sizes", type=int, nargs="+", default=[1, 8], help="windows in the batches timed")
    parser.add_argument("--length", type=int, default=184, help="tokens of each of them; 184 is the mean of the data")
    parser.add_argument("--work", type=Path, default=Path("outputs/end_to_end"), help="folder for models and figures")
    parser.add_argument("--seed", type=int, default=42)
    args = parser.parse_args()
    args.work.mkdir(parents=True, exist_ok=True)
    failed = {} if find_spec("torchao") else {"int8 of torchao": "torchao is not installed"}
    rows = measure(args, stored(args, failed))
    result: dict[str, Any] = {
        "benchmark": "pruned in different ways, stored in different ways; SQuAD 1.1 dev",
        **describe_run(args.seed),
        "length": args.length,
        "runs": rows,
        "failed": failed,
    }
    local = {args.work: "outputs/end_to_end", args.dev.parent: "english"}
    write_result(NAME, without_local_paths(result, local))


if __name__ == "__main__":
    main()
