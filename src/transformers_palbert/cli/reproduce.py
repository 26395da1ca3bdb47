"""``palbert reproduce``: run the paper's experiments, and grids of your own."""

from __future__ import annotations

import typer


def reproduce(ctx: typer.Context) -> None:
    """Run the experiments of the PAL-BERT paper, or your own. Each writes its results, a table and a plot.

    Example: palbert reproduce table7 --scale small
    """
    from ..experiments.reproduction import main

    raise typer.Exit(main(ctx.args))
