"""``palbert train``: fine-tune a question-answering model, pruned on the way."""

from __future__ import annotations

import typer

from .pass_on import require_arguments


def train(ctx: typer.Context) -> None:
    """Fine-tune a question-answering model and prune it meanwhile. Options are those of Transformers' own script.

    Example: palbert train paper_cmrc2018.yaml --learning_rate 1e-5 --output_dir outputs/mine
    """
    require_arguments(ctx.args, "palbert train paper_cmrc2018.yaml --learning_rate 1e-5 --output_dir outputs/mine")
    from ..training.question_answering import main

    main(ctx.args)
