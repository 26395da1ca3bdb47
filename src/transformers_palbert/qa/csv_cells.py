"""Cells of a CSV file that hold more than text: lists and dictionaries, in whatever way they were written there.

``json.dumps`` is the right way. ``str`` of Python's lists and dictionaries is common, and ``Dataset.to_csv`` writes
what numpy prints, which no parser of Python reads as it was meant: ``['Beijing' 'Shanghai']`` has no comma, and so
would be the one text ``BeijingShanghai``.
"""

from __future__ import annotations

import ast
import io
import json
import re
import tokenize
from collections.abc import Mapping
from itertools import pairwise
from typing import Any

from ..errors import DatasetFormatError

__all__ = ["read_answers_cell", "read_offsets_cell"]

_ANSWER_FIELDS = re.compile(r"""\[?\s*\{\s*['"](?:text|answer_start)['"]\s*:""")
_DEEP = re.compile(r"([-+~([{]\s*){1000}")
"""What no list that somebody printed begins with."""
_VALUES = (tokenize.STRING, tokenize.NUMBER)


def read_answers_cell(cell: str, where: str) -> Any:
    """Answers: one text as it is, or a list or dictionary as JSON, Python or numpy writes it.

    Raises:
        DatasetFormatError: if the cell begins as a dictionary of answers and cannot be read to its end, or if it is
            nested too deeply.
    """
    if cell[:1] not in ("[", "{"):
        return cell
    try:
        value = _parse(cell)
    except (RecursionError, MemoryError) as error:
        raise _too_deep(where) from error
    except (ValueError, SyntaxError) as error:
        if _ANSWER_FIELDS.match(cell):
            raise DatasetFormatError(
                f"{where}: a dictionary of answers that cannot be read ({error}); write the cell with json.dumps, or"
                " save the data set with to_json"
            ) from error
        return cell  # an answer that begins with a bracket, such as "[1] and [2]"
    if isinstance(value, Mapping) or all(isinstance(item, (str, Mapping)) for item in value):
        return value
    return cell


def read_offsets_cell(cell: str, where: str) -> Any:
    """An integer, or a list of them as JSON, Python or numpy writes it; None for an empty cell.

    Raises:
        DatasetFormatError: if the cell holds anything else.
    """
    if not cell.strip():
        return None
    try:
        return _parse(cell)
    except (RecursionError, MemoryError) as error:
        raise _too_deep(where) from error
    except (ValueError, SyntaxError) as error:
        raise DatasetFormatError(f"{where}: expected an integer or a list of them, got {cell!r:.60}") from error


def _too_deep(where: str) -> DatasetFormatError:
    return DatasetFormatError(f"{where}: nested too deeply to be read; write a text, or a list of texts")


def _parse(cell: str) -> Any:
    """What a cell holds; Python's parser says by ``MemoryError`` that something is nested too deeply."""
    try:
        return json.loads(cell)
    except ValueError:
        return _value(ast.parse(_with_commas(cell), mode="eval").body)


def _with_commas(cell: str) -> str:
    """Put the commas that numpy leaves out between the elements of a list."""
    if _DEEP.search(cell):
        raise RecursionError  # which Python 3.12 would find out after minutes
    try:
        tokens = list(tokenize.generate_tokens(io.StringIO(cell).readline))
    except tokenize.TokenError as error:
        raise ValueError(str(error)) from error
    lines = io.StringIO(cell).readlines()
    seen = [token for token in tokens if token.type != tokenize.NL]
    for before, behind in reversed(list(pairwise(seen))):
        ended = before.type in _VALUES or before.string in ("]", "}")
        begins = behind.type in _VALUES or behind.string in ("[", "{", "-")
        if ended and begins:
            row, column = before.end
            lines[row - 1] = f"{lines[row - 1][:column]},{lines[row - 1][column:]}"
    return "".join(lines)


def _value(node: ast.expr) -> Any:
    """What a printed list, dictionary or array holds.

    Raises:
        ValueError: if the node is anything else, or numpy left out what it found too long to print.
    """
    match node:
        case ast.Constant(value=str() | int() | float() | None as value):
            return value
        case ast.UnaryOp(op=ast.USub(), operand=ast.Constant(value=int() | float() as value)):
            return -value
        case ast.List(elts=elements):
            return [_value(element) for element in elements]
        case ast.Dict(keys=keys, values=values) if all(isinstance(key, ast.Constant) for key in keys):
            return {_value(key): _value(value) for key, value in zip(keys, values, strict=True) if key is not None}
        case ast.Call(func=ast.Name(id="array"), args=[ast.List() as elements]):
            return _value(elements)
        case ast.Constant(value=value) if value is ...:
            raise ValueError("elements were left out in printing")
    raise ValueError(f"{type(node).__name__} is no list or dictionary of texts and numbers")
