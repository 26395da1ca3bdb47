"""What a server does not exceed: sizes, times, places in the queue."""

from __future__ import annotations

import math
from dataclasses import dataclass, fields

from ..errors import ConfigurationError

__all__ = ["Limits"]


@dataclass(frozen=True)
class Limits:
    """The limits of a server; every one of them keeps one client from taking the server from all others.

    Args:
        max_batch_size: Questions answered together, and windows that go through the model at once. Long texts are
            answered with fewer others: together they have at most ``max_context_chars`` characters.
        max_wait_ms: Milliseconds for which the first question of a batch waits for others to join it.
        max_queue: Questions that wait at most. A request that finds no room for all of its own gets the status 429.
        max_questions: Questions in one request; more get the status 422.
        timeout: Seconds until a request has its answer (else the status 504), and until its body has arrived (408).
        max_context_chars: Characters of one context; longer ones get the status 422.
        max_body_bytes: Bytes of the body of a request; larger ones get the status 413.
        max_seq_len: Longest window, in tokens, that a request may ask for.
        max_connections: Open connections; what comes beyond them gets the status 503.
        stop_timeout: Seconds in which the server, told to stop, answers what it has accepted.

    Raises:
        ConfigurationError: if a value is not a number of the right kind, or too small.
    """

    max_batch_size: int = 16
    max_wait_ms: float = 5.0
    max_queue: int = 512
    max_questions: int = 64
    timeout: float = 30.0
    max_context_chars: int = 200_000
    max_body_bytes: int = 2_000_000
    max_seq_len: int = 384
    max_connections: int = 1000
    stop_timeout: float = 60.0

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            whole = isinstance(field.default, int)
            lowest = 0.0 if field.name == "max_wait_ms" else 1.0 if whole else 0.001
            number = isinstance(value, int if whole else int | float) and not isinstance(value, bool)
            if not number or not math.isfinite(value) or value < lowest:
                kind = "whole number" if whole else "number"
                raise ConfigurationError(
                    f"The limit {field.name}={value!r} is not allowed; allowed is a {kind} from {lowest:g}."
                )
        if self.max_questions > self.max_queue:
            raise ConfigurationError(
                f"max_questions={self.max_questions} is above max_queue={self.max_queue}: such a request would never"
                " find room. Raise max_queue, or lower max_questions."
            )
