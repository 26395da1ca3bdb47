"""Granularity: which weights live and die together.

Each maps the scores of weights to scores of groups and the mask of groups back to a mask of weights; how a weight is
scored and how many are kept is decided elsewhere.
"""

from __future__ import annotations

from typing import Protocol

from torch import Size, Tensor

__all__ = ["GRANULARITIES", "Element", "Granularity"]


class Granularity(Protocol):
    """A partition of a weight ``[out, in]`` into groups of equal size."""

    def group_scores(self, scores: Tensor) -> Tensor:
        """Scores of the groups, from the scores ``[out, in]`` of the weights."""
        ...

    def weight_mask(self, mask: Tensor, shape: Size) -> Tensor:
        """Mask of the weights, of ``shape``, from the mask of the groups."""
        ...


class Element:
    """Every weight on its own (unstructured pruning)."""

    def group_scores(self, scores: Tensor) -> Tensor:
        return scores

    def weight_mask(self, mask: Tensor, shape: Size) -> Tensor:
        return mask.view(shape)


GRANULARITIES: dict[str, Granularity] = {"element": Element()}
