"""Initial weights for learning question answering from scratch, where no pretrained checkpoint is at hand.

A transformer with plain random weights does not find out by itself, from some ten thousand questions, that the answer
stands where the context repeats the question: its loss stays near that of a uniform guess. A few choices make looking
things up easy to find.
"""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor
from transformers import AlbertPreTrainedModel

from ..errors import ConfigurationError
from ..model.structure import encoder_layers

__all__ = ["initialize_for_lookup", "sinusoids"]


def sinusoids(count: int, size: int) -> Tensor:
    """Position encodings ``[count, size]``: sines in even columns, cosines in odd ones (arXiv 1706.03762, sec. 3.5)."""
    frequencies = torch.exp(torch.arange(0, size, 2) * (-math.log(10000.0) / size))
    angles = torch.arange(count)[:, None] * frequencies
    return torch.stack([angles.sin(), angles.cos()], dim=-1).reshape(count, -1)[:, :size]


@torch.no_grad()
def initialize_for_lookup(model: AlbertPreTrainedModel, sharpness: float = 1.5) -> None:
    """Let every token of a freshly initialised ALBERT or PAL-BERT attend to its like and to its neighbours.

    - Position embeddings become :func:`sinusoids`, of the size of the other embeddings: near positions are similar.
    - Token types weigh half, so that question and context can meet.
    - Key projections become equal to query projections, times ``sharpness``: similar tokens have large products.

    All of these are ordinary weights, and training changes them as it likes.

    Args:
        model: The model or its base model. A large ``initializer_range`` (0.08 for 128 units) helps.
        sharpness: Factor of the query projections, above 0.

    Raises:
        ConfigurationError: if the model is no ALBERT.
    """
    if not isinstance(model, AlbertPreTrainedModel):
        raise ConfigurationError(f"initialize_for_lookup is for ALBERT and PAL-BERT, not {type(model).__name__}.")
    encoder: Any = model.base_model
    embeddings = encoder.embeddings
    positions = embeddings.position_embeddings.weight
    positions.copy_(sinusoids(*positions.shape) * (model.config.initializer_range * math.sqrt(2)))
    embeddings.token_type_embeddings.weight.mul_(0.5)
    for layer in encoder_layers(encoder):
        layer.query.weight.mul_(sharpness)
        layer.key.weight.copy_(layer.query.weight)
