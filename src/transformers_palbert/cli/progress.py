"""What a command that takes minutes is doing, on stderr."""

from __future__ import annotations

import logging
import sys
from collections.abc import Iterator
from contextlib import contextmanager

__all__ = ["announced"]


@contextmanager
def announced() -> Iterator[None]:
    """Inside the block, what the package logs of its progress stands on stderr, line by line."""
    logger, handler = logging.getLogger("transformers_palbert"), logging.StreamHandler(sys.stderr)
    level = logger.level
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    try:
        yield
    finally:
        logger.setLevel(level)
        logger.removeHandler(handler)
