"""Learn from a teacher: a question-answering model whose logits the student imitates while it is fine-tuned.

    model = with_teacher(model, teacher, temperature=2.0, weight=0.5)
    Trainer(model, args, train_dataset=…, callbacks=[MovementPruningCallback(target_sparsity=0.7)]).train()

The teacher answers the same windows inside the student's forward pass, and what it adds to the loss comes back in
``outputs.loss``. So it works in any Trainer and any loop, together with pruning and after it; on several GPUs in a
process for each (DDP), not under ``nn.DataParallel``. It is never saved with
the student, never trained, and not asked while the student is evaluated.

Source: Hinton et al., "Distilling the Knowledge in a Neural Network" (arXiv 1503.02531), section 2; applied to start
and end logits as in McCarley et al. (arXiv 1910.06360).
"""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional
from transformers import PreTrainedModel
from transformers.modeling_outputs import QuestionAnsweringModelOutput

from ..errors import ConfigurationError

__all__ = ["position_divergence", "with_teacher", "without_teacher"]

_HANDLES = "_palbert_teacher"
"""The attribute of a student that holds the handles of its hooks."""


def position_divergence(student: Tensor, teacher: Tensor, mask: Tensor | None, temperature: float = 1.0) -> Tensor:
    """How far the student's distribution over positions is from the teacher's, mean over the batch.

    ``T² · KL(softmax(t / T) ‖ softmax(s / T))``, over the positions that ``mask`` keeps. The factor ``T²`` keeps the
    size of the gradient what it is at ``T = 1``.

    Args:
        student: Logits of start or end, ``[batch, length]``.
        teacher: Likewise.
        mask: 1 for tokens, 0 for padding, ``[batch, length]``; None: there is no padding.
        temperature: ``T``, above 0; higher softens both distributions.

    Returns:
        A scalar, float32, at least 0.
    """
    student, teacher = student.float() / temperature, teacher.float() / temperature
    if mask is not None:
        lowest = torch.finfo(torch.float32).min
        student, teacher = (logits.masked_fill(mask == 0, lowest) for logits in (student, teacher))
    targets = functional.log_softmax(teacher, dim=-1)
    return temperature**2 * functional.kl_div(
        functional.log_softmax(student, dim=-1), targets, reduction="batchmean", log_target=True
    )


def with_teacher(
    model: PreTrainedModel, teacher: PreTrainedModel, *, temperature: float = 2.0, weight: float = 0.5
) -> PreTrainedModel:
    """Let ``model`` learn from ``teacher`` whenever it computes a loss while training.

    ``loss = (1 - weight) · loss + weight · (divergence of starts + divergence of ends) / 2``, see
    :func:`position_divergence`.

    Args:
        model: The student, changed in place.
        teacher: A model with start and end logits for the same windows: the same tokenizer. It is put into evaluation
            mode, its parameters are frozen, and it follows the student's device.
        temperature: Above 0; 1 imitates the teacher's probabilities as they are.
        weight: Share of the teacher in the loss, in (0, 1].

    Returns:
        ``model`` itself.

    Raises:
        ConfigurationError: if a value is not allowed, the model has a teacher, or the two read different vocabularies.
    """
    _require_allowed(model, teacher, temperature, weight)
    teacher.eval().requires_grad_(False)
    lesson = _Lesson(teacher, temperature, weight)
    handles = (
        model.base_model.register_forward_pre_hook(lesson.ask, with_kwargs=True),
        model.register_forward_hook(lesson.add_to_loss),
    )
    object.__setattr__(model, _HANDLES, handles)
    return model


def without_teacher(model: PreTrainedModel) -> PreTrainedModel:
    """Undo :func:`with_teacher`; a model that has no teacher stays as it is."""
    for handle in getattr(model, _HANDLES, ()):
        handle.remove()
    model.__dict__.pop(_HANDLES, None)
    return model


class _Lesson:
    """The teacher's answers to the windows that the student is reading.

    The teacher is asked where the student's encoder begins: inside the autocast region that a Trainer wraps around
    ``forward``, so in the student's precision.
    """

    def __init__(self, teacher: PreTrainedModel, temperature: float, weight: float) -> None:
        self.teacher, self.temperature, self.weight = teacher, temperature, weight
        self._takes = frozenset(inspect.signature(teacher.forward).parameters)
        self._answer: tuple[QuestionAnsweringModelOutput, Tensor | None] | None = None

    def __deepcopy__(self, memo: object) -> _Lesson:
        """A copy of the student has the same teacher."""
        return _Lesson(self.teacher, self.temperature, self.weight)

    def ask(self, encoder: nn.Module, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> None:
        self._answer = None
        if not (encoder.training and torch.is_grad_enabled()):
            return
        given = {**inspect.signature(encoder.forward).bind_partial(*args).arguments, **kwargs}
        inputs = {name: value for name, value in given.items() if name in self._takes and isinstance(value, Tensor)}
        device = next(iter(inputs.values())).device
        if self.teacher.device != device:
            self.teacher.to(device)  # type: ignore[arg-type] # a device is what it takes
        with torch.no_grad():
            self._answer = self.teacher(**inputs, return_dict=True), inputs.get("attention_mask")

    def add_to_loss(self, model: nn.Module, args: object, output: Any) -> Any:
        answer, self._answer = self._answer, None
        if answer is None:
            return output
        if not isinstance(output, dict):  # as transformers' outputs are
            raise ConfigurationError(
                f"A teacher adds to outputs.loss, and {type(model).__name__} returned a {type(output).__name__}: set"
                " return_dict=True in its configuration."
            )
        if output.get("loss") is None:
            return output
        teacher, mask = answer
        parts = [
            position_divergence(output[name], teacher[name], mask, self.temperature)
            for name in ("start_logits", "end_logits")
        ]
        output["loss"] = (1 - self.weight) * output["loss"] + self.weight * (parts[0] + parts[1]) / 2
        return output


def _require_allowed(model: PreTrainedModel, teacher: PreTrainedModel, temperature: float, weight: float) -> None:
    if not 0 < weight <= 1:
        raise ConfigurationError(f"weight={weight!r} must be the teacher's share of the loss, above 0 and at most 1.")
    if not temperature > 0:
        raise ConfigurationError(f"temperature={temperature!r} must be above 0; 1 leaves the logits as they are.")
    if hasattr(model, _HANDLES):
        raise ConfigurationError("This model has a teacher already; call without_teacher(model) first.")
    if teacher is model:
        raise ConfigurationError("A model cannot be its own teacher; load it a second time.")
    sizes = model.config.vocab_size, teacher.config.vocab_size
    if sizes[0] != sizes[1]:
        raise ConfigurationError(
            f"The student reads a vocabulary of {sizes[0]} tokens and the teacher one of {sizes[1]}: they must read"
            " the same windows, so both need the same tokenizer."
        )
