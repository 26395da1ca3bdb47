"""What the callbacks of this package do to every Trainer they join, a stock one included."""

from __future__ import annotations

from typing import Any

from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from .hub_tokens import hide_token

__all__ = ["PalBertCallback"]


class PalBertCallback(TrainerCallback):
    """A callback that keeps the Hub's token out of what the Trainer pickles.

    ``Trainer`` writes its arguments into ``training_args.bin``, and pushes that file. Whoever gives a callback of this
    package to a stock Trainer's constructor is protected from that by it. Our own Trainers need none: their
    :class:`~transformers_palbert.hub.callback.ModelCardCallback` does it.
    """

    def on_init_end(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any) -> None:
        """Called by the Trainer at the end of its constructor."""
        hide_token(args)
