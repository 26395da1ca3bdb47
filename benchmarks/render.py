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
from pathlib import Path
from typing import Any

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


TABLES: dict[str, Callable[[Result], str]] = {
    "cmrc2018_pruning": cmrc2018_pruning,
    "pipeline": pipeline,
    "training_step": training_step,
}


def render(text: str) -> str:
    """``text`` with every table made anew from its result file."""

    def block(match: re.Match[str]) -> str:
        name = match["name"]
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
