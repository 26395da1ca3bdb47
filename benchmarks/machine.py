"""What every result file says about where and how it was measured."""

from __future__ import annotations

import json
import os
import shlex
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from transformers_palbert.machine import describe_machine

__all__ = ["RESULTS", "describe_run", "write_result"]

RESULTS = Path(__file__).parent / "results"


def describe_run(seed: int) -> dict[str, Any]:
    """Hardware, versions, seed, command and date of the running benchmark."""
    return {
        "command": shlex.join(["python", os.path.relpath(sys.argv[0]), *sys.argv[1:]]),
        "date": datetime.now(UTC).date().isoformat(),
        **describe_machine(),
        "seed": seed,
    }


def write_result(name: str, result: dict[str, Any]) -> Path:
    """Write ``results/{name}.json`` and return its path."""
    RESULTS.mkdir(exist_ok=True)
    file = RESULTS / f"{name}.json"
    file.write_text(json.dumps(result, ensure_ascii=False, indent=2) + "\n", encoding="utf-8")
    return file
