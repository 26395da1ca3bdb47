"""Train the four word-level baselines on CMRC 2018: TextCNN and BiLSTM, each with GloVe and with Word2Vec vectors.

    python benchmarks/baselines.py --data DIR_WITH_CMRC2018 --work outputs/baselines --bf16 --use_cpu

What it does not know, here the last two options, goes to `examples/run_qa.py`.

Nothing is pre-trained elsewhere: words and vectors come from the training file. Its last contexts are held out; each
recipe (`*_cmrc2018.yaml` of the package) keeps the epoch that answers those best, and only then answers the dev set,
once. Seconds are those of the processor as well as the clock's, as other processes may share the machine. Finished
runs are kept and skipped when the command is repeated.
"""

from __future__ import annotations

import argparse
import json
import resource
import shlex
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from machine import describe_run, write_result
from transformers import AutoModelForQuestionAnswering

import transformers_palbert as palbert

ROOT = Path(__file__).parent.parent
NAME = "baselines_cmrc2018"
HELD_OUT_CONTEXTS = 200
RUNS = {
    "TextCNN-G": "textcnn_glove",
    "TextCNN-W": "textcnn_word2vec",
    "BiLSTM-G": "bilstm_glove",
    "BiLSTM-W": "bilstm_word2vec",
}


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


def run_recipe(name: str, recipe: str, work: Path, options: dict[str, Any], further: list[str]) -> dict[str, Any]:
    """Run one recipe, unless it is finished, and collect what it measured."""
    folder = work / recipe
    arguments = [part for key, value in options.items() for part in (f"--{key}", str(value))]
    script = ["examples/run_qa.py", f"{recipe}_cmrc2018.yaml", *arguments, "--do_predict", *further]
    if not (folder / "test_results.json").is_file():
        clock, processor = time.monotonic(), _child_seconds()
        subprocess.run([sys.executable, *script, "--output_dir", str(folder)], check=True, cwd=ROOT)
        seconds = {"seconds": time.monotonic() - clock, "processor_seconds": _child_seconds() - processor}
        (folder / "seconds.json").write_text(json.dumps({key: round(value) for key, value in seconds.items()}))
    state = json.loads((folder / "trainer_state.json").read_text())
    scores = json.loads((folder / "test_results.json").read_text())
    answers = json.loads((folder / "test_predictions.json").read_text(encoding="utf-8"))
    write_result(f"{NAME}/{recipe}", answers)
    model = AutoModelForQuestionAnswering.from_pretrained(folder)
    return {
        "name": name,
        "command": shlex.join(["python", *script, "--output_dir", str(folder)]),
        **json.loads((folder / "seconds.json").read_text()),
        "optimizer_steps": state["global_step"],
        "f1": scores["test_f1"],
        "em": scores["test_em"],
        "questions": int(scores["test_total"]),
        "parameters": model.num_parameters(),
        "parameters_trained": model.num_parameters(only_trainable=True),
        "file_bytes": (folder / "model.safetensors").stat().st_size,
        "predictions": f"{NAME}/{recipe}.json",
        "held_out": [
            {"epoch": row["epoch"], "f1": row["eval_f1"], "em": row["eval_em"]}
            for row in state["log_history"]
            if "eval_f1" in row
        ],
    }


def _child_seconds() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def main() -> None:
    """Parse the command line and run."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--data", type=Path, required=True, help="folder with cmrc2018_train.json and cmrc2018_dev.json"
    )
    parser.add_argument("--work", type=Path, default=Path("outputs/baselines"), help="folder for checkpoints")
    parser.add_argument("--only", nargs="*", choices=RUNS, default=list(RUNS), help="which of the four")
    parser.add_argument("--seed", type=int, default=42)
    args, further = parser.parse_known_args()
    work = args.work.resolve()
    options: dict[str, Any] = split_training(args.data / "cmrc2018_train.json", work)
    options |= {"test_file": (args.data / "cmrc2018_dev.json").resolve(), "seed": args.seed}
    result = {
        "benchmark": "CMRC 2018 dev, word-level baselines, from scratch",
        **describe_run(args.seed),
        "held_out_contexts": HELD_OUT_CONTEXTS,
        "runs": [run_recipe(name, RUNS[name], work, options, further) for name in args.only],
    }
    text = json.dumps(result, ensure_ascii=False)
    for path, label in ((args.data, "cmrc2018"), (work, "outputs/baselines")):
        for spelling in (str(path.resolve()), str(path)):
            text = text.replace(spelling, label)
    write_result(NAME, json.loads(text))


if __name__ == "__main__":
    main()
