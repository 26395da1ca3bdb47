"""The reference names every public thing once, and nothing that does not exist."""

from __future__ import annotations

import re
from importlib import import_module
from typing import Any

import transformers_palbert
from tests.docs.documents import DOCS

NAMED = [
    name
    for page in sorted((DOCS / "reference").glob("*.md"))
    for name in re.findall(r"^::: ([\w.]+)$", page.read_text(encoding="utf-8"), re.MULTILINE)
]


def resolve(name: str) -> Any:
    """The module, class or function of that dotted name."""
    try:
        return import_module(name)
    except ModuleNotFoundError:
        module, _, attribute = name.rpartition(".")
        return getattr(import_module(module), attribute)


def test_every_public_name_stands_in_the_reference_once() -> None:
    public = {f"transformers_palbert.{name}" for name in transformers_palbert.__all__ if name != "__version__"}
    assert len(NAMED) == len(set(NAMED))
    assert public <= set(NAMED)


def test_what_the_reference_names_exists_and_is_documented() -> None:
    for name in NAMED:
        assert resolve(name).__doc__, name


def test_members_that_pages_choose_exist() -> None:
    text = (DOCS / "reference" / "functions.md").read_text(encoding="utf-8")
    chosen = re.findall(r"^::: ([\w.]+)\n    options:\n(?:      .*\n)*?      members: \[(.+)\]", text, re.MULTILINE)
    assert len(chosen) == len(re.findall(r"^:::", text, re.MULTILINE))
    for module, members in chosen:
        for member in members.split(", "):
            assert getattr(import_module(module), member).__doc__, f"{module}.{member}"
