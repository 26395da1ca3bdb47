"""Halves of surrogate pairs: JSON can write them, no file can store them, no tokenizer takes them."""

from __future__ import annotations

__all__ = ["lone_surrogate"]


def lone_surrogate(text: str) -> str | None:
    """The first half of a surrogate pair in ``text``, its place, and what it is; None if there is none.

    The words go on after "holds" in an error.
    """
    try:
        text.encode()
    except UnicodeEncodeError as error:
        half = text[error.start]
        return f"{half!r} at character {error.start}, which is half of a surrogate pair and no character"
    return None
