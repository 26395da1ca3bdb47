"""Pruned models, packed folders, and ways to damage them."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from transformers import PreTrainedModel

from tests.pruning.helpers import tiny_model
from transformers_palbert import StorageConfig, enable_sparse_saving

CONFIGS = {
    "lossless": StorageConfig(),
    "float16": StorageConfig(values="float16"),
    "bfloat16": StorageConfig(values="bfloat16"),
    "int8": StorageConfig(values="int8"),
    "int8, float16 embeddings, entropy": StorageConfig(values="int8", embeddings="float16", entropy=True),
}


def pruned_model(kind: str = "albert", sparsity: float = 0.7, **changes: Any) -> PreTrainedModel:
    """A model with random weights, most of those in its encoder's matrices zero."""
    width = "dim" if kind == "distilbert" else "hidden_size"
    model = tiny_model(kind, **{width: 32, **changes})
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if parameter.dim() == 2 and "embeddings" not in name:
                parameter.mul_(torch.rand(parameter.shape, generator=generator) > sparsity)  # also makes -0.0
            elif parameter.dim() == 1:
                parameter.add_(torch.randn(parameter.shape, generator=generator) / 10)
    return model


def save_packed(
    folder: Path, model: PreTrainedModel, config: StorageConfig = CONFIGS["float16"], **options: Any
) -> Path:
    """Save ``model`` packed, and return the folder."""
    enable_sparse_saving(model, config)
    model.save_pretrained(folder, **options)
    return folder


def state_of(model: nn.Module) -> dict[str, Tensor]:
    """A copy of the state dict."""
    return {name: tensor.detach().clone() for name, tensor in model.state_dict().items()}


def packed_names(folder: Path) -> list[str]:
    """The tensors that the config lists as packed."""
    return read_json(folder / "config.json")["quantization_config"]["tensors"]


def read_json(file: Path) -> Any:
    return json.loads(file.read_text(encoding="utf-8"))


def change_json(file: Path, change: Callable[[Any], None]) -> None:
    """Change a JSON file in place."""
    value = read_json(file)
    change(value)
    file.write_text(json.dumps(value), encoding="utf-8")


def as_version_1(folder: Path) -> Path:
    """Make a packed folder one of the older format, which has no digests; return it."""

    def age(settings: dict[str, Any]) -> None:
        settings.pop("transformers_weights")
        settings["quantization_config"]["format_version"] = 1
        del settings["quantization_config"]["digests"]

    change_json(folder / "config.json", age)
    return folder


def change_weights(file: Path, change: Callable[[dict[str, Tensor]], None]) -> None:
    """Change a safetensors file in place."""
    tensors = load_file(file)
    change(tensors)
    save_file(tensors, file, {"format": "pt"})


def safetensors_header(file: Path) -> Any:
    """The JSON at the beginning of a safetensors file."""
    raw = file.read_bytes()
    return json.loads(raw[8 : 8 + int.from_bytes(raw[:8], "little")])
