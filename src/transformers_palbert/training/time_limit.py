"""Ending a run in time, so that a long one can be done in pieces."""

from __future__ import annotations

import time
from typing import Any

import torch
from transformers import TrainerControl, TrainerState, TrainingArguments

from ..errors import ConfigurationError
from ..trainer_callback import PalBertCallback

__all__ = ["StopInTime"]


class StopInTime(PalBertCallback):
    """Saves a checkpoint and ends training at the first step after ``max_seconds``.

    The clock starts when the callback is made, so make it first: loading and compiling take time too. Leave room for
    the slowest step and for the checkpoint, which come on top. Learning rates follow the whole run, so a second
    ``trainer.train(resume_from_checkpoint=True)`` goes on as if there had been no end.

    Args:
        max_seconds: Seconds of wall-clock time, above 0.

    Attributes:
        stopped: Whether training ended for this reason.

    Raises:
        ConfigurationError: if ``max_seconds`` is not above 0.
    """

    def __init__(self, max_seconds: float) -> None:
        if max_seconds <= 0:
            raise ConfigurationError(f"max_seconds={max_seconds} is not allowed; it must be above 0.")
        self.deadline = time.monotonic() + max_seconds
        self.stopped = False

    def on_step_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> TrainerControl:
        """Called by the Trainer after each optimizer step."""
        if state.global_step < state.max_steps and _any_process(time.monotonic() >= self.deadline, args):
            self.stopped = True
            control.should_save = control.should_training_stop = True
        return control


def _any_process(late: bool, args: TrainingArguments) -> bool:
    """Whether ``late`` holds on any process: all must stop at the same step, or those that go on wait forever."""
    if args.world_size <= 1:
        return late
    flag = torch.tensor(int(late), device=args.device)
    torch.distributed.all_reduce(flag, op=torch.distributed.ReduceOp.MAX)
    return bool(flag.item())
