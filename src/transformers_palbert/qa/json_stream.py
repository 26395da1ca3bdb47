"""JSON read value by value, so that a file costs the memory of one record and not of all of them.

Every value is decoded by the standard library's own decoder, and so is exactly what ``json.load`` would have made of
it: fast streaming parsers replace an unpaired surrogate by a question mark, and refuse numbers that Python knows.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ..errors import DatasetFormatError

__all__ = ["read_json_records"]

_DECODER = json.JSONDecoder()
_BLANKS = re.compile(r"[ \t\n\r]*")
_CUT_OFF = 3  # "1e-" at the end of a piece is the number 1, unless digits follow in the next piece


def read_json_records(path: Path, chunks: Iterator[str]) -> Iterator[tuple[str, Any]]:
    """Records of a file, each with its place: ``data[3]``, ``[3]`` or ``line 4``.

    The file holds a list of records; or an object with such a list in ``data``; or objects one after another, as
    ``Dataset.to_json`` writes them.

    Args:
        path: The file's name, for messages.
        chunks: Its text in pieces of any length.

    Raises:
        DatasetFormatError: naming line and column, if the text is not JSON, or nothing of the above.
    """
    text = _Text(path, chunks)
    first = text.peek()
    if not first:
        raise DatasetFormatError(f"{path}: the file is empty")
    if first == "[":
        yield from _elements(text, "")
        text.expect_end()
    elif first == "{":
        yield from _of_object(text)
    else:
        raise _no_records(path, _shown(text.value()))


def _of_object(text: _Text) -> Iterator[tuple[str, Any]]:
    """The list in ``data`` of an object; or this object and those behind it, where it has no such list."""
    line, others, found = text.line, {}, False
    text.take("{")
    while text.peek() != "}":
        key = text.key()
        if key == "data" and text.peek() == "[":
            if found:
                raise DatasetFormatError(
                    f"{text.path}: line {text.line}: a second list called 'data' in one object; make one of both"
                )
            found = True
            yield from _elements(text, "data")
        else:
            others[key] = text.value()
        if text.peek() != "}":
            text.take(",")
            text.expect_key()
    text.take("}")
    if found:
        text.expect_end()
    elif text.peek() or "question" in others:
        yield f"line {line}", others
        while text.peek():
            yield f"line {text.line}", text.value()
    else:
        raise _no_records(text.path, f"an object with {', '.join(map(repr, others)) or 'nothing in it'}")


def _elements(text: _Text, name: str) -> Iterator[tuple[str, Any]]:
    text.take("[")
    number = 0
    while text.peek() != "]":
        yield f"{name}[{number}]", text.value()
        number += 1
        if text.peek() != "]":
            text.take(",")
            text.expect_value()
    text.take("]")


def _no_records(path: Path, found: str) -> DatasetFormatError:
    return DatasetFormatError(
        f"{path}: expected a list of records, or an object with such a list in 'data', got {found}"
    )


def _shown(value: Any) -> str:
    return "null" if value is None else f"{type(value).__name__} {value!r:.60}"


class _Text:
    """The text of a file, of which only what is being read is held."""

    def __init__(self, path: Path, chunks: Iterator[str]) -> None:
        self.path = path
        self._chunks = chunks
        self._held = ""
        self._at = 0
        self._lines = 0  # line ends before what is held
        self._columns = 0  # characters of its first line before what is held

    @property
    def line(self) -> int:
        """Number of the line that is being read, from 1."""
        return self._lines + self._held.count("\n", 0, self._at) + 1

    def peek(self) -> str:
        """The next character that is not blank, or "" at the end."""
        while True:
            blanks = _BLANKS.match(self._held, self._at)
            self._at = blanks.end() if blanks else self._at
            if self._at < len(self._held) or not self._read_on():
                return self._held[self._at : self._at + 1]

    def take(self, sign: str) -> None:
        """Step over ``sign``, which must come next."""
        if self.peek() != sign:
            raise self._wrong(f"Expecting {sign!r}" + (" delimiter" if sign in ",:" else ""), self._at)
        self._at += 1

    def key(self) -> str:
        """A key of an object, and the colon behind it."""
        self.expect_key()
        key: str = self.value()
        self.take(":")
        return key

    def expect_key(self) -> None:
        if self.peek() != '"':
            raise self._wrong("Expecting property name enclosed in double quotes", self._at)

    def expect_value(self) -> None:
        if self.peek() in ("", "]"):
            raise self._wrong("Expecting value", self._at)

    def expect_end(self) -> None:
        if self.peek():
            raise self._wrong("Extra data", self._at)

    def value(self) -> Any:
        """The next value, whole."""
        self.peek()
        while True:
            try:
                value, end = _DECODER.raw_decode(self._held, self._at)
            except json.JSONDecodeError as error:
                if not self._read_on():
                    raise self._wrong(error.msg, error.pos) from error
            except RecursionError as error:
                raise self._unreadable("it is nested too deeply") from error
            except ValueError as error:  # an integer of more digits than Python reads
                raise self._unreadable(error) from error
            else:
                if end + _CUT_OFF <= len(self._held) or not self._read_on():
                    self._at = end
                    return value

    def _read_on(self) -> bool:
        """Hold twice as much of what has not been read, so that no text is decoded many times; False at the end."""
        used = self._held[: self._at]
        pieces = [self._held[self._at :]]
        wanted = max(len(pieces[0]), 1)
        while wanted > 0 and (piece := next(self._chunks, "")):
            pieces.append(piece)
            wanted -= len(piece)
        if len(pieces) == 1:
            return False
        ends = used.count("\n")
        self._lines += ends
        self._columns = len(used) - used.rfind("\n") - 1 if ends else self._columns + len(used)
        self._held, self._at = "".join(pieces), 0
        return True

    def _unreadable(self, reason: object) -> DatasetFormatError:
        return DatasetFormatError(f"{self.path}: line {self.line} cannot be read: {reason}")

    def _wrong(self, message: str, at: int) -> DatasetFormatError:
        before = self._held[:at]
        line = self._lines + before.count("\n") + 1
        column = at - before.rfind("\n") + (0 if "\n" in before else self._columns)
        return DatasetFormatError(f"{self.path}: not valid JSON at line {line}, column {column}: {message}")
