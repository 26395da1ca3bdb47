"""Write the tables of README.md from the files in benchmarks/results, so that no figure is ever typed.

    python benchmarks/render.py            # rewrite README.md
    python benchmarks/render.py --check    # fail if it is not up to date

A table stands between `<!-- results: NAME -->` and `<!-- end results -->`.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
from collections.abc import Callable, Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

from transformers_palbert.experiments.grid import load_grid
from transformers_palbert.experiments.outcome import read_runs
from transformers_palbert.experiments.reproduction import GRIDS
from transformers_palbert.experiments.tables import caption, markdown_table

ROOT = Path(__file__).parents[1]
RESULTS = ROOT / "benchmarks" / "results"
BLOCK = re.compile(r"(<!-- results: (?P<name>\w+) -->\n).*?(<!-- end results -->)", re.DOTALL)

Result = dict[str, Any]


def table(header: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    """A Markdown table."""
    header = list(header)
    lines = [header, ["---"] * len(header), *(list(row) for row in rows)]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def machine(result: Result) -> str:
    """Where the figures come from, in a sentence."""
    hardware, versions = result["hardware"], result["versions"]
    place = hardware["gpu"] or f"{hardware['cores']} cores of {hardware['processor']}"
    libraries = ", ".join(f"{name} {versions[name]}" for name in ("transformers", "torch"))
    return f"Measured on {place}, {libraries}, seed {result['seed']}: `{result['command']}`."


def cmrc2018_pruning(result: Result) -> str:
    """Scores against density."""
    rows = [
        [
            row["name"].replace("_", " "),
            f"{100 * row['density_encoder']:.0f} %",
            f"{row['f1']:.2f}",
            f"{row['em']:.2f}",
            f"{row['parameters_nonzero']:,}",
            str(row["optimizer_steps"]),
        ]
        for row in result["runs"]
    ]
    rows += [[row["name"], "—", f"{row['f1']:.2f}", f"{row['em']:.2f}", "—", "—"] for row in result["baselines"]]
    return table(("model", "density of the encoder", "F1", "EM", "non-zero parameters", "optimizer steps"), rows)


def squad_pruning(result: Result) -> str:
    """F1 and exact match of a real encoder: a row per sparsity and score, a column per length of the run."""
    dense, *runs = result["runs"]
    lengths = list(dict.fromkeys(run["length"] for run in runs))
    cells = {
        (run["sparsity"], run["score"] + (", global" if run["scope"] == "global" else ""), run["length"]): run
        for run in runs
    }
    rows = [["0 %", "dense", *[f"{dense['f1']:.1f} / {dense['em']:.1f}"] * len(lengths), _megabytes(dense)]]
    for sparsity, score in sorted(dict.fromkeys(key[:2] for key in cells), key=lambda key: key[0]):
        found = [cells.get((sparsity, score, length)) for length in lengths]
        scores = [f"{run['f1']:.1f} / {run['em']:.1f}" if run else "not run" for run in found]
        rows.append([f"{100 * sparsity:.0f} %", score, *scores, next(_megabytes(run) for run in found if run)])
    return table(("sparsity", "score", *(f"F1 / EM after {length}" for length in lengths), "file, MB"), rows)


def _megabytes(run: Result) -> str:
    return f"{run['file_bytes'] / 1e6:.1f}"


def shrink(result: Result) -> str:
    """What a shrunk model is worth, against how fast it is."""
    whole = result["runs"][0]
    rows = [
        [
            "whole" if run is whole else f"asked for {run['asked']:.1f}×",
            f"{run['speedup']:.2f}×",
            f"{run['f1']:.1f} / {run['em']:.1f}",
            ", ".join(f"{heads}/{units}" for heads, units in run["layers"].values()),
            f"{run['parameters_encoder'] / 1e6:.1f} M",
            f"{run['seconds'] / 60:.1f}" if "seconds" in run else "—",
        ]
        for run in result["runs"]
    ]
    header = (
        "model",
        "measured speed",
        "F1 / EM",
        "heads/units by layer",
        "encoder parameters",
        "minutes to shrink it",
    )
    return table(header, rows)


def structure(result: Result) -> str:
    """What is left of a model that was made faster and trained on, against how fast it is."""
    rows = [
        [
            run.get("means", "whole"),
            "—"
            if "means" not in run
            else f"{run['length']}, {'with' if run['teacher'] == 'teacher' else 'without'} teacher",
            f"{run['speedup']:.2f}×",
            f"{run['f1']:.1f} / {run['em']:.1f}",
            ", ".join(f"{heads}/{units}" for heads, units in run["layers"].values()),
            f"{run['parameters_encoder'] / 1e6:.1f} M",
        ]
        for run in result["runs"]
    ]
    header = ("made faster by", "trained on", "measured speed", "F1 / EM", "heads/units by layer", "encoder parameters")
    return table(header, rows)


def reduction(result: Result) -> str:
    """Answers kept against tokens kept, a row per way; integrated gradients on a part of the questions."""
    about = "questions; answers kept, % (tokens kept, %):"
    return "\n\n".join(f"{part['questions']:,} {about}\n\n{_kept(part['points'])}" for part in result["parts"])


def _kept(points: list[Result]) -> str:
    shares = list(dict.fromkeys(point["share"] for point in points))
    found = {(point["of"], point["share"]): point for point in points}
    rows = [
        [way, of, *(_answers_and_tokens(found[of, share], way) for share in shares)]
        for of in dict.fromkeys(point["of"] for point in points)
        for way in points[0]["answers"]
    ]
    return table(("passages by", "tokens of", *(f"at {100 * share:.0f} %" for share in shares)), rows)


def _answers_and_tokens(point: Result, way: str) -> str:
    return f"{point['answers'][way]['value']:.1f} ({point['tokens_percent'][way]:.0f})"


def long_documents(result: Result) -> str:
    """F1 and speed of reading everything and of reading what matters."""
    rows = [
        [
            f"{case['characters']:,.0f}",
            way["way"],
            f"{way['f1']['value']:.1f} / {way['em']['value']:.1f}",
            f"{way['f1_minus_everything']['value']:+.1f}" if "f1_minus_everything" in way else "—",
            f"{way['questions_per_second']:.2f}",
            f"{way['times_as_fast']:.1f}×",
        ]
        for case in result["cases"]
        for way in case["ways"]
    ]
    header = ("characters", "read", "F1 / EM", "F1 against everything", "questions/s", "speed")
    return table(header, rows)


def reduced_readers(result: Result) -> str:
    """F1, exact match and minutes of training, a column per kind of contexts."""
    runs = {(run["layers"], run["window"], run["contexts"]): run for run in result["runs"]}
    kinds = list(dict.fromkeys(contexts for _, _, contexts in runs))
    rows = [
        [str(layers), str(window), *(_reader(runs.get((layers, window, contexts))) for contexts in kinds)]
        for layers, window in sorted(dict.fromkeys(key[:2] for key in runs))
    ]
    return table(("layers", "window", *(f"{contexts}: F1 / EM, minutes" for contexts in kinds)), rows)


def _reader(run: Result | None) -> str:
    return f"{run['f1']:.1f} / {run['em']:.1f}, {run['training_seconds'] / 60:.1f}" if run else "not run"


def training_step(result: Result) -> str:
    """Time and memory of a step, as ratios to dense."""
    rows = [
        [
            f"{row['batch']}×{row['tokens']}",
            row["precision"],
            f"{row['dense']['seconds_median']:.2f} s",
            f"{row['pruned']['ratio_to_dense_median']:.3f}",
            f"{row['sorting']['ratio_to_dense_median']:.2f}" if "sorting" in row else "—",
            f"{row['pruned']['peak_bytes'] / row['dense']['peak_bytes']:.2f}",
            f"{100 * row['mask_update_share']:.1f} %",
        ]
        for row in result["steps"]
    ]
    header = (
        "tokens", "precision", "dense step", "pruned / dense", "research code's sorting / dense",
        "peak memory, pruned / dense", "mask update, of a dense step",
    )  # fmt: skip
    return table(header, rows)


def pipeline(result: Result) -> str:
    """Questions per second of the pipelines."""
    rows = [
        [
            str(row["batch_size"]),
            f"{row['old']['questions_per_second_median']:.1f}",
            f"{row['new']['questions_per_second_median']:.1f}",
            f"{row['speedup_median']:.2f}",
            f"{row['answers']['same']} of {row['answers']['questions']}",
        ]
        for row in result["speed"]
    ]
    header = ("batch size", "transformers 4.57.6, questions/s", "this package, questions/s", "ratio", "same answers")
    return table(header, rows)


def baselines_cmrc2018(result: Result) -> str:
    """The models of the paper's Table 9, each trained from scratch; runs of two other results stand beside these."""
    others = {
        "dense": "ALBERT, 3 layers × 128",
        "magnitude_70": "the same, pruned to 70 % sparsity (magnitude)",
        "PAL-BERT": "PAL-BERT of that size (Mish, ε 0.95, movement pruning to 70 %)",
    }
    runs = sorted(result["runs"], key=lambda run: run["f1"])
    pruning = json.loads((RESULTS / "cmrc2018_pruning.json").read_text(encoding="utf-8"))["runs"]
    palbert = json.loads((RESULTS / "palbert_cmrc2018.json").read_text(encoding="utf-8"))["runs"]
    more = {run["name"]: run for run in [*pruning, *palbert]}
    rows = [(run["name"], run, run["parameters"]) for run in runs]
    rows += [(label, more[name], more[name]["parameters_nonzero"]) for name, label in others.items()]
    cells = [[name, f"{run['f1']:.2f}", f"{run['em']:.2f}", f"{size:,}"] for name, run, size in rows]
    return table(("model", "F1", "EM", "non-zero parameters"), cells)


STORED = {
    "fp16": "**packed**, fp16 values",
    "fp16_entropy": "**packed**, fp16 values, entropy-coded",
    "int8": "**packed**, int8 values and embeddings",
    "int8_fp16_embeddings": "**packed**, int8 values, fp16 embeddings",
    "int8_entropy": "**packed**, int8 values and embeddings, entropy-coded",
    "dense_fp32": "dense fp32",
    "dense_fp16": "dense fp16",
    "dense_fp16_zstd19": "dense fp16, the file under zstd -19",
    "prunebert_csr": "int8 in CSR, the rest fp32",
    "prunebert_csr_gzip": "int8 in CSR under gzip -9, the rest fp32 (PruneBERT's notebook)",
    "prunebert_csr_gzip_rest_fp16": "int8 in CSR under gzip -9, the rest fp16",
    "compressed_tensors_int8": "compressed-tensors 0.20.0, int8, fp16 embeddings",
}


def storage(result: Result) -> str:
    """Bytes of every file, and what it takes to load ours."""
    loads = {row["name"]: row for row in result["loads"] if row["dtype"] == "float32"}
    rows = []
    for row in sorted((row for row in result["sizes"] if "bytes" in row), key=lambda row: -row["bytes"]):
        load = loads.get(row["name"])
        cells = [STORED[row["name"]], f"{row['bytes'] / 1e6:.2f}"]
        cells.append(f"{row['information_limit'] / 1e6:.2f}" if "information_limit" in row else "—")
        cells += (
            [f"{1e3 * load['seconds_median']:.0f} ms", f"{load['peak_bytes_added'] / 1e6:.0f} MB"] if load else "——"
        )
        rows.append(cells)
    return table(("weights on the disk", "MB", "information limit, MB", "loading as fp32", "peak memory of it"), rows)


def storage_cmrc2018(result: Result) -> str:
    """Scores of one model, stored in several ways."""
    rows = [
        [
            row["name"]
            .replace("_", " ")
            .replace("int8 float16", "int8, float16")
            .replace(" entropy", ", entropy-coded"),
            f"{row['bytes'] / 1e6:.2f}",
            f"{row['scores']['f1']:.2f}",
            f"{row['scores']['em']:.2f}",
            f"{100 * row.get('relative_error_of_weights', 0):.3f} %",
        ]
        for row in result["rows"]
    ]
    return table(("values", "MB", "F1", "EM", "error of the matrices"), rows)


def experiment(name: str) -> str:
    """Table and caption of a grid that `palbert reproduce --results benchmarks/results` has run.

    The grid is the package's; where that has changed since, the records have one of their own beside them.
    """
    runs = read_runs(RESULTS / f"{name}.jsonl")
    about, own = runs[0].grid, RESULTS / f"{name}.yaml"
    grid = load_grid(own) if own.is_file() else load_grid(GRIDS / f"{name}.yaml", about["scale"])
    return f"{markdown_table(grid, runs)}\n\n{caption(replace(grid, caption=about['caption']), runs)}"


TABLES: dict[str, Callable[[Result], str]] = {
    "baselines_cmrc2018": baselines_cmrc2018,
    "cmrc2018_pruning": cmrc2018_pruning,
    "long_documents": long_documents,
    "pipeline": pipeline,
    "reduced_readers": reduced_readers,
    "reduction": reduction,
    "reduction_cmrc2018": reduction,
    "shrink": shrink,
    "squad_pruning": squad_pruning,
    "storage": storage,
    "storage_cmrc2018": storage_cmrc2018,
    "structure": structure,
    "training_step": training_step,
}

EXPERIMENTS = ("table7", "table8")
"""Grids whose records are in benchmarks/results, as NAME.jsonl."""


def render(text: str) -> str:
    """``text`` with every table made anew from its result file."""

    def block(match: re.Match[str]) -> str:
        name = match["name"]
        if name in EXPERIMENTS:
            return f"{match[1]}\n{experiment(name)}\n\n{match[3]}"
        result = json.loads((RESULTS / f"{name}.json").read_text(encoding="utf-8"))
        return f"{match[1]}\n{TABLES[name](result)}\n\n{machine(result)}\n\n{match[3]}"

    return BLOCK.sub(block, text)


def main() -> None:
    """Parse the command line and run."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true", help="change nothing, exit with 1 if README.md is out of date")
    args = parser.parse_args()
    readme = ROOT / "README.md"
    text = readme.read_text(encoding="utf-8")
    if args.check:
        sys.exit(text != render(text))
    readme.write_text(render(text), encoding="utf-8")


if __name__ == "__main__":
    main()
