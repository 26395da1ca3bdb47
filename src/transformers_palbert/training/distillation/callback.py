"""What a Trainer does for a student with a teacher: logs of the parts of its loss, and runs that are gone on with."""

from __future__ import annotations

import inspect
import warnings
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from transformers import TrainerControl, TrainerState, TrainingArguments

from ...errors import ConfigurationError, NoEffectWarning
from ...trainer_callback import PalBertCallback, put_first
from .projection import Projection, load_projection, save_projection
from .teaching import lesson_of

__all__ = ["DistillationCallback"]


class DistillationCallback(PalBertCallback):
    """Log the parts of the loss of a student with a teacher, and keep its projection beside checkpoints.

    It does nothing for a model without a teacher. The training loop, with what happens at each event::

        Trainer(with_teacher(model, teacher, …), args, callbacks=[DistillationCallback()])
        trainer.train(resume_from_checkpoint=...)
            on_train_begin      # of a run that goes on: the projection, if there is one, as it was
            for step in steps:
                forward, backward, optimizer.step()
                on_step_end     # parts of the loss: mean over the step's batches, on their device
                on_log          # loss_task, loss_logits, loss_hidden, loss_attention
                on_save         # the projection, into the checkpoint's folder

    The parts are logged without their weights, as means over steps and processes, like ``loss``. So in every log
    ``loss = (1 - weight) · loss_task + weight · loss_logits + hidden_states · loss_hidden + attention ·
    loss_attention``. A :class:`~transformers_palbert.training.trainer.QuestionAnsweringTrainer` has this callback.

    Args:
        resume_from: The folder of the checkpoint that the run goes on from; None looks for ``checkpoint-STEP`` in the
            output folder, where Trainer writes it.
    """

    def __init__(self, resume_from: str | Path | None = None) -> None:
        self.resume_from = resume_from
        self._sums: dict[str, Tensor] = {}
        self._steps = 0
        self._warned = False
        self._shares = False  # whether the processes add up, and are not averaged

    def on_init_end(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any) -> None:
        """Come before the reporters, so that they see what this adds to the logs."""
        put_first(self, inspect.currentframe())
        super().on_init_end(args, state, control, **kwargs)

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Forget the run before, and of a run that goes on, restore the projection."""
        self._sums, self._steps = {}, 0
        lesson = lesson_of(kwargs.get("model"))
        if lesson is None:
            return
        lesson.losses.take()
        _require_trained(lesson.projection, kwargs["optimizer"])
        if lesson.projection is not None and state.global_step > 0:
            folder = self.resume_from or Path(str(args.output_dir)) / f"checkpoint-{state.global_step}"
            load_projection(lesson.projection, Path(folder), state.global_step)

    def on_step_end(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any) -> None:
        """Add up the parts of the loss of an optimizer step; nothing waits for the device."""
        lesson = lesson_of(kwargs.get("model"))
        if lesson is None:
            return
        sums, forwards = lesson.losses.take()
        if not forwards:
            self._warn_of_no_loss()
            return
        self._shares = lesson.losses.scaled and args.average_tokens_across_devices
        # what was weighed by its share in the step adds up to the step's loss; means are averaged, as Trainer does
        parts = sums if lesson.losses.scaled else {name: total / forwards for name, total in sums.items()}
        for name, part in parts.items():
            self._sums[name] = self._sums.get(name, 0.0) + part
        self._steps += 1

    def _warn_of_no_loss(self) -> None:
        if not self._warned:
            warnings.warn(
                "The student computed no loss of its own in a training step, so it learnt nothing from its teacher,"
                " which adds to outputs.loss. Trainer computes the loss itself where label_smoothing_factor or"
                " compute_loss_func is given: leave them out.",
                NoEffectWarning,
                stacklevel=2,
            )
        self._warned = True

    def on_log(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any) -> None:
        """Add ``loss_task``, ``loss_logits`` and the others to a log that holds ``loss``."""
        logs: dict[str, Any] = kwargs.get("logs") or {}
        if "loss" not in logs or not self._sums:
            return
        means = torch.stack(list(self._sums.values())) / self._steps
        if args.world_size > 1:
            torch.distributed.all_reduce(means)
            means = means if self._shares else means / args.world_size
        facts = {f"loss_{name}": value for name, value in zip(self._sums, means.tolist(), strict=True)}
        self._sums, self._steps = {}, 0
        logs.update(facts)
        if state.log_history:
            state.log_history[-1].update(facts)

    def on_save(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any) -> None:
        """Write the projection into the checkpoint that was just written."""
        lesson = lesson_of(kwargs.get("model"))
        checkpoint = Path(str(args.output_dir)) / f"checkpoint-{state.global_step}"
        if lesson is None or lesson.projection is None or args.save_only_model:
            return
        if args.should_save and checkpoint.is_dir():
            save_projection(lesson.projection, checkpoint, state.global_step)


def _require_trained(projection: Projection | None, optimizer: Any) -> None:
    if projection is None:
        return
    trained = {id(parameter) for group in optimizer.param_groups for parameter in group["params"]}
    if id(projection.weight) not in trained:
        raise ConfigurationError(
            "The optimizer does not know the projection between the hidden states of student and teacher, so it would"
            " stay what it is. Call with_teacher(model, teacher, …) before the optimizer is made from"
            " model.parameters()."
        )
