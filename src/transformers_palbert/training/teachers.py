"""From parsed arguments to a student with its teacher."""

from __future__ import annotations

import logging
from dataclasses import fields
from typing import Any, NamedTuple

import torch
from datasets import Dataset
from transformers import (
    AutoModelForQuestionAnswering,
    PreTrainedModel,
    PreTrainedTokenizerBase,
    TrainingArguments,
)

from ..errors import ConfigurationError, TokenizerError
from .arguments import DistillationArguments, ModelArguments
from .distillation import TeacherLogitsCollator, cache_teacher, require_same_tokens, with_teacher
from .distillation.settings import DistillationConfig
from .setup import load_tokenizer

__all__ = ["Teacher", "load_teacher", "teach"]

logger = logging.getLogger(__name__)


class Teacher(NamedTuple):
    """A teacher, and the tokenizers of student and teacher where both have one: they mean the same tokens."""

    model: PreTrainedModel
    tokenizers: tuple[PreTrainedTokenizerBase, PreTrainedTokenizerBase] | None


def teach(
    student: PreTrainedModel,
    teacher: Teacher | None,
    options: DistillationArguments,
    features: dict[str, Dataset],
    collate: Any,
    args: TrainingArguments,
) -> Any:
    """Let ``student`` learn from ``teacher``, or from what is kept of it on disk; the collator to train with.

    Args:
        student: Changed in place.
        teacher: What :func:`load_teacher` returns; None changes nothing.
        options: How the student learns.
        features: The windows of each part; those to train on get the teacher's logits, if these are to be kept.
        collate: What makes a batch of windows.
        args: Those of the training. Of several processes on a machine, the first asks the teacher, and the others wait.

    Raises:
        ConfigurationError: if an option is not allowed, or the two do not go together.
    """
    if teacher is None:
        return collate
    if options.teacher_cache is None:
        with_teacher(student, teacher.model, tokenizers=teacher.tokenizers, **options.settings)
        return collate
    with_teacher(student, None, **options.settings)
    if "train" not in features:
        return collate
    with args.main_process_first(desc="asking the teacher"):
        teacher.model.to(args.device)  # type: ignore[arg-type] # a device is what it takes
        features["train"] = cache_teacher(
            features["train"],
            teacher.model,
            collate,
            folder=options.teacher_cache,
            batch_size=args.per_device_train_batch_size,
        )
    teacher.model.to(torch.device("cpu"))  # type: ignore[arg-type] # likewise; it leaves the memory of the GPU at once
    return TeacherLogitsCollator(collate)


def load_teacher(
    options: DistillationArguments, of_model: ModelArguments, tokenizer: PreTrainedTokenizerBase
) -> Teacher | None:
    """The teacher of the options, if they name one.

    Args:
        options: Which, and how to learn from it.
        of_model: Those of the student: how the Hub is reached.
        tokenizer: The student's, whose ids must mean the same tokens to the teacher.

    Raises:
        ConfigurationError: if an option has no effect or is not allowed, or the two read different tokens.
    """
    if options.teacher_name_or_path is None:
        _require_no_options(options)
        return None
    DistillationConfig(**options.settings)  # what is wrong with it is found before anything is loaded
    source = options.teacher_name_or_path
    hub = {name: value for name, value in of_model.hub_options.items() if name != "revision"}  # that of the student
    teacher = AutoModelForQuestionAnswering.from_pretrained(source, **hub)
    own = _tokenizer_of(source, of_model, teacher)
    if own is None:
        logger.warning(
            "%s has no tokenizer, so it cannot be seen whether its ids mean what the student's mean: only the sizes of"
            " the vocabularies are compared.",
            source,
        )
        return Teacher(teacher, None)
    require_same_tokens(tokenizer, own)
    return Teacher(teacher, (tokenizer, own))


def _tokenizer_of(source: str, of_model: ModelArguments, teacher: PreTrainedModel) -> PreTrainedTokenizerBase | None:
    """The teacher's tokenizer; None if it has none, where transformers may make one up that knows no words."""
    options = ModelArguments(source, cache_dir=of_model.cache_dir, token=of_model.token)
    try:
        found = load_tokenizer(options, teacher.config)
    except (OSError, TokenizerError):
        return None
    return found if set(found.get_vocab()) - set(found.all_special_tokens) else None


def _require_no_options(options: DistillationArguments) -> None:
    defaults = DistillationArguments()
    given = [
        f"--{field.name}" for field in fields(options) if getattr(options, field.name) != getattr(defaults, field.name)
    ]
    if given:
        raise ConfigurationError(
            f"{', '.join(given)} changes nothing without a teacher; name one with --teacher_name_or_path."
        )
