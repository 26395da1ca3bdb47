"""Reading question-answering files into plain records, with errors that say where a file is wrong.

Understood are SQuAD 1.1 and 2.0 (and CMRC 2018 and DRCD in that form), the older list form of CMRC 2018, and flat
records: one question each, as JSON, JSON lines, CSV, TSV or Parquet. Texts are kept character by character: nothing is
stripped, no line ending is translated, because answers are found by their character offsets.
"""

from __future__ import annotations

import ast
import csv
import io
import json
import sys
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from transformers_palbert.errors import DatasetFormatError

__all__ = ["SUFFIXES", "RawAnswer", "RawQuestion", "flat_question", "read_questions"]

SUFFIXES = (".json", ".jsonl", ".ndjson", ".csv", ".tsv", ".parquet")
"""Endings of the files that can be read."""


@dataclass(frozen=True)
class RawAnswer:
    """An answer as the file has it; ``start`` is None where the file gives no offset."""

    text: str
    start: int | None


@dataclass(frozen=True)
class RawQuestion:
    """A question as the file has it; ``where`` is its place, such as ``dev.json: data[3].paragraphs[0].qas[2]``."""

    where: str
    id: str | None
    title: str
    context: str
    question: str
    answers: tuple[RawAnswer, ...]


def read_questions(path: Path) -> list[RawQuestion]:
    """Read every question of one file; its ending and its content tell the form.

    Raises:
        DatasetFormatError: naming file, record and field, if the file cannot be read as what its ending says, holds
            no question, lacks a field or has one of a wrong type.
    """
    suffix = path.suffix.lower()
    if suffix == ".parquet":
        questions = _flat_questions(_read_parquet(path), path.name)
    elif suffix in (".csv", ".tsv"):
        questions = _flat_questions(_read_csv(path, "\t" if suffix == ".tsv" else ","), path.name)
    elif suffix in (".jsonl", ".ndjson"):
        questions = _flat_questions(_read_json_lines(_read_text(path), path), path.name)
    elif suffix == ".json":
        questions = _json_questions(_read_json(path), path)
    else:
        raise DatasetFormatError(f"{path}: files ending in {suffix!r} are not understood; use {', '.join(SUFFIXES)}")
    result = list(questions)
    if not result:
        raise DatasetFormatError(f"{path}: the file holds no question")
    return result


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
    )


# --- forms of JSON ------------------------------------------------------------------------------------------------


def _json_questions(content: Any, path: Path) -> Iterator[RawQuestion]:
    name = path.name
    if isinstance(content, Mapping) and "question" in content and "data" not in content:
        content = [content]  # JSON lines with a single line
    records = content.get("data") if isinstance(content, Mapping) else content
    if not isinstance(records, list):
        found = f"an object with {_names(content)}" if isinstance(content, Mapping) else _kind(content)
        raise DatasetFormatError(
            f"{path}: expected a list of records, or an object with such a list in 'data', got {found}"
        )
    prefix = f"{name}: data" if isinstance(content, Mapping) else f"{name}: "
    first = records[0] if records else {}
    if isinstance(first, Mapping) and "paragraphs" in first:
        return _squad_questions(records, prefix)
    if isinstance(first, Mapping) and "context_text" in first:
        return _cmrc_list_questions(records, prefix)
    return (flat_question(record, f"{prefix}[{index}]") for index, record in enumerate(records))


def _squad_questions(articles: list[Any], prefix: str) -> Iterator[RawQuestion]:
    for a, article in enumerate(articles):
        at = f"{prefix}[{a}]"
        title = _text(article, "title", at, optional=True)
        for p, paragraph in enumerate(_list(article, "paragraphs", at)):
            place = f"{at}.paragraphs[{p}]"
            context = _text(paragraph, "context", place)
            for q, qa in enumerate(_list(paragraph, "qas", place)):
                where = f"{place}.qas[{q}]"
                question = _text(qa, "question", where)
                key = _identifier(qa, "id", where)
                answers = _answers(_get(qa, "answers", where), None, f"{where}.answers")
                if qa.get("is_impossible") and answers:
                    raise DatasetFormatError(
                        f"{where}.is_impossible: true, yet there are answers, the first {answers[0].text!r};"
                        " move them to 'plausible_answers' or set is_impossible to false"
                    )
                yield RawQuestion(where, key, title, context, question, answers)


def _cmrc_list_questions(items: list[Any], prefix: str) -> Iterator[RawQuestion]:
    for i, item in enumerate(items):
        at = f"{prefix}[{i}]"
        title = _text(item, "title", at, optional=True)
        context = _text(item, "context_text", at)
        for q, qa in enumerate(_list(item, "qas", at)):
            where = f"{at}.qas[{q}]"
            answers = _answers(_get(qa, "answers", where), None, f"{where}.answers")
            yield RawQuestion(
                where, _identifier(qa, "query_id", where), title, context, _text(qa, "query_text", where), answers
            )


def _flat_questions(records: Iterable[tuple[str, Any]], name: str) -> Iterator[RawQuestion]:
    return (flat_question(record, f"{name}: {place}") for place, record in records)


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
    if isinstance(value, bool) or not isinstance(value, (int, float)) or value % 1 != 0:  # inf % 1 is not a number
        raise DatasetFormatError(f"{where}: expected an integer, got {_kind(value)}")
    return int(value)


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


# --- files --------------------------------------------------------------------------------------------------------


def _read_text(path: Path) -> str:
    content = path.read_bytes()
    if content.startswith((b"\xff\xfe", b"\xfe\xff")):
        raise DatasetFormatError(f"{path}: the file is UTF-16; save it as UTF-8")
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise DatasetFormatError(
            f"{path}: not UTF-8 (byte 0x{content[error.start]:02x} at offset {error.start}, line {line});"
            " save it as UTF-8, for example with: iconv -f GB18030 -t UTF-8"
        ) from error
    if not text.strip():
        raise DatasetFormatError(f"{path}: the file is empty")
    return text


def _read_json(path: Path) -> Any:
    text = _read_text(path)
    try:
        return json.loads(text)
    except json.JSONDecodeError as error:
        if error.msg == "Extra data" and "\n" in text[: error.pos]:  # JSON lines, as `Dataset.to_json` writes them
            return [record for _, record in _read_json_lines(text, path)]
        raise _bad_json(path, error, error.lineno) from error


def _read_json_lines(text: str, path: Path) -> Iterator[tuple[str, Any]]:
    # Not str.splitlines: it would also cut at U+2028 and other characters that JSON allows inside strings.
    for number, line in enumerate(text.split("\n"), 1):
        if line.strip():
            try:
                yield f"line {number}", json.loads(line)
            except json.JSONDecodeError as error:
                raise _bad_json(path, error, number) from error


def _bad_json(path: Path, error: json.JSONDecodeError, line: int) -> DatasetFormatError:
    return DatasetFormatError(f"{path}: not valid JSON at line {line}, column {error.colno}: {error.msg}")


def _read_csv(path: Path, delimiter: str) -> Iterator[tuple[str, Any]]:
    text = _read_text(path)
    previous = csv.field_size_limit(sys.maxsize)  # contexts may be longer than the default of 131,072
    try:
        # newline="" keeps line endings inside quoted contexts as they are, and so the offsets.
        reader = csv.DictReader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
        rows = [(f"line {reader.line_num}", row) for row in reader]
    except csv.Error as error:
        raise DatasetFormatError(f"{path}: not valid CSV near line {reader.line_num}: {error}") from error
    finally:
        csv.field_size_limit(previous)
    return ((place, _csv_record(row, f"{path.name}: {place}")) for place, row in rows)


def _csv_record(row: dict[Any, Any], where: str) -> dict[str, Any]:
    if None in row:
        raise DatasetFormatError(f"{where}: more fields than the header has columns; quote texts that hold a delimiter")
    short = [name for name, value in row.items() if value is None]
    if short:
        raise DatasetFormatError(f"{where}.{short[0]}: missing, the line has fewer fields than the header has columns")
    record: dict[str, Any] = dict(row)
    for name in ("answers", "answer"):
        if name in record:
            record[name] = _csv_answers(record[name])
    if "answer_start" in record:
        record["answer_start"] = _csv_offsets(record["answer_start"], f"{where}.answer_start")
    if record.get("id") == "":
        record["id"] = None
    return record


def _csv_answers(cell: str) -> Any:
    """A cell holds one answer, or a list or object as JSON (or as Python writes it)."""
    if cell[:1] not in ("[", "{"):
        return cell
    for parse in (json.loads, ast.literal_eval):
        try:
            value = parse(cell)
        except (ValueError, SyntaxError):
            continue
        if isinstance(value, Mapping) or all(isinstance(item, (str, Mapping)) for item in value):
            return value
    return cell  # an answer that begins with a bracket, such as "[1] and [2]"


def _csv_offsets(cell: str, where: str) -> Any:
    if not cell.strip():
        return None
    try:
        return json.loads(cell)
    except json.JSONDecodeError as error:
        raise DatasetFormatError(f"{where}: expected an integer or a list of them, got {cell!r}") from error


def _read_parquet(path: Path) -> Iterator[tuple[str, Any]]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        rows = pq.read_table(path).to_pylist()
    except (pa.ArrowException, OSError) as error:
        raise DatasetFormatError(f"{path}: not a readable Parquet file: {error}") from error
    return ((f"row {index}", row) for index, row in enumerate(rows))
