"""Runs of `examples/run_qa.py` as benchmarks need them: finished ones are kept, interrupted ones go on."""

from __future__ import annotations

import json
import shlex
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from transformers_palbert.sizes import inspect_checkpoint

__all__ = ["ROOT", "is_finished", "run_qa", "without_local_paths"]

ROOT = Path(__file__).resolve().parent.parent


def is_finished(folder: Path) -> bool:
    """Whether the run in ``folder`` has been trained and evaluated."""
    return (folder / "eval_results.json").is_file()


def run_qa(recipe: str, work: Path, name: str, options: dict[str, Any]) -> dict[str, Any]:
    """Run the training script, unless ``work/name`` is finished, and collect what it measured."""
    folder = work / name
    arguments = [part for key, value in options.items() for part in (f"--{key}", str(value))]
    script = ["examples/run_qa.py", f"benchmarks/recipes/{recipe}.yaml", *arguments]
    if not is_finished(folder):
        _run([sys.executable, *script, "--output_dir", str(folder)], folder)
    state = json.loads((folder / "trainer_state.json").read_text())
    metrics = json.loads((folder / "eval_results.json").read_text())
    sizes = inspect_checkpoint(folder)
    return {
        "name": name,
        "command": shlex.join(["python", *script, "--output_dir", str(folder)]),
        "seconds": int((folder / "seconds.txt").read_text()),
        "optimizer_steps": state["global_step"],
        "f1": metrics["eval_f1"],
        "em": metrics["eval_em" if "eval_em" in metrics else "eval_exact_match"],
        "density_encoder": round(sizes.encoder.density, 6),
        "density_total": round(sizes.total.density, 6),
        "parameters": sizes.total.numel,
        "parameters_nonzero": sizes.total.nonzero,
        "file_bytes": sizes.file_bytes,
        "curve": _rows(state, ("step", "eval_f1", "eval_em", "eval_density_encoder"), "eval_f1"),
        "losses": _rows(state, ("step", "loss", "density_encoder"), "loss"),
    }


def _run(command: list[str], folder: Path) -> None:
    """Run ``command``, and add its time to that of the interrupted runs before it."""
    folder.mkdir(parents=True, exist_ok=True)
    clock, started = folder / "seconds.txt", time.monotonic()
    before = int(clock.read_text()) if clock.is_file() else 0
    try:
        subprocess.run(command, check=True, cwd=ROOT)
    finally:
        clock.write_text(f"{before + time.monotonic() - started:.0f}")


def _rows(state: dict[str, Any], keys: tuple[str, ...], needed: str) -> list[dict[str, float]]:
    return [{key: row[key] for key in keys if key in row} for row in state["log_history"] if needed in row]


def without_local_paths(result: dict[str, Any], names: dict[Path, str]) -> dict[str, Any]:
    """The result with each folder of this machine written as ``names`` calls it."""
    text = json.dumps(result, ensure_ascii=False)
    for path, name in names.items():
        for spelling in (str(path.resolve()), str(path)):
            text = text.replace(spelling, name)
    return json.loads(text)
