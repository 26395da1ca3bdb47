"""``palbert reproduce``: run the paper's experiments, and grids of your own."""

from __future__ import annotations

import typer


def reproduce(ctx: typer.Context) -> None:
    """Run the paper's experiments, and grids of your own. Tables and plots are what they leave.

    Example: palbert reproduce table7 --scale small
    """
    from ..experiments.reproduction import main

    raise typer.Exit(main(ctx.args))
