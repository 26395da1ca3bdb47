"""JSON from files and options that anybody may have written."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

from .errors import StorageError

__all__ = ["parse_json", "read_json"]


def parse_json(text: str) -> Any:
    """What ``json.loads`` makes of ``text``, with one kind of error for whatever cannot be read.

    Raises:
        json.JSONDecodeError: if the text is not JSON.
        ValueError: if it is nested too deeply, or has an integer of more digits than Python reads, which is 4300.
    """
    try:
        return json.loads(text)
    except RecursionError as error:
        raise ValueError("it is nested too deeply") from error


def read_json(file: Path) -> dict[str, Any]:
    """The object in a JSON file.

    Raises:
        StorageError: if the file is missing, is no JSON object, names a field twice or is nested without end.
    """
    try:
        value = json.loads(file.read_text(encoding="utf-8"), object_pairs_hook=_without_duplicates)
    except FileNotFoundError as error:
        raise StorageError(f"{file} does not exist; give a folder that save_pretrained wrote.") from error
    except RecursionError as error:
        raise StorageError(f"{file} is damaged: it is nested too deeply.") from error
    except ValueError as error:
        raise StorageError(f"{file} is damaged: {error}.") from error
    if not isinstance(value, dict):
        raise StorageError(f"{file} is damaged: it is no JSON object.")
    return value


def _without_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    result = dict(pairs)
    if len(result) != len(pairs):
        counts = Counter(name for name, _ in pairs)
        raise ValueError(f"it names {next(name for name in counts if counts[name] > 1)} twice")
    return result
