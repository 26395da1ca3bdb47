"""Documents of plain text files and of question-answering files."""

from __future__ import annotations

import gzip
import logging
import lzma
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import IO

from ..errors import DatasetFormatError
from ..qa.readers import read_questions
from ..text.lines import bounded_lines

__all__ = ["read_contexts", "read_documents"]

logger = logging.getLogger(__name__)

LONGEST_DOCUMENT = 1_000_000
"""Characters."""

_NO_BLANK_LINES = (
    "%s has no blank line in %s characters and more, and is cut into documents there. Put a blank line between"
    " documents: the two segments of an example come from one of them."
)


def read_documents(path: Path) -> Iterator[list[str]]:
    """Read a text file, plain or compressed (``.xz``, ``.gz``): one paragraph a line, a blank line between documents.

    A document ends at :data:`LONGEST_DOCUMENT` characters at the latest, with a warning: a file without blank lines
    would be a single one, all of it in memory.

    Yields:
        The paragraphs of one document, stripped of white space, none of them empty.

    Raises:
        DatasetFormatError: if the file is missing, damaged or not UTF-8.
    """
    document: list[str] = []
    size, told = 0, False
    try:
        with _open_text(path) as lines:
            for line in bounded_lines(lines, path):
                if paragraph := line.strip():
                    document.append(paragraph)
                    size += len(paragraph)
                if document and (not paragraph or size >= LONGEST_DOCUMENT):
                    if paragraph and not told:
                        logger.warning(_NO_BLANK_LINES, path, LONGEST_DOCUMENT)
                        told = True
                    yield document
                    document, size = [], 0
    except UnicodeDecodeError as error:
        raise DatasetFormatError(f"{path} is not UTF-8 ({error}); convert it first.") from error
    except (OSError, EOFError, lzma.LZMAError, zlib.error) as error:
        raise DatasetFormatError(f"{path} cannot be read: {error}") from error
    if document:
        yield document


def read_contexts(path: Path) -> Iterator[list[str]]:
    """Read the contexts of a question-answering file, each once, as documents; its questions and answers are not used.

    Raises:
        DatasetFormatError: see :func:`~transformers_palbert.qa.readers.read_questions`.
    """
    for context in dict.fromkeys(question.context for question in read_questions(path)):
        if document := [line.strip() for line in context.splitlines() if line.strip()]:
            yield document


def _open_text(path: Path) -> IO[str]:
    if path.suffix == ".xz":
        return lzma.open(path, "rt", encoding="utf-8-sig")
    if path.suffix == ".gz":
        return gzip.open(path, "rt", encoding="utf-8-sig")
    return open(path, encoding="utf-8-sig")
