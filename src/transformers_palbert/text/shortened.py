"""A text made of passages of a longer one, and where its characters stood there."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

__all__ = ["Piece", "Shortened", "join_passages", "visible", "whole_text"]


@dataclass(frozen=True)
class Piece:
    """Characters ``[start, end)`` of the original, which begin at ``at`` in the shortened text."""

    start: int
    end: int
    at: int


@dataclass(frozen=True)
class Shortened:
    """What was kept of a text.

    Attributes:
        text: The kept passages, in their order.
        pieces: Where they stood: runs of passages that were neighbours already, ascending.
    """

    text: str
    pieces: tuple[Piece, ...]

    def to_original(self, start: int, end: int) -> tuple[int, int] | None:
        """Where characters ``[start, end)`` of the text stood; None if they never stood side by side."""
        piece = self.pieces[max(bisect_right(self.pieces, start, key=lambda piece: piece.at) - 1, 0)]
        moved = piece.start - piece.at
        return (start + moved, end + moved) if end + moved <= piece.end else None

    def from_original(self, start: int, end: int) -> tuple[int, int] | None:
        """Where characters ``[start, end)`` of the original are now; None if not all of them were kept."""
        number = bisect_right(self.pieces, start, key=lambda piece: piece.start) - 1
        if number < 0 or end > self.pieces[number].end:
            return None
        moved = self.pieces[number].at - self.pieces[number].start
        return start + moved, end + moved


def visible(text: str, start: int, end: int) -> tuple[int, int]:
    """Characters ``[start, end)`` of ``text`` without the white space around them; all, if they are nothing else.

    Some tokenizers (DeBERTa's, byte-level ones without trimmed offsets) count the space before a word as part of its
    first token, though it stands in the passage before, or was put between two passages.
    """
    found = text[start:end]
    if not found.strip():
        return start, end
    return end - len(found.lstrip()), start + len(found.rstrip())


def whole_text(text: str) -> Shortened:
    """All of a text."""
    return Shortened(text, (Piece(0, len(text), 0),))


def join_passages(
    context: str, spans: Sequence[tuple[int, int]], kept: npt.NDArray[np.bool_] | Sequence[bool]
) -> Shortened:
    """Join the passages that are kept.

    Passages that were neighbours stay joined as they were. Between others there is a space where the first does not end
    in one, so that two words do not become one; none behind Chinese characters and full-width signs.

    Args:
        context: The text.
        spans: Characters of its passages, see :class:`~transformers_palbert.reduction.passages.Passages`.
        kept: Which passages are kept; one at least.
    """
    runs: list[tuple[int, int]] = []
    for (start, end), keep in zip(spans, kept, strict=True):
        if keep and runs and runs[-1][1] == start:
            runs[-1] = (runs[-1][0], end)
        elif keep:
            runs.append((start, end))
    text, pieces = "", []
    for start, end in runs:
        text += _space_behind(text)
        pieces.append(Piece(start, end, len(text)))
        text += context[start:end]
    return Shortened(text, tuple(pieces))


def _space_behind(text: str) -> str:
    return " " if text and not text[-1].isspace() and text[-1] < "\u2e80" else ""
