"""Answers to any number of questions: lines of JSON in, lines of JSON out, resumed where a run was cut off.

A line of the input is an object with ``question`` and ``context``, and an ``id`` (a string or a whole number; without
one, ``line-7`` for line 7). A line of the output is an object with the ``id``, the best ``answer``, its ``score``,
``start`` and ``end`` (characters of the context), and ``candidates``, a list of objects with the last four, best first,
where more than one was asked for. Lines of the output stand in the order of the input, without those that cannot be
answered; these are set aside as objects with ``line`` (their number), ``error`` and ``text`` (the line as it was).

Memory holds one block of questions, and when a run is resumed the ids that were answered before.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from json import JSONDecodeError
from pathlib import Path
from typing import Any

from ..errors import DatasetFormatError
from ..json_text import parse_json
from ..text.surrogates import lone_surrogate

__all__ = [
    "AnsweredBlock",
    "BadLine",
    "QuestionLine",
    "answer_blocks",
    "answered_ids",
    "is_set_aside",
    "parse_line",
    "question_blocks",
]

_BEGINNING = b'{"id": '
"""How every line of an output begins."""

Answers = list[dict[str, Any]]


@dataclass(frozen=True)
class QuestionLine:
    """A line that holds a question.

    Attributes:
        number: Of the line, from 1.
        id: Of the question, as it was given.
        record: Question and context; its own ``id`` is the number of the line, which no other line has.
    """

    number: int
    id: str | int
    record: dict[str, str]


@dataclass(frozen=True)
class BadLine:
    """A line that cannot be answered.

    Attributes:
        number: Of the line, from 1.
        error: What is wrong with it.
        text: The line; a byte that is no UTF-8 is half of a surrogate pair, as Python's ``surrogateescape`` has it.
    """

    number: int
    error: str
    text: str

    def as_json(self) -> str:
        """The line that is written where bad lines are set aside."""
        return json.dumps({"line": self.number, "error": self.error, "text": self.text})


def is_set_aside(line: bytes) -> bool:
    """Whether a line is one that :meth:`BadLine.as_json` wrote."""
    try:
        value = parse_json(line.decode("utf-8"))
    except ValueError:
        return False
    return isinstance(value, dict) and value.keys() == {"line", "error", "text"}


@dataclass
class AnsweredBlock:
    """What became of some lines of the input.

    Attributes:
        answers: Lines of the output.
        bad: Lines to set aside.
        skipped: How many lines held questions that were answered before.
        size: Bytes of all these lines.
    """

    answers: list[str] = field(default_factory=list)
    bad: list[BadLine] = field(default_factory=list)
    skipped: int = 0
    size: int = 0


def parse_line(line: bytes, number: int) -> QuestionLine | BadLine:
    """What a line of the input holds."""
    try:
        value = parse_json(line.decode("utf-8-sig" if number == 1 else "utf-8").rstrip("\r\n"))
        return QuestionLine(number, _checked_id(value, number), _checked_record(value, number))
    except UnicodeDecodeError as error:
        reason = f"it is not UTF-8: byte 0x{error.object[error.start]:02x} at offset {error.start}"
    except JSONDecodeError as error:
        reason = f"it is not valid JSON at column {error.colno}: {error.msg}"
    except ValueError as error:
        reason = str(error)
    return BadLine(number, reason, line.decode("utf-8", "surrogateescape").rstrip("\r\n"))


def question_blocks(
    lines: Iterable[bytes], done: Counter[str | int], size: int
) -> Iterator[tuple[list[QuestionLine], AnsweredBlock]]:
    """Read questions in blocks, and set aside what holds none.

    Args:
        lines: Of the input; empty ones count, and are passed over.
        done: Ids answered before; each is taken out when its question comes by, so that of two questions with the same
            id both are answered.
        size: Questions of a block.

    Yields:
        At most ``size`` questions to answer, with what became of the other lines between them.
    """
    questions: list[QuestionLine] = []
    block = AnsweredBlock()
    for number, line in enumerate(lines, 1):
        block.size += len(line)
        parsed = parse_line(line, number) if line.strip() else None
        if isinstance(parsed, BadLine):
            block.bad.append(parsed)
        elif parsed is not None and done[parsed.id] > 0:
            done[parsed.id] -= 1
            block.skipped += 1
        elif parsed is not None:
            questions.append(parsed)
        if max(len(questions), len(block.bad)) == size or block.skipped == 100 * size:
            yield questions, block
            questions, block = [], AnsweredBlock()
    if block.size:
        yield questions, block


def answer_blocks(
    blocks: Iterable[tuple[list[QuestionLine], AnsweredBlock]],
    answer: Callable[[Sequence[Mapping[str, Any]]], list[Answers]],
) -> Iterator[AnsweredBlock]:
    """Answer the questions of every block.

    Args:
        blocks: Of :func:`question_blocks`.
        answer: Returns the answers to each of some records with ``id``, ``question`` and ``context``, best first.
    """
    for questions, block in blocks:
        found = answer([question.record for question in questions]) if questions else []
        block.answers = [_line(question.id, best) for question, best in zip(questions, found, strict=True)]
        yield block


def answered_ids(file: Path) -> Counter[str | int]:
    """The ids in an output that a run was cut off from; a last line that was half written is cut off the file.

    Nothing is changed where the file does not look like such an output.

    Raises:
        DatasetFormatError: naming the line that this module did not write.
    """
    ids: Counter[str | int] = Counter()
    whole = 0
    with file.open("rb") as lines:
        for number, line in enumerate(lines, 1):
            if not line.endswith(b"\n") and line.startswith(_BEGINNING[: len(line)]):
                break
            ids[_answered_id(line, f"{file}: line {number}")] += 1
            whole += len(line)
    if whole < file.stat().st_size:
        with file.open("rb+") as output:
            output.truncate(whole)
    return ids


def _answered_id(line: bytes, place: str) -> str | int:
    try:
        value = json.loads(line)
        if isinstance(value["id"], str | int) and "answer" in value:
            return value["id"]
    except (ValueError, TypeError, KeyError, RecursionError):
        pass
    raise DatasetFormatError(
        f"{place} is no answer that an earlier run wrote; nothing was changed. Write to another file, or remove it."
    )


def _checked_id(value: Any, number: int) -> str | int:
    if not isinstance(value, Mapping):
        raise ValueError(f"it holds no object with question and context, but {type(value).__name__}")
    found = value.get("id")
    if found is None:
        return f"line-{number}"
    if isinstance(found, bool) or not isinstance(found, str | int):
        raise ValueError(f"its id must be a string or a whole number, not {type(found).__name__}")
    return found


def _checked_record(value: Mapping[str, Any], number: int) -> dict[str, str]:
    record = {"id": str(number)}
    for name in ("question", "context"):
        text = value.get(name)
        if not isinstance(text, str):
            found = "is missing" if text is None else f"must be a string, not {type(text).__name__}"
            raise ValueError(f"its {name} {found}")
        if not text.strip():
            raise ValueError(f"its {name} is empty")
        if half := lone_surrogate(text):
            raise ValueError(f"its {name} holds {half}")
        record[name] = text
    return record


def _line(question_id: str | int, answers: Answers) -> str:
    named = [{name: answer[name] for name in ("answer", "score", "start", "end")} for answer in answers]
    more = {"candidates": named} if len(named) > 1 else {}
    # An id may hold half of a surrogate pair, which no encoding but escapes can write.
    text = json.dumps({"id": question_id, **named[0], **more}, ensure_ascii=False)
    return json.dumps({"id": question_id, **named[0], **more}) if lone_surrogate(text) else text
