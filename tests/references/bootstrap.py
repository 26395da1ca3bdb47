"""The bootstrap one draw at a time, and fractions counted in plain loops."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

__all__ = ["naive_interval", "naive_means", "naive_p"]


def naive_means(scores: Sequence[float], resamples: int, seed: int) -> list[float]:
    """Mean of every draw with replacement."""
    rng = np.random.default_rng(seed)
    means = []
    for _ in range(resamples):
        drawn = [scores[index] for index in rng.integers(0, len(scores), len(scores))]
        means.append(sum(drawn) / len(drawn))
    return means


def naive_interval(means: Sequence[float], level: float) -> tuple[float, float]:
    """Percentiles, linear between neighbours."""
    ordered = sorted(means)

    def percentile(share: float) -> float:
        place = share * (len(ordered) - 1)
        below = int(place)
        above = min(below + 1, len(ordered) - 1)
        return ordered[below] + (place - below) * (ordered[above] - ordered[below])

    return percentile((1 - level) / 2), percentile((1 + level) / 2)


def naive_p(value: float, means: Sequence[float]) -> float:
    """Share of draws at least as far from ``value`` as that is from 0, the observed one counted in."""
    return (1 + sum(abs(mean - value) >= abs(value) - 1e-9 for mean in means)) / (1 + len(means))
