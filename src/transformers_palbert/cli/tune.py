"""``palbert tune``: search for settings of a high F1 and a small file."""

from __future__ import annotations

import typer


def tune(ctx: typer.Context) -> None:
    """Search for settings of a high F1 and a small file. With Optuna or Ray Tune.

    Example: palbert tune small_cmrc2018.yaml --trials 30 --output_dir outputs/tune
    """
    from ..experiments.tuning import main

    main(ctx.args)
