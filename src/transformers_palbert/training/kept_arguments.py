"""What a run was asked for, kept in its checkpoints: whoever goes on with other settings is told."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterable
from dataclasses import fields
from pathlib import Path
from typing import Any

from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from ..json_text import parse_json

__all__ = ["ARGUMENTS_FILE", "KeepArguments", "warn_of_changes"]

logger = logging.getLogger(__name__)

ARGUMENTS_FILE = "arguments.json"

OF_THE_TRAINER = frozenset(
    {"adam_beta1", "adam_beta2", "adam_epsilon", "bf16", "data_seed", "fp16", "gradient_accumulation_steps"}
    | {"label_smoothing_factor", "learning_rate", "lr_scheduler_kwargs", "lr_scheduler_type", "max_grad_norm"}
    | {"max_steps", "neftune_noise_alpha", "num_train_epochs", "optim", "optim_args", "optim_target_modules"}
    | {"per_device_train_batch_size", "seed", "train_sampling_strategy", "warmup_steps", "weight_decay"}
)
"""Of the many options of the Trainer, those that decide what is learned."""

WITHOUT_EFFECT = frozenset(
    {"cache_dir", "escape_formulas", "export_stock", "max_answer_length"}
    | {"max_eval_samples", "max_predict_samples", "max_seconds", "metric", "n_best_size", "null_score_diff_threshold"}
    | {"null_threshold_fraction", "predictions_csv", "prepare", "preprocessing_num_workers", "push_logs", "save_sparse"}
    | {"sparse_embeddings", "sparse_entropy", "sparse_values", "teacher_cache", "test_file", "token", "validation_file"}
)
"""Of our own options, those that decide nothing of what is learned."""


class KeepArguments(TrainerCallback):
    """Writes what decides what a run learns into each of its checkpoints; no tokens are among it.

    Args:
        parts: The arguments of the run, as dataclasses.
    """

    def __init__(self, parts: Iterable[Any]) -> None:
        self.kept = _learned_from(parts)

    def on_save(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any) -> None:
        checkpoint = Path(str(args.output_dir), f"checkpoint-{state.global_step}")
        if state.is_world_process_zero and checkpoint.is_dir():
            text = json.dumps(self.kept, ensure_ascii=False, indent=2)
            (checkpoint / ARGUMENTS_FILE).write_text(text + "\n", encoding="utf-8")


def warn_of_changes(parts: Iterable[Any], checkpoint: Path) -> None:
    """Say what a run asks for otherwise than the one that wrote the checkpoint that it goes on from.

    Args:
        parts: Its arguments, as dataclasses.
        checkpoint: The folder; without a file of :class:`KeepArguments` nothing is said.
    """
    try:
        before = parse_json((checkpoint / ARGUMENTS_FILE).read_text(encoding="utf-8"))
    except (OSError, ValueError):  # of an older version, or cut off
        return
    now = _learned_from(parts)
    if not isinstance(before, dict):
        return
    differ = [name for name in now if before.get(name, now[name]) != now[name]]
    if differ:
        logger.warning(
            "%s is of a run with other settings (%s). What was learned there stays; give another --output_dir to begin"
            " anew.",
            checkpoint,
            "; ".join(f"{name}: {before[name]} there, {now[name]} now" for name in differ),
        )


def _learned_from(parts: Iterable[Any]) -> dict[str, Any]:
    """Option -> value, as JSON gives it back, of the options that decide what is learned."""
    values = {}
    for part in parts:
        names = {field.name for field in fields(part)}
        theirs = {field.name for field in fields(TrainingArguments)} if isinstance(part, TrainingArguments) else set()
        for name in sorted((names & theirs & OF_THE_TRAINER) | (names - theirs - WITHOUT_EFFECT)):
            values[name] = getattr(part, name)
    found: dict[str, Any] = json.loads(json.dumps(values, default=str))
    return found
