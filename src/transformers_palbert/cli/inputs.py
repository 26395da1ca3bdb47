"""What commands read: files, standard input, and models and data sets of the Hub by their names."""

from __future__ import annotations

import re
import shutil
import sys
from codecs import BOM_UTF8
from collections.abc import Iterable
from contextlib import ExitStack
from itertools import islice
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Literal

import typer

__all__ = [
    "STANDARD",
    "as_typed",
    "corpus_file",
    "data_file",
    "data_files",
    "model_folder",
    "read_text",
    "release_inputs",
    "require_folder_for",
    "text_file",
    "values",
]

STANDARD = "-"
"""The name of standard input."""

_HUB_NAME = re.compile(r"[\w.-]+/[\w.-]+(/[\w./-]+)?")
_SUFFIXES = (".json", ".jsonl", ".ndjson", ".csv", ".tsv", ".parquet")
_DATA_PATTERNS = tuple(f"*{suffix}{packed}" for suffix in _SUFFIXES for packed in ("", ".gz"))

_COPY = "standard-input"
"""The name, without its ending, of the file that standard input is copied to."""

_NOTHING = "- is standard input, and nothing came in; it can be named once."

_temporary = ExitStack()


def release_inputs() -> None:
    """Delete the copies of standard input that a command has made."""
    _temporary.close()


def model_folder(name: str, patterns: Iterable[str]) -> Path:
    """The folder of a model: that of this name, or else a copy of the Hub's in the cache.

    Args:
        name: Folder, or owner/name on the Hub.
        patterns: The files to download, if it is on the Hub.

    Raises:
        typer.BadParameter: if it is neither.
    """
    if Path(name).is_dir():
        return Path(name)
    if Path(name).exists():
        raise typer.BadParameter(f"{name} is a file; give the folder that it is in.")
    if not _HUB_NAME.fullmatch(name) or name.count("/") > 1 or name.startswith("."):
        raise typer.BadParameter(f"there is no folder {name}, and this is no name on the Hub, such as owner/model.")
    return _download(name, "model", patterns)


def data_file(name: str) -> Path:
    """The one file of questions that is meant: a path, ``-`` for standard input, or a data set on the Hub.

    A file of several in a data set is chosen by its path behind the name: ``owner/name/dev.json``.

    Raises:
        typer.BadParameter: if there is no such file, or there are several.
    """
    found = data_files(name)
    if len(found) > 1:
        root = Path(*found[0].parts[: found[0].parts.index("snapshots") + 2])
        names = ", ".join(f"{name}/{file.relative_to(root).as_posix()}" for file in found)
        raise typer.BadParameter(f"{name} has several files; give one of {names}.")
    return found[0]


def data_files(name: str) -> list[Path]:
    """The files of questions that are meant, as :func:`data_file` finds them; all of a data set on the Hub."""
    if name == STANDARD:
        return [_copy_of_standard_input()]
    if Path(name).exists():
        return [Path(name)]
    is_file = name.removesuffix(".gz").endswith(_SUFFIXES) and name.count("/") < 2
    if is_file or name.startswith(".") or not _HUB_NAME.fullmatch(name):
        raise typer.BadParameter(f"there is no file {name}, and this is no data set on the Hub, such as owner/name.")
    owner, repository, *rest = name.split("/", 2)
    folder = _download(f"{owner}/{repository}", "dataset", rest or _DATA_PATTERNS)
    found = [file for pattern in rest or _DATA_PATTERNS for file in folder.rglob(pattern)]
    if not found:
        raise typer.BadParameter(f"{name} on the Hub has no file that can be read ({', '.join(_SUFFIXES)}).")
    return sorted(set(found))


def text_file(name: str) -> Path:
    """A file for :func:`read_text`: one that is there, or ``-`` for standard input.

    Raises:
        typer.BadParameter: if there is no such file.
    """
    if name != STANDARD and not Path(name).is_file():
        raise typer.BadParameter(f"there is no file {name}.")
    return Path(name)


def corpus_file(name: str) -> Path:
    """A file of plain text, or of questions in any form: one that is there, or ``-`` for standard input.

    Raises:
        typer.BadParameter: if there is no such file.
    """
    if name == STANDARD:
        return _copy_of_standard_input(table=".txt")
    return text_file(name)


def read_text(file: Path) -> str:
    """The text of a file, or of standard input for ``-``, in UTF-8 with or without a byte order mark.

    Raises:
        UnicodeDecodeError: if it is no UTF-8.
        typer.BadParameter: if nothing came in.
    """
    content = _standard_input() if str(file) == STANDARD else file.read_bytes()
    return content.decode("utf-8-sig")  # not as text: line ends count in offsets


def values(spelling: str) -> str:
    """The kind of values that an option names, however it is spelled.

    Raises:
        typer.BadParameter: if there is no such kind.
    """
    from ..errors import ConfigurationError
    from ..storage.config import value_kind

    try:
        return value_kind(spelling)
    except ConfigurationError as error:
        raise typer.BadParameter(str(error)) from error


def _download(name: str, kind: Literal["model", "dataset"], patterns: Iterable[str]) -> Path:
    from huggingface_hub import snapshot_download

    what = "folder" if kind == "model" else "file"
    try:
        return Path(snapshot_download(name, repo_type=kind, allow_patterns=list(patterns)))
    except (OSError, ValueError) as error:
        reason = str(error).strip().splitlines()[0]
        raise typer.BadParameter(f"there is no {what} {name}, and the Hub does not give it: {reason}") from error


def _standard_input() -> bytes:
    """All that comes in.

    Raises:
        typer.BadParameter: if that is nothing, as when it was read before.
    """
    if not (content := sys.stdin.buffer.read()).removeprefix(BOM_UTF8).strip():
        raise typer.BadParameter(_NOTHING)
    return content


def _copy_of_standard_input(table: str | None = None) -> Path:
    """A file with what comes in, called after its form; it is read once, and several times by those who read files.

    Args:
        table: The form of what is no JSON and no Parquet; None for a table, with tabs or with commas.
    """
    folder = Path(_temporary.enter_context(TemporaryDirectory(prefix="palbert-")))
    file = folder / _COPY
    with file.open("wb") as copy:
        shutil.copyfileobj(sys.stdin.buffer, copy)
    with file.open("rb") as lines:
        said = (line.removeprefix(BOM_UTF8).strip() for line in lines)
        first, second = [*islice(filter(None, said), 2), b"", b""][:2]
    if not first:
        raise typer.BadParameter(_NOTHING)
    return file.rename(file.with_suffix(_suffix(first, second, table)))


def require_folder_for(file: Path, option: str | None = None) -> None:
    """Refuse a file to be written whose folder is missing: before the work, not after it.

    Raises:
        typer.BadParameter: naming the folder, and the option if there is one to name.
    """
    if not file.parent.is_dir():
        raise typer.BadParameter(f"{file.parent} is not a folder", param_hint=option)


def as_typed(file: Path) -> str:
    """How a command line names a file of questions: ``-`` where it came from standard input."""
    return STANDARD if file.stem == _COPY else str(file)


def _suffix(first: bytes, second: bytes, table: str | None) -> str:
    """The form of a file of questions, by its first lines; ``table`` where it looks like none in particular."""
    if first.startswith(b"PAR1"):
        return ".parquet"
    if not first.startswith((b"{", b"[")):
        return table or (".tsv" if b"\t" in first else ".csv")
    return ".jsonl" if first.endswith(b"}") and second.startswith(b"{") else ".json"
