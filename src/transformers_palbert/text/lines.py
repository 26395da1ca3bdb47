"""Lines of text files, of which none takes memory without bound: a small compressed file may hold an endless one."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import IO

from ..errors import DatasetFormatError

__all__ = ["LONGEST_LINE", "bounded_lines"]

LONGEST_LINE = 1 << 24
"""Characters; a long novel has a tenth of it."""


def bounded_lines(stream: IO[str], file: Path) -> Iterator[str]:
    """The lines of ``stream``, with their ends.

    Args:
        stream: An open text file.
        file: Its name, for the error.

    Raises:
        DatasetFormatError: if a line is longer than :data:`LONGEST_LINE`; no more than that is read of it.
    """
    while line := stream.readline(LONGEST_LINE + 1):
        if len(line) > LONGEST_LINE:
            raise DatasetFormatError(
                f"{file} has a line of more than {LONGEST_LINE:,} characters. Put a paragraph in a line."
            )
        yield line
