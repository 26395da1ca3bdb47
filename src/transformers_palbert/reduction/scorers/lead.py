"""Earlier passages before later ones: what is kept is the beginning of the text, nearly as if it were cut off.

    score(i-th passage) = -i

Nearly, because only whole passages are kept, and where the next one is too long for the room that is left, a shorter
one behind it may still fit. Beside other scorers, it shows what they are worth more than cutting off.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..passages import Passages
from .base import Scored

__all__ = ["LeadScorer"]


@dataclass(frozen=True)
class LeadScorer:
    """Minus the number of the passage: 0, -1, -2 …; the question plays no part."""

    name = "lead"

    def describe(self) -> dict[str, Any]:
        return {"scorer": self.name}

    def __call__(self, batch: Sequence[Passages]) -> Scored:
        """Score passages; see :class:`~transformers_palbert.reduction.scorers.base.Scorer`."""
        return Scored([-np.arange(float(len(row))) for row in batch])
