"""The records of a file, one at a time: JSON, JSON lines, CSV and TSV, also compressed as ``.gz``, and Parquet.

Texts are kept character by character: nothing is stripped, no line ending is translated, because answers are found by
their character offsets. A file is read piece by piece, and only the record at hand is held in memory.
"""

from __future__ import annotations

import codecs
import csv
import gzip
import io
import sys
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from json import JSONDecodeError
from pathlib import Path
from typing import IO, Any

from ..errors import DatasetFormatError
from ..json_text import parse_json
from .csv_cells import read_answers_cell, read_offsets_cell
from .json_stream import read_json_records

__all__ = ["SUFFIXES", "Records", "is_record_file", "read_records", "suffix_of"]

SUFFIXES = (".json", ".jsonl", ".ndjson", ".csv", ".tsv", ".parquet")
"""Endings of the files that can be read; behind all but the last, ``.gz`` may stand."""

_COMPRESSED = ".gz"

Records = Iterator[tuple[str, Any]]
"""Records with their places in the file, such as ``data[3]``, ``line 4`` or ``row 5``."""

_PIECE = 1 << 20  # bytes read at a time
_ROWS = 1000  # of a Parquet file decoded at a time


LONGEST_RECORD = 1 << 28
"""Characters of a line of JSON; a small compressed file may hold an endless one."""


def suffix_of(path: Path) -> str:
    """The ending that tells the form of a file, in lower case: ``.jsonl`` of ``dev.jsonl.gz``."""
    suffix = path.suffix.lower()
    if suffix == _COMPRESSED and (inner := Path(path.stem).suffix.lower()) in SUFFIXES[:-1]:
        return inner
    return suffix


def is_record_file(path: Path) -> bool:
    """Whether the ending of a file is one that :func:`read_records` reads."""
    return suffix_of(path) in SUFFIXES


def read_records(path: Path) -> Records:
    """Read the records of one file; its ending tells the form.

    Raises:
        DatasetFormatError: if the file cannot be read as what its ending says.
    """
    suffix = suffix_of(path)
    if suffix == ".parquet":
        return _read_parquet(path)
    if suffix in (".csv", ".tsv"):
        return _read_csv(path, "\t" if suffix == ".tsv" else ",")
    if suffix in (".jsonl", ".ndjson"):
        return _read_json_lines(path)
    if suffix == ".json":
        return read_json_records(path, _text(path))
    raise DatasetFormatError(f"{path}: files ending in {suffix!r} are not understood; use {', '.join(SUFFIXES)}")


@contextmanager
def _opened(path: Path) -> Iterator[IO[bytes]]:
    """The bytes of a file, decompressed.

    Raises:
        DatasetFormatError: if it is compressed, and damaged.
    """
    if path.suffix.lower() != _COMPRESSED:
        with path.open("rb") as file:
            yield file
        return
    try:
        with gzip.open(path) as file:
            yield file  # type: ignore[misc] # a GzipFile is read as any file
    except (gzip.BadGzipFile, EOFError, zlib.error) as error:
        raise DatasetFormatError(f"{path}: damaged, or no gzip file: {error}") from error


class _Counted(io.BufferedIOBase):
    """Bytes that are counted as they are read, so that a message can say where in the file one of them is."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self.head, self.size, self.line_feeds = b"", 0, 0

    def readable(self) -> bool:
        return True

    def read(self, size: int | None = -1) -> bytes:
        piece = self._file.read(-1 if size is None else size)
        self.head = self.head or piece[:2]
        self.size, self.line_feeds = self.size + len(piece), self.line_feeds + piece.count(b"\n")
        return piece

    read1 = read


def _text(path: Path) -> Iterator[str]:
    """The text of a file in pieces, without a byte order mark."""
    decoder = codecs.getincrementaldecoder("utf-8-sig")()
    with _opened(path) as raw:
        file = _Counted(raw)
        try:
            while piece := file.read(_PIECE):
                if text := decoder.decode(piece):  # readers take an empty piece for the end
                    yield text
            yield decoder.decode(b"", final=True)
        except UnicodeDecodeError as error:
            raise _wrong_encoding(path, file, error) from error


def _wrong_encoding(path: Path, file: _Counted, error: UnicodeDecodeError) -> DatasetFormatError:
    """Where a file is not UTF-8, and what to do about it; the bytes that the decoder had end where ``file`` is."""
    if file.head in (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE):
        return DatasetFormatError(f"{path}: the file is UTF-16; save it as UTF-8")
    rest = error.object[error.start :]
    line = file.line_feeds - rest.count(b"\n") + 1
    return DatasetFormatError(
        f"{path}: not UTF-8 (byte 0x{rest[0]:02x} at offset {file.size - len(rest)}, line {line});"
        " save it as UTF-8, for example with: iconv -f GB18030 -t UTF-8"
    )


def _lines(path: Path) -> Iterator[str]:
    """The lines of a file with the line feeds behind them; no other character ends a line."""
    rest: list[str] = []
    size = 0
    for piece in _text(path):
        first, *others = piece.split("\n")
        rest.append(first)
        size += len(first)
        if size > LONGEST_RECORD:
            raise DatasetFormatError(f"{path}: a line has more than {LONGEST_RECORD:,} characters")
        if others:
            yield "".join(rest) + "\n"
            yield from (f"{line}\n" for line in others[:-1])
            rest, size = others[-1:], len(others[-1])
    if size:
        yield "".join(rest)


def _read_json_lines(path: Path) -> Records:
    empty = True
    for number, line in enumerate(_lines(path), 1):
        if not line.strip():
            continue
        empty = False
        try:
            record = parse_json(line)
        except JSONDecodeError as error:
            message = f"not valid JSON at line {number}, column {error.colno}: {error.msg}"
            raise DatasetFormatError(f"{path}: {message}") from error
        except ValueError as error:
            raise DatasetFormatError(f"{path}: line {number} cannot be read: {error}") from error
        yield f"line {number}", record
    if empty:
        raise DatasetFormatError(f"{path}: the file is empty")


def _read_csv(path: Path, delimiter: str) -> Records:
    # newline="" keeps line endings inside quoted contexts as they are, and so the offsets.
    with _opened(path) as raw:
        counted: Any = _Counted(raw)  # all that a buffer must be, but that it has no name
        file = io.TextIOWrapper(counted, encoding="utf-8-sig", newline="")
        reader = csv.DictReader(file, delimiter=delimiter, strict=True)
        while (row := _next_row(reader, path, counted)) is not None:
            place = f"line {reader.line_num}"
            yield place, _csv_record(row, f"{path.name}: {place}")
    if reader.line_num == 0:
        raise DatasetFormatError(f"{path}: the file is empty")


def _next_row(reader: csv.DictReader[str], path: Path, file: _Counted) -> dict[Any, Any] | None:
    previous = csv.field_size_limit(sys.maxsize)  # contexts may be longer than the default of 131,072
    try:
        return next(reader, None)
    except csv.Error as error:
        raise DatasetFormatError(f"{path}: not valid CSV near line {reader.line_num}: {error}") from error
    except UnicodeDecodeError as error:
        raise _wrong_encoding(path, file, error) from error
    finally:
        csv.field_size_limit(previous)


def _csv_record(row: dict[Any, Any], where: str) -> dict[str, Any]:
    if None in row:
        raise DatasetFormatError(f"{where}: more fields than the header has columns; quote texts that hold a delimiter")
    short = [name for name, value in row.items() if value is None]
    if short:
        raise DatasetFormatError(f"{where}.{short[0]}: missing, the line has fewer fields than the header has columns")
    record: dict[str, Any] = dict(row)
    for name in ("answers", "answer"):
        if name in record:
            record[name] = read_answers_cell(record[name], f"{where}.{name}")
    if "answer_start" in record:
        record["answer_start"] = read_offsets_cell(record["answer_start"], f"{where}.answer_start")
    if record.get("id") == "":
        record["id"] = None
    return record


def _read_parquet(path: Path) -> Records:
    import pyarrow as pa
    import pyarrow.parquet as pq

    number = 0
    try:
        with pq.ParquetFile(path) as file:
            for batch in file.iter_batches(batch_size=_ROWS):
                for row in batch.to_pylist():
                    yield f"row {number}", row
                    number += 1
    except (pa.ArrowException, OSError) as error:
        raise DatasetFormatError(f"{path}: not a readable Parquet file: {error}") from error
