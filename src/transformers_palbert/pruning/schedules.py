"""Density schedules: pure functions of the position in the run, so that a resumed run needs no state of its own.

A run of ``T`` optimizer steps has three parts, given as fractions of ``T`` and not as absolute counts: a *warm-up* at
the initial density, a *ramp* down to the final density, and a *cool-down* at the final density::

    density
      1.0 ────────╮
                   ╲
                    ╰──╮
      final             ╰────────────
          |warm-up| ramp  | cool-down|

References: the cubic ramp is Eq. 1 of Zhu and Gupta, "To prune, or not to prune" (arXiv 1710.01878); warm-up and
cool-down follow Sanh et al., "Movement Pruning" (arXiv 2005.07683), there as absolute step counts.
"""

from __future__ import annotations

import math
from collections.abc import Callable

from ..errors import ConfigurationError

__all__ = ["SCHEDULES", "density_at", "last_update", "schedule_progress"]


def _constant(_: float) -> float:
    return 1.0


def _linear(progress: float) -> float:
    return progress


def _cubic(progress: float) -> float:
    return 1.0 - (1.0 - progress) ** 3


SCHEDULES: dict[str, Callable[[float], float]] = {"constant": _constant, "cubic": _cubic, "linear": _linear}
"""Name -> share of the way from the initial to the final density, as a function of the ramp's progress in [0, 1].

``constant`` has no ramp: it jumps to the final density when the warm-up is over.
"""


def schedule_progress(step: int, total_steps: int, *, warmup: float = 0.0, cooldown: float = 0.0) -> float:
    """Progress of the ramp after ``step`` of ``total_steps`` optimizer steps, in [-inf, 1].

    A negative value means that the warm-up is not over; 1 means that the final density is reached.

    Args:
        step: Finished optimizer steps, in [0, total_steps].
        total_steps: Optimizer steps of the whole run, at least 1.
        warmup: Fraction of the run at the initial density, in [0, 1).
        cooldown: Fraction of the run at the final density, in [0, 1), with warmup + cooldown < 1.

    Raises:
        ConfigurationError: if ``total_steps`` is not positive or the fractions leave no room for a ramp.
    """
    if total_steps < 1:
        raise ConfigurationError(f"total_steps={total_steps}: a schedule needs at least one optimizer step.")
    if not (0 <= warmup < 1 and 0 <= cooldown < 1 and warmup + cooldown < 1):
        raise ConfigurationError(
            f"warmup={warmup} and cooldown={cooldown} are fractions of the run: each must lie in [0, 1) and their sum"
            " below 1, or no step is left to prune in."
        )
    start, end = warmup * total_steps, (1.0 - cooldown) * total_steps
    return min(1.0, (step - start) / (end - start))


def density_at(
    step: int,
    total_steps: int,
    *,
    final_density: float,
    initial_density: float = 1.0,
    schedule: str = "cubic",
    warmup: float = 0.0,
    cooldown: float = 0.0,
) -> float:
    """Share of the weights kept after ``step`` of ``total_steps`` optimizer steps.

    ``d(t) = d_final + (d_initial - d_final) · (1 - r(t))`` with ``r = 1 - (1 - t)³`` (cubic), ``r = t`` (linear) or
    ``r = 1`` (constant), where ``t`` is :func:`schedule_progress`. Exactly ``final_density`` from the cool-down on.

    Raises:
        ConfigurationError: if the schedule's name is unknown, or as :func:`schedule_progress`.
    """
    if schedule not in SCHEDULES:
        raise ConfigurationError(f"schedule={schedule!r} is unknown; choose one of {sorted(SCHEDULES)}.")
    progress = schedule_progress(step, total_steps, warmup=warmup, cooldown=cooldown)
    if progress < 0:
        return initial_density
    remaining = 1.0 - SCHEDULES[schedule](progress)
    return final_density + (initial_density - final_density) * remaining


def last_update(step: int, total_steps: int, every: int = 1, *, cooldown: float = 0.0) -> int:
    """The last step, at or before ``step``, at which the masks change.

    They change at every multiple of ``every``, and at the first step of the cool-down, so that it starts at the final
    density whatever ``every`` is.
    """
    regular = step - step % every
    end = math.ceil((1.0 - cooldown) * total_steps)
    return max(regular, end) if end <= step else regular
