"""``palbert tune``: search for settings that give a high F1 and a small file."""

from __future__ import annotations

import typer

from .pass_on import require_arguments


def tune(ctx: typer.Context) -> None:
    """Search for settings that give a high F1 and a small file. Optuna or Ray Tune proposes what to try.

    The recipe of the example starts from a model that `palbert train small_cloze.yaml` makes.

    Example: palbert tune small_cmrc2018.yaml --trials 30 --output_dir outputs/tune
    """
    require_arguments(ctx.args, "palbert tune small_cmrc2018.yaml --trials 30")
    from ..experiments.tuning import main

    main(ctx.args)
