"""What the callbacks of this package do to every Trainer they join, a stock one included."""

from __future__ import annotations

from types import FrameType
from typing import Any

from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments
from transformers.trainer_callback import CallbackHandler

from .hub_tokens import hide_token

__all__ = ["PalBertCallback", "put_first"]


class PalBertCallback(TrainerCallback):
    """A callback that keeps the Hub's token out of what the Trainer pickles.

    ``Trainer`` writes its arguments into ``training_args.bin``, and pushes that file. Whoever gives a callback of this
    package to a stock Trainer's constructor is protected from that by it. Our own Trainers need none: their
    :class:`~transformers_palbert.hub.callback.ModelCardCallback` does it.
    """

    def on_init_end(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any) -> None:
        """Called by the Trainer at the end of its constructor."""
        hide_token(args)


def put_first(callback: TrainerCallback, event: FrameType | None) -> list[TrainerCallback]:
    """Let ``callback`` run before the reporters, so that what it adds to the logs reaches TensorBoard and the others.

    Trainer appends a user's callbacks behind its reporters and gives a callback no other way to log. It does not hand
    out the handler that calls them either: that is the ``self`` of whoever called ``event``.

    Args:
        callback: The callback.
        event: The frame of its method that the Trainer calls, ``inspect.currentframe()``.

    Returns:
        The other callbacks; none where the method was not called by a Trainer.
    """
    handler = event.f_back.f_locals.get("self") if event is not None and event.f_back is not None else None
    if not isinstance(handler, CallbackHandler):
        return []
    others = [other for other in handler.callbacks if other is not callback]
    handler.callbacks = [callback, *others]
    return others
