"""How the commands talk: results on stdout, errors and notes on stderr."""

from __future__ import annotations

import json
import math
import re
import sys
from collections.abc import Iterable, Sequence
from textwrap import shorten
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

__all__ = [
    "JsonOption",
    "fail",
    "format_bytes",
    "format_count",
    "make_table",
    "printable",
    "show",
    "warn",
    "write_json",
]

MAX_MESSAGE = 1000  # characters: a path, the cause and the cure fit; a dump of a file does not

_OBEYED = re.compile("[\x00-\x09\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\ud800-\udfff]")
"""Controls but the line feed, what reverses the direction of writing, and halves of characters."""

JsonOption = Annotated[bool, typer.Option("--json", help="Print machine-readable JSON, and nothing else, on stdout.")]


def write_json(value: Any) -> None:
    """Print ``value`` as JSON on stdout: characters as they are, numbers that JSON lacks (NaN, infinity) as null."""
    sys.stdout.write(json.dumps(_plain(value), ensure_ascii=False, indent=2, allow_nan=False) + "\n")


def show(*parts: Any) -> None:
    """Print tables or text on stdout, fitted to the terminal."""
    console = Console(highlight=False)
    for part in parts:
        console.print(part)


def fail(error: Exception) -> typer.Exit:
    """Print ``error`` as one red line on stderr and return the exit (status 1) for the caller to raise."""
    _note("error", str(error) or type(error).__name__, "red")
    return typer.Exit(1)


def warn(message: Warning | str, *_: Any, **__: Any) -> None:
    """Print a warning as one yellow line on stderr; takes the place of :func:`warnings.showwarning`."""
    _note("warning", str(message), "yellow")


def _note(kind: str, message: str, colour: str) -> None:
    text = printable(shorten(message, MAX_MESSAGE, placeholder=" …"))  # shortening also joins the lines
    line = Text.assemble((f"{kind}: ", f"bold {colour}"), (text, colour))  # not markup: a message may say "[extra]"
    Console(stderr=True, highlight=False).print(line, soft_wrap=True)


def printable(text: str) -> str:
    """``text`` with what a terminal would obey (escapes, other controls, reversed writing) written out as codes.

    Names of tensors come from files, and a file can be a stranger's. Line breaks stay.
    """
    return _OBEYED.sub(lambda found: ascii(found[0])[1:-1], text)


def make_table(columns: Sequence[str], rows: Iterable[Sequence[str]], *, title: str | None = None) -> Table:
    """Build a table whose first column is text and whose other columns are numbers, aligned right."""
    table = Table(title=title, title_justify="left", title_style="bold", box=None, pad_edge=False, padding=(0, 2, 0, 0))
    for index, name in enumerate(columns):
        if index == 0:
            table.add_column(name, overflow="fold")
        else:
            table.add_column(name, justify="right", no_wrap=True)
    for row in rows:
        table.add_row(*(Text(printable(cell)) for cell in row))
    return table


def format_count(value: int) -> str:
    """Return an integer with thousands separators."""
    return f"{value:,}"


def format_bytes(value: int) -> str:
    """Return a size in decimal units: ``format_bytes(15_040_000)`` is ``15.0 MB``."""
    for unit, size in (("GB", 10**9), ("MB", 10**6), ("kB", 10**3)):
        if value >= size:
            return f"{value / size:.1f} {unit}"
    return f"{value} B"


def _plain(value: Any) -> Any:
    """Return ``value`` with mappings, sequences and numpy scalars turned into what JSON knows."""
    if isinstance(value, dict):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if hasattr(value, "item"):  # a numpy scalar
        return _plain(value.item())
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value
