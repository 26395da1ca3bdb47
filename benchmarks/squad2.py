"""Train a dense and a structured SQuAD model on to SQuAD 2.0, and judge them with a threshold that they did not choose.

    python benchmarks/squad2.py --model outputs/squad/dense --small outputs/structure/shrunk_2.0_teacher_500_steps \
        --data squad2_dev_half.json

The models have learnt SQuAD 1.1, as `benchmarks/squad_pruning.py` and `benchmarks/structure.py` leave them; the smaller
one learns alone, and with the larger one, which has learnt SQuAD 2.0 by then, as its teacher. The articles of the file
are split into training (60 %) and evaluation; of the latter, half choose the threshold for "no answer", and the others
are scored before and after (`--null_threshold_fraction`). The file must not be one whose questions a model has seen.
Finished runs are kept and skipped when the command is repeated; an interrupted one goes on from its last checkpoint.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

from machine import describe_run, steady_seconds, write_result
from runs import all_trials, load_benchmark, measured, new_runner, run_benchmark, without_local_paths
from transformers import AutoModelForQuestionAnswering

from transformers_palbert.qa.datasets import load_qa_dataset
from transformers_palbert.qa.splitting import split_by_article

NAME = "squad2"
FIGURES = ("f1", "exact", "hasans_f1", "noans_f1")


def split(file: Path, work: Path) -> tuple[Path, Path]:
    """Training and evaluation questions, of different articles; made once."""
    parts = work / f"{file.stem}-1.json", work / f"{file.stem}-2.json"
    if not all(part.is_file() for part in parts):
        command = ("-m", "transformers_palbert", "data", "split", str(file), "--fractions", "0.6,0.4")
        for part in parts:
            part.unlink(missing_ok=True)  # of a split that was cut off
        subprocess.run([sys.executable, *command, "--out", str(work)], check=True)
    return parts


def main() -> None:
    """Parse the command line and run."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", type=Path, required=True, help="folder of a model that has learnt SQuAD 1.1")
    parser.add_argument("--small", type=Path, required=True, help="folder of a smaller one made of it")
    parser.add_argument("--data", type=Path, required=True, help="questions of SQuAD 2.0")
    parser.add_argument("--batch-size", type=int, default=8, help="windows in the batch that is timed")
    parser.add_argument("--length", type=int, default=184, help="tokens of each of them")
    parser.add_argument("--work", type=Path, default=Path("outputs/squad2"), help="folder for checkpoints")
    parser.add_argument("--seed", type=int, default=42)
    args = parser.parse_args()
    work, model, small = (path.resolve() for path in (args.work, args.model, args.small))
    work.mkdir(parents=True, exist_ok=True)
    train, dev = split(args.data.resolve(), work)
    grid = load_benchmark("squad2_structure", {"train_file": train, "validation_file": dev}, args.seed)
    start = {"model_name_or_path": str(small)}
    models = {
        "dense": {"model_name_or_path": str(model)},
        "structured": start,
        "structured with teacher": {**start, "teacher_name_or_path": str(work / "dense")},
    }
    grid, runner = replace(grid, axes={"model": models}), new_runner(work)
    trials = all_trials([grid])
    run_benchmark([trials["dense"]], runner, NAME, grid.metrics)  # the run that it teaches is known by what is in it
    runs = run_benchmark(list(trials.values()), runner, NAME, grid.metrics)
    folders = [AutoModelForQuestionAnswering.from_pretrained(work / name) for name in runs]
    seconds = steady_seconds(folders, args.batch_size, args.length)
    rows = []
    for (name, run), taken in zip(runs.items(), seconds, strict=True):
        chosen: dict[str, Any] = {"threshold": run.value("eval_chosen_null_threshold"), "speedup": seconds[0] / taken}
        for part in ("held_out", "held_out_chosen"):
            chosen[part] = {figure: run.value(f"eval_{part}_{figure}") for figure in FIGURES}
        rows.append({**measured(runner, trials[name], run), "model": trials[name].labels["model"], **chosen})
    held_out = split_by_article(load_qa_dataset(dev).to_list(), (0.5, 0.5))[1]
    result = {
        "benchmark": "a dense and a structured model on SQuAD 2.0",
        **describe_run(args.seed),
        "held_out_questions": len(held_out),
        "runs": rows,
    }
    local = {work: "outputs/squad2", model: "outputs/squad/dense", small: "SMALL", args.data.parent: "squad"}
    write_result(NAME, without_local_paths(result, local))


if __name__ == "__main__":
    main()
