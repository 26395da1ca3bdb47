"""Reading question-answering files into plain records, with errors that say where a file is wrong.

Understood are SQuAD 1.1 and 2.0 (and CMRC 2018 and DRCD in that form), the older list form of CMRC 2018, Natural
Questions in both of its official forms (:mod:`~transformers_palbert.qa.natural_questions`), the form of the MRQA 2019
shared task and that of DPR (:mod:`~transformers_palbert.qa.open_domain`), and flat records: one question each, as JSON,
JSON lines, CSV, TSV or Parquet. The files themselves are read by :mod:`~transformers_palbert.qa.record_files`, which
keeps texts character by character.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from itertools import chain
from pathlib import Path
from typing import Any

from ..errors import DatasetFormatError
from .natural_questions import natural_question
from .open_domain import dpr_question, mrqa_questions
from .raw_questions import (
    RawAnswer,
    RawQuestion,
    encodable,
    expect,
    get_field,
    identifier,
    is_number,
    kind_of,
    list_field,
    names_of,
    offset,
    text_field,
)
from .record_files import Records, read_records

__all__ = ["RawAnswer", "RawQuestion", "flat_question", "read_questions"]

# What CSV files and careless writers have for true, false and nothing.
_FLAGS = {"true": True, "1": True, "1.0": True, "false": False, "0": False, "0.0": False, "": None, "nan": None}


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
    expect(record, Mapping, where)
    names = [name for name in ("answers", "answer") if name in record]
    if not names:
        raise DatasetFormatError(f"{where}.answers: missing; fields are {names_of(record)}")
    return RawQuestion(
        where,
        identifier(record, "id", where, optional=True),
        text_field(record, "title", where, optional=True),
        text_field(record, "context", where),
        text_field(record, "question", where),
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
    if isinstance(record, Mapping) and "question_text" in record:
        return _natural_questions
    if isinstance(record, Mapping) and "question" not in record and ("header" in record or "qas" in record):
        return _mrqa_questions
    if isinstance(record, Mapping) and "positive_ctxs" in record and "context" not in record:
        return _dpr_questions
    return _flat_questions


def _squad_questions(articles: Records, name: str) -> Iterator[RawQuestion]:
    for position, article in articles:
        at = name + position
        title = text_field(article, "title", at, optional=True)
        for p, paragraph in enumerate(list_field(article, "paragraphs", at)):
            place = f"{at}.paragraphs[{p}]"
            context = text_field(paragraph, "context", place)
            for q, qa in enumerate(list_field(paragraph, "qas", place)):
                where = f"{place}.qas[{q}]"
                question = text_field(qa, "question", where)
                key = identifier(qa, "id", where)
                answers = _answers(get_field(qa, "answers", where), None, f"{where}.answers")
                yield RawQuestion(where, key, title, context, question, answers, _flag(qa, "is_impossible", where))


def _cmrc_list_questions(items: Records, name: str) -> Iterator[RawQuestion]:
    for position, item in items:
        at = name + position
        title = text_field(item, "title", at, optional=True)
        context = text_field(item, "context_text", at)
        for q, qa in enumerate(list_field(item, "qas", at)):
            where = f"{at}.qas[{q}]"
            # Some answers of the official files are numbers; the official script writes them as Python does.
            texts = [str(text) if is_number(text) else text for text in list_field(qa, "answers", where)]
            answers = _answers(texts, None, f"{where}.answers")
            yield RawQuestion(
                where, identifier(qa, "query_id", where), title, context, text_field(qa, "query_text", where), answers
            )


def _natural_questions(records: Records, name: str) -> Iterator[RawQuestion]:
    return (natural_question(record, name + position) for position, record in records)


def _mrqa_questions(records: Records, name: str) -> Iterator[RawQuestion]:
    return chain.from_iterable(mrqa_questions(record, name + position) for position, record in records)


def _dpr_questions(records: Records, name: str) -> Iterator[RawQuestion]:
    return (dpr_question(record, name + position) for position, record in records)


def _flat_questions(records: Records, name: str) -> Iterator[RawQuestion]:
    return (flat_question(record, name + position) for position, record in records)


# --- fields -------------------------------------------------------------------------------------------------------


def _answers(value: Any, starts: Any, where: str) -> tuple[RawAnswer, ...]:
    """Read any form of answers. An empty text is no answer: several writers mark unanswerable questions so."""
    if value is None:
        return ()
    if isinstance(value, Mapping):
        return _answers(get_field(value, "text", where), value.get("answer_start"), f"{where}.text")
    if isinstance(value, str):
        value, starts = [value], starts if isinstance(starts, list) else [starts]
    expect(value, list, where)
    pairs = [_answer(item, f"{where}[{index}]") for index, item in enumerate(value)]
    if isinstance(starts, list):
        if len(starts) != len(pairs):
            raise DatasetFormatError(f"{where}: {len(pairs)} texts, but {len(starts)} values in answer_start")
        pairs = [
            RawAnswer(pair.text, offset(start, f"{where}[{index}] answer_start"))
            for index, (pair, start) in enumerate(zip(pairs, starts, strict=True))
        ]
    elif starts is not None:
        raise DatasetFormatError(f"{where}: answer_start must be a list beside a list of texts, got {starts!r}")
    return tuple(pair for pair in pairs if pair.text)


def _answer(item: Any, where: str) -> RawAnswer:
    if isinstance(item, str):
        return RawAnswer(encodable(item, where), None)
    expect(item, Mapping, where)
    return RawAnswer(text_field(item, "text", where), offset(item.get("answer_start"), f"{where}.answer_start"))


def _flag(record: Mapping[str, Any], field: str, where: str) -> bool | None:
    value = record.get(field)
    if value is None or isinstance(value, bool):
        return value
    written = str(value).strip().lower()
    if written not in _FLAGS:
        raise DatasetFormatError(f"{where}.{field}: expected true or false, got {kind_of(value)}")
    return _FLAGS[written]
