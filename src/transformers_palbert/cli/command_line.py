"""How command lines are read: options with hyphens or underscores, and errors of the user's in one line."""

from __future__ import annotations

import warnings
from collections.abc import Iterable
from typing import Any

from typer.core import TyperCommand, TyperGroup

from ..errors import PalBertError
from .inputs import release_inputs
from .output import fail, warn

__all__ = ["Command", "Commands"]


class Command(TyperCommand):
    """A command whose options may be spelled with underscores as well, as those of ``palbert train`` are."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        known = {name for param in self.params for name in (*param.opts, *param.secondary_opts)}
        return super().parse_args(ctx, [_hyphened(word, known) for word in args])


class Commands(TyperGroup):
    """Turns what went wrong for the user's reasons (bad input, missing file) into one line and exit status 1."""

    def invoke(self, ctx: Any) -> Any:
        try:
            with warnings.catch_warnings():
                warnings.showwarning = warn
                return super().invoke(ctx)
        except BrokenPipeError:
            raise  # the reader of a pipe has gone; click knows what to do
        except (PalBertError, OSError) as error:
            raise fail(error, self._options()) from error
        finally:
            release_inputs()

    def _options(self) -> dict[str, str]:
        """Name of a setting -> the option that sets it, of all commands; ``palbert train`` names its own."""
        return {
            str(param.name): max(param.opts, key=len)
            for command in _all_commands(self)
            for param in command.params
            if param.opts and param.opts[0].startswith("-")
        }


def _hyphened(word: str, known: Iterable[str]) -> str:
    name, equals, value = word.partition("=")
    hyphened = name.replace("_", "-")
    return hyphened + equals + value if name.startswith("--") and hyphened in known else word


def _all_commands(group: TyperGroup) -> Iterable[Any]:
    for command in group.commands.values():
        yield from _all_commands(command) if isinstance(command, TyperGroup) else [command]
