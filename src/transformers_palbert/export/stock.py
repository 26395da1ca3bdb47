"""A model as transformers alone reads it: plain, dense, of a stock architecture."""

from __future__ import annotations

from pathlib import Path

import torch
from transformers import AlbertConfig, PreTrainedConfig, PreTrainedModel, PreTrainedTokenizerBase

from ..baselines.configuration import WordReaderConfig
from ..errors import ConfigurationError, PruningError
from ..model.configuration_palbert import PalBertConfig
from ..model.modeling_palbert import PalBertPreTrainedModel
from ..model.removal import read_layer_sizes
from ..pruning import is_prepared
from ..storage.saving import dense_saving

__all__ = ["export_stock", "require_stock"]

POOL = "qa_pool."
"""Parameters that ALBERT lacks, and that do nothing where one layer alone is pooled."""


def require_stock(config: PreTrainedConfig) -> None:
    """Check that a stock architecture computes what a model of ``config`` does.

    Raises:
        ConfigurationError: if a field of PAL-BERT forbids it, which the message names, or it is a word-level baseline.
    """
    if isinstance(config, WordReaderConfig):
        raise ConfigurationError(
            f"transformers has no architecture {config.model_type!r}: whoever loads it imports transformers_palbert."
        )
    if read_layer_sizes(config) is not None:
        raise ConfigurationError(
            "The model has layers of different sizes, which no stock configuration can say: whoever loads it imports"
            " transformers_palbert. Feed-forward layers that all keep the same number of units are stock."
        )
    if not isinstance(config, PalBertConfig):
        return
    last = config.num_hidden_layers - 1
    if config.qa_layer_indices != [last]:
        raise _not_stock("qa_layers", config.qa_layers, f"None or [{last}]: its head reads the last layer")
    if config.head_size * config.num_attention_heads != config.hidden_size:
        width = "hidden_size / num_attention_heads"
        raise _not_stock("attention_head_size", config.attention_head_size, f"{width}: it keeps all heads, or none")
    for name in ("application_heads", "application_units"):
        if getattr(config, name) is not None:
            raise _not_stock(name, "…", "None: all its applications compute the same")


def export_stock(model: PreTrainedModel, folder: str | Path, tokenizer: PreTrainedTokenizerBase | None = None) -> None:
    """Save ``model`` dense, and PAL-BERT as ALBERT, so that it loads and gives the same logits without this package.

    Raises:
        ConfigurationError: as :func:`require_stock`.
        PruningError: if it is in the middle of being pruned.
    """
    require_stock(model.config)
    if is_prepared(model):
        raise PruningError(
            "The model is being pruned; finish the training, or call bake_masks(model), before exporting."
        )
    if isinstance(model, PalBertPreTrainedModel):
        _as_albert(model).save_pretrained(folder)
    else:
        with dense_saving(model):
            model.save_pretrained(folder)
    if tokenizer is not None:
        tokenizer.save_pretrained(folder)


def _as_albert(model: PalBertPreTrainedModel) -> PreTrainedModel:
    """The ALBERT of the same task, around the same weights; for saving alone, as its buffers are empty."""
    kind = next(kind for kind in type(model).__mro__ if kind.__module__.startswith("transformers.models.albert."))
    settings = model.config.to_dict()
    for name in ("model_type", "quantization_config", *PalBertConfig.__annotations__):
        settings.pop(name, None)
    with torch.device("meta"):
        albert = kind(AlbertConfig(**settings))
    state = {name: tensor for name, tensor in model.state_dict().items() if not name.startswith(POOL)}
    albert.load_state_dict(state, assign=True)
    return albert


def _not_stock(name: str, value: object, allowed: str) -> ConfigurationError:
    return ConfigurationError(
        f"{name}={value!r} has no place in stock ALBERT, which allows {allowed}."
        " Keep PAL-BERT: whoever loads it imports transformers_palbert."
    )
