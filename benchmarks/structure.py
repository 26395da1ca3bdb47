"""Make a SQuAD model faster by several means, train each on in the same way, and compare F1 at the same speed.

    python benchmarks/structure.py --model outputs/squad/dense --train train.json --dev squad1_dev.json

The model is a fine-tuned one, such as `benchmarks/squad_pruning.py` leaves in `outputs/squad/dense`. For every
speed-up, measured on this machine, it is cut by each of these means before the training:

- shrunk: what `palbert shrink` removes, without training: heads and feed-forward units that cost the loss least
- magnitude: heads and units of the smallest weights, the same share of every layer
- narrower: the same share of every layer, without looking at the weights
- layers: whole layers from the top

and by one in the middle of it:

- gates: heads and units that compete by their score per second while the model trains (`granularity="structure"`)

Each is trained for 500 steps, and for two epochs, alone and with the model that it was made from as teacher. Finished
runs are kept and skipped when the command is repeated; an interrupted one goes on from its last checkpoint. `--only
NAME …` runs a part; the result file holds what is finished and names what is not. At the end all finished models are
timed in turns.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from machine import RESULTS, describe_run, steady_seconds, write_result
from runs import all_trials, chosen_runs, load_benchmark, measured, new_runner, run_benchmark, without_local_paths
from torch import Tensor
from transformers import AutoModelForQuestionAnswering, AutoTokenizer, PreTrainedModel

from transformers_palbert import KeptUnits, drop_layers, remove_units
from transformers_palbert.compaction.questions import question_batches
from transformers_palbert.compaction.shrinking import shrink
from transformers_palbert.experiments.grid import Grid, Trial
from transformers_palbert.model.removal import layer_path, layer_sizes
from transformers_palbert.model.structure import EncoderLayer, encoder_layers
from transformers_palbert.qa.datasets import load_qa_dataset
from transformers_palbert.qa.settings import AnsweringSettings
from transformers_palbert.sizes import inspect_checkpoint
from transformers_palbert.speed.costs import promised_speedup
from transformers_palbert.speed.latency import LatencyTable, applied_sizes
from transformers_palbert.speed.latency_cache import cached_latency

NAME = "structure"
SETTINGS = AnsweringSettings(max_seq_length=320, doc_stride=128)
EXAMPLES = 384
LONG = 384
"""Tokens of the windows at which speed is compared with what the operations promise that the layers no longer do."""
CLOSE = 0.02
"""How far above the asked time a model may lie: what a machine varies by."""


def load(folder: Path) -> PreTrainedModel:
    """A question-answering model in float32."""
    model: PreTrainedModel = AutoModelForQuestionAnswering.from_pretrained(folder)
    return model


def shrunk(args: argparse.Namespace, speedup: float) -> PreTrainedModel:
    """What `palbert shrink` makes of the model."""
    questions = load_qa_dataset(args.train, training=True).shuffle(seed=args.seed).select(range(EXAMPLES))
    batches = question_batches(questions, AutoTokenizer.from_pretrained(args.model), SETTINGS)
    return shrink(load(args.model), batches, speedup=speedup, batch_size=args.batch_size, length=args.length).model


def magnitude(args: argparse.Namespace, speedup: float) -> PreTrainedModel:
    """The same share of every layer: the heads and units whose way out is largest."""
    return same_share(args, speedup, lambda weights: weights.norm(dim=(0, 2)).argsort(descending=True).tolist())


def narrower(args: argparse.Namespace, speedup: float) -> PreTrainedModel:
    """The same share of every layer, the first of its heads and units."""
    return same_share(args, speedup, lambda weights: list(range(weights.shape[1])))


def same_share(args: argparse.Namespace, speedup: float, order: Callable[[Tensor], list[int]]) -> PreTrainedModel:
    """The model with the largest share of heads and units of every layer that is fast enough by a measured table."""
    model = load(args.model)
    table = cached_latency(model, batch_size=args.batch_size, length=args.length)
    heads, units = applied_sizes(model)[0]
    budget, layers = table.model(applied_sizes(model)) / speedup, encoder_layers(model)
    kept = fastest_share(table, budget, heads, units, len(layers))
    chosen = {layer_path(model, layer): keep(layer, *kept, heads, order) for layer in layers}
    return remove_units(model, chosen)


def fastest_share(table: LatencyTable, budget: float, heads: int, units: int, depth: int) -> tuple[int, int]:
    """The most heads, with as large a share of the units, that all layers may have."""
    for number in range(heads, 0, -1):
        size = number, 8 * round(units * number / heads / 8)
        if table.model([size] * depth) <= budget * (1 + CLOSE):
            return size
    raise SystemExit("No share of heads and units is that fast: ask for a smaller speed-up.")


def keep(
    layer: EncoderLayer, heads: int, units: int, all_heads: int, order: Callable[[Tensor], list[int]]
) -> KeptUnits:
    """The first ``heads`` and ``units`` of a layer in an order of their output weights."""
    attention, ffn = layer.attention_output.weight.detach(), layer.ffn_out.weight.detach()
    first = order(attention.view(len(attention), all_heads, -1))[:heads]
    return KeptUnits(sorted(first), sorted(order(ffn.unsqueeze(2))[:units]))


def layers(args: argparse.Namespace, speedup: float) -> PreTrainedModel:
    """The model without its top layers, as many as must go."""
    whole = load(args.model)
    count = len(encoder_layers(whole))
    models = [whole, *(drop_layers(load(args.model), range(number)) for number in range(count - 1, 0, -1))]
    seconds = steady_seconds(models, args.batch_size, args.length)
    enough = [model for model, taken in zip(models, seconds, strict=True) if seconds[0] / taken >= speedup - CLOSE]
    if not enough:
        raise SystemExit(f"A single layer is not {speedup} times as fast: ask for a smaller speed-up.")
    return enough[0]


MEANS = {"shrunk": shrunk, "magnitude": magnitude, "narrower": narrower, "layers": layers}


def make_start(args: argparse.Namespace, means: str, speedup: float) -> Path:
    """The folder of a model that was cut before the training, made once."""
    folder: Path = args.work / "starts" / f"{means}_{speedup}"
    if not (folder / "config.json").is_file():
        AutoTokenizer.from_pretrained(args.model).save_pretrained(folder)
        MEANS[means](args, speedup).save_pretrained(folder)
    return folder


def load_grid(args: argparse.Namespace) -> Grid:
    """All runs, with the models' folders filled in, whether these are made yet or not."""
    options = {"train_file": args.train.resolve(), "validation_file": args.dev.resolve()}
    models: dict[str, dict[str, Any]] = {"whole 1.0": {"model_name_or_path": str(args.model)}}
    for speedup in args.speedups:
        for means in MEANS:
            start = args.work / "starts" / f"{means}_{speedup}"
            models[f"{means} {speedup}"] = {"model_name_or_path": str(start)}
        models[f"gates {speedup}"] = {
            "model_name_or_path": str(args.model),
            "pruning_granularity": "structure",
            "target_speedup": speedup,
            "latency_batch_size": args.batch_size,
            "latency_length": args.length,
        }
    teacher = {"teacher_name_or_path": str(args.model)}
    grid = load_benchmark("squad_structure", options, args.seed)
    return replace(grid, axes={**grid.axes, "teacher": {"alone": {}, "teacher": teacher}, "model": models})


def describe(folder: Path) -> dict[str, Any]:
    """What is left of a model."""
    sizes = {path: [size.heads, size.units] for path, size in layer_sizes(load(folder)).items()}
    return {"layers": sizes, "parameters_encoder": inspect_checkpoint(folder).encoder.numel}


def plot(result: dict[str, Any], file: Path) -> None:
    """F1 against the measured speed-up, a line for every way to be faster."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    dense, *runs = result["runs"]
    figure, axes = pyplot.subplots(figsize=(7, 4.5), layout="constrained")
    for number, means in enumerate(dict.fromkeys(run["means"] for run in runs)):
        for teacher, style in (("teacher", "o-"), ("alone", "s--")):
            for length in dict.fromkeys(run["length"] for run in runs):
                rows = [r for r in runs if (r["means"], r["teacher"], r["length"]) == (means, teacher, length)]
                rows.sort(key=lambda row: row["speedup"])
                label = f"{means}, {length}" + (", teacher" if teacher == "teacher" else "")
                speeds, scores = [row["speedup"] for row in rows], [row["f1"] for row in rows]
                axes.plot(speeds, scores, style, color=f"C{number}", label=label if rows else None)
    axes.axhline(dense["f1"], color="grey", linestyle="--", linewidth=1, label="dense")
    axes.set(xlabel="measured speed, dense = 1", ylabel="F1 on SQuAD 1.1 dev", title="Faster, and what it costs")
    axes.grid(alpha=0.3)
    axes.legend(fontsize="small")
    figure.savefig(file, dpi=130)
    pyplot.close(figure)


def main() -> None:
    """Parse the command line and run."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", type=Path, required=True, help="folder of a fine-tuned model")
    parser.add_argument("--train", type=Path, required=True, help="training questions")
    parser.add_argument("--dev", type=Path, required=True, help="the official SQuAD 1.1 dev set")
    parser.add_argument("--speedups", type=float, nargs="+", default=[1.5, 2.0, 3.0])
    parser.add_argument("--batch-size", type=int, default=8, help="windows in the batch that is timed")
    parser.add_argument("--length", type=int, default=184, help="tokens of each of them; 184 is the mean of the data")
    parser.add_argument("--work", type=Path, default=Path("outputs/structure"), help="folder for checkpoints")
    parser.add_argument("--only", nargs="*", help="names of runs; none: collect what is finished")
    parser.add_argument("--seed", type=int, default=42)
    args = parser.parse_args()
    args.work, args.model = args.work.resolve(), args.model.resolve()
    args.work.mkdir(parents=True, exist_ok=True)
    grid, runner = load_grid(args), new_runner(args.work)
    trials = all_trials([grid])
    wanted = chosen_runs(parser, args.only, trials, runner)
    for name in wanted:
        means, _, speedup = trials[name].labels["model"].partition(" ")
        if means in MEANS:
            make_start(args, means, float(speedup))
    runs = run_benchmark([trials[name] for name in wanted], runner, NAME, grid.metrics)
    write(args, trials, {name: measured(runner, trials[name], run) for name, run in runs.items()})


def write(args: argparse.Namespace, trials: dict[str, Trial], rows: dict[str, dict[str, Any]]) -> None:
    """Time all finished models, and write result and picture."""
    folders = [args.work / name for name in rows]
    models = [load(folder) for folder in (args.model, *folders)]
    dense, *seconds = steady_seconds(models, args.batch_size, args.length)
    long_dense, *long = steady_seconds(models, args.batch_size, LONG)
    for (name, row), folder, small, taken, longer in zip(rows.items(), folders, models[1:], seconds, long, strict=True):
        labels = trials[name].labels
        means, _, asked = labels["model"].partition(" ")
        row.update({**labels, "means": means, "asked": float(asked), "speedup": dense / taken}, **describe(folder))
        row["milliseconds"] = 1000 * taken
        row["long"] = {"speedup": long_dense / longer, "promised": promised_speedup(models[0], small, LONG)}
    whole = {
        "name": "dense",
        "speedup": 1.0,
        "milliseconds": 1000 * dense,
        **describe(args.model),
        **scores(args.model),
    }
    result = {
        "benchmark": "a SQuAD model made faster by several means, and trained on",
        **describe_run(args.seed),
        "timed": {"batch_size": args.batch_size, "length": args.length, "long": LONG},
        "runs": [whole, *rows.values()],
        "not_run": [name for name in trials if name not in rows],
    }
    local = {args.work: "outputs/structure", args.model: "outputs/squad/dense", args.dev.parent: "english"}
    write_result(NAME, without_local_paths(result, {**local, args.train.parent: "outputs/squad"}))
    plot(result, RESULTS / f"{NAME}.png")


def scores(folder: Path) -> dict[str, float]:
    """What the run that made the dense model measured."""
    import json

    values = json.loads((folder / "eval_results.json").read_text(encoding="utf-8"))
    return {"f1": values["eval_f1"], "em": values["eval_exact_match"]}


if __name__ == "__main__":
    main()
