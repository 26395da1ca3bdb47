"""Prune an ALBERT on CMRC 2018: F1 against density, movement and magnitude, from `examples/run_qa.py` runs.

    python benchmarks/cmrc2018.py --data DIR_WITH_CMRC2018 --vocab vocab.txt --work outputs/cmrc2018

There are no pretrained weights: a random ALBERT learns cloze questions made from the training contexts
(`cmrc2018_start.py`, `recipes/cmrc2018_cloze.yaml`), then the training questions (`cmrc2018_scratch.yaml`). From that
dense model start one pruned run per method and sparsity (`cmrc2018_prune.yaml`), and one that prunes nothing and tells
what the further training alone does. Finished runs are kept and skipped when the command is repeated; an
interrupted one goes on from its last checkpoint. Results, commands and predictions land in `benchmarks/results`.
"""

from __future__ import annotations

import argparse
import re
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from cmrc2018_start import random_albert, write_cloze
from machine import RESULTS, describe_run, write_result
from runs import ROOT, run_qa, without_local_paths

import transformers_palbert as palbert

NAME = "cmrc2018_pruning"
SHAPE = {
    "hidden_size": 128,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "intermediate_size": 512,
    "hidden_act": "gelu",
    "initializer_range": 0.08,
    "classifier_dropout_prob": 0.0,
}
CLOZE_QUESTIONS = 32_000


def run(recipe: str, work: Path, name: str, options: dict[str, Any]) -> dict[str, Any]:
    """One run of the training script; its predictions are kept beside the results."""
    result = run_qa(recipe, work, name, options)
    shutil.copyfile(work / name / "eval_predictions.json", predictions_file(name))
    return {**result, "predictions": f"{NAME}/{name}.json"}


def warm_up(work: Path, train_file: Path, vocab: Path, seed: int) -> Path:
    """The folder of a model that has learnt to look things up, from the training contexts alone."""
    start, cloze, folder = work / "start", work / "cloze.jsonl", work / "cloze"
    if not (folder / "train_results.json").is_file():
        work.mkdir(parents=True, exist_ok=True)
        random_albert(start, vocab, seed, **SHAPE)
        write_cloze(train_file, cloze, CLOZE_QUESTIONS, seed)
        options = {"model_name_or_path": start, "train_file": cloze, "seed": seed, "output_dir": folder}
        flags = [part for key, value in options.items() for part in (f"--{key}", str(value))]
        recipe = "benchmarks/recipes/cmrc2018_cloze.yaml"
        subprocess.run([sys.executable, "examples/run_qa.py", recipe, *flags], check=True, cwd=ROOT)
    return folder


def predictions_file(name: str) -> Path:
    """Where the predictions of a run are kept."""
    file = RESULTS / NAME / f"{name}.json"
    file.parent.mkdir(parents=True, exist_ok=True)
    return file


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


def plan(dense: Path, sparsities: list[float], methods: list[str]) -> dict[str, dict[str, Any]]:
    """Name -> options of every run that starts from the dense checkpoint."""
    runs: dict[str, dict[str, Any]] = {"dense_longer": {"model_name_or_path": dense}}
    for sparsity in sparsities:
        for method in methods:
            runs[f"{method}_{round(100 * sparsity)}"] = {
                "model_name_or_path": dense,
                "target_sparsity": sparsity,
                "pruning_method": method,
            }
    return runs


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
    parser.add_argument("--sparsities", type=float, nargs="*", default=[0.5, 0.7, 0.9])
    parser.add_argument("--methods", nargs="*", default=["movement", "magnitude"])
    parser.add_argument("--jobs", type=int, default=1, help="pruned runs at the same time")
    parser.add_argument("--seed", type=int, default=42)
    args = parser.parse_args()
    files = {
        "train_file": (args.data / "cmrc2018_train.json").resolve(),
        "validation_file": (args.data / "cmrc2018_dev.json").resolve(),
        "seed": args.seed,
    }
    work = args.work.resolve()
    warm = warm_up(work, files["train_file"], args.vocab, args.seed)
    dense = run("cmrc2018_scratch", work, "dense", {**files, "model_name_or_path": warm})
    result = {
        "benchmark": "CMRC 2018, from scratch, F1 against density",
        **describe_run(args.seed),
        "model": SHAPE,
        "baselines": baselines(files["validation_file"]),
        "runs": [dense],
    }
    runs = plan(work / "dense", args.sparsities, args.methods)
    with ThreadPoolExecutor(args.jobs) as pool:
        result["runs"] += pool.map(
            lambda item: run("cmrc2018_prune", work, item[0], {**files, **item[1]}), runs.items()
        )
    local = {args.vocab: "vocab.txt", args.data: "cmrc2018", work: "outputs/cmrc2018"}
    write_result(NAME, without_local_paths(result, local))
    plot(result, RESULTS / f"{NAME}.png")


if __name__ == "__main__":
    main()
