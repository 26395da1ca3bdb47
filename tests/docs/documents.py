"""The documents of the project, and the code blocks in them."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from tests.references.scripts import ROOT

__all__ = ["DOCS", "PAGES", "REPOSITORY", "Block", "blocks", "commands", "files_below", "prose"]

DOCS = ROOT / "docs"
PAGES = ("README.md", "CONTRIBUTING.md", *sorted(page.relative_to(ROOT).as_posix() for page in DOCS.rglob("*.md")))
"""Every document, by its path below the root."""

REPOSITORY = "https://github.com/transformers-palbert/transformers-palbert"

_FENCE = re.compile(r"^(?P<indent> *)```(?P<language>\w*)\n(?P<code>.*?)^(?P=indent)```", re.MULTILINE | re.DOTALL)
_RESULT = re.compile(r"<!-- results: .*?<!-- end results -->", re.DOTALL)


@dataclass(frozen=True)
class Block:
    """A code block: its language, its text, and the line of the page that it begins in."""

    language: str
    code: str
    line: int


def blocks(page: str, language: str | None = None) -> list[Block]:
    """The code blocks of a page, in their order; of one language, or all."""
    text = (ROOT / page).read_text(encoding="utf-8")
    found = [Block(m["language"], m["code"], text.count("\n", 0, m.start()) + 1) for m in _FENCE.finditer(text)]
    return [block for block in found if language in (None, block.language)]


def prose(page: str) -> str:
    """The text of a page without its code blocks, and without what benchmarks wrote there."""
    text = (ROOT / page).read_text(encoding="utf-8")
    return _RESULT.sub("", _FENCE.sub("", text))


def commands(page: str) -> Iterator[list[str]]:
    """The words of every command that a page shows: in shell blocks, and whole ones (with a folder) in the prose.

    Comments are left out, and continued lines joined.
    """
    for line in re.findall(r"`(palbert \w+ \./[^`…]+)`", prose(page)):
        yield shlex.split(line)
    for block in blocks(page, "bash"):
        for line in block.code.replace("\\\n", " ").splitlines():
            words: list[str] = []
            for word in shlex.split(line, comments=True):
                if word in ("&&", "|", ";"):
                    yield words
                    words = []
                else:
                    words.append(word)
            if words:
                yield words


def files_below(folder: Path, *suffixes: str) -> list[Path]:
    """Files of these endings, in any depth."""
    return sorted(file for file in folder.rglob("*") if file.suffix in suffixes)
