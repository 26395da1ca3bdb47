"""Models in evaluation mode for a while, and then as they were, whatever happens in between."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from torch import nn

__all__ = ["evaluating"]


@contextmanager
def evaluating(*models: nn.Module) -> Iterator[None]:
    """Inside the block, ``models`` are in evaluation mode; frozen parts that were in it before stay so behind it."""
    modes = [(module, module.training) for model in models for module in model.modules()]
    roots = [(model, model.training) for model in models]
    try:
        for model in models:
            model.eval()
        yield
    finally:
        for model, training in roots:
            model.train(training)  # modules that keep something for one of the modes forget it
        for module, training in modes:
            module.training = training
