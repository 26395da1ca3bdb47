"""Prune an ALBERT on CMRC 2018: F1 against density, movement and magnitude.

    python benchmarks/cmrc2018.py --data DIR_WITH_CMRC2018 --vocab vocab.txt --work outputs/cmrc2018

There are no pretrained weights: a random ALBERT learns cloze questions made from the training contexts, then the
training questions. From that dense model start one pruned run per method and sparsity, and one that prunes nothing and
tells what the further training alone does; `grids/cmrc2018_pruning.yaml` has all of them. Finished runs are kept and
skipped when the command is repeated; an interrupted one goes on from its last checkpoint. Results, commands and
predictions land in `benchmarks/results`.
"""

from __future__ import annotations

import argparse
import re
import shutil
import sys
from pathlib import Path
from typing import Any

from machine import RESULTS, describe_run, write_result
from runs import all_trials, load_benchmark, measured, new_runner, run_benchmark, without_local_paths

import transformers_palbert as palbert
from transformers_palbert.experiments.grid import Grid
from transformers_palbert.experiments.settings import parse_overrides

NAME = "cmrc2018_pruning"
WARM_UP = "cloze"


def keep_predictions(folder: Path, name: str) -> str:
    """Copy the predictions of a run beside the results; where they are, as the result file says it."""
    file = RESULTS / NAME / f"{name}.json"
    file.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(folder / "eval_predictions.json", file)
    return f"{NAME}/{name}.json"


def shape(grid: Grid) -> dict[str, Any]:
    """The shape of the model, from the options of the run that makes it."""
    made = grid.start[0]
    assert isinstance(made, dict)  # load_benchmark was given no checkpoint to start from
    return {**parse_overrides(made["config_overrides"].split(",")), "hidden_act": made["hidden_act"]}


def baselines(validation_file: Path) -> list[dict[str, Any]]:
    """Scores of answers that nothing has to be learnt for: a model below them has learnt little."""
    questions = palbert.load_qa_dataset(validation_file)
    choices = {
        "first sentence": lambda _, sentences: sentences[0],
        "sentence with most bigrams of the question": lambda question, sentences: max(
            sentences, key=lambda sentence: len(_bigrams(sentence) & _bigrams(question))
        ),
    }
    results = []
    for name, choose in choices.items():
        answers = {row["id"]: choose(row["question"], _sentences(row["context"])) for row in questions}
        scores = palbert.compute_metric("cmrc2018", answers, questions)
        results.append({"name": name, "f1": scores["F1"], "em": scores["EM"]})
    return results


def _sentences(context: str) -> list[str]:
    return re.findall(r"[^。！？]+[。！？]?", context)


def _bigrams(text: str) -> set[str]:
    return {text[start : start + 2] for start in range(len(text) - 1)}


def plot(result: dict[str, Any], file: Path) -> None:
    """F1 against density, a line per method and the dense models as marks."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(figsize=(6.4, 4.0), layout="constrained")
    runs = result["runs"]
    for method, colour, marker in (("movement", "tab:blue", "o"), ("magnitude", "tab:orange", "s")):
        rows = sorted(row["density_encoder"] for row in runs if row["name"].startswith(method))
        scores = {row["density_encoder"]: row["f1"] for row in runs if row["name"].startswith(method)}
        axes.plot([100 * d for d in rows], [scores[d] for d in rows], marker=marker, color=colour, label=method)
    for name, style in (("dense", "-"), ("dense_longer", "--")):
        rows = [row for row in runs if row["name"] == name]
        if rows:
            label = "dense" if name == "dense" else "dense, trained on as long as the pruned"
            axes.axhline(rows[0]["f1"], color="grey", linestyle=style, linewidth=1, label=label)
    axes.set_xlabel("density of the encoder, % of its weights kept")
    axes.set_ylabel("F1 on CMRC 2018 dev")
    axes.set_ylim(bottom=0)
    axes.grid(alpha=0.3)
    axes.legend(loc="lower right")
    figure.savefig(file, dpi=130)
    pyplot.close(figure)


def main() -> None:
    """Parse the command line and run."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--data", type=Path, required=True, help="folder with cmrc2018_train.json and cmrc2018_dev.json"
    )
    parser.add_argument("--vocab", type=Path, required=True, help="vocab.txt of bert-base-chinese")
    parser.add_argument("--work", type=Path, default=Path("outputs/cmrc2018"), help="folder for checkpoints")
    parser.add_argument("--only", nargs="*", help="names of the runs that start from the dense model; by default all")
    parser.add_argument("--jobs", type=int, default=1, help="pruned runs at the same time")
    parser.add_argument("--seed", type=int, default=42, help="seed of all runs")
    args = parser.parse_args()
    data, work = args.data.resolve(), args.work.resolve()
    files = {"train_file": data / "cmrc2018_train.json", "validation_file": data / "cmrc2018_dev.json"}
    grid = load_benchmark(NAME, {**files, "tokenizer_name": args.vocab.resolve()}, args.seed)
    trials, runner = all_trials([grid]), new_runner(work, args.jobs)
    names = [name for name, trial in trials.items() if not trial.labels or args.only is None or name in args.only]
    runs = run_benchmark([trials[name] for name in names], runner, NAME, grid.metrics)
    if len(names) < len(trials):
        sys.exit("A part of the runs is finished: results are written where all are.")
    result = {
        "benchmark": "CMRC 2018, from scratch, F1 against density",
        **describe_run(args.seed),
        "model": shape(grid),
        "baselines": baselines(files["validation_file"]),
        "runs": [
            {**measured(runner, trials[name], run), "predictions": keep_predictions(runner.folder(trials[name]), name)}
            for name, run in runs.items()
            if name != WARM_UP
        ],
    }
    local = {args.vocab: "vocab.txt", args.data: "cmrc2018", work: "outputs/cmrc2018"}
    write_result(NAME, without_local_paths(result, local))
    plot(result, RESULTS / f"{NAME}.png")


if __name__ == "__main__":
    main()
