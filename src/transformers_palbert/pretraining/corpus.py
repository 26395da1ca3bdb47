"""Documents of plain text files and of question-answering files."""

from __future__ import annotations

import gzip
import lzma
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import IO

from ..errors import DatasetFormatError
from ..qa.readers import read_questions

__all__ = ["read_contexts", "read_documents"]


def read_documents(path: Path) -> Iterator[list[str]]:
    """Read a text file, plain or compressed (``.xz``, ``.gz``): one paragraph a line, a blank line between documents.

    Yields:
        The paragraphs of one document, stripped of white space, none of them empty.

    Raises:
        DatasetFormatError: if the file is missing, damaged or not UTF-8.
    """
    document: list[str] = []
    try:
        with _open_text(path) as lines:
            for line in lines:
                if paragraph := line.strip():
                    document.append(paragraph)
                elif document:
                    yield document
                    document = []
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
