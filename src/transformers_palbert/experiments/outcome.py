"""What became of a run: it is done, did not fit into memory, failed, or was interrupted."""

from __future__ import annotations

import json
import re
import signal
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Any

from ..errors import ConfigurationError
from ..json_text import parse_json

__all__ = ["Run", "Status", "classify", "last_lines", "read_runs", "write_runs"]

NO_MEMORY = re.compile(
    r"\bOutOfMemoryError\b|out of memory|MemoryError\b|not enough memory|DefaultCPUAllocator|std::bad_alloc"
    r"|CUBLAS_STATUS_ALLOC_FAILED|Cannot allocate memory",
    re.IGNORECASE,
)
"""How torch, CUDA, Python, C++ and the operating system say that there is not enough memory."""

KILLED = {-signal.SIGKILL.value, 128 + signal.SIGKILL.value} if hasattr(signal, "SIGKILL") else set()
"""Exit codes of a process that the kernel killed, as it does when memory runs out."""

ENDED = {-signal.SIGINT.value, -signal.SIGTERM.value, 128 + signal.SIGINT.value, 128 + signal.SIGTERM.value}


class Status(StrEnum):
    """How a run ended."""

    DONE = "done"
    OUT_OF_MEMORY = "out of memory"
    FAILED = "failed"
    INTERRUPTED = "interrupted"


@dataclass(frozen=True)
class Run:
    """The record of a run: one line of the results.

    Attributes:
        key: See :func:`~transformers_palbert.experiments.settings.settings_key`.
        status: How it ended.
        settings: Options of the training script.
        metrics: What the script measured (``all_results.json``) and ``file_mb``, 10^6 bytes of the saved weights.
        seconds: Wall-clock time, of all attempts if it was interrupted.
        peak_memory_gb: Largest resident memory of the process, in 10^9 bytes; None where the system does not tell.
        command: What was run.
        reason: The last lines of the log, unless it is done.
        machine: Hardware and versions.
        date: When it ended.
        labels: Axis -> label, where the run belongs to a grid.
        grid: Its ``name``, ``scale`` and ``caption``, and the ``command`` that ran it.
        processor_seconds: Seconds that processors worked for it in the last attempt, all of its threads and processes
            together; None where the system does not tell.
    """

    key: str
    status: Status
    settings: dict[str, Any]
    metrics: dict[str, Any] = field(default_factory=dict)
    seconds: float = 0.0
    peak_memory_gb: float | None = None
    command: str = ""
    reason: str = ""
    machine: dict[str, Any] = field(default_factory=dict)
    date: str = ""
    labels: dict[str, str] = field(default_factory=dict)
    grid: dict[str, str] = field(default_factory=dict)
    processor_seconds: float | None = None

    @property
    def final(self) -> bool:
        """Whether running it again would give the same: it is done, or does not fit into a limit of its own.

        Without such a limit, there may be more memory another time, or something else had it killed.
        """
        limited = self.settings.get("memory_limit_gb") is not None
        return self.status is Status.DONE or (self.status is Status.OUT_OF_MEMORY and limited)

    @property
    def on_cpu(self) -> bool:
        """Whether it was told to leave a GPU alone."""
        return str(self.settings.get("use_cpu")).lower() == "true"

    @property
    def seed(self) -> int:
        """The seed it was run with."""
        return int(self.settings.get("seed", 42))

    def value(self, metric: str) -> float | None:
        """A metric by its name; ``seconds`` and ``peak_memory_gb`` count as such."""
        own = {"seconds": self.seconds, "peak_memory_gb": self.peak_memory_gb}
        found = self.metrics.get(metric, own.get(metric))
        return None if found is None else float(found)

    def to_json(self) -> str:
        """The record as one line."""
        return json.dumps(asdict(self), ensure_ascii=False)

    @classmethod
    def from_json(cls, line: str) -> Run:
        """The record that :meth:`to_json` wrote.

        Raises:
            ConfigurationError: if the line is no such record.
        """
        try:
            content = parse_json(line)
            return cls(**{**content, "status": Status(content["status"])})
        except (ValueError, TypeError, KeyError) as error:
            raise ConfigurationError(f"This line is no record of a run ({error}): {line[:80]!r}") from error


def classify(exit_code: int, log: str) -> Status:
    """How a process with this exit code and last lines of output ended."""
    if exit_code == 0:
        return Status.DONE
    if exit_code in ENDED:
        return Status.INTERRUPTED
    if exit_code in KILLED or NO_MEMORY.search(log):
        return Status.OUT_OF_MEMORY
    return Status.FAILED


def last_lines(text: str, count: int = 12) -> str:
    """The last lines that hold something; of a progress bar only what it showed at the end."""
    lines = [line.rsplit("\r", 1)[-1].rstrip() for line in text.splitlines()]
    return "\n".join([line for line in lines if line][-count:])


def read_runs(file: Path) -> list[Run]:
    """Read records from a file with one in each line.

    Raises:
        ConfigurationError: if a line is no record.
    """
    return [Run.from_json(line) for line in file.read_text(encoding="utf-8").splitlines() if line.strip()]


def write_runs(file: Path, runs: Iterable[Run]) -> None:
    """Write records to a file, one in each line; whole or not at all, so that a killed grid can still be read."""
    file.parent.mkdir(parents=True, exist_ok=True)
    partial = file.with_name(f".{file.name}.partial")
    partial.write_text("".join(run.to_json() + "\n" for run in runs), encoding="utf-8")
    partial.replace(file)
