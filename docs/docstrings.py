"""Docstrings as Markdown: the sources write them for people who read code, in the roles of Sphinx.

Griffe, which reads the sources for the reference, loads this extension.
"""

from __future__ import annotations

import re
from typing import Any

from griffe import Extension, Object

import transformers_palbert

ROLE = re.compile(r":(?:class|data|exc|func|meth|mod|attr):`~?\.*(?P<path>[\w.]+)`")
CODE = re.compile(r"(?<!`)``(?!`)(.+?)(?<!`)``(?!`)", re.DOTALL)
BLOCK = re.compile(r"^(?P<before>[ ]*\S.*)::\n\n(?P<code>(?:(?:[ ]{4,}.*)?\n?)+)", re.MULTILINE)
EXAMPLE = re.compile(r"^( *)Example:$", re.MULTILINE)
PUBLIC = frozenset(transformers_palbert.__all__)


def to_markdown(text: str) -> str:
    """A docstring whose roles, double backticks and literal blocks are Markdown's links, backticks and fences.

    ``Example:`` gets the plural that griffe knows.
    """
    text = EXAMPLE.sub(r"\1Examples:", text)
    text = BLOCK.sub(lambda match: f"{match['before']}:\n\n{_fenced(match['code'])}", text)
    return CODE.sub(r"`\1`", ROLE.sub(_linked, text))


def _linked(match: re.Match[str]) -> str:
    name = match["path"].rpartition(".")[2]
    return f"[`{name}`][transformers_palbert.{name}]" if name in PUBLIC else f"`{name}`"


def _fenced(code: str) -> str:
    lines = code.rstrip().split("\n")
    depth = min(len(line) - len(line.lstrip()) for line in lines if line.strip())
    indent = " " * (depth - 4)
    body = "\n".join(f"{indent}{line[depth:]}".rstrip() for line in lines)
    return f"{indent}```python\n{body}\n{indent}```\n\n"


class Docstrings(Extension):
    """Rewrites every docstring before its sections are read."""

    def on_object(self, *, obj: Object, **kwargs: Any) -> None:
        """Rewrite one."""
        if obj.docstring is not None:
            obj.docstring.value = to_markdown(obj.docstring.value)
