"""How long models take to answer on this machine: runtimes, precisions, shapes and threads, all in turns."""

from __future__ import annotations

import os
from collections.abc import Sequence
from contextlib import ExitStack, suppress
from dataclasses import asdict, dataclass
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import numpy as np

from ..errors import ConfigurationError
from ..hub.facts import versions
from ..machine import processor_name
from .latency_worker import Case, Shape, serve
from .turns import Watch, Worker, take_turns

__all__ = ["PRECISIONS", "LatencyTable", "Timing", "measure_latencies"]

PRECISIONS = {
    "torch": ("float32", "bfloat16"),
    "compiled": ("float32", "bfloat16"),
    "onnx": ("float32", "int8"),
    "openvino": ("float32", "bfloat16", "int8"),
}
"""Runtime -> the precisions that it computes in on a CPU."""


@dataclass(frozen=True)
class Timing:
    """How long one model takes for batches of one shape.

    Attributes:
        case: What ran.
        batch_size: Windows of a batch.
        length: Tokens of each.
        p50: Median of the seconds of a batch.
        p95: Seconds that 95 % of the batches took at most.
        questions_per_second: Windows of a batch by its median; a short text is one window.
        memory: The most bytes that the process of this case held, PyTorch included, whatever the shape; None where the
            system does not tell.
    """

    case: Case
    batch_size: int
    length: int
    p50: float
    p95: float
    questions_per_second: float
    memory: int | None


@dataclass(frozen=True)
class LatencyTable:
    """What was measured, and where.

    Attributes:
        machine: The processor's name.
        cores: How many logical cores the system has.
        versions: Versions by library.
        rounds: How many batches of each shape every case ran.
        timings: One for each case and shape.
        failed: Case -> why it could not run.
    """

    machine: str
    cores: int
    versions: dict[str, str]
    rounds: int
    timings: list[Timing]
    failed: dict[Case, str]

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        values = {name: value for name, value in vars(self).items() if name not in ("timings", "failed")}
        timings = [{**asdict(row.case), **{k: v for k, v in vars(row).items() if k != "case"}} for row in self.timings]
        failed = [{**asdict(case), "error": error} for case, error in self.failed.items()]
        return {**values, "timings": timings, "failed": failed}


def measure_latencies(
    cases: Sequence[Case], shapes: Sequence[Shape], *, rounds: int = 20, watch: Watch = lambda items, _: items
) -> LatencyTable:
    """Let every case run batches of every shape, in turns, and time them.

    Each case has a process of its own, so that memory and threads are its own, and waits while another one runs. In
    each round every case runs one batch of each shape; what else the machine does hits all of them alike. The first
    rounds warm up and do not count.

    Args:
        cases: What to measure.
        shapes: Windows and tokens of the batches.
        rounds: How many batches of each shape are timed.
        watch: Wraps the rounds, for a progress bar.

    Raises:
        ConfigurationError: if there is nothing to measure, or nothing could be.
    """
    if not cases or not shapes or rounds < 1:
        raise ConfigurationError(f"Nothing to measure: {len(cases)} cases, {len(shapes)} shapes, {rounds} rounds.")
    failed: dict[Case, str] = {}
    with ExitStack() as stack:
        workers = {case: stack.enter_context(Worker(serve, case)) for case in cases}
        seconds = take_turns(workers, shapes, rounds, failed, watch)
        memory = {case: worker.ask(None) for case, worker in workers.items() if case not in failed}
    failed.update({case: found for case, found in memory.items() if isinstance(found, str)})
    if len(failed) == len(cases):
        raise ConfigurationError(f"Nothing could be measured. The first error was: {next(iter(failed.values()))}")
    timings = [
        _timing(case, shape, seconds[case, shape], memory[case])
        for case in cases
        if case not in failed
        for shape in shapes
    ]
    return LatencyTable(processor_name(), os.cpu_count() or 1, _versions(), rounds, timings, failed)


def _versions() -> dict[str, str]:
    found = dict(versions())
    for name in ("onnxruntime", "openvino"):
        with suppress(PackageNotFoundError):
            found[name] = version(name)
    return found


def _timing(case: Case, shape: Shape, seconds: list[float], memory: int | None) -> Timing:
    p50, p95 = (float(value) for value in np.percentile(seconds, [50, 95]))
    return Timing(case, *shape, p50=p50, p95=p95, questions_per_second=shape[0] / p50, memory=memory)
