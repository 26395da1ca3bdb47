"""Train readers with short windows on whole, cut off and shortened contexts: F1 and processor time (IDS-Extract).

    python benchmarks/reduced_readers.py --encoder outputs/squad/start --train train.json --dev squad1_dev.json

The readers are a pretrained BERT-like encoder and its first two layers, with windows of 96, 160 and 320 tokens. Each
learns for one epoch from the same number of questions, `--steps` batches of 16, whose contexts are

- reduced: the best sentences by BM25 that fit into one window beside the question, those with the answer at any rate
- cut off: as many tokens of the beginning; of questions whose answer is behind them nothing can be learnt, and others
  take their places
- whole: a long context is several windows, so that an epoch takes more steps

Every figure is on the whole dev set, in whole contexts; time is what processors worked for a run, scoring included,
so that it is the same whatever else the machine does. Finished runs are kept and skipped when the command is repeated;
an interrupted one begins anew. `--only NAME …` runs a part; the result file holds what is finished and names what is
not.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import datasets
import torch
from machine import RESULTS, describe_run, write_result
from runs import all_trials, chosen_runs, load_benchmark, measured, new_runner, run_benchmark, without_local_paths
from transformers import AutoModelForQuestionAnswering, AutoTokenizer

from transformers_palbert import drop_layers
from transformers_palbert.experiments.grid import Grid, Trial
from transformers_palbert.experiments.outcome import Run
from transformers_palbert.qa.datasets import load_qa_dataset
from transformers_palbert.qa.squad_files import squad_file
from transformers_palbert.reduction.building import score_dataset
from transformers_palbert.reduction.limits import MaxTokens
from transformers_palbert.reduction.passages import TokenStarts, tokenizer_starts
from transformers_palbert.reduction.settings import ReductionSettings
from transformers_palbert.reduction.shortened_datasets import shorten_dataset

NAME = "reduced_readers"
BATCH = 16
BESIDE = 35
"""Tokens of a window that are not the context's: a question of 32, and three special ones."""


def reduced(questions: datasets.Dataset, tokenizer: Any, room: int) -> Iterator[dict[str, Any]]:
    """Questions with what matters of their contexts, as much as fits into ``room`` tokens.

    A sentence that does not fit is cut into halves that do.
    """
    settings = ReductionSettings(longest=room // 2)
    scored = score_dataset(questions, settings, tokenizer=tokenizer)
    yield from shorten_dataset(scored, settings, MaxTokens(room), training=True, keep_answer=True)


def cut_off(questions: datasets.Dataset, tokenizer: Any, room: int) -> Iterator[dict[str, Any]]:
    """Questions with the first ``room`` tokens of their contexts, without those whose answers are behind them."""
    starts = tokenizer_starts(tokenizer)
    for record in questions:
        context = beginning(record["context"], starts, room)
        pairs = zip(record["answers"]["answer_start"], record["answers"]["text"], strict=True)
        held = [(start, text) for start, text in pairs if start + len(text) <= len(context)]
        if held:
            answers = {"text": [text for _, text in held], "answer_start": [start for start, _ in held]}
            yield {**record, "context": context, "answers": answers}


def beginning(context: str, starts: TokenStarts, room: int) -> str:
    """The first ``room`` tokens of a text."""
    places = starts(context)
    return context if len(places) <= room else context[: places[room]].rstrip()


SHORTER = {"cut off": cut_off, "reduced": reduced}
WHOLE = "whole"


def make_data(args: argparse.Namespace, contexts: str, window: int) -> None:
    """Write the training questions of a run, once."""
    file, count = data_file(args, contexts, window), BATCH * args.steps
    if file.is_file():
        return
    questions = load_qa_dataset(args.train, training=True).shuffle(seed=args.seed)
    tokenizer = AutoTokenizer.from_pretrained(args.encoder)
    file.parent.mkdir(parents=True, exist_ok=True)
    with squad_file(file) as stream:
        written = 0
        for record in questions if contexts == WHOLE else SHORTER[contexts](questions, tokenizer, window - BESIDE):
            stream.add(record)
            written += 1
            if written == count:
                break
        if written < count:
            raise SystemExit(
                f"Only {written} questions can be learnt from {contexts} with windows of {window}, not {count}:"
                f" take --steps {written // BATCH} at most."
            )


def data_file(args: argparse.Namespace, contexts: str, window: int) -> Path:
    """Where the training questions of a run are; whole contexts are the same for all windows."""
    name = contexts if contexts == WHOLE else f"{contexts} {window}"
    folder: Path = args.work / "data"
    return folder / f"{name.replace(' ', '_')}_{args.steps}.json"


def make_start(args: argparse.Namespace, layers: int) -> None:
    """Save the encoder with so many of its layers, the first ones, and a new answer head; once."""
    folder = start_folder(args, layers)
    if (folder / "config.json").is_file():
        return
    torch.manual_seed(args.seed)
    model = AutoModelForQuestionAnswering.from_pretrained(args.encoder)
    AutoTokenizer.from_pretrained(args.encoder).save_pretrained(folder)
    drop_layers(model, range(layers)).save_pretrained(folder)


def start_folder(args: argparse.Namespace, layers: int) -> Path:
    """Where the encoder with so many layers is."""
    folder: Path = args.work / "starts" / f"{layers}_layers"
    return folder


def load_grid(args: argparse.Namespace) -> Grid:
    """All runs, with the models' folders and the training files filled in, whether these are made yet or not."""
    grid = load_benchmark(NAME, {"validation_file": args.dev.resolve()}, args.seed)
    layers = {label: {"model_name_or_path": str(start_folder(args, int(label)))} for label in grid.axes["layers"]}
    return replace(grid, axes={**grid.axes, "layers": layers})


def with_data(args: argparse.Namespace, trial: Trial) -> Trial:
    """The trial with the training file for its window and its contexts, which are two axes of the grid."""
    file = data_file(args, trial.labels["contexts"], int(trial.labels["window"]))
    return replace(trial, settings={**trial.settings, "train_file": str(file)})


def row(trial: Trial, run: Run, figures: dict[str, Any]) -> dict[str, Any]:
    """What a finished run measured; ``processor_seconds`` are those of all its threads, in training and scoring."""
    layers, window = int(trial.labels["layers"]), int(trial.labels["window"])
    labels = {"layers": layers, "window": window, "contexts": trial.labels["contexts"]}
    return {**figures, **labels, "processor_seconds": run.processor_seconds}


def plot(result: dict[str, Any], file: Path) -> None:
    """F1 against processor time: a line per depth and kind of context, a point per window."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(figsize=(6.4, 4.0), layout="constrained")
    for layers, style in ((2, "o--"), (6, "s-")):
        for number, contexts in enumerate((WHOLE, *SHORTER)):
            runs = [run for run in result["runs"] if (run["layers"], run["contexts"]) == (layers, contexts)]
            runs.sort(key=lambda run: run["window"])
            seconds, scores = [run["processor_seconds"] for run in runs], [run["f1"] for run in runs]
            if runs:
                axes.plot(seconds, scores, style, color=f"C{number}", label=f"{layers} layers, {contexts}")
    axes.set(
        xscale="log",
        xlabel="processor seconds, training and scoring",
        ylabel="F1 on SQuAD 1.1 dev, windows of 96, 160, 320",
    )
    axes.grid(alpha=0.3)
    axes.legend(fontsize="small")
    figure.savefig(file, dpi=130)
    pyplot.close(figure)


def main() -> None:
    """Parse the command line and run."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--encoder", type=Path, required=True, help="folder of a pretrained BERT-like encoder")
    parser.add_argument("--train", type=Path, required=True, help="training questions")
    parser.add_argument("--dev", type=Path, required=True, help="the official SQuAD 1.1 dev set")
    parser.add_argument("--steps", type=int, default=300, help="batches of 16 questions that a run learns from")
    parser.add_argument("--work", type=Path, default=Path("outputs/reduced_readers"), help="folder for checkpoints")
    parser.add_argument("--only", nargs="*", help="names of runs; none: collect what is finished")
    parser.add_argument("--seed", type=int, default=42)
    args = parser.parse_args()
    args.work = args.work.resolve()
    args.work.mkdir(parents=True, exist_ok=True)
    grid, runner = load_grid(args), new_runner(args.work)
    trials = {name: with_data(args, trial) for name, trial in all_trials([grid]).items()}
    wanted = chosen_runs(parser, args.only, trials, runner)
    for name in wanted:
        labels = trials[name].labels
        make_start(args, int(labels["layers"]))
        make_data(args, labels["contexts"], int(labels["window"]))
    runs = run_benchmark([trials[name] for name in wanted], runner, NAME, grid.metrics)
    result = {
        "benchmark": "SQuAD 1.1 dev, readers with short windows that learnt from shortened contexts",
        **describe_run(args.seed),
        "questions": BATCH * args.steps,
        "runs": [row(trials[name], run, measured(runner, trials[name], run)) for name, run in runs.items()],
        "not_run": [name for name in trials if name not in runs],
    }
    local = {args.work: f"outputs/{NAME}", args.encoder: "ENCODER", args.dev.parent: args.dev.parent.name}
    write_result(NAME, without_local_paths(result, {**local, args.train.parent: args.train.parent.name}))
    plot(result, RESULTS / f"{NAME}.png")


if __name__ == "__main__":
    main()
