"""What a run was asked for, kept beside its checkpoints: whoever goes on with other settings is told."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterable
from dataclasses import fields
from pathlib import Path
from typing import Any

from transformers import TrainingArguments

from ..json_text import parse_json

__all__ = ["ARGUMENTS_FILE", "keep_arguments", "warn_of_changes"]

logger = logging.getLogger(__name__)

ARGUMENTS_FILE = "arguments.json"

OF_THE_TRAINER = frozenset(
    {"adam_beta1", "adam_beta2", "adam_epsilon", "bf16", "data_seed", "fp16", "gradient_accumulation_steps"}
    | {"label_smoothing_factor", "learning_rate", "lr_scheduler_type", "max_grad_norm", "max_steps"}
    | {"num_train_epochs", "optim", "per_device_train_batch_size", "seed", "train_sampling_strategy"}
    | {"warmup_steps", "weight_decay"}
)
"""Of the many options of the Trainer, those that decide what is learned."""

WITHOUT_EFFECT = frozenset(
    {"cache_dir", "corpus_dir", "escape_formulas", "eval_documents", "export_stock", "max_answer_length"}
    | {"max_eval_samples", "max_predict_samples", "max_seconds", "metric", "n_best_size", "null_score_diff_threshold"}
    | {"null_threshold_fraction", "predictions_csv", "prepare", "preprocessing_num_workers", "push_logs", "save_sparse"}
    | {"sparse_embeddings", "sparse_entropy", "sparse_values", "teacher_cache", "test_file", "token", "validation_file"}
)
"""Of our own options, those that decide nothing of what is learned."""


def warn_of_changes(parts: Iterable[Any], folder: Path) -> None:
    """Say what a run asks for otherwise than the one whose checkpoints in ``folder`` it goes on from.

    Args:
        parts: Its arguments, as dataclasses.
        folder: The output folder; without a file of :func:`keep_arguments` nothing is said.
    """
    file = folder / ARGUMENTS_FILE
    try:
        before = parse_json(file.read_text(encoding="utf-8"))
    except (OSError, ValueError):  # of an older version, or cut off
        return
    now = _learned_from(parts)
    if not isinstance(before, dict):
        return
    differ = [name for name in now if before.get(name, now[name]) != now[name]]
    changed = [f"{name}: {before[name]} there, {now[name]} now" for name in differ]
    if changed:
        logger.warning(
            "%s holds a run with other settings (%s). It is gone on with, and what was learned so far stays; give"
            " another --output_dir to begin anew.",
            folder,
            "; ".join(changed),
        )


def keep_arguments(parts: Iterable[Any], folder: Path) -> None:
    """Write into ``folder`` what decides what the run learns; no tokens are among it."""
    folder.mkdir(parents=True, exist_ok=True)
    partial = folder / f".{ARGUMENTS_FILE}.partial"
    partial.write_text(json.dumps(_learned_from(parts), ensure_ascii=False, indent=2) + "\n", encoding="utf-8")
    partial.replace(folder / ARGUMENTS_FILE)


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
