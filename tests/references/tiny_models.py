"""Tiny ALBERT shapes that the model tests share."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

SHAPE: dict[str, Any] = {
    "vocab_size": 60,
    "embedding_size": 8,
    "hidden_size": 24,
    "num_hidden_layers": 4,
    "num_attention_heads": 3,
    "intermediate_size": 20,
    "max_position_embeddings": 16,
    "initializer_range": 0.3,  # large, so that a wrong logit or gradient stands out
    "hidden_dropout_prob": 0.0,
    "attention_probs_dropout_prob": 0.0,
}


def tiny_batch(batch: int = 3, length: int = 9) -> dict[str, Tensor]:
    """Random tokens, the last of them padding in all rows but the first."""
    generator = torch.Generator().manual_seed(0)
    input_ids = torch.randint(5, SHAPE["vocab_size"], (batch, length), generator=generator)
    attention_mask = torch.ones_like(input_ids)
    attention_mask[1:, length - 2 :] = 0
    token_type_ids = (torch.arange(length) >= 4).long().repeat(batch, 1)
    return {"input_ids": input_ids, "attention_mask": attention_mask, "token_type_ids": token_type_ids}
