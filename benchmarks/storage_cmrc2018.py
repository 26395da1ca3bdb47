"""What coarser values cost on CMRC 2018: F1 and EM of one pruned model, stored in each way and loaded again.

    python benchmarks/storage_cmrc2018.py --data DIR_WITH_CMRC2018

The model is one of those of `cmrc2018.py`. Every file is written by `compress_folder` and evaluated by
`examples/run_qa.py`, in fp32, on the whole dev set. Files that give the same weights to the last bit, as with entropy
coding, are not evaluated twice. Finished evaluations are kept and skipped when the command is repeated.
"""

from __future__ import annotations

import argparse
import json
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

import torch
from machine import describe_run, write_result
from transformers import AutoModelForQuestionAnswering

from transformers_palbert import StorageConfig
from transformers_palbert.storage.folders import compress_folder

ROOT = Path(__file__).parents[1]
PACKED = {
    "float32": StorageConfig(),
    "float16": StorageConfig("float16"),
    "bfloat16": StorageConfig("bfloat16"),
    "int8_float16_embeddings": StorageConfig("int8", embeddings="float16"),
    "int8": StorageConfig("int8"),
    "float16_entropy": StorageConfig("float16", entropy=True),
    "int8_entropy": StorageConfig("int8", entropy=True),
}
OPTIONS = "--metric cmrc2018 --max_seq_length 512 --doc_stride 64 --max_answer_length 40 --do_eval --use_cpu"


def evaluate(model: Path, data: Path, folder: Path) -> dict[str, float]:
    """F1 and EM of the official script on the dev set."""
    command = ["examples/run_qa.py", *OPTIONS.split(), "--per_device_eval_batch_size", "64", "--report_to", "none"]
    command += ["--model_name_or_path", str(model), "--validation_file", str(data), "--output_dir", str(folder)]
    results = folder / "eval_results.json"
    if not results.is_file():
        subprocess.run([sys.executable, *command], check=True, cwd=ROOT)
    metrics = json.loads(results.read_text())
    return {"f1": metrics["eval_f1"], "em": metrics["eval_em"]}


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


def run(args: argparse.Namespace) -> list[dict[str, Any]]:
    """Write, load, compare and evaluate every file."""
    model, data = args.model.resolve(), (args.data / "cmrc2018_dev.json").resolve()
    dense = weights(model)
    work = args.work.resolve()
    rows: list[dict[str, Any]] = [
        {
            "name": "dense",
            "bytes": (model / "model.safetensors").stat().st_size,
            "scores": evaluate(model, data, work / "dense"),
        }
    ]
    seen = [(dense, rows[0]["scores"])]
    for name, config in PACKED.items():
        folder = work / "models" / name
        if not folder.is_dir():
            compress_folder(model, folder, config)
        loaded = weights(folder)
        scores = next((scores for known, scores in seen if _equal(known, loaded)), None)
        if scores is None:
            scores = evaluate(folder, data, work / name)
            seen.append((loaded, scores))
        size = (folder / "model.safetensors").stat().st_size
        rows.append({"name": name, "bytes": size, "scores": scores, **compare(dense, loaded)})
    return rows


def _equal(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> bool:
    return all(torch.equal(tensor, other[name]) for name, tensor in one.items())


def main() -> None:
    """Parse the command line and run."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="folder with cmrc2018_dev.json")
    parser.add_argument("--model", type=Path, default=Path("outputs/cmrc2018/magnitude_70"), help="(%(default)s)")
    parser.add_argument("--work", type=Path, default=Path("outputs/storage_cmrc2018"), help="(%(default)s)")
    args = parser.parse_args()
    rows = run(args)
    result = {
        "benchmark": "CMRC 2018 dev, one pruned model stored in several ways",
        **describe_run(42),  # the model's; nothing is random here
        "model": args.model.name,
        "evaluation": shlex.join(["python", "examples/run_qa.py", *OPTIONS.split()]),
        "rows": rows,
    }
    result["command"] = result["command"].replace(str(args.data), "cmrc2018")
    print(write_result("storage_cmrc2018", result))


if __name__ == "__main__":
    main()
