"""What coarser values cost on CMRC 2018: F1 and EM of one pruned model, stored in each way and loaded again.

    python benchmarks/storage_cmrc2018.py --data DIR_WITH_CMRC2018

The model is one of those of `cmrc2018.py`. Every file is written by `compress_folder` and evaluated by `palbert train`,
in fp32, on the whole dev set (`grids/storage_cmrc2018.yaml`). Files that give the same weights to the last bit, as with
entropy coding, are not evaluated twice. Finished evaluations are kept and skipped when the command is repeated.
"""

from __future__ import annotations

import argparse
import shlex
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from machine import describe_run, write_result
from runs import all_trials, load_benchmark, new_runner, run_benchmark
from transformers import AutoModelForQuestionAnswering

from transformers_palbert import StorageConfig
from transformers_palbert.experiments.grid import Grid
from transformers_palbert.experiments.settings import to_arguments
from transformers_palbert.storage.folders import compress_folder

NAME = "storage_cmrc2018"
PACKED = {
    "float32": StorageConfig(),
    "float16": StorageConfig("float16"),
    "bfloat16": StorageConfig("bfloat16"),
    "int8_float16_embeddings": StorageConfig("int8", embeddings="float16"),
    "int8": StorageConfig("int8"),
    "float16_entropy": StorageConfig("float16", entropy=True),
    "int8_entropy": StorageConfig("int8", entropy=True),
}


def write_copies(model: Path, folder: Path) -> dict[str, Path]:
    """The model, stored in every way; name -> folder."""
    copies = {"dense": model} | {name: folder / name for name in PACKED}
    for name, config in PACKED.items():
        if not copies[name].is_dir():
            compress_folder(model, copies[name], config)
    return copies


def with_models(grid: Grid, models: Mapping[str, Path]) -> Grid:
    """The grid, in which each run scores its own model."""
    return replace(grid, axes={"stored": {name: {"model_name_or_path": str(path)} for name, path in models.items()}})


def twins(states: Mapping[str, dict[str, torch.Tensor]]) -> dict[str, str]:
    """Name -> the first that loads as the same weights, to the last bit."""
    return {name: next(other for other in states if _equal(states[other], states[name])) for name in states}


def weights(folder: Path) -> dict[str, torch.Tensor]:
    """The weights that the folder loads as."""
    return AutoModelForQuestionAnswering.from_pretrained(folder).state_dict()


def compare(before: dict[str, torch.Tensor], after: dict[str, torch.Tensor]) -> dict[str, float]:
    """How far the weights of the matrices moved, and whether what was zero still is."""
    matrices = [name for name, tensor in before.items() if tensor.dim() == 2]
    moved = sum(float((after[name] - before[name]).square().sum()) for name in matrices)
    total = sum(float(before[name].square().sum()) for name in matrices)
    kept = all(not after[name][before[name] == 0].any() for name in matrices)
    return {"relative_error_of_weights": (moved / total) ** 0.5, "zeros_kept": kept}


def _equal(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> bool:
    return all(torch.equal(tensor, other[name]) for name, tensor in one.items())


def main() -> None:
    """Parse the command line and run."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="folder with cmrc2018_dev.json")
    parser.add_argument("--model", type=Path, default=Path("outputs/cmrc2018/magnitude_70"), help="(%(default)s)")
    parser.add_argument("--work", type=Path, default=Path("outputs/storage_cmrc2018"), help="(%(default)s)")
    args = parser.parse_args()
    work = args.work.resolve()
    copies = write_copies(args.model.resolve(), work / "models")
    states = {name: weights(folder) for name, folder in copies.items()}
    same = twins(states)
    data = (args.data / "cmrc2018_dev.json").resolve()
    grid = with_models(load_benchmark(NAME, {"validation_file": data}, seed=42), copies)
    trials, runner = all_trials([grid]), new_runner(work)
    runs = run_benchmark([trials[name] for name in dict.fromkeys(same.values())], runner, NAME, grid.metrics)
    rows: list[dict[str, Any]] = []
    for name, folder in copies.items():
        scores = {"f1": runs[same[name]].value("eval_f1"), "em": runs[same[name]].value("eval_em")}
        moved = compare(states["dense"], states[name]) if name != "dense" else {}
        size = (folder / "model.safetensors").stat().st_size
        rows.append({"name": name, "bytes": size, "scores": scores, **moved})
    result = {
        "benchmark": "CMRC 2018 dev, one pruned model stored in several ways",
        **describe_run(42),  # the model's; nothing is random here
        "model": args.model.name,
        "evaluation": shlex.join(["palbert", "train", *to_arguments({**grid.settings, "validation_file": None})]),
        "rows": rows,
    }
    result["command"] = result["command"].replace(str(args.data), "cmrc2018")
    print(write_result(NAME, result))


if __name__ == "__main__":
    main()
