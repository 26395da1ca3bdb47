"""JSON from files and options that anybody may have written."""

from __future__ import annotations

import json
from typing import Any

__all__ = ["parse_json"]


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
