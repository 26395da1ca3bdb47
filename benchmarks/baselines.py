"""Train the four word-level baselines on CMRC 2018: TextCNN and BiLSTM, each with GloVe and with Word2Vec vectors.

    python benchmarks/baselines.py --data DIR_WITH_CMRC2018 --work outputs/baselines --bf16 --use_cpu

What it does not know, here the last two options, goes to `palbert train`.

Nothing is pre-trained elsewhere: words and vectors come from the training file. Its last contexts are held out; each
recipe (`*_cmrc2018.yaml` of the package, `grids/baselines_cmrc2018.yaml`) keeps the epoch that answers those best, and
only then answers the dev set, once. Seconds are those of the processor as well as the clock's, as other processes may
share the machine. Finished runs are kept and skipped when the command is repeated.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from machine import describe_run, write_result
from runs import all_trials, load_benchmark, new_runner, run_benchmark, without_local_paths
from transformers import AutoModelForQuestionAnswering

import transformers_palbert as palbert
from transformers_palbert.errors import ConfigurationError
from transformers_palbert.experiments.outcome import Run
from transformers_palbert.experiments.run_folder import logged, optimizer_steps
from transformers_palbert.experiments.settings import Settings, parse_overrides

NAME = "baselines_cmrc2018"
HELD_OUT_CONTEXTS = 200
READERS = {
    "TextCNN-G": "textcnn_glove",
    "TextCNN-W": "textcnn_word2vec",
    "BiLSTM-G": "bilstm_glove",
    "BiLSTM-W": "bilstm_word2vec",
}
"""What the paper calls a reader -> its run in the grid."""


def split_training(train_file: Path, work: Path) -> dict[str, Path]:
    """Two files of the training questions, as JSON Lines: those to learn from, and those about the last contexts."""
    questions = palbert.load_qa_dataset(train_file, training=True)
    last = set(list(dict.fromkeys(questions["context"]))[-HELD_OUT_CONTEXTS:])
    files = {"train_file": work / "train_part.jsonl", "validation_file": work / "train_rest.jsonl"}
    work.mkdir(parents=True, exist_ok=True)
    for held_out, file in enumerate(files.values()):
        rows = (row for row in questions if (row["context"] in last) == bool(held_out))
        file.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")
    return files


def training_options(words: Sequence[str]) -> Settings:
    """``--name value`` and ``--flag`` as settings."""
    pairs: list[str] = []
    for word in words:
        if not (pairs or word.startswith("--")):
            raise ConfigurationError(f"{word!r} is no option; options of palbert train begin with two dashes.")
        if word.startswith("--"):
            pairs.append(word if "=" in word else f"{word}=true")
        else:
            pairs[-1] = f"{pairs[-1].removesuffix('=true')}={word}"
    return parse_overrides(pairs)


def collect(name: str, run: Run, folder: Path) -> dict[str, Any]:
    """What a reader measured, as a row of the result file."""
    answers = json.loads((folder / "test_predictions.json").read_text(encoding="utf-8"))
    write_result(f"{NAME}/{folder.name}", answers)
    model = AutoModelForQuestionAnswering.from_pretrained(folder)
    return {
        "name": name,
        "command": run.command,
        "seconds": round(run.seconds),
        "processor_seconds": run.processor_seconds,
        "optimizer_steps": optimizer_steps(folder),
        "f1": run.value("test_f1"),
        "em": run.value("test_em"),
        "questions": len(answers),
        "parameters": model.num_parameters(),
        "parameters_trained": model.num_parameters(only_trainable=True),
        "file_bytes": (folder / "model.safetensors").stat().st_size,
        "predictions": f"{NAME}/{folder.name}.json",
        "held_out": [
            {"epoch": row["epoch"], "f1": row["eval_f1"], "em": row["eval_em"]}
            for row in logged(folder, "eval_f1", "epoch", "eval_em")
        ],
    }


def main() -> None:
    """Parse the command line and run."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--data", type=Path, required=True, help="folder with cmrc2018_train.json and cmrc2018_dev.json"
    )
    parser.add_argument("--work", type=Path, default=Path("outputs/baselines"), help="folder for checkpoints")
    parser.add_argument("--only", nargs="*", choices=READERS, default=list(READERS), help="which of the four")
    parser.add_argument("--seed", type=int, default=42, help="seed of all runs")
    args, further = parser.parse_known_args()
    data, work = args.data.resolve(), args.work.resolve()
    files = {**split_training(data / "cmrc2018_train.json", work), "test_file": data / "cmrc2018_dev.json"}
    grid = load_benchmark(NAME, {**files, **training_options(further)}, args.seed)
    trials, runner = all_trials([grid]), new_runner(work)
    runs = run_benchmark([trials[READERS[name]] for name in args.only], runner, NAME, grid.metrics)
    result = {
        "benchmark": "CMRC 2018 dev, word-level baselines, from scratch",
        **describe_run(args.seed),
        "held_out_contexts": HELD_OUT_CONTEXTS,
        "runs": [collect(name, runs[READERS[name]], work / READERS[name]) for name in args.only],
    }
    write_result(NAME, without_local_paths(result, {args.data: "cmrc2018", work: "outputs/baselines"}))


if __name__ == "__main__":
    main()
