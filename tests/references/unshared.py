"""The network with one set of weights per layer application: stock ALBERT with as many groups as layers."""

from __future__ import annotations

import copy
from typing import Any

import torch
from torch import Tensor, nn
from transformers import AlbertConfig, AlbertModel

from transformers_palbert import PalBertForQuestionAnswering

Gradients = dict[str, Tensor]


def naive_pool(states: list[Tensor], mode: str, weights: Tensor | None = None) -> Tensor:
    """Pool hidden states ``[batch, length, hidden]`` one by one, as the formulas are written."""
    if mode == "last":
        return states[-1]
    if mode == "concat":
        return torch.cat(states, dim=-1)
    if mode == "max":
        result = states[0]
        for state in states[1:]:
            result = torch.where(state > result, state, result)
        return result
    shares = torch.full((len(states),), 1 / len(states), dtype=states[0].dtype)
    if mode == "weighted_sum":
        assert weights is not None
        shares = weights.exp() / weights.exp().sum()
    result = torch.zeros_like(states[0])
    for share, state in zip(shares, states, strict=True):
        result = result + share * state
    return result


def unshared_gradients(
    model: PalBertForQuestionAnswering, inputs: dict[str, Tensor], starts: Tensor, ends: Tensor
) -> tuple[Tensor, list[Gradients], Gradients]:
    """Loss and plain gradients of a copy of ``model`` in which no two applications share a parameter.

    Returns:
        The loss; for each application, gradient by parameter name of the layer; the other gradients by their name in
        ``model``.
    """
    unshared = unshare(model)
    head, pool = copy.deepcopy(model.qa_outputs), copy.deepcopy(model.qa_pool)
    unshared.zero_grad()
    head.zero_grad()
    states = unshared(**inputs, output_hidden_states=True).hidden_states
    config = model.config
    layers = [-1] if config.qa_layers is None else list(config.qa_layers)
    layers = sorted(layer if layer >= 0 else config.num_hidden_layers + layer for layer in layers)
    pooled = naive_pool([states[layer + 1] for layer in layers], config.qa_layer_pooling, pool.layer_weights)
    logits = head(pooled)
    loss = (nn.functional.cross_entropy(logits[..., 0], starts) + nn.functional.cross_entropy(logits[..., 1], ends)) / 2
    loss.backward()
    per_layer = [_gradients(group.albert_layers[0]) for group in unshared.encoder.albert_layer_groups]
    others = {f"albert.{name}": value for name, value in _gradients(unshared).items() if "layer_groups" not in name}
    others |= {f"qa_outputs.{name}": value for name, value in _gradients(head).items()}
    others |= {f"qa_pool.{name}": value for name, value in _gradients(pool).items()}
    return loss, per_layer, others


def unshare(model: PalBertForQuestionAnswering) -> AlbertModel:
    """The encoder of ``model`` as a stock ALBERT in which every application has weights of its own."""
    config = model.config
    depth, groups = config.num_hidden_layers, config.num_hidden_groups
    fields: dict[str, Any] = {name: getattr(config, name) for name in AlbertConfig().to_dict() if hasattr(config, name)}
    for name in ("architectures", "dtype", "transformers_version", "model_type"):
        fields.pop(name, None)
    stock = AlbertConfig(**{**fields, "num_hidden_groups": depth}, attn_implementation="eager")
    unshared = AlbertModel(stock, add_pooling_layer=False).to(next(model.parameters()).dtype).eval()
    unshared.embeddings.load_state_dict(model.albert.embeddings.state_dict())
    source, target = model.albert.encoder, unshared.encoder
    target.embedding_hidden_mapping_in.load_state_dict(source.embedding_hidden_mapping_in.state_dict())
    for layer in range(depth):
        group = source.albert_layer_groups[int(layer / (depth / groups))]
        target.albert_layer_groups[layer].load_state_dict(group.state_dict())
    return unshared


def _gradients(module: nn.Module) -> Gradients:
    return {name: value.grad for name, value in module.named_parameters() if value.grad is not None}
