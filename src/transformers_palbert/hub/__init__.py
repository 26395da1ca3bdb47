"""The Hub: model cards that a training run fills, pushes that are one commit each, and tokens that go nowhere."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .callback import ModelCardCallback as ModelCardCallback

from ..hub_tokens import redact
from .card import CardSizes, Evaluation, PalBertCard

__all__ = ["CardSizes", "Evaluation", "ModelCardCallback", "PalBertCard", "redact"]


def __getattr__(name: str) -> Any:
    """Load the callback on first use: it imports the Trainer, which a card alone does not need."""
    if name == "ModelCardCallback":
        from .callback import ModelCardCallback

        return ModelCardCallback
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
