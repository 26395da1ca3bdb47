"""How the commands talk: results on stdout, errors and notes on stderr."""

from __future__ import annotations

import json
import math
import re
import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from textwrap import shorten
from typing import Annotated, Any

import typer
from rich.columns import Columns
from rich.console import Console, ConsoleOptions, RenderResult
from rich.measure import Measurement
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from ..spelling import name_options, said_by

__all__ = [
    "FittedTable",
    "JsonOption",
    "fail",
    "following",
    "format_bytes",
    "format_count",
    "make_table",
    "printable",
    "show",
    "warn",
    "write_json",
    "written",
]

MAX_MESSAGE = 1000  # characters: a path, the cause and the cure fit; a dump of a file does not

_OBEYED = re.compile("[\x00-\x09\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\ud800-\udfff]")
"""Controls but the line feed, what reverses the direction of writing, and halves of characters."""

_NAME_WIDTH = 24
"""Characters of the first column below which a table is no longer drawn as one, if its names are as long."""

JsonOption = Annotated[bool, typer.Option("--json", help="Print machine-readable JSON, and nothing else, on stdout.")]


def write_json(value: Any) -> None:
    """Print ``value`` as JSON on stdout: characters as they are, numbers that JSON lacks (NaN, infinity) as null."""
    sys.stdout.write(json.dumps(_plain(value), ensure_ascii=False, indent=2, allow_nan=False) + "\n")


def show(*parts: Any) -> None:
    """Print tables or text on stdout, fitted to the terminal; in a pipe, lines of text stay whole."""
    console = Console(highlight=False, markup=False)
    for part in parts:
        console.print(part, soft_wrap=isinstance(part, str) and not console.is_terminal)


def written(place: str | Path, *commands: str) -> str:
    """The last lines of a command that writes: where it is, how large, and what to type next.

    Args:
        place: The file or folder.
        commands: Command lines that go on with it.
    """
    path = Path(place)
    files = [path] if path.is_file() else [file for file in path.rglob("*") if file.is_file()]
    line = f"Written: {printable(str(place))} ({format_bytes(sum(file.stat().st_size for file in files))})."
    return "\n".join([line, *([following(*commands)] if commands else [])])


def following(*commands: str) -> str:
    """Lines that say what to type next.

    Args:
        commands: Command lines that go on with what a command has found.
    """
    return "\n".join(f"Next: {printable(command)}" for command in commands)


def fail(error: Exception, options: Mapping[str, str] | None = None) -> typer.Exit:
    """Print ``error`` as one red line on stderr and return the exit (status 1) for the caller to raise.

    Args:
        error: What happened.
        options: Name of a setting -> the option that sets it, by which the message is to call it.
    """
    _note("error", name_options(said_by(error), options or {}), "red")
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


class FittedTable:
    """A table whose first column is text and whose other columns are numbers; in a narrow terminal, a list.

    Where the names in the first column would have no room beside the numbers, every row becomes its name on a line of
    its own, with the other columns below it, each behind its heading. Nothing is cut off.
    """

    def __init__(self, columns: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
        self.columns = list(columns)
        self.rows = [[printable(cell) for cell in row] for row in rows]

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        table = self._table()
        numbers = Measurement.get(console, options.update(max_width=10_000), self._table(first=1)).maximum
        longest = max((Text(row[0]).cell_len for row in self.rows), default=0)
        if not numbers or numbers + min(longest, _NAME_WIDTH) + 2 <= options.max_width:
            yield table
        else:
            yield from self._list()

    def _table(self, first: int = 0) -> Table:
        table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
        for index, name in enumerate(self.columns[first:], first):
            if index == 0:
                table.add_column(name, overflow="fold")
            else:
                table.add_column(name, justify="right", no_wrap=True)
        for row in self.rows:
            table.add_row(*map(Text, row[first:]))
        return table

    def _list(self) -> Iterable[Any]:
        if self.columns[0]:
            yield Text(self.columns[0], style="dim")
        for name, *cells in self.rows:
            yield Text(name, style="bold", overflow="fold")
            pairs = zip(self.columns[1:], cells, strict=True)
            below = [f"{column} {cell.strip()}".strip() for column, cell in pairs if cell.strip()]
            if below:
                yield Padding(Columns(map(Text, below), padding=(0, 3)), (0, 0, 0, 4))


def make_table(columns: Sequence[str], rows: Iterable[Sequence[str]]) -> FittedTable:
    """Build a table whose first column is text and whose other columns are numbers, aligned right."""
    return FittedTable(columns, rows)


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
