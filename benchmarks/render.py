"""Write the tables of the documents from the files in benchmarks/results, so that no figure is ever typed.

    python benchmarks/render.py            # rewrite the documents
    python benchmarks/render.py --check    # change nothing, name those that are out of date, and fail if there are any

A table stands between `<!-- results: NAME -->` and `<!-- end results -->`, on the page that has these markers:
README.md or any Markdown file below docs.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
from collections.abc import Callable, Iterable
from dataclasses import replace
from pathlib import Path
from statistics import median
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
    cores = hardware["cores"]
    place = hardware["gpu"] or f"{cores} core{'s' if cores > 1 else ''} of {hardware['processor']}"
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
            f"{run['long']['speedup']:.2f}× of {run['long']['promised']:.2f}×" if "long" in run else "—",
        ]
        for run in result["runs"]
    ]
    header = (
        *("made faster by", "trained on", "measured speed", "F1 / EM", "heads/units by layer", "encoder parameters"),
        f"at {result['timed']['long']} tokens, of what the operations promise",
    )
    return table(header, rows)


def end_to_end(result: Result) -> str:
    """One table from end to end: what was removed, how it is stored, and what that is worth."""
    sizes = [key for key in result["runs"][0] if key.startswith("milliseconds_")]
    rows = [
        [
            run["model"],
            run["stored"],
            f"{run['f1']:.1f} / {run['em']:.1f}",
            f"{run['file_bytes'] / 1e6:.1f}",
            *(f"{run[size]:.0f}" for size in sizes),
        ]
        for run in result["runs"]
    ]
    batches = [f"ms for {size.rpartition('_')[2]}×{result['length']} tokens" for size in sizes]
    return table(("model", "stored", "F1 / EM", "MB", *batches), rows)


def applications(result: Result) -> str:
    """An ALBERT at the same speed in three ways."""
    ways = {
        "whole": "nothing removed",
        "fewer": "fewer applications",
        "shared": "the same units in all",
        "each": "units of their own",
    }
    rows = [
        [
            ways[run["way"]],
            f"{run['speedup']:.2f}×",
            f"{run['f1']:.1f} / {run['em']:.1f}",
            ", ".join(f"{heads}/{units}" for heads, units in run["applications"]),
        ]
        for run in sorted(result["runs"], key=lambda run: (run["asked"], run["f1"]))
    ]
    return table(("applications of the layer", "measured speed", "F1 / EM", "heads/units by application"), rows)


def squad2(result: Result) -> str:
    """A dense and a structured model on SQuAD 2.0, before and after the threshold was chosen."""
    rows = [
        [
            run["model"],
            f"{run['speedup']:.2f}×",
            *(f"{run[part][figure]:.1f}" for part in ("held_out", "held_out_chosen") for figure in _SQUAD2),
            f"{run['threshold']:.2f}",
        ]
        for run in result["runs"]
    ]
    names = [f"{name}{after}" for after in ("", ", chosen threshold") for name in _SQUAD2.values()]
    scored = f"Scored on {result['held_out_questions']:,} questions that did not choose the threshold:"
    return f"{scored}\n\n{table(('model', 'measured speed', *names, 'threshold'), rows)}"


_SQUAD2 = {"f1": "F1", "hasans_f1": "HasAns F1", "noans_f1": "NoAns F1"}


def movement_steps(result: Result) -> str:
    """F1 and exact match by the number of steps, a column for each score."""
    scores = list(dict.fromkeys(run["score"] for run in result["runs"]))
    found = {(run["steps"], run["score"]): f"{run['f1']:.1f} / {run['em']:.1f}" for run in result["runs"]}
    steps = sorted({run["steps"] for run in result["runs"]}, key=int)
    rows = [[f"{int(count):,}", *(found.get((count, score), "not run") for score in scores)] for count in steps]
    return table(("steps", *scores), rows)


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


def attribution_sanity(result: Result) -> str:
    """How attributions change while a model is made random from the top."""
    rows = [[_plain(step["part"]), f"{step['correlation']:.2f}"] for step in result["parts"]]
    return table(("made random, with all above", "rank correlation with the trained model's"), rows)


def _plain(path: str) -> str:
    """``bert.encoder.layer.5`` is layer 6."""
    number = path.rpartition(".")[2]
    return f"layer {int(number) + 1}" if number.isdecimal() else path


def long_documents(result: Result) -> str:
    """F1 and speed of reading everything and of reading what matters."""
    rows = [
        [
            f"{case['characters']:,.0f}",
            f"{case['questions']:,}",
            way["way"],
            f"{way['f1']['value']:.1f} / {way['em']['value']:.1f}",
            _difference(way["f1_minus_everything"]) if "f1_minus_everything" in way else "—",
            f"{way['questions_per_second']:.2f}",
            f"{way['times_as_fast']:.1f}×",
        ]
        for case in result["cases"]
        for way in case["ways"]
    ]
    header = ("characters", "questions", "read", "F1 / EM", "F1 against everything", "questions/s", "speed")
    return table(header, rows)


def _difference(found: Result) -> str:
    return f"{found['value']:+.1f} ({found['low']:+.1f} to {found['high']:+.1f})"


def reduced_readers(result: Result) -> str:
    """F1, exact match and processor minutes, a column per kind of contexts."""
    runs = {(run["layers"], run["window"], run["contexts"]): run for run in result["runs"]}
    kinds = list(dict.fromkeys(contexts for _, _, contexts in runs))
    rows = [
        [str(layers), str(window), *(_reader(runs.get((layers, window, contexts))) for contexts in kinds)]
        for layers, window in sorted(dict.fromkeys(key[:2] for key in runs))
    ]
    return table(("layers", "window", *(f"{contexts}: F1 / EM, processor minutes" for contexts in kinds)), rows)


def _reader(run: Result | None) -> str:
    return f"{run['f1']:.1f} / {run['em']:.1f}, {run['processor_seconds'] / 60:.1f}" if run else "not run"


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


def runtime_memory(result: Result) -> str:
    """What a process holds that answers without torch."""
    rows = [
        [
            f"{run['runtime']} {run['precision']}",
            run["name"],
            *(f"{run[key]:.0f}" for key in ("model", "most", "beside")),
        ]
        for run in result["runs"]
    ]
    return table(("runtime", "model", "its files, MB", "process at most, MB", "beside the model, MB"), rows)


def runtimes(result: Result) -> str:
    """One model in every runtime: questions per second, speed and scores, with those of a structured one below."""
    sizes = list(result["runs"][0]["speed"])
    best = result["runs"][0].get("f1")
    rows = []
    for run in result["runs"]:
        cells = [f"{run['questions_per_second'][size]:.1f} ({run['speed'][size]:.1f}×)" for size in sizes]
        if best is not None:
            known = "f1" in run
            cells += (
                [f"{run['f1']:.2f} / {run['em']:.2f}", f"{best - run['f1']:+.2f}"] if known else ["not scored", "—"]
            )
        rows.append([run["name"], *cells])
    rows += [[name, *["it did not run"] * len(rows[0][1:])] for name in result["failed"]]
    header = ["model and runtime", *(f"questions/s, batch {size}" for size in sizes)]
    return table(header + (["F1 / EM", "F1 lost"] if best is not None else []), rows)


def serving(result: Result) -> str:
    """Questions per second through HTTP and without."""
    rows = [
        [
            str(row["batch_size"]),
            f"{median(row['direct_questions_per_second']):.1f}",
            f"{median(row['served_questions_per_second']):.1f}",
            f"{100 * row['served_to_direct_median']:.0f} %",
            f"{row['latency_p50_ms']:.0f} / {row['latency_p95_ms']:.0f} ms",
            f"{row['questions_per_batch_mean']:.1f}",
            f"{row['answers_that_differ']} of {row['answers_compared']}",
        ]
        for row in result["batch_sizes"]
    ]
    header = (
        "batch size", "runtime itself, questions/s", f"{result['clients']} clients, questions/s", "share",
        "p50 / p95 of a request", "questions in a batch", "answers that differ",
    )  # fmt: skip
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
    "attribution_sanity": attribution_sanity,
    "baselines_cmrc2018": baselines_cmrc2018,
    "cmrc2018_pruning": cmrc2018_pruning,
    "long_documents": long_documents,
    "pipeline": pipeline,
    "reduced_readers": reduced_readers,
    "reduction": reduction,
    "reduction_cmrc2018": reduction,
    "runtimes": runtimes,
    "runtime_memory": runtime_memory,
    "runtimes_shape": runtimes,
    "serving": serving,
    "shrink": shrink,
    "squad_pruning": squad_pruning,
    "storage": storage,
    "storage_cmrc2018": storage_cmrc2018,
    "structure": structure,
    "applications": applications,
    "movement_steps": movement_steps,
    "end_to_end": end_to_end,
    "squad2": squad2,
    "training_step": training_step,
}


def overview() -> str:
    """The README's picture in words: one model of each kind, of the same encoder."""
    pruning, structure = (
        json.loads((RESULTS / f"{name}.json").read_text(encoding="utf-8")) for name in ("squad_pruning", "structure")
    )
    weights, heads = ({run["name"]: run for run in result["runs"]} for result in (pruning, structure))
    dense, pruned = weights["dense"], weights["sensitivity_70_2_epochs"]
    longer, faster = heads["whole_1.0_alone_2_epochs"], heads["shrunk_2.0_teacher_2_epochs"]
    outside = 1 - heads["dense"]["parameters_encoder"] / dense["parameters"]
    hardware = structure["hardware"]
    return (
        f"A BERT of 6 layers, fine-tuned for SQuAD 1.1 in one epoch, has F1 {dense['f1']:.1f} on the whole dev set, in"
        f" {_megabytes(dense)} MB;\ntrained on for {longer['length']}, {longer['f1']:.1f}. Made of the first, one seed"
        " each:\n\n"
        f"- pruned to {100 * pruned['sparsity']:.0f} % sparsity over {pruned['length']}: F1 {pruned['f1']:.1f}, in"
        f" {_megabytes(pruned)} MB;\n"
        f"- heads and units removed, then {faster['length']} with the dense model as teacher: F1 {faster['f1']:.1f},"
        f" {faster['speedup']:.2f} times as fast in\n"
        f"  batches of 8 (on {hardware['cores']} cores of {hardware['processor']}), in {_megabytes(faster)} MB.\n\n"
        f"{100 * outside:.0f} % of this model's parameters, most of them embeddings, are never pruned."
    )


PARAGRAPHS: dict[str, Callable[[], str]] = {"overview": overview}
"""Sentences that need several results."""

EXPERIMENTS = ("table7", "table8")
"""Grids whose records are in benchmarks/results, as NAME.jsonl."""


def render(text: str) -> str:
    """``text`` with every table made anew from its result file."""

    def block(match: re.Match[str]) -> str:
        name = match["name"]
        if name in PARAGRAPHS:
            return f"{match[1]}\n{PARAGRAPHS[name]()}\n\n{match[3]}"
        if name in EXPERIMENTS:
            return f"{match[1]}\n{experiment(name)}\n\n{match[3]}"
        show, file = TABLES[name], RESULTS / f"{name}.json"
        if not file.is_file():
            return f"{match[1]}\nThis was not measured yet.\n\n{match[3]}"
        result = json.loads(file.read_text(encoding="utf-8"))
        return f"{match[1]}\n{show(result)}\n\n{machine(result)}\n\n{match[3]}"

    return BLOCK.sub(block, text)


def pages() -> list[Path]:
    """The documents that may hold tables: README.md and every page of the site."""
    return [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]


def main() -> None:
    """Parse the command line and run."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true", help="change nothing, exit with 1 if a page is out of date")
    args = parser.parse_args()
    texts = {page: page.read_text(encoding="utf-8") for page in pages()}
    outdated = {page: new for page, text in texts.items() if (new := render(text)) != text}
    for page, text in outdated.items():
        print(f"{page.relative_to(ROOT)} {'is out of date' if args.check else 'rewritten'}")
        if not args.check:
            page.write_text(text, encoding="utf-8")
    sys.exit(bool(args.check and outdated))


if __name__ == "__main__":
    main()
