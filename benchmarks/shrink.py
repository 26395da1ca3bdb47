"""Shrink a fine-tuned encoder without training it: F1 on the whole SQuAD 1.1 dev set against measured speed.

    python benchmarks/shrink.py --model DIR --data train.json --dev squad1_dev.json --speedups 1.3 1.5 2.0

The model of the published figures is the dense one of `benchmarks/squad_pruning.py`. Every speed-up is measured, the
whole and the smaller models in turns; the questions that removals are estimated on are training questions. All models
are made and timed before the first is scored; what is finished is kept and skipped when the command is repeated.
"""

from __future__ import annotations

import argparse
import time
from functools import partial
from pathlib import Path
from typing import Any

import torch
from machine import describe_run, steady_seconds, write_result
from runs import once
from transformers import AutoModelForQuestionAnswering, AutoTokenizer

from transformers_palbert.compaction.questions import question_batches
from transformers_palbert.compaction.shrinking import shrink
from transformers_palbert.model.removal import layer_sizes
from transformers_palbert.qa.answering import Reader, prepare_model
from transformers_palbert.qa.datasets import load_qa_dataset
from transformers_palbert.qa.metrics import compute_metric
from transformers_palbert.qa.settings import AnsweringSettings
from transformers_palbert.sizes import inspect_checkpoint

NAME = "shrink"
SETTINGS = AnsweringSettings(max_seq_length=320, doc_stride=128)
EXAMPLES = 384


def score(folder: Path, tokenizer: Any, questions: Any) -> dict[str, Any]:
    """F1, exact match and sizes of a saved model, which computes in float32."""
    model = AutoModelForQuestionAnswering.from_pretrained(folder, dtype=torch.float32)
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


def shrunk(args: argparse.Namespace, tokenizer: Any, speedup: float) -> dict[str, Any]:
    """Shrink the model into a folder of ``--work``; how long it took and how fast it became."""
    questions = load_qa_dataset(args.data, training=True).shuffle(seed=args.seed).select(range(EXAMPLES))
    model = AutoModelForQuestionAnswering.from_pretrained(args.model)
    started = time.monotonic()
    result = shrink(
        model, question_batches(questions, tokenizer, SETTINGS), speedup=speedup, batch_size=args.batch_size
    )
    seconds = time.monotonic() - started
    result.model.save_pretrained(args.work / str(speedup))
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
    made = [once(args.work / f"{speedup}.json", partial(shrunk, args, tokenizer, speedup)) for speedup in args.speedups]
    folders = [args.model, *(args.work / str(speedup) for speedup in args.speedups)]
    timed = once(args.work / "seconds.json", partial(in_turns, folders, args.batch_size, made[0]["length"]))
    questions = load_qa_dataset(args.dev)
    rows = []
    for folder, row, seconds in zip(folders, [{"asked": 1.0}, *made], timed["seconds"], strict=True):
        scores = once(args.work / f"{row['asked']}_scores.json", partial(score, folder, tokenizer, questions))
        speed = {"speedup": timed["seconds"][0] / seconds, "milliseconds": 1000 * seconds}
        rows.append({**row, **scores, **speed})
    command = f"python benchmarks/shrink.py --model DIR --data train.json --dev squad1_dev.json --seed {args.seed}"
    result = {"benchmark": "a fine-tuned encoder shrunk without training, SQuAD 1.1 dev", **describe_run(args.seed)}
    write_result(NAME, {**result, "command": command, "examples": EXAMPLES, "runs": rows})


def in_turns(folders: list[Path], batch_size: int, length: int) -> dict[str, Any]:
    """Seconds of a batch of each saved model, all of them in turns."""
    models = [AutoModelForQuestionAnswering.from_pretrained(folder) for folder in folders]
    return {"seconds": steady_seconds(models, batch_size, length)}


if __name__ == "__main__":
    main()
