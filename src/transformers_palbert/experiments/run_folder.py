"""What the folder of a run holds: its record, its log, and what the training left there."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

from ..errors import ConfigurationError
from ..sizes import inspect_checkpoint, weight_bytes
from .outcome import Run, read_runs, write_runs

__all__ = [
    "LOG",
    "RECORD",
    "collect_metrics",
    "delete_checkpoints",
    "describe_training",
    "holds_training",
    "logged",
    "optimizer_steps",
    "read_record",
    "write_record",
]

RECORD, LOG = "run.json", "log.txt"


def read_record(folder: Path) -> Run | None:
    """The record of the run, or None if the folder has none.

    Raises:
        ConfigurationError: if the file is no record.
    """
    file = folder / RECORD
    if not file.is_file():
        return None
    if not (runs := read_runs(file)):
        raise ConfigurationError(f"{file} is empty, so that nobody knows what ran there. Move {folder} away.")
    return runs[0]


def write_record(folder: Path, run: Run) -> None:
    """Keep the record of the run in its folder."""
    write_runs(folder / RECORD, [run])


def holds_training(folder: Path) -> bool:
    """Whether a training left checkpoints, weights or results in the folder, which another one would overwrite."""
    patterns = ("checkpoint-*", "*.safetensors", "all_results.json")
    return any(found for pattern in patterns for found in folder.glob(pattern))


def collect_metrics(folder: Path) -> dict[str, float]:
    """Every number that a finished run measured, and ``file_mb``, 10^6 bytes of the saved weights."""
    file = folder / "all_results.json"
    results = json.loads(file.read_text(encoding="utf-8")) if file.is_file() else {}
    numbers = {name: value for name, value in results.items() if isinstance(value, int | float)}
    return numbers | {"file_mb": (weight_bytes(folder) or 0) / 1e6}


def delete_checkpoints(folder: Path) -> None:
    """Delete the checkpoints of a finished run, whose model is saved beside them."""
    for checkpoint in folder.glob("checkpoint-*"):
        shutil.rmtree(checkpoint)


def describe_training(folder: Path) -> dict[str, Any]:
    """How long a finished run trained, and what is left of the model.

    Returns:
        ``optimizer_steps``; ``density_encoder`` and ``density_total`` (share of weights that are not zero, 0 to 1);
        ``parameters`` and ``parameters_nonzero``; ``file_bytes`` of the saved weights.
    """
    sizes = inspect_checkpoint(folder)
    return {
        "optimizer_steps": optimizer_steps(folder),
        "density_encoder": round(sizes.encoder.density, 6),
        "density_total": round(sizes.total.density, 6),
        "parameters": sizes.total.numel,
        "parameters_nonzero": sizes.total.nonzero,
        "file_bytes": sizes.file_bytes,
    }


def optimizer_steps(folder: Path) -> int:
    """How often a finished run changed the weights."""
    return int(_state(folder)["global_step"])


def logged(folder: Path, needed: str, *others: str) -> list[dict[str, float]]:
    """The rows of a finished run's log that have ``needed``: step, ``needed``, and what they have of ``others``."""
    keys = ("step", needed, *others)
    return [{key: row[key] for key in keys if key in row} for row in _state(folder)["log_history"] if needed in row]


def _state(folder: Path) -> dict[str, Any]:
    state: dict[str, Any] = json.loads((folder / "trainer_state.json").read_text(encoding="utf-8"))
    return state
