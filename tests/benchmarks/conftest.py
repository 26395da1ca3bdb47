"""The benchmarks' scripts, with the neighbours that they import."""

from __future__ import annotations

from collections.abc import Callable
from types import ModuleType

import pytest

from tests.references.scripts import ROOT, load_script


@pytest.fixture
def script(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], ModuleType]:
    """Loads a script of the benchmarks by its name."""
    monkeypatch.syspath_prepend(ROOT / "benchmarks")
    return lambda name: load_script(f"benchmarks/{name}.py")
