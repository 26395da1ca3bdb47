"""ALBERT at one speed in three ways: fewer applications of its layer, fewer units in all of them, or in each its own.

    python benchmarks/applications.py --model outputs/cmrc2018/dense --data DIR_WITH_CMRC2018

An ALBERT applies one layer many times. Leaving applications out is what every user can do (`fewer`); the speeds that
this gives are what the others are made for: heads and feed-forward units that all applications lose (`shared`), and
those that each application loses by itself (`each`), both chosen by `palbert shrink` without training. Then all are
trained on in the same way (`recipes/cmrc2018_prune.yaml`, with nothing pruned) and scored on the whole dev set. The
model of the published figures is the dense one of `benchmarks/cmrc2018.py`. Finished runs are kept and skipped when
the command is repeated; all models are timed in turns at the end.
"""

from __future__ import annotations

import argparse
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, Literal

from machine import describe_run, steady_seconds, write_result
from runs import all_trials, load_benchmark, measured, new_runner, once, run_benchmark, without_local_paths
from transformers import AutoModelForQuestionAnswering, AutoTokenizer, PreTrainedModel

from transformers_palbert import drop_layers
from transformers_palbert.compaction.questions import question_batches
from transformers_palbert.compaction.shrinking import shrink
from transformers_palbert.qa.datasets import load_qa_dataset
from transformers_palbert.qa.settings import AnsweringSettings
from transformers_palbert.speed.latency import applied_sizes

NAME = "applications"
SETTINGS = AnsweringSettings(max_seq_length=512, doc_stride=64)
EXAMPLES = 384


def load(folder: Path) -> PreTrainedModel:
    """A question-answering model in float32."""
    model: PreTrainedModel = AutoModelForQuestionAnswering.from_pretrained(folder)
    return model


def fewer(args: argparse.Namespace, count: int) -> PreTrainedModel:
    """The model with only its first ``count`` applications."""
    return drop_layers(load(args.model), range(count))


def shrunk(args: argparse.Namespace, applications: Literal["each", "shared"], speedup: float) -> PreTrainedModel:
    """The model with all applications, and fewer units in each or in all."""
    questions = load_qa_dataset(args.train, training=True).shuffle(seed=args.seed).select(range(EXAMPLES))
    batches = question_batches(questions, AutoTokenizer.from_pretrained(args.model), SETTINGS)
    shape = {"batch_size": args.batch_size, "length": args.length}
    return shrink(load(args.model), batches, speedup=speedup, applications=applications, **shape).model


def measured_speeds(args: argparse.Namespace, depth: int) -> dict[str, Any]:
    """How much faster the model is with only its first applications, by their number."""
    counts = list(range(depth - 1, 0, -1))
    whole, *seconds = timed(args, [load(args.model), *(fewer(args, count) for count in counts)])
    return {str(count): whole / taken for count, taken in zip(counts, seconds, strict=True)}


def timed(args: argparse.Namespace, models: list[PreTrainedModel]) -> list[float]:
    """Seconds of a batch of each, all of them in turns."""
    return steady_seconds(models, args.batch_size, args.length)


def make_starts(args: argparse.Namespace) -> dict[str, Path]:
    """Name -> folder of every model before it is trained on; made once."""
    speeds = once(args.work / "speeds.json", partial(measured_speeds, args, len(applied_sizes(load(args.model)))))
    starts = {"whole": args.model}
    for count, speedup in speeds.items():
        ways = {"fewer": partial(fewer, args, int(count))}
        ways |= {way: partial(shrunk, args, way, speedup) for way in ("shared", "each")}
        for way, make in ways.items():
            folder = starts[f"{way} {speedup:.1f}"] = args.work / "starts" / f"{way}_{speedup:.1f}"
            if not (folder / "config.json").is_file():
                AutoTokenizer.from_pretrained(args.model).save_pretrained(folder)
                make().save_pretrained(folder)
    return starts


def main() -> None:
    """Parse the command line and run."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", type=Path, required=True, help="folder of a fine-tuned ALBERT")
    parser.add_argument("--data", type=Path, required=True, help="folder with the files of CMRC 2018")
    parser.add_argument("--batch-size", type=int, default=8, help="windows in the batch that is timed")
    parser.add_argument("--length", type=int, default=384, help="tokens of each of them")
    parser.add_argument("--work", type=Path, default=Path("outputs/applications"), help="folder for checkpoints")
    parser.add_argument("--seed", type=int, default=42)
    args = parser.parse_args()
    args.work, args.model = args.work.resolve(), args.model.resolve()
    args.train, dev = (args.data.resolve() / f"cmrc2018_{part}.json" for part in ("train", "dev"))
    args.work.mkdir(parents=True, exist_ok=True)
    models = {name: {"model_name_or_path": str(folder)} for name, folder in make_starts(args).items()}
    options = {"train_file": args.train, "validation_file": dev}
    grid = replace(load_benchmark("cmrc2018_applications", options, args.seed), axes={"model": models})
    trials, runner = all_trials([grid]), new_runner(args.work)
    runs = run_benchmark(list(trials.values()), runner, NAME, grid.metrics)
    finished = [load(args.work / name) for name in runs]
    seconds = timed(args, finished)
    rows = []
    for (name, run), model, taken in zip(runs.items(), finished, seconds, strict=True):
        way, _, asked = trials[name].labels["model"].partition(" ")
        speed = {"speedup": seconds[0] / taken, "milliseconds": 1000 * taken, "asked": float(asked or 1)}
        row = measured(runner, trials[name], run)
        rows.append({**row, "way": way, **speed, "applications": applied_sizes(model)})
    result = {
        "benchmark": "an ALBERT at the same speed in three ways, trained on, CMRC 2018",
        **describe_run(args.seed),
        "timed": {"batch_size": args.batch_size, "length": args.length},
        "runs": rows,
    }
    local = {args.work: "outputs/applications", args.data: "cmrc2018", args.model: "outputs/cmrc2018/dense"}
    write_result(NAME, without_local_paths(result, local))


if __name__ == "__main__":
    main()
