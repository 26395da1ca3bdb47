"""What tells one model from another, wherever it came from."""

from __future__ import annotations

import hashlib
import json
from typing import Any

import torch
from torch import nn
from transformers import PreTrainedConfig

__all__ = ["model_digest"]

_NO_SETTING = ("architectures", "dtype", "quantization_config", "transformers_version")
"""What a config says of files and versions; the dtype is that of the tensors, which count."""


def model_digest(model: nn.Module) -> str:
    """A fingerprint of everything that a model's outputs depend on: every tensor, and the config of each of its parts.

    The weights alone are not enough: the shared layer of an ALBERT is the same whether it is applied twice or twelve
    times.
    """
    digest = hashlib.blake2b(type(model).__name__.encode())
    configs: list[Any] = [getattr(part, "config", None) for part in model.modules()]
    for config in {id(config): config for config in configs if isinstance(config, PreTrainedConfig)}.values():
        settings = config.to_dict()
        kept = {name: value for name, value in settings.items() if name not in _NO_SETTING and not name.startswith("_")}
        digest.update(json.dumps(kept, sort_keys=True, default=str).encode())
    for name, tensor in sorted(model.state_dict().items()):
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}\n".encode())
        digest.update(tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()
