"""Commands that hand their command line on, untouched, to a parser of their own."""

from __future__ import annotations

from ..errors import ConfigurationError

__all__ = ["PASS_ON", "require_arguments"]

PASS_ON = {
    "allow_extra_args": True,
    "allow_interspersed_args": False,
    "help_option_names": [],
    "ignore_unknown_options": True,
}
"""Context settings of such a command: its arguments are in ``ctx.args``, ``--help`` among them."""


def require_arguments(arguments: list[str], example: str) -> None:
    """Say what to type where nothing was.

    Raises:
        ConfigurationError: if there are no arguments.
    """
    if not arguments:
        command = " ".join(example.split()[:2])
        raise ConfigurationError(f"Give a recipe or options, as in: {example}. All options: {command} --help")
