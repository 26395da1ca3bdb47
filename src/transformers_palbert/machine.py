"""Where a run takes place: hardware and versions, for the record beside its figures, and how much memory it may use."""

from __future__ import annotations

import os
import platform
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path
from typing import Any

__all__ = ["describe_machine", "is_another_process", "memory_limit", "processor_name"]

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


def is_another_process(number: str) -> bool:
    """Whether the process of this number runs and is not this one; what it left is not to be cleaned up.

    False on Windows, which cannot ask without ending it, and for what is no number.
    """
    if os.name == "nt" or not number.isdigit() or int(number) == os.getpid():
        return False
    try:
        os.kill(int(number), 0)  # asks, and sends nothing
    except ProcessLookupError:
        return False
    except PermissionError:  # it runs, for somebody else
        return True
    return True


def memory_limit() -> int | None:
    """Bytes of memory that this process may use: the least of the machine's, its container's and its own limit.

    None on a system that tells none of them, such as Windows.
    """
    limits = [limit for limit in (_physical_memory(), _address_space(), *_container_limits()) if limit is not None]
    return min(limits, default=None)


def _physical_memory() -> int | None:
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, ValueError):
        return None


def _address_space() -> int | None:
    """The bytes of address space that ``ulimit -v`` allows this process."""
    try:
        import resource
    except ImportError:  # Windows
        return None
    limit = resource.getrlimit(resource.RLIMIT_AS)[0]
    return None if limit == resource.RLIM_INFINITY else limit


def _container_limits(root: Path = Path("/sys/fs/cgroup"), groups: Path = Path("/proc/self/cgroup")) -> Iterator[int]:
    """The limits of this process's control groups and of those around them, in both versions of Linux's.

    Inside of a container its own group is often seen as the root, so the root is looked at too.
    """
    for line in groups.read_text().splitlines() if groups.is_file() else ():
        _, controllers, path = line.split(":", 2)
        if controllers not in ("", "memory"):
            continue
        base, name = (root, "memory.max") if not controllers else (root / "memory", "memory.limit_in_bytes")
        group = Path(path.strip("/"))
        for part in (group, *group.parents):
            file = base / part / name
            if file.is_file() and (text := file.read_text().strip()).isdigit():  # else "max": no limit
                yield int(text)
