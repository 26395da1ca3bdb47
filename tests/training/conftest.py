"""Make the many short runs cheap."""

from __future__ import annotations

import gc
from collections.abc import Iterator

import pytest


@pytest.fixture(scope="session", autouse=True)
def _freeze_what_is_imported() -> Iterator[None]:
    """Take the objects of imported modules out of garbage collection.

    ``Trainer.train`` begins with a full collection, which in a process that has imported transformers takes longer
    than a run of a few steps.
    """
    gc.collect()
    gc.freeze()
    yield
    gc.unfreeze()
