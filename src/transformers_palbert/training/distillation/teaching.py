"""Give a model a teacher, and take it away again."""

from __future__ import annotations

from typing import Any

import torch
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from ...errors import ConfigurationError
from .layer_maps import LayerMap
from .lesson import Lesson
from .losses import AttentionLoss
from .projection import PROJECTION
from .settings import DistillationConfig
from .vocabularies import require_same_tokens

__all__ = ["lesson_of", "with_teacher", "without_teacher"]

_LESSON, _HANDLES = "_palbert_lesson", "_palbert_teacher"
"""The attributes of a student that hold its lesson, and the handles of the hooks."""


def with_teacher(
    model: PreTrainedModel,
    teacher: PreTrainedModel | None,
    *,
    temperature: float = 2.0,
    weight: float = 0.5,
    hidden_states: float = 0.0,
    attention: float = 0.0,
    attention_loss: AttentionLoss = "mse",
    layer_map: LayerMap | None = None,
    tokenizers: tuple[PreTrainedTokenizerBase, PreTrainedTokenizerBase] | None = None,
) -> PreTrainedModel:
    """Let ``model`` learn from ``teacher`` whenever it computes a loss while training.

    For encoders with a head that answers questions, or classifies texts or tokens.

    ``loss = (1 - weight) · task + weight · logits + hidden_states · hidden + attention · attention``, where

    - ``task`` is the model's own loss,
    - ``logits`` compares start and end logits over the real tokens, or the logits of a classifier of texts or of
      tokens, see :func:`~.logits.logits_loss`,
    - ``hidden`` is the mean over mapped layers of :func:`~.losses.state_distance`,
    - ``attention`` is the mean over mapped layers of :func:`~.losses.attention_distance`.

    Each is a mean over the real tokens of a row, and then over rows, so that gradient accumulation and several
    processes give the loss of one large batch. (Where tokens are classified, rows and tokens count as their labels do.
    Trainer's ``num_items_in_batch`` is applied to the whole loss, also for the models that ignore it.) Attention is
    compared as probabilities, before dropout, and whatever implementation computes it. Where the numbers of heads
    differ, its mean over the heads is compared.

    Where hidden states are compared and the student is not as wide as its teacher, the student gets a linear
    projection, which is trained with it, never saved with it, and taken off by :func:`without_teacher`. A run with one
    needs :class:`~.callback.DistillationCallback` to be gone on with.

    A compiled student learns the same (``torch_compile=True``, or ``torch.compile(model)`` before or after this call).
    Whatever was compiled in this process before is compiled again, since compilers do not look at hooks.

    Args:
        model: The student, changed in place. Call this before the Trainer, or the optimizer, is made.
        teacher: A model with the same task, labels and tokenizer. It is put into evaluation mode, its parameters are
            frozen, and it follows the student's device. None: its logits come with the batches, from
            :func:`~.cached_logits.cache_teacher`; then there is nothing else to compare.
        temperature: Of the logits' distributions, above 0; 1 imitates the teacher's probabilities as they are.
        weight: Share of the teacher's logits in the loss, in [0, 1].
        hidden_states: Weight of the hidden states, at least 0.
        attention: Weight of the attention maps, at least 0. One map per head and layer is held in memory.
        attention_loss: ``"mse"`` or ``"kl"``.
        layer_map: Which layers are compared, as pairs of the student's and the teacher's, see
            :mod:`~.layer_maps`; None maps every layer of the student, spread evenly over the teacher's.
        tokenizers: The student's and the teacher's, to make sure that ids mean the same tokens to both; the teacher may
            know more. Without them, the sizes of the vocabularies are compared.

    Returns:
        ``model`` itself.

    Raises:
        ConfigurationError: if a value is not allowed, the model has a teacher, the two do not read the same tokens, or
            a layer is to be compared that does not exist.

    Example:
        >>> student = with_teacher(student, teacher, hidden_states=1.0, layer_map=[(2, 4), (4, 8), (6, 12)])
    """
    config = DistillationConfig(temperature, weight, hidden_states, attention, attention_loss, layer_map)
    if hasattr(model, _HANDLES):
        raise ConfigurationError("This model has a teacher already; call without_teacher(model) first.")
    if teacher is None:
        _require_logits_alone(config)
    if teacher is model:
        raise ConfigurationError("A model cannot be its own teacher; load it a second time.")
    if tokenizers is not None:
        require_same_tokens(*tokenizers)
    elif teacher is not None:
        _require_same_vocabulary(model, teacher)
    _teach(model, Lesson(model, teacher, config))
    if teacher is not None:
        teacher.eval().requires_grad_(False)
    return model


def _teach(model: PreTrainedModel, lesson: Lesson) -> None:
    if lesson.projection is not None:
        model.add_module(PROJECTION, lesson.projection.to(model.device))
    handles = (
        model.register_forward_pre_hook(lesson.open, with_kwargs=True),
        model.base_model.register_forward_pre_hook(lesson.ask, with_kwargs=True),
        model.base_model.register_forward_hook(lesson.listened, prepend=True, always_call=True),
        model.register_forward_hook(lesson.add_to_loss),
    )
    object.__setattr__(model, _LESSON, lesson)
    object.__setattr__(model, _HANDLES, handles)
    torch.compiler.reset()  # what was compiled without these hooks would go on without them


def without_teacher(model: PreTrainedModel) -> PreTrainedModel:
    """Undo :func:`with_teacher`; a model that has no teacher stays as it is."""
    if hasattr(model, _HANDLES):
        torch.compiler.reset()  # what was compiled with the hooks would go on with them
    for handle in getattr(model, _HANDLES, ()):
        handle.remove()
    for name in (_HANDLES, _LESSON):
        model.__dict__.pop(name, None)
    if hasattr(model, PROJECTION):
        delattr(model, PROJECTION)
    return model


def lesson_of(model: Any) -> Lesson | None:
    """What ``model`` learns from its teacher; None if it has none."""
    return getattr(model, _LESSON, None)


def _require_logits_alone(config: DistillationConfig) -> None:
    if config.reads_layers:
        raise ConfigurationError(
            f"hidden_states={config.hidden_states} and attention={config.attention} compare what is inside of the"
            " teacher, and of a teacher that is cached there are logits alone. Set both to 0, or give the teacher"
            " itself."
        )


def _require_same_vocabulary(model: PreTrainedModel, teacher: PreTrainedModel) -> None:
    sizes = model.config.vocab_size, teacher.config.vocab_size
    if sizes[0] != sizes[1]:
        raise ConfigurationError(
            f"The student reads a vocabulary of {sizes[0]} tokens and the teacher one of {sizes[1]}: they must read"
            " the same windows, so both need the same tokenizer. If they have it, and only embeddings are padded,"
            " pass tokenizers=(student's, teacher's), which are compared token by token."
        )
