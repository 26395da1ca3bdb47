"""Questions as a file has them, and the reading of their fields, with errors that say where a file is wrong."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ..errors import DatasetFormatError
from ..text.surrogates import lone_surrogate

__all__ = [
    "RawAnswer",
    "RawQuestion",
    "encodable",
    "expect",
    "get_field",
    "identifier",
    "is_number",
    "kind_of",
    "list_field",
    "names_of",
    "offset",
    "text_field",
]


@dataclass(frozen=True)
class RawAnswer:
    """An answer as the file has it.

    Attributes:
        text: The answer.
        start: Its offset in the context, in characters; None where the file gives none.
        in_context: Whether it is a piece of the context. The ``yes`` to a question is not, whatever the context holds.
    """

    text: str
    start: int | None
    in_context: bool = True


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


def text_field(record: Any, field: str, where: str, *, optional: bool = False) -> str:
    """The text in ``field``; ``""`` where it is optional and missing."""
    value = get_field(record, field, where, optional=optional)
    if value is None and optional:
        return ""
    expect(value, str, f"{where}.{field}")
    return encodable(value, f"{where}.{field}")


def identifier(record: Any, field: str, where: str, *, optional: bool = False) -> str | None:
    """The id in ``field``, a text or a whole number, as a text; None where it is optional and missing."""
    value = get_field(record, field, where, optional=optional)
    if value is None and optional:
        return None
    if isinstance(value, bool) or not isinstance(value, (str, int)) or value == "":
        raise DatasetFormatError(f"{where}.{field}: expected a string that is not empty, got {kind_of(value)}")
    return encodable(str(value), f"{where}.{field}")


def offset(value: Any, where: str) -> int | None:
    """A whole number; None where there is none, which a table of floats writes as NaN."""
    if value is None or (isinstance(value, float) and value != value):
        return None
    if not is_number(value) or value % 1 != 0:  # inf % 1 is not a number
        raise DatasetFormatError(f"{where}: expected an integer, got {kind_of(value)}")
    return int(value)


def is_number(value: Any) -> bool:
    """Whether ``value`` is a number, which true and false are not."""
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def encodable(text: str, where: str) -> str:
    """Return ``text``, or raise if it holds half of a surrogate pair, which JSON can write and no file can store."""
    if half := lone_surrogate(text):
        raise DatasetFormatError(f"{where} holds {half}")
    return text


def list_field(record: Any, field: str, where: str) -> list[Any]:
    """The list in ``field``."""
    return list(expect(get_field(record, field, where), list, f"{where}.{field}"))


def get_field(record: Any, field: str, where: str, *, optional: bool = False) -> Any:
    """What is in ``field``, of any type; None where it is optional and missing."""
    expect(record, Mapping, where)
    if field not in record and not optional:
        raise DatasetFormatError(f"{where}.{field}: missing; fields are {names_of(record)}")
    return record.get(field)


_KINDS: dict[type, str] = {str: "a string", list: "a list", Mapping: "an object", dict: "an object"}


def expect(value: Any, kind: type, where: str) -> Any:
    """Return ``value``, or raise if it is of another kind."""
    if not isinstance(value, kind):
        raise DatasetFormatError(f"{where}: expected {_KINDS[kind]}, got {kind_of(value)}")
    return value


def kind_of(value: Any) -> str:
    """A value as errors show it: its type and its beginning."""
    return "null" if value is None else f"{type(value).__name__} {value!r:.60}"


def names_of(record: Mapping[str, Any]) -> str:
    """The names of a record's fields, as errors list them."""
    return ", ".join(repr(name) for name in record) or "none"
