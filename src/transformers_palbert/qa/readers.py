"""Reading question-answering files into plain records, with errors that say where a file is wrong.

Understood are SQuAD 1.1 and 2.0 (and CMRC 2018 and DRCD in that form), the older list form of CMRC 2018, and flat
records: one question each, as JSON, JSON lines, CSV, TSV or Parquet. The files themselves are read by
:mod:`~transformers_palbert.qa.record_files`, which keeps texts character by character.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any

from ..errors import DatasetFormatError
from .record_files import Records, read_records

__all__ = ["RawAnswer", "RawQuestion", "flat_question", "read_questions"]

# What CSV files and careless writers have for true, false and nothing.
_FLAGS = {"true": True, "1": True, "1.0": True, "false": False, "0": False, "0.0": False, "": None, "nan": None}


@dataclass(frozen=True)
class RawAnswer:
    """An answer as the file has it; ``start`` is None where the file gives no offset."""

    text: str
    start: int | None


@dataclass(frozen=True)
class RawQuestion:
    """A question as the file has it.

    Attributes:
        where: Its place, such as ``dev.json: data[3].paragraphs[0].qas[2]``.
        id: Its id; None where the file gives none.
        title: Title of the article, ``""`` where the file gives none.
        context: The text that holds the answer.
        question: The question.
        answers: The reference answers; none for a question that the context does not answer.
        impossible: What the file says in ``is_impossible``; None where it says nothing.
    """

    where: str
    id: str | None
    title: str
    context: str
    question: str
    answers: tuple[RawAnswer, ...]
    impossible: bool | None = None

    @property
    def contradictory(self) -> bool:
        """Whether the question is said to be impossible and has answers, or to be possible and has none."""
        return self.impossible is not None and self.impossible == bool(self.answers)


def read_questions(path: Path) -> Iterator[RawQuestion]:
    """Read the questions of one file, one at a time; its ending and its first record tell the form.

    Raises:
        DatasetFormatError: naming file, record and field, if the file cannot be read as what its ending says, holds
            no question, lacks a field or has one of a wrong type.
    """
    records = read_records(path)
    first = next(records, None)
    empty = True
    if first is not None:
        for question in _reader_of(first[1])(chain([first], records), f"{path.name}: "):
            empty = False
            yield question
    if empty:
        raise DatasetFormatError(f"{path}: the file holds no question")


def flat_question(record: Any, where: str) -> RawQuestion:
    """Read one flat record: ``question``, ``context`` and ``answers`` (or ``answer``); ``id`` and ``title`` optional.

    The answers may be ``{"text": [...], "answer_start": [...]}``, a list of such pairs, a list of strings, one string,
    or None for an unanswerable question. A field ``answer_start`` beside strings holds their offsets.
    """
    _expect(record, Mapping, where)
    names = [name for name in ("answers", "answer") if name in record]
    if not names:
        raise DatasetFormatError(f"{where}.answers: missing; fields are {_names(record)}")
    return RawQuestion(
        where,
        _identifier(record, "id", where, optional=True),
        _text(record, "title", where, optional=True),
        _text(record, "context", where),
        _text(record, "question", where),
        _answers(record[names[0]], record.get("answer_start"), f"{where}.{names[0]}"),
        _flag(record, "is_impossible", where),
    )


# --- forms --------------------------------------------------------------------------------------------------------


def _reader_of(record: Any) -> Callable[[Records, str], Iterator[RawQuestion]]:
    """What reads records that look like this one."""
    if isinstance(record, Mapping) and "paragraphs" in record:
        return _squad_questions
    if isinstance(record, Mapping) and "context_text" in record:
        return _cmrc_list_questions
    return _flat_questions


def _squad_questions(articles: Records, name: str) -> Iterator[RawQuestion]:
    for position, article in articles:
        at = name + position
        title = _text(article, "title", at, optional=True)
        for p, paragraph in enumerate(_list(article, "paragraphs", at)):
            place = f"{at}.paragraphs[{p}]"
            context = _text(paragraph, "context", place)
            for q, qa in enumerate(_list(paragraph, "qas", place)):
                where = f"{place}.qas[{q}]"
                question = _text(qa, "question", where)
                key = _identifier(qa, "id", where)
                answers = _answers(_get(qa, "answers", where), None, f"{where}.answers")
                yield RawQuestion(where, key, title, context, question, answers, _flag(qa, "is_impossible", where))


def _cmrc_list_questions(items: Records, name: str) -> Iterator[RawQuestion]:
    for position, item in items:
        at = name + position
        title = _text(item, "title", at, optional=True)
        context = _text(item, "context_text", at)
        for q, qa in enumerate(_list(item, "qas", at)):
            where = f"{at}.qas[{q}]"
            # Some answers of the official files are numbers; the official script writes them as Python does.
            texts = [str(text) if _is_number(text) else text for text in _list(qa, "answers", where)]
            answers = _answers(texts, None, f"{where}.answers")
            yield RawQuestion(
                where, _identifier(qa, "query_id", where), title, context, _text(qa, "query_text", where), answers
            )


def _flat_questions(records: Records, name: str) -> Iterator[RawQuestion]:
    return (flat_question(record, name + position) for position, record in records)


# --- fields -------------------------------------------------------------------------------------------------------


def _answers(value: Any, starts: Any, where: str) -> tuple[RawAnswer, ...]:
    """Read any form of answers. An empty text is no answer: several writers mark unanswerable questions so."""
    if value is None:
        return ()
    if isinstance(value, Mapping):
        return _answers(_get(value, "text", where), value.get("answer_start"), f"{where}.text")
    if isinstance(value, str):
        value, starts = [value], starts if isinstance(starts, list) else [starts]
    _expect(value, list, where)
    pairs = [_answer(item, f"{where}[{index}]") for index, item in enumerate(value)]
    if isinstance(starts, list):
        if len(starts) != len(pairs):
            raise DatasetFormatError(f"{where}: {len(pairs)} texts, but {len(starts)} values in answer_start")
        pairs = [
            RawAnswer(pair.text, _offset(start, f"{where}[{index}] answer_start"))
            for index, (pair, start) in enumerate(zip(pairs, starts, strict=True))
        ]
    elif starts is not None:
        raise DatasetFormatError(f"{where}: answer_start must be a list beside a list of texts, got {starts!r}")
    return tuple(pair for pair in pairs if pair.text)


def _answer(item: Any, where: str) -> RawAnswer:
    if isinstance(item, str):
        return RawAnswer(_encodable(item, where), None)
    _expect(item, Mapping, where)
    return RawAnswer(_text(item, "text", where), _offset(item.get("answer_start"), f"{where}.answer_start"))


def _offset(value: Any, where: str) -> int | None:
    if value is None or (isinstance(value, float) and value != value):  # a missing number in a table of floats
        return None
    if not _is_number(value) or value % 1 != 0:  # inf % 1 is not a number
        raise DatasetFormatError(f"{where}: expected an integer, got {_kind(value)}")
    return int(value)


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _flag(record: Mapping[str, Any], field: str, where: str) -> bool | None:
    value = record.get(field)
    if value is None or isinstance(value, bool):
        return value
    written = str(value).strip().lower()
    if written not in _FLAGS:
        raise DatasetFormatError(f"{where}.{field}: expected true or false, got {_kind(value)}")
    return _FLAGS[written]


def _identifier(record: Any, field: str, where: str, *, optional: bool = False) -> str | None:
    value = _get(record, field, where, optional=optional)
    if value is None and optional:
        return None
    if isinstance(value, bool) or not isinstance(value, (str, int)) or value == "":
        raise DatasetFormatError(f"{where}.{field}: expected a string that is not empty, got {_kind(value)}")
    return _encodable(str(value), f"{where}.{field}")


def _text(record: Any, field: str, where: str, *, optional: bool = False) -> str:
    value = _get(record, field, where, optional=optional)
    if value is None and optional:
        return ""
    _expect(value, str, f"{where}.{field}")
    return _encodable(value, f"{where}.{field}")


def _encodable(text: str, where: str) -> str:
    """Return ``text``, or raise if it holds half of a surrogate pair, which JSON can write and no file can store."""
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise DatasetFormatError(
            f"{where}: unpaired surrogate {text[error.start]!r} at character {error.start}"
        ) from error
    return text


def _list(record: Any, field: str, where: str) -> list[Any]:
    return list(_expect(_get(record, field, where), list, f"{where}.{field}"))


def _get(record: Any, field: str, where: str, *, optional: bool = False) -> Any:
    _expect(record, Mapping, where)
    if field not in record and not optional:
        raise DatasetFormatError(f"{where}.{field}: missing; fields are {_names(record)}")
    return record.get(field)


_KINDS: dict[type, str] = {str: "a string", list: "a list", Mapping: "an object"}


def _expect(value: Any, kind: type, where: str) -> Any:
    if not isinstance(value, kind):
        raise DatasetFormatError(f"{where}: expected {_KINDS[kind]}, got {_kind(value)}")
    return value


def _kind(value: Any) -> str:
    return "null" if value is None else f"{type(value).__name__} {value!r:.60}"


def _names(record: Mapping[str, Any]) -> str:
    return ", ".join(repr(name) for name in record) or "none"
