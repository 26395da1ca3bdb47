"""Parameter groups for layer-wise learning rates: embeddings, encoder, head.

ALBERT's layers are one set of weights, so the decay *between* layers is done by scaling gradients inside the model
(:func:`transformers_palbert.model.layers.scale_gradient`). What lies below and above the layers has weights of its own,
and gets ordinary groups: ``η_embeddings = η · ε^L`` and ``η_head = η`` (paper, Eq. 6-7, ``η^{l-1} = ε · η^l``).
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from torch import nn

from ..model.pruning_state import SCORES_KEY
from ..model.structure import known_structure, part_of

__all__ = ["parameter_groups"]


def parameter_groups(
    model: nn.Module, learning_rate: float, weight_decay: float, decay_names: Collection[str]
) -> list[dict[str, Any]]:
    """Groups for an optimizer, in a fixed order; empty ones are left out.

    Args:
        model: A model whose config may have ``layer_lr_decay`` (ε > 0) and ``num_hidden_layers`` (L).
        learning_rate: η, the rate of the head and the topmost layer.
        weight_decay: Decay of the parameters in ``decay_names``; none for the others and for pruning scores.
        decay_names: Names of the parameters that decay.
    """
    config = getattr(model, "config", None)
    epsilon = getattr(config, "layer_lr_decay", 1.0)
    below = learning_rate * epsilon ** getattr(config, "num_hidden_layers", 0)
    structure = known_structure(model)
    groups: dict[tuple[float, float], list[nn.Parameter]] = {}
    for name, parameter in model.named_parameters():
        if not parameter.requires_grad:
            continue
        rate = below if part_of(name, structure) == "embeddings" else learning_rate
        decays = name in decay_names and not name.endswith(f".{SCORES_KEY}")
        groups.setdefault((rate, weight_decay if decays else 0.0), []).append(parameter)
    return [{"params": params, "lr": rate, "weight_decay": decay} for (rate, decay), params in groups.items()]
