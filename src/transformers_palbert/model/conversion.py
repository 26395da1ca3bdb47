"""ALBERT models as PAL-BERT ones of the same weights and logits, whose applications may keep units of their own."""

from __future__ import annotations

from typing import Any

from torch import nn
from transformers import AlbertPreTrainedModel

from . import modeling_palbert
from .configuration_palbert import PalBertConfig
from .modeling_palbert import PalBertPreTrainedModel
from .removal import read_layer_sizes

__all__ = ["has_palbert_form", "palbert_of"]


def has_palbert_form(model: nn.Module) -> bool:
    """Whether ``model`` is a PAL-BERT, or an ALBERT with whole layers and a head that PAL-BERT has too."""
    if isinstance(model, PalBertPreTrainedModel):
        return True
    return _class_for(model) is not None and read_layer_sizes(model.config) is None


def palbert_of(model: Any) -> PalBertPreTrainedModel:
    """``model`` itself if it is a PAL-BERT; else a PAL-BERT of the same task with the Parameters of that ALBERT."""
    if isinstance(model, PalBertPreTrainedModel):
        return model
    settings = {name: value for name, value in model.config.to_dict().items() if name != "model_type"}
    config = PalBertConfig(**settings | {"attn_implementation": model.config._attn_implementation})
    kind: Any = _class_for(model)
    made = kind(config)
    learning = {parameter: parameter.requires_grad for parameter in model.parameters()}
    made.load_state_dict(model.state_dict(keep_vars=True), assign=True)
    made.tie_weights()
    for parameter, learns in learning.items():  # which load_state_dict takes from the new model, for both
        parameter.requires_grad_(learns)
    return made.to(model.device).train(model.training)


def _class_for(model: nn.Module) -> type[PalBertPreTrainedModel] | None:
    name = type(model).__name__
    if not isinstance(model, AlbertPreTrainedModel) or not name.startswith("Albert"):
        return None
    return getattr(modeling_palbert, f"PalBert{name.removeprefix('Albert')}", None)
