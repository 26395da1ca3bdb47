"""Commands that hand their command line on, untouched, to a parser of their own."""

from __future__ import annotations

__all__ = ["PASS_ON"]

PASS_ON = {
    "allow_extra_args": True,
    "allow_interspersed_args": False,
    "help_option_names": [],
    "ignore_unknown_options": True,
}
"""Context settings of such a command: its arguments are in ``ctx.args``, ``--help`` among them."""
