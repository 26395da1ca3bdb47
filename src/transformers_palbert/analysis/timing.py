"""Timing several functions against each other on a machine that also does other things."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

__all__ = ["timed_in_turns"]


def timed_in_turns(
    functions: Sequence[Callable[[Any], Any]], items: Iterable[Any]
) -> tuple[list[list[Any]], npt.NDArray[np.float64]]:
    """Call every function on every item, all functions on one item before the next item.

    What else the machine does thus slows all of them alike. The function that begins changes with the item, so that
    none of them always finds the caches as the same other one left them.

    Returns:
        Results by function and item, and seconds of wall-clock time, shape ``(functions, items)``.
    """
    results: list[list[Any]] = [[] for _ in functions]
    seconds: list[list[float]] = [[] for _ in functions]
    for number, item in enumerate(items):
        for turn in range(len(functions)):
            which = (number + turn) % len(functions)
            start = time.perf_counter()
            results[which].append(functions[which](item))
            seconds[which].append(time.perf_counter() - start)
    return results, np.array(seconds)
