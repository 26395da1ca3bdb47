"""Access tokens must reach neither logs nor cards nor pickles."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable
from typing import Any

__all__ = ["SecretToken", "hide_token", "redact"]

HIDDEN = "***"
_TOKEN = re.compile(r"\b(?:hf|api_org)_(?:[A-Za-z0-9]{16,}|(?:oauth|jwt)_[\w.-]{16,})")
"""Letters and digits, without an underscore, which words such as a task's name have; but for signed tokens."""

_CREDENTIALS = re.compile(r"(?<=://)[^\s/@]+@")
_VARIABLES = ("HF_TOKEN", "HUGGING_FACE_HUB_TOKEN")
_SHORTEST = 8
"""Characters of a token; a shorter value, as in ``HF_TOKEN=test``, is none, and words hold it."""


class SecretToken(str):
    """A token that works as a string, and whose ``repr`` and pickle do not hold it: unpickled, it is None.

    ``Trainer`` pickles its arguments into ``training_args.bin``, in the clear, and pushes that file.
    """

    __slots__ = ()

    def __repr__(self) -> str:
        return repr(HIDDEN)

    def __reduce_ex__(self, protocol: Any) -> Any:
        return type(None), ()

    def __copy__(self) -> SecretToken:
        return self

    def __deepcopy__(self, memo: Any) -> SecretToken:
        return self


def hide_token(arguments: Any) -> None:
    """Make ``arguments.hub_token`` (of a ``TrainingArguments``) a :class:`SecretToken`, if there is one."""
    if arguments.hub_token is not None:
        arguments.hub_token = SecretToken(arguments.hub_token)


def redact(text: str, tokens: Iterable[str | None] = ()) -> str:
    """``text`` with ``***`` for every token of the Hub and every user or password in a URL.

    Replaced are ``tokens``, the values of ``HF_TOKEN`` and ``HUGGING_FACE_HUB_TOKEN``, whatever has the form of a
    token (``hf_…`` and 16 letters or digits at least), and what stands between ``://`` and ``@``.
    """
    for token in (*tokens, *map(os.environ.get, _VARIABLES)):
        if token and len(token) >= _SHORTEST:
            text = text.replace(str(token), HIDDEN)
    return _CREDENTIALS.sub(f"{HIDDEN}@", _TOKEN.sub(HIDDEN, text))
