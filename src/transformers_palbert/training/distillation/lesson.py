"""A student that learns from a teacher inside its own forward pass, in any Trainer and any loop."""

from __future__ import annotations

import copy
import inspect
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from ...errors import ConfigurationError
from .batches import inputs_of, mean_over_rows, scaled_to_step
from .cached_logits import COLUMNS, PREFIX
from .layer_maps import resolve_layer_map
from .logits import logits_loss
from .losses import attention_distance, state_distance
from .projection import Projection
from .recording import Recording
from .settings import DistillationConfig

__all__ = ["Lesson", "PartialLosses"]


@dataclass
class PartialLosses:
    """Sums of the parts of the loss, on the device of the loss, until somebody takes them to log them."""

    sums: dict[str, Tensor] = field(default_factory=dict)
    forwards: int = 0
    scaled: bool = False

    def add(self, parts: Mapping[str, Tensor], scaled: bool) -> None:
        """Add the parts of one forward pass; ``scaled``, if they are shares of an optimizer step and no means."""
        for name, part in parts.items():
            self.sums[name] = self.sums.get(name, 0.0) + part.detach()
        self.forwards, self.scaled = self.forwards + 1, scaled

    def take(self) -> tuple[dict[str, Tensor], int]:
        """The sums and the number of forward passes since this was called last."""
        taken = self.sums, self.forwards
        self.sums, self.forwards = {}, 0
        return taken


@dataclass
class _Batch:
    """What is known of the batch that the student is reading."""

    labels: Tensor | None
    items: Any  # num_items_in_batch
    logits: dict[str, Tensor]  # the teacher's, where they came with the batch
    inputs: dict[str, Tensor] = field(default_factory=dict)  # of the encoder

    @property
    def mask(self) -> Tensor | None:
        mask = self.inputs.get("attention_mask")
        if mask is not None and mask.dim() != 2:
            raise ConfigurationError(
                f"attention_mask has the shape {tuple(mask.shape)}; to leave padding out of what is compared with the"
                " teacher, it must be 1 for tokens and 0 for padding, [batch, length]."
            )
        return mask

    def mean(self, distances: Sequence[Tensor]) -> Tensor:
        """Mean over layers, and over rows, of one distance per layer and row."""
        return mean_over_rows(torch.stack(tuple(distances)).mean(dim=0), self.labels)


class Lesson:
    """The teacher's answers to what the student is reading, and what they add to its loss.

    In every forward pass of the student that trains::

        open            # the student is called: labels and cached logits are taken note of
        ask             # its encoder begins: the teacher reads the same, and the student's layers are listened to
        listened        # its encoder has ended
        add_to_loss     # the student has its loss: parts are computed, weighed, added

    The teacher is asked where the student's encoder begins: inside the autocast region that a Trainer wraps around
    ``forward``, so in the student's precision. What is compared is then compared in float32.

    Where the student is compiled (``torch_compile=True``), these four are not, nor is the teacher, which is the same
    code without its hooks to a compiler.

    Args:
        student: The model that learns.
        teacher: The model that it learns from; None: the teacher's logits come with the batches.
        config: The settings.

    Attributes:
        projection: Between hidden states of different width, see :class:`Projection`; None where there is none.
        losses: The parts of the loss so far.
    """

    def __init__(self, student: PreTrainedModel, teacher: PreTrainedModel | None, config: DistillationConfig) -> None:
        self.teacher, self.config = teacher, config
        self.pairs: list[tuple[int, int]] = []
        self.projection: Projection | None = None
        self.losses = PartialLosses()
        self._records: list[Recording] = []  # the student's and the teacher's
        if teacher is not None and config.reads_layers:
            self._records = [Recording(model, attention=config.attention > 0) for model in (student, teacher)]
            self._map_layers(student, teacher)
        self._takes = frozenset[str]() if teacher is None else inputs_of(teacher)
        self._batch: _Batch | None = None
        self._answer: Mapping[str, Any] = {}

    def _map_layers(self, student: PreTrainedModel, teacher: PreTrainedModel) -> None:
        depths = (record.depth for record in self._records)
        self.pairs = resolve_layer_map(self.config.layer_map, *depths)
        pairs = self._attention_pairs
        if self.config.attention and not (pairs and all(all(pair) for pair in pairs)):
            raise ConfigurationError(
                f"layer_map={self.config.layer_map!r} leaves no layers to compare the attention of, or maps embeddings,"
                " which have none, to a layer: name pairs of layers, from 1 on, or compare hidden states alone, with"
                " attention=0."
            )
        widths = student.config.hidden_size, teacher.config.hidden_size
        if self.config.hidden_states and widths[0] != widths[1]:
            self.projection = Projection(*widths, torch.promote_types(student.dtype, torch.float32))

    @property
    def _attention_pairs(self) -> list[tuple[int, int]]:
        """The pairs of layers; embeddings imitate embeddings in their hidden states alone."""
        return [pair for pair in self.pairs if pair != (0, 0)]

    def __deepcopy__(self, memo: dict[int, Any]) -> Lesson:
        """A copy of the student has the same teacher, and a projection of its own."""
        copied = memo[id(self)] = copy.copy(self)
        copied.projection, copied.losses = copy.deepcopy(self.projection, memo), PartialLosses()
        if self._records:
            student, teacher = self._records
            copied._records = [student.of(copy.deepcopy(student.model, memo)), teacher.of(teacher.model)]
        return copied

    # -- the hooks ---------------------------------------------------------------------------------------------------

    @torch.compiler.disable
    def open(self, model: PreTrainedModel, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Take note of labels and cached logits, and of the number of labels of the optimizer step.

        Raises:
            ConfigurationError: in a replica of DataParallel: they run in threads, and share this lesson.
        """
        if getattr(model, "_is_replica", False):
            raise ConfigurationError(
                "A teacher and torch.nn.DataParallel do not go together, and the Trainer takes that where it sees"
                " several GPUs and is not told otherwise. Start it with `accelerate launch`, a process for each GPU, or"
                " show it one: CUDA_VISIBLE_DEVICES=0."
            )
        self._batch = None
        logits = {name.removeprefix(PREFIX): kwargs.pop(name) for name in COLUMNS if name in kwargs}
        if model.training and torch.is_grad_enabled():
            names = list(inspect.signature(type(model).forward).parameters)[1:]  # without self
            labels = {**dict(zip(names, args, strict=False)), **kwargs}.get("labels")
            self._batch = _Batch(labels, kwargs.pop("num_items_in_batch", None), logits)
        return args, kwargs

    @torch.compiler.disable
    def ask(self, encoder: nn.Module, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> None:
        """Ask the teacher, and listen to the student's layers."""
        if self._batch is None:
            return
        given = {**inspect.signature(encoder.forward).bind_partial(*args).arguments, **kwargs}
        self._batch.inputs = {name: value for name, value in given.items() if isinstance(value, Tensor)}
        self._answer = self._batch.logits if self.teacher is None else self._answers_of(self.teacher, self._batch)
        for record in self._records[:1]:
            record.start()

    def _answers_of(self, teacher: PreTrainedModel, batch: _Batch) -> Mapping[str, Any]:
        inputs = {name: value for name, value in batch.inputs.items() if name in self._takes}
        device = next(iter(inputs.values())).device
        if teacher.device != device:
            teacher.to(device)  # type: ignore[arg-type] # a device is what it takes
        for record in self._records[1:]:
            record.start()
        try:
            with torch.no_grad():
                return teacher(**inputs, return_dict=True)
        finally:
            for record in self._records[1:]:
                record.stop()

    @torch.compiler.disable
    def listened(self, encoder: nn.Module, args: object, output: object) -> None:
        """Listen to the student's layers no more."""
        for record in self._records[:1]:
            record.stop()

    @torch.compiler.disable
    def add_to_loss(self, model: nn.Module, args: object, output: Any) -> Any:
        """Put into ``output["loss"]`` what the student learns from."""
        batch, self._batch = self._batch, None
        answer, self._answer = self._answer, {}
        if batch is None:
            return output
        if not isinstance(output, dict):  # as transformers' outputs are
            raise ConfigurationError(
                f"A teacher adds to outputs.loss, and {type(model).__name__} returned a {type(output).__name__}: set"
                " return_dict=True in its configuration."
            )
        if output.get("loss") is None:
            return output
        parts = {"task": output["loss"], **dict(self._lessons(model, batch, output, answer))}
        for record in self._records:
            record.forget()
        shares = {"task": 1 - self.config.weight, "logits": self.config.weight}
        shares |= {"hidden": self.config.hidden_states, "attention": self.config.attention}
        parts = {name: scaled_to_step(part, batch.labels, batch.items) for name, part in parts.items()}
        self.losses.add(parts, scaled=batch.labels is not None and batch.items is not None)
        output["loss"] = sum(shares[name] * part for name, part in parts.items())
        return output

    # -- the parts of the loss ---------------------------------------------------------------------------------------

    def _lessons(
        self, model: nn.Module, batch: _Batch, output: Mapping[str, Any], answer: Mapping[str, Any]
    ) -> Iterator[tuple[str, Tensor]]:
        if self.config.weight:
            problem = getattr(getattr(model, "config", None), "problem_type", None)
            yield "logits", logits_loss(output, answer, batch.labels, batch.mask, self.config.temperature, problem)
        if self.config.hidden_states:
            yield "hidden", batch.mean([state_distance(*pair, batch.mask) for pair in self._states(model)])
        if self.config.attention:
            kind = self.config.attention_loss
            distances = [attention_distance(*pair, batch.mask, kind) for pair in self._attention_maps(model, batch)]
            yield "attention", batch.mean(distances) if distances else output["loss"].new_zeros(())

    def _states(self, model: nn.Module) -> Iterator[tuple[Tensor, Tensor]]:
        """The hidden states of mapped layers, those of the student projected."""
        own, teachers = (record.states() for record in self._records)
        for student, teacher in self.pairs:
            state = own[student]
            _require_gradient(model, state)
            yield state if self.projection is None else self.projection(state), teachers[teacher]

    def _attention_maps(self, model: nn.Module, batch: _Batch) -> Iterator[tuple[Tensor, Tensor]]:
        """The attention of mapped layers; a layer that has no head left attends to nothing."""
        own, teachers = (record.layers for record in self._records)
        for student, teacher in self._attention_pairs:
            maps, target = own[student - 1].attention(batch.mask), teachers[teacher - 1].attention(batch.mask)
            if maps is not None and target is not None:
                _require_gradient(model, maps)
                yield maps, target


def _require_gradient(model: nn.Module, recorded: Tensor) -> None:
    """Refuse what was recorded inside of checkpointed activations that hand no gradient on."""
    if not recorded.requires_grad and any(getattr(part, "gradient_checkpointing", False) for part in model.modules()):
        raise ConfigurationError(
            "Checkpointing of activations hides the insides of the student from the loss on them: give"
            " activation_checkpointing_kwargs={'use_reentrant': False} (called gradient_checkpointing_kwargs in older"
            " releases of transformers)."
        )
