"""What every training script does around its Trainer: logging, training and saving, reporting."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from transformers import Trainer, TrainingArguments
from transformers.utils import logging as transformers_logging

from ..sizes import weight_bytes
from .checkpoints import resume_point
from .kept_arguments import KeepArguments, warn_of_changes

__all__ = ["report_metrics", "say_where", "set_up_logging", "train_and_save"]

logger = logging.getLogger(__name__)


def set_up_logging(args: TrainingArguments) -> None:
    """Log to stderr as ``--log_level`` says; unless told otherwise, this package says what is going on."""
    logging.basicConfig(format="%(asctime)s %(levelname)s %(name)s: %(message)s", datefmt="%H:%M:%S")
    level = args.get_process_log_level()
    transformers_logging.set_verbosity(level)
    quiet = args.log_level != "passive" or not args.should_log
    logging.getLogger("transformers_palbert").setLevel(level if quiet else logging.INFO)
    logger.debug("Parameters: %s", args)


def train_and_save(trainer: Trainer, arguments: Iterable[Any]) -> dict[str, float]:
    """Train from the start or from the last whole checkpoint, and save model and state; what was measured.

    Args:
        trainer: What trains.
        arguments: What the run was asked for, as dataclasses. A run that goes on with other settings than it began with
            says so, and one that had nothing left to train.
    """
    parts = list(arguments)
    start = resume_point(trainer)
    if start is not None and trainer.is_world_process_zero():
        warn_of_changes(parts, Path(start))
    trainer.add_callback(KeepArguments(parts))
    metrics = trainer.train(resume_from_checkpoint=start).metrics
    if start is not None and Path(start).name == f"checkpoint-{trainer.state.global_step}":
        logger.warning(
            "Nothing was trained: the run in %s had ended, after %d steps. Give another --output_dir to train anew.",
            start,
            trainer.state.global_step,
        )
    trainer.save_model()
    trainer.save_state()
    return metrics


def report_metrics(trainer: Trainer, part: str, metrics: dict[str, float]) -> dict[str, float]:
    """Log the metrics of a part (train, eval or test), save them into the output folder, and return them."""
    trainer.log_metrics(part, metrics)
    trainer.save_metrics(part, metrics)
    return metrics


def say_where(trainer: Trainer, *commands: str) -> None:
    """Say, when all is done, where the model is, how large it is, and what to type next.

    Args:
        trainer: What has saved the model.
        commands: Command lines, in which ``{}`` stands for the folder.
    """
    folder = Path(str(trainer.args.output_dir))
    size = weight_bytes(folder)
    if trainer.is_world_process_zero() and size is not None:
        logger.info("The model is in %s: %s bytes of weights, its card in README.md.", folder, f"{size:,}")
        for command in commands:
            logger.info("Next: %s", command.format(folder))
