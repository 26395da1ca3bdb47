"""The texts of a corpus, and how often each token of a tokenizer occurs in them."""

from __future__ import annotations

import gzip
import io
import lzma
import zlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import IO, Any

import numpy as np
import numpy.typing as npt
from tokenizers import Tokenizer

from ..errors import DatasetFormatError
from ..qa.readers import read_questions
from ..qa.record_files import is_record_file
from ..text.lines import bounded_lines

__all__ = ["Counts", "corpus_texts", "count_tokens"]

Counts = npt.NDArray[np.int64]
"""How often each token occurs, by its id."""

_BATCH = 1 << 20  # characters that are tokenized at once


def corpus_texts(files: Sequence[Path], advance: Callable[[int], object] = lambda _: None) -> Iterator[str]:
    """Read the texts of files, one at a time.

    Questions, answers, titles and contexts of the question-answering files that
    :func:`~transformers_palbert.qa.datasets.load_qa_dataset` reads (JSON, JSON lines, CSV, TSV, Parquet; ``.gz`` too);
    the lines of any other file, which is plain text, maybe compressed (``.xz``, ``.gz``). Lines are stripped, and none
    is empty.

    Args:
        files: The files, read in this order.
        advance: Is told how many more bytes of the files have been read, for a progress bar.

    Raises:
        DatasetFormatError: if a file is missing, damaged or not UTF-8.
    """
    for file in files:
        if is_record_file(file):
            yield from _question_texts(file)
            advance(file.stat().st_size)
        else:
            yield from _lines(file, advance)


def count_tokens(tokenizer: Any, texts: Iterable[str]) -> Counts:
    """Count the tokens of ``texts``, which are neither cut nor padded and get no special tokens around them.

    Args:
        tokenizer: A fast tokenizer of transformers.
        texts: Any number of texts; some of them are in memory at a time.

    Returns:
        One number for each id, up to the highest one that the tokenizer knows.
    """
    backend = Tokenizer.from_str(tokenizer.backend_tokenizer.to_str())
    backend.no_truncation()
    backend.no_padding()
    counts = np.zeros(1 + max(backend.get_vocab(with_added_tokens=True).values()), dtype=np.int64)
    for batch in _batches(texts):
        ids = [encoding.ids for encoding in backend.encode_batch_fast(batch, add_special_tokens=False)]
        counts += np.bincount(np.concatenate([np.asarray(row, np.int64) for row in ids]), minlength=len(counts))
    return counts


def _batches(texts: Iterable[str]) -> Iterator[list[str]]:
    batch, size = list[str](), 0
    for text in texts:
        batch.append(text)
        size += len(text)
        if size >= _BATCH:
            yield batch
            batch, size = [], 0
    if batch:
        yield batch


def _question_texts(file: Path) -> Iterator[str]:
    title = context = ""
    for question in read_questions(file):
        if question.title != title:
            yield (title := question.title)
        if question.context != context:  # the questions about one context come together
            yield (context := question.context)
        yield question.question
        yield from (answer.text for answer in question.answers)


def _lines(file: Path, advance: Callable[[int], object]) -> Iterator[str]:
    try:
        with file.open("rb") as raw:
            read = 0
            for line in bounded_lines(io.TextIOWrapper(_decompressed(file, raw), "utf-8-sig"), file):
                if text := line.strip():
                    yield text
                if (here := raw.tell()) != read:
                    advance(here - read)
                    read = here
    except UnicodeDecodeError as error:
        raise DatasetFormatError(f"{file} is not UTF-8 ({error}); convert it first.") from error
    except (OSError, EOFError, lzma.LZMAError, zlib.error) as error:
        raise DatasetFormatError(f"{file} cannot be read: {error}") from error


def _decompressed(file: Path, raw: IO[bytes]) -> Any:
    match file.suffix.lower():
        case ".xz":
            return lzma.open(raw)
        case ".gz":
            return gzip.open(raw)
    return raw
