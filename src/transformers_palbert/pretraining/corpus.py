"""Documents of plain text files and of question-answering files, and where their sentences begin."""

from __future__ import annotations

import gzip
import lzma
import re
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import IO

from ..errors import DatasetFormatError
from ..qa.readers import read_questions

__all__ = ["read_contexts", "read_documents", "sentence_starts"]

_CLOSING, _OPENING, _CHINESE = r"""["')\]”’」』）】》]*""", r"""["'(\[“‘「『（【《]*""", r"\u3400-\u9fff"
_SENTENCE_END = re.compile(
    rf"[。！？…][。！？!?…]*{_CLOSING}\s*"
    rf"|[.!?]+{_CLOSING}\s+(?={_OPENING}[A-Z0-9\u00c0-\u00de{_CHINESE}])"  # not in 3.14, example.com, "e.g. this"
    rf"|[!?]+{_CLOSING}(?={_OPENING}[{_CHINESE}])"
)
_ABBREVIATION = re.compile(
    r"(?:\b(?:[A-Z]|Mr|Mrs|Ms|Dr|Prof|St|Sr|Jr|Inc|Ltd|Co|Corp|No|vs|etc|cf|Fig|Eq|[Ee]\.g|[Ii]\.e|[Aa]l))\.$"
)


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


def sentence_starts(text: str) -> list[int]:
    """Characters that the sentences of a paragraph begin at, the first being 0; for Chinese, English and mixtures.

    A sentence ends after 。！？… or .!? and the quotes and brackets that close behind them. A Latin full stop needs
    white space behind it and then a capital, a digit or a Chinese character, and no common abbreviation or initial
    before it.

    Example:
        >>> sentence_starts("他说：“好。”然后走了。See Fig. 3. It works.")
        [0, 7, 12, 24]
    """
    ends = (match.end() for match in _SENTENCE_END.finditer(text) if not _abbreviates(text, match))
    return [0, *(end for end in ends if end < len(text))]


def _abbreviates(text: str, match: re.Match[str]) -> bool:
    if not match.group().startswith("."):
        return False
    return _ABBREVIATION.search(text[max(0, match.start() - 8) : match.start() + 1]) is not None


def _open_text(path: Path) -> IO[str]:
    if path.suffix == ".xz":
        return lzma.open(path, "rt", encoding="utf-8-sig")
    if path.suffix == ".gz":
        return gzip.open(path, "rt", encoding="utf-8-sig")
    return open(path, encoding="utf-8-sig")
