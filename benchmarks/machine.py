"""What every result file says about where and how it was measured."""

from __future__ import annotations

import json
import os
import shlex
import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from transformers_palbert.machine import describe_machine
from transformers_palbert.speed.latency import STEADY, compared_seconds

__all__ = ["RESULTS", "describe_run", "steady_seconds", "write_result"]

RESULTS = Path(__file__).parent / "results"


def describe_run(seed: int) -> dict[str, Any]:
    """Hardware, versions, seed, command and date of the running benchmark."""
    return {
        "command": shlex.join(["python", os.path.relpath(sys.argv[0]), *sys.argv[1:]]),
        "date": datetime.now(UTC).date().isoformat(),
        **describe_machine(),
        "seed": seed,
    }


def steady_seconds(models: Sequence[Any], batch_size: int, length: int) -> list[float]:
    """Seconds of one forward of each model, in turns; ends the program where the machine does too much else."""
    seconds, disagreement = compared_seconds(models, batch_size, length)
    if disagreement > STEADY:
        sys.exit(
            f"Two halves of the measurement of speed are {disagreement:.0%} apart, and {STEADY:.0%} is the most that"
            " figures are written of. Trained models and scores are kept: call it again when the machine is idle."
        )
    return seconds


def write_result(name: str, result: dict[str, Any]) -> Path:
    """Write ``results/{name}.json`` and return its path."""
    RESULTS.mkdir(exist_ok=True)
    file = RESULTS / f"{name}.json"
    file.write_text(json.dumps(result, ensure_ascii=False, indent=2) + "\n", encoding="utf-8")
    return file
