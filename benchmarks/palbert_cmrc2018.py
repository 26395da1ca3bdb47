"""Train PAL-BERT on CMRC 2018 from scratch: Mish, layer-wise learning rates, and movement pruning to 70 % sparsity.

    python benchmarks/palbert_cmrc2018.py --data DIR_WITH_CMRC2018 --start outputs/cmrc2018/cloze --work outputs/palbert

The last row of the paper's Table 9, at the size and with the recipe of the dense model in `benchmarks/cmrc2018.py`, and
from the same checkpoint, which has learnt cloze questions. A finished run is kept: the command then only reads its
results.
"""

from __future__ import annotations

import argparse
import json
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

from machine import describe_run, write_result

from transformers_palbert.sizes import inspect_checkpoint

ROOT = Path(__file__).parent.parent
NAME = "palbert_cmrc2018"
PALBERT = {"hidden_act": "mish", "layer_lr_decay": 0.95, "target_sparsity": 0.7, "pruning_method": "movement"}


def main() -> None:
    """Parse the command line and run."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--data", type=Path, required=True, help="folder with cmrc2018_train.json and cmrc2018_dev.json"
    )
    parser.add_argument("--start", type=Path, required=True, help="checkpoint that cmrc2018.py leaves in WORK/cloze")
    parser.add_argument("--work", type=Path, default=Path("outputs/palbert"), help="folder for checkpoints")
    parser.add_argument("--seed", type=int, default=42)
    args = parser.parse_args()
    options: dict[str, Any] = {
        "model_name_or_path": args.start,
        **PALBERT,
        "train_file": args.data / "cmrc2018_train.json",
        "validation_file": args.data / "cmrc2018_dev.json",
        "eval_strategy": "no",
        "seed": args.seed,
        "output_dir": args.work,
    }
    script = ["examples/run_qa.py", "benchmarks/recipes/cmrc2018_scratch.yaml"]
    script += [part for key, value in options.items() for part in (f"--{key}", str(value))]
    if not (ROOT / args.work / "eval_results.json").is_file():
        subprocess.run([sys.executable, *script], check=True, cwd=ROOT)
    write_result(NAME, {**describe_run(args.seed), "runs": [_collect(ROOT / args.work, script)]})


def _collect(folder: Path, script: list[str]) -> dict[str, Any]:
    results = json.loads((folder / "all_results.json").read_text(encoding="utf-8"))
    state = json.loads((folder / "trainer_state.json").read_text(encoding="utf-8"))
    write_result(f"{NAME}/palbert", json.loads((folder / "eval_predictions.json").read_text(encoding="utf-8")))
    report = inspect_checkpoint(folder)
    return {
        "name": "PAL-BERT",
        "command": shlex.join(["python", *script]),
        "seconds": round(results["train_runtime"]),
        "optimizer_steps": state["global_step"],
        "f1": results["eval_f1"],
        "em": results["eval_em"],
        "questions": int(results["eval_total"]),
        "density_encoder": report.encoder.density,
        "parameters": report.total.numel,
        "parameters_nonzero": report.total.nonzero,
        "file_bytes": report.file_bytes,
        "predictions": f"{NAME}/palbert.json",
    }


if __name__ == "__main__":
    main()
