"""``palbert pretrain``: pre-train ALBERT on text."""

from __future__ import annotations

import typer

from .pass_on import require_arguments


def pretrain(ctx: typer.Context) -> None:
    """Pre-train ALBERT on plain text. It learns to predict hidden words and the order of sentences.

    Example: palbert pretrain --train_file corpus.txt --tokenizer_name vocab.txt --do_train --output_dir out
    """
    require_arguments(
        ctx.args,
        "palbert pretrain --train_file corpus.txt --tokenizer_name vocab.txt --do_train --output_dir out",
    )
    from ..training.pretraining_run import main

    main(ctx.args)
