"""Which passages are kept: those above a threshold, or the best that fit into so many tokens.

A limit is a small class with one method: how many tokens may be kept of a context, and which passages are out whatever
room there is. :func:`choose` does the rest for all of them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import numpy.typing as npt

from ..errors import ConfigurationError

__all__ = ["Limit", "MaxTokens", "Share", "Threshold", "choose"]

FloatArray = npt.NDArray[np.float64]
BoolArray = npt.NDArray[np.bool_]


class Limit(Protocol):
    """How much of a context may be kept."""

    def room(self, relevance: FloatArray, tokens: Sequence[int]) -> tuple[BoolArray, float]:
        """Which passages may be kept for their own sake, ``(passages,)``, and how many tokens of them all."""

    def describe(self) -> dict[str, float]:
        """The limit's name and value."""


@dataclass(frozen=True)
class Threshold:
    """Keep the passages with a relevance of ``value`` at least, which the best of a context has at any rate.

    Args:
        value: From 0, which keeps everything, to 1, which keeps the best alone: relevance is 1 for the best passage of
            a context and 0 for the worst.
    """

    value: float

    def __post_init__(self) -> None:
        _require_number("A threshold", self.value)
        if not 0 <= self.value <= 1:
            raise ConfigurationError(
                f"A threshold must be from 0 (everything) to 1 (the best alone), got {self.value}."
            )

    def room(self, relevance: FloatArray, tokens: Sequence[int]) -> tuple[BoolArray, float]:
        return relevance >= self.value, float("inf")

    def describe(self) -> dict[str, float]:
        return {"threshold": self.value}


@dataclass(frozen=True)
class MaxTokens:
    """Keep the best passages that fit into ``value`` tokens; the best one even where it has more."""

    value: int

    def __post_init__(self) -> None:
        _require_number("How many tokens are kept", self.value)
        if not self.value >= 1:  # nor is it NaN
            raise ConfigurationError(f"At least 1 token must be kept, got {self.value}.")

    def room(self, relevance: FloatArray, tokens: Sequence[int]) -> tuple[BoolArray, float]:
        return np.ones(len(relevance), dtype=bool), float(self.value)

    def describe(self) -> dict[str, float]:
        return {"max_tokens": self.value}


@dataclass(frozen=True)
class Share:
    """Keep the best passages that fit into this share of the context's tokens, in (0, 1]; the best one at any rate."""

    value: float

    def __post_init__(self) -> None:
        _require_number("A share of the tokens", self.value)
        if not 0 < self.value <= 1:
            raise ConfigurationError(f"A share of the tokens must be above 0 and at most 1, got {self.value}.")

    def room(self, relevance: FloatArray, tokens: Sequence[int]) -> tuple[BoolArray, float]:
        return np.ones(len(relevance), dtype=bool), self.value * sum(tokens)

    def describe(self) -> dict[str, float]:
        return {"share": self.value}


def _require_number(name: str, value: object) -> None:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise ConfigurationError(f"{name} must be a number, got {value!r}.")


def choose(
    relevance: FloatArray,
    tokens: Sequence[int],
    limit: Limit,
    *,
    neighbours: int = 0,
    required: Sequence[int] = (),
) -> BoolArray:
    """Choose passages by falling relevance; of equal ones the first in the text.

    A passage that does not fit any more is passed over, and a less relevant one may still fit: limits are used up as
    far as possible. Where the passage fits and its neighbours do not, it is kept without them.

    Args:
        relevance: Of each passage, ``(passages,)``.
        tokens: Of each passage.
        limit: How much is kept.
        neighbours: How many passages on either side of one that is kept are kept with it.
        required: Passages that are kept in any case, and take their room first.

    Returns:
        Which passages are kept, ``(passages,)``: always one at least.
    """
    sizes = np.asarray(tokens)
    allowed, room = limit.room(relevance, tokens)
    kept = np.zeros(len(sizes), dtype=bool)
    kept[list(required)] = True
    left = room - sizes[kept].sum()
    for best in np.argsort(-relevance, kind="stable"):
        if not allowed[best] and kept.any():
            continue
        for reach in dict.fromkeys((neighbours, 0)):
            group = np.arange(max(best - reach, 0), min(best + reach + 1, len(sizes)))
            group = group[~kept[group]]
            if sizes[group].sum() <= left or (reach == 0 and not kept.any()):
                kept[group] = True
                left -= sizes[group].sum()
                break
    return kept
