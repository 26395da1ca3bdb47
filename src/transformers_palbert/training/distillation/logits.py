"""The part of the loss that compares logits, for each kind of model that has some."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from ...errors import ConfigurationError
from .batches import IGNORED, mean_over_rows
from .losses import class_divergence, label_divergence, position_divergence, token_mean, value_distance

__all__ = ["LOGITS", "logits_loss"]

LOGITS = ("start_logits", "end_logits", "logits")
"""Names of the logits that are compared, in the outputs of a model."""


def logits_loss(
    student: Mapping[str, Any],
    teacher: Mapping[str, Any],
    labels: Tensor | None,
    mask: Tensor | None,
    temperature: float,
    problem_type: str | None = None,
) -> Tensor:
    """How far the logits of ``student`` are from those of ``teacher``: a mean over rows or labelled tokens.

    ============================  ===============================================================================
    logits                        loss
    ============================  ===============================================================================
    start and end, ``[B, L]``     mean of both divergences of positions, padding left out; mean over rows
    ``[B, classes]``              divergence of classes; mean over rows
    the same, multi-label         divergence of each label; mean over labels and rows
    the same, regression          squared distance, without temperature; mean over rows
    ``[B, L, classes]``           divergence of classes, mean over the labelled tokens of the batch
    ============================  ===============================================================================

    Args:
        student: Outputs of the student.
        teacher: Outputs of the teacher, or its cached logits by the same names.
        labels: The labels of the batch; rows, or tokens where these are classified, with the label -100 do not count.
        mask: 1 for tokens, 0 for padding, ``[batch, length]``, or None.
        temperature: See :func:`~.losses.class_divergence`.
        problem_type: As in the student's configuration.

    Raises:
        ConfigurationError: if the two do not have the same logits.
    """
    names = [name for name in LOGITS if student.get(name) is not None]
    _require_same_logits(names, student, teacher)
    if "start_logits" in names:
        parts = [position_divergence(student[name], teacher[name], mask, temperature) for name in names]
        return torch.stack(parts).mean()
    own, target = student["logits"], teacher["logits"]
    if own.dim() == 3:
        return _labelled_mean(class_divergence(own, target, temperature), labels, mask)
    if problem_type == "regression" or own.shape[-1] == 1:
        return mean_over_rows(value_distance(own, target), labels)
    if problem_type == "multi_label_classification":
        return mean_over_rows(label_divergence(own, target, temperature), labels)
    return mean_over_rows(class_divergence(own, target, temperature), labels)


def _labelled_mean(values: Tensor, labels: Tensor | None, mask: Tensor | None) -> Tensor:
    counted = mask if labels is None or labels.shape != values.shape else labels != IGNORED
    flat = None if counted is None else counted.reshape(1, -1)
    return token_mean(values.reshape(1, -1), flat)[0]


def _require_same_logits(names: list[str], student: Mapping[str, Any], teacher: Mapping[str, Any]) -> None:
    shapes = {name: tuple(student[name].shape) for name in names}
    found = {name: tuple(value.shape) for name in LOGITS if (value := teacher.get(name)) is not None}
    if not names or any(found.get(name) != shape for name, shape in shapes.items()):
        raise ConfigurationError(
            f"The student's logits are {_described(shapes)}, and the teacher's {_described(found)}: a teacher must be a"
            " model for the same task, with the same labels. Cached logits of a teacher come with a batch if the"
            " training data went through cache_teacher, data_collator=TeacherLogitsCollator(…) puts it together, and"
            " the Trainer drops none of its columns (remove_unused_columns=False, with a Trainer of transformers)."
        )


def _described(shapes: Mapping[str, tuple[int, ...]]) -> str:
    return ", ".join(f"{name} {list(shape)}" for name, shape in shapes.items()) or "none"
