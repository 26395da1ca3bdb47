"""What a student learns from its teacher, and how much of its loss that is."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from ...errors import ConfigurationError
from .losses import ATTENTION_LOSSES, AttentionLoss

__all__ = ["DistillationConfig"]


@dataclass(frozen=True)
class DistillationConfig:
    """The settings of :func:`~transformers_palbert.training.distillation.with_teacher`, which explains them.

    Raises:
        ConfigurationError: if a value is not allowed, or nothing would be learnt from the teacher.
    """

    temperature: float = 2.0
    weight: float = 0.5
    hidden_states: float = 0.0
    attention: float = 0.0
    attention_loss: AttentionLoss = "mse"
    layer_map: Sequence[tuple[int, int]] | None = None

    def __post_init__(self) -> None:
        if not (math.isfinite(self.temperature) and self.temperature > 0):
            raise ConfigurationError(
                f"temperature={self.temperature!r} must be above 0; 1 leaves the logits as they are."
            )
        for name in ("hidden_states", "attention"):
            if not (math.isfinite(value := getattr(self, name)) and value >= 0):
                raise ConfigurationError(f"{name}={value!r} must be the weight of a loss, at least 0; 0 leaves it out.")
        if not 0 <= self.weight <= 1 or not (self.weight or self.reads_layers):
            raise ConfigurationError(
                f"weight={self.weight!r} must be the teacher's share of the loss, above 0 and at most 1; 0 only where"
                " hidden_states or attention has a weight, so that something is learnt from the teacher."
            )
        if self.attention_loss not in ATTENTION_LOSSES:
            raise ConfigurationError(
                f"attention_loss={self.attention_loss!r} is not known; known are {', '.join(ATTENTION_LOSSES)}."
            )
        if self.layer_map is not None and not self.reads_layers:
            raise ConfigurationError(
                "layer_map changes nothing while neither hidden states nor attention are compared: give hidden_states"
                " or attention a weight, such as hidden_states=1.0."
            )

    @property
    def reads_layers(self) -> bool:
        """Whether anything but the logits is compared."""
        return self.hidden_states > 0 or self.attention > 0
