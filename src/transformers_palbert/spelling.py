"""How things are said to people: near names for typing errors, options instead of settings, no numbers of errors."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from difflib import get_close_matches

__all__ = ["did_you_mean", "name_options", "said_by"]

_SETTING = re.compile(r"(?<![\w./-])`?([a-z][a-z0-9_]*)(`|(?==)|(?![\w./]))")
"""A name with underscores, a name in backticks, or a name before an equals sign."""

_CLASS = re.compile(r"^\w+Config: ")
_NUMBER = re.compile(r"\[(?:Errno|WinError) -?\d+\] ")


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """A sentence with the known words that look like ``word``, behind a space; empty if none does."""
    close = get_close_matches(word, list(known), n=3, cutoff=0.7)
    return f" Did you mean {' or '.join(close)}?" if close else ""


def name_options(message: str, options: Mapping[str, str]) -> str:
    """A message that calls settings by the options that set them.

    ``warmup=2 must be below 1`` becomes ``--pruning_warmup=2 must be below 1``. Names without an underscore are words
    of English too, so they are replaced before an equals sign and in backticks alone.

    Args:
        message: An error of a function, which knows its arguments and not the command line.
        options: Name of a setting -> the option as it is typed.
    """

    def as_typed(found: re.Match[str]) -> str:
        is_setting = "_" in found[1] or found[0].startswith("`") or found.string[found.end() :].startswith("=")
        return options[found[1]] if is_setting and found[1] in options else found[0]

    return _SETTING.sub(as_typed, _CLASS.sub("", message))


def said_by(error: Exception) -> str:
    """What an error says, without the number that the system gives it; the name of its class if it says nothing."""
    if isinstance(error, OSError) and error.strerror and error.filename is not None:
        return f"{error.filename}: {error.strerror}"
    return _NUMBER.sub("", str(error)) or type(error).__name__
