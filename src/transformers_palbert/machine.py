"""Where a run took place: hardware and versions, for the record beside its figures."""

from __future__ import annotations

import os
import platform
from importlib.metadata import version
from pathlib import Path
from typing import Any

__all__ = ["describe_machine", "processor_name"]

LIBRARIES = ("torch", "transformers", "accelerate", "datasets", "tokenizers", "numpy", "transformers-palbert")


def describe_machine() -> dict[str, Any]:
    """``{"hardware": {processor, cores, torch_threads, gpu}, "versions": {library: version}}`` of this process."""
    import torch

    return {
        "hardware": {
            "processor": processor_name(),
            "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
            "torch_threads": torch.get_num_threads(),
            "gpu": torch.cuda.get_device_name() if torch.cuda.is_available() else None,
        },
        "versions": {"python": platform.python_version(), **{name: version(name) for name in LIBRARIES}},
    }


def processor_name() -> str:
    """The processor's model where the system tells it, else its architecture."""
    info = Path("/proc/cpuinfo")
    if info.is_file():
        for line in info.read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()
