"""One table from end to end: models pruned in different ways, as they are and packed; F1, bytes, milliseconds.

    python benchmarks/end_to_end.py --dev squad1_dev.json --model dense=outputs/squad/dense \
        --model "unstructured 70 %=outputs/squad/sensitivity_70_2_epochs" \
        --model "structured=outputs/structure/shrunk_2.0_teacher_500_steps"

The first model is the one that the others are compared with. Each is scored in float32 on all questions, once as its
folder holds it and once packed with int8 values and entropy coding, loaded from that file again. All are timed in
turns. What is finished is kept in `--work` and skipped when the command is repeated.
"""

from __future__ import annotations

import argparse
from functools import partial
from pathlib import Path
from typing import Any

from machine import describe_run, write_result
from runs import once, without_local_paths
from shrink import score
from transformers import AutoModelForQuestionAnswering, AutoTokenizer

from transformers_palbert import StorageConfig
from transformers_palbert.experiments.settings import content_key
from transformers_palbert.qa.datasets import load_qa_dataset
from transformers_palbert.speed.latency import fastest_seconds
from transformers_palbert.storage.folders import compress_folder

NAME = "end_to_end"
PACKED = StorageConfig("int8", entropy=True)


def packed(folder: Path, target: Path) -> Path:
    """A packed copy of a model, made once."""
    if not target.is_dir():
        compress_folder(folder, target, PACKED)
    return target


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
    folders: dict[tuple[str, str], Path] = {}
    for name, folder in args.model:
        stem = f"{name.replace(' ', '_')}_{content_key(folder)[:8]}"
        folders |= {(name, "as saved"): folder, (name, "packed int8"): packed(folder, args.work / f"{stem}_packed")}
    rows: list[dict[str, Any]] = [{"model": name, "stored": stored} for name, stored in folders]
    models = [AutoModelForQuestionAnswering.from_pretrained(folder) for folder in folders.values()]
    for batch_size in args.batch_sizes:
        for row, seconds in zip(rows, fastest_seconds(models, batch_size, args.length), strict=True):
            row[f"milliseconds_{batch_size}"] = 1000 * seconds
    questions = load_qa_dataset(args.dev)
    for row, folder in zip(rows, folders.values(), strict=True):
        file = args.work / f"{row['model']}_{row['stored']}_{content_key(folder)[:8]}.json".replace(" ", "_")
        row |= once(file, partial(score, folder, AutoTokenizer.from_pretrained(folder), questions))
    result: dict[str, Any] = {
        "benchmark": "pruned in different ways, stored in different ways; SQuAD 1.1 dev",
        **describe_run(args.seed),
        "length": args.length,
        "runs": rows,
    }
    local = {args.work: "outputs/end_to_end", args.dev.parent: "english"}
    write_result(NAME, without_local_paths(result, local))


if __name__ == "__main__":
    main()
