"""Shrink a fine-tuned encoder without training it: F1 on the whole SQuAD 1.1 dev set against measured speed.

    python benchmarks/shrink.py --model DIR --data train.json --dev squad1_dev.json --speedups 1.3 1.5 2.0

The model of the published figures is the dense one of `benchmarks/squad_pruning.py`. Every speed-up is measured, the
whole and the smaller model in turns; the questions that removals are estimated on are training questions. Finished
speed-ups are kept and skipped when the command is repeated.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path
from typing import Any

from machine import describe_run, write_result
from transformers import AutoModelForQuestionAnswering, AutoTokenizer

from transformers_palbert.compaction.questions import question_batches
from transformers_palbert.compaction.shrinking import shrink
from transformers_palbert.model.removal import layer_sizes
from transformers_palbert.qa.answering import Reader, prepare_model
from transformers_palbert.qa.datasets import load_qa_dataset
from transformers_palbert.qa.metrics import compute_metric
from transformers_palbert.qa.settings import AnsweringSettings
from transformers_palbert.sizes import inspect_checkpoint
from transformers_palbert.speed.latency import fastest_seconds

NAME = "shrink"
SETTINGS = AnsweringSettings(max_seq_length=320, doc_stride=128)
EXAMPLES = 384


def score(folder: Path, tokenizer: Any, questions: Any) -> dict[str, Any]:
    """F1, exact match and sizes of a saved model."""
    model = AutoModelForQuestionAnswering.from_pretrained(folder)
    sizes = {path: [size.heads, size.units] for path, size in layer_sizes(model).items()}
    reader = Reader(prepare_model(model), tokenizer, SETTINGS)
    answers = reader.answer(questions.to_list(), batch_size=32)
    scores = compute_metric("squad", answers.predictions, questions)
    report = inspect_checkpoint(folder)
    return {
        "f1": scores["f1"],
        "em": scores["exact_match"],
        "layers": sizes,
        "parameters": report.total.numel,
        "parameters_encoder": report.encoder.numel,
        "file_bytes": report.file_bytes,
    }


def shrunk(args: argparse.Namespace, tokenizer: Any, speedup: float, folder: Path) -> dict[str, Any]:
    """Shrink the model into ``folder``; how long it took and how fast it became."""
    questions = load_qa_dataset(args.data, training=True).shuffle(seed=args.seed).select(range(EXAMPLES))
    model = AutoModelForQuestionAnswering.from_pretrained(args.model)
    started = time.monotonic()
    result = shrink(
        model, question_batches(questions, tokenizer, SETTINGS), speedup=speedup, batch_size=args.batch_size
    )
    seconds = time.monotonic() - started
    result.model.save_pretrained(folder)
    timed = {"batch_size": result.batch_size, "length": result.length}
    return {"asked": speedup, "speedup_at_once": result.speedup, "seconds": seconds, **timed}


def main() -> None:
    """Parse the command line and run."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", type=Path, required=True, help="folder of a fine-tuned model")
    parser.add_argument("--data", type=Path, required=True, help="training questions")
    parser.add_argument("--dev", type=Path, required=True, help="the official SQuAD 1.1 dev set")
    parser.add_argument("--speedups", type=float, nargs="+", default=[1.3, 1.5, 2.0])
    parser.add_argument("--batch-size", type=int, default=8, help="windows in the batch that is timed")
    parser.add_argument("--work", type=Path, default=Path("outputs/shrink"), help="folder for models and figures")
    parser.add_argument("--seed", type=int, default=42)
    args = parser.parse_args()
    args.work.mkdir(parents=True, exist_ok=True)
    tokenizer = AutoTokenizer.from_pretrained(args.model)
    questions = load_qa_dataset(args.dev)
    rows = []
    for speedup in [1.0, *args.speedups]:
        file, folder = args.work / f"{speedup}.json", args.work / f"{speedup}"
        if not file.is_file():
            made = {"asked": 1.0}
            if speedup == 1.0:
                folder = args.model
            else:
                made = shrunk(args, tokenizer, speedup, folder)
            file.write_text(json.dumps({**made, **score(folder, tokenizer, questions), "folder": str(folder)}))
        rows.append(json.loads(file.read_text()))
    models = [AutoModelForQuestionAnswering.from_pretrained(row["folder"]) for row in rows]
    length = next(row["length"] for row in rows if "length" in row)
    seconds = fastest_seconds(models, args.batch_size, length)  # once more, all of them in turns
    for row, taken in zip(rows, seconds, strict=True):
        row.pop("folder")
        row.update(speedup=seconds[0] / taken, milliseconds=1000 * taken)
    command = f"python benchmarks/shrink.py --model DIR --data train.json --dev squad1_dev.json --seed {args.seed}"
    result = {"benchmark": "a fine-tuned encoder shrunk without training, SQuAD 1.1 dev", **describe_run(args.seed)}
    write_result(NAME, {**result, "command": command, "examples": EXAMPLES, "runs": rows})


if __name__ == "__main__":
    main()
