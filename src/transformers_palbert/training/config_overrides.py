"""Fields of a model's configuration, set from the command line: ``hidden_dropout_prob=0.2,layer_norm_eps=1e-6``.

A new model takes any field. A pretrained one takes those that leave the shapes of its weights as they are: dropouts,
``layer_norm_eps``, activations, and in ALBERT, whose layers share their weights, even ``num_hidden_layers``.
"""

from __future__ import annotations

import difflib
import logging
import re
import warnings
from typing import Any

import torch
from transformers import AutoModelForQuestionAnswering, PreTrainedConfig

from ..errors import ConfigurationError, NoEffectWarning
from ..json_text import parse_json

__all__ = ["override_fields", "parse_fields"]

logger = logging.getLogger(__name__)

_SIGNS = re.compile(r'"(?:[^"\\]|\\.)*"|.', re.DOTALL)  # texts in quotes as one, and every other character
_CONSTANTS = {"True": True, "False": False, "None": None}


def parse_fields(text: str) -> dict[str, Any]:
    """``a=1,b=0.5,c=mish,d=[1,2]`` as a dictionary.

    A value is read as JSON, or else as a number (``.5``), or else it is plain text. Python's ``True``, ``False`` and
    ``None`` are taken for those of JSON. Commas inside of brackets and quotes end no value.

    Raises:
        ConfigurationError: if a part of the text has no ``=`` or nothing behind it, or begins as a list, an object or a
            text in quotes and is none.
    """
    pairs = [pair.partition("=") for pair in _split(text)]
    if any(not sign for _, sign, _ in pairs):
        raise ConfigurationError(f"config_overrides={text!r} must look like hidden_size=256,num_hidden_layers=6.")
    return {name.strip(): _value(name.strip(), value.strip()) for name, _, value in pairs}


def _split(text: str) -> list[str]:
    """The parts between those commas that stand outside of brackets and quotes."""
    parts, depth = [""], 0
    for sign in _SIGNS.findall(text):
        depth += (sign in ("[", "{")) - (sign in ("]", "}"))
        if sign == "," and depth == 0:
            parts.append("")
        else:
            parts[-1] += sign
    return parts


def _value(name: str, text: str) -> Any:
    if not text:
        raise ConfigurationError(
            f"config_overrides sets {name} to nothing. Give a value behind the =, or null, or leave {name} out."
        )
    if text in _CONSTANTS:
        return _CONSTANTS[text]
    try:
        return parse_json(text)
    except ValueError as error:
        if text[0] in '[{"':
            raise ConfigurationError(
                f"config_overrides sets {name} to {text!r:.60}, which is not JSON ({error}). Write a list as [1,2] and"
                " a text without quotes, or in double ones."
            ) from error
    try:
        return text if "_" in text else float(text)  # Python reads 1_0 as 10
    except ValueError:
        return text


def override_fields(config: PreTrainedConfig, text: str, pretrained: str | None = None) -> PreTrainedConfig:
    """A copy of ``config`` with the fields that ``text`` names.

    Args:
        config: The configuration of a new model, or of a checkpoint.
        text: As :func:`parse_fields` reads it.
        pretrained: What the checkpoint is called, whose weights are to be loaded; None for a new model.

    Raises:
        ConfigurationError: if a field does not exist, has a wrong value, or would change the shape of weights that are
            to be loaded.

    Warns:
        NoEffectWarning: if the checkpoint's file has a field that the architecture does not read.
    """
    fields = parse_fields(text)
    _require_fields(config, fields)
    changed = type(config).from_dict({**config.to_dict(), **fields})
    if pretrained is not None:
        _require_shapes(config, changed, fields, pretrained)
        before = {name: getattr(config, name) for name in fields}
        logger.info("%s is loaded with %s instead of %s.", pretrained, fields, before)
    return changed


def _require_fields(config: PreTrainedConfig, fields: dict[str, Any]) -> None:
    """Refuse fields that do not exist; warn of those that nothing reads."""
    own = type(config)().to_dict().keys()
    for name in fields:
        if not hasattr(config, name):
            close = difflib.get_close_matches(name, own, n=1)
            hint = f" Did you mean {close[0]}?" if close else ""
            raise ConfigurationError(
                f"config_overrides sets {name}, which is no field of a {config.model_type} configuration.{hint}"
            )
        if name not in own and name not in config.attribute_map:
            warnings.warn(
                f"config_overrides sets {name}. It stands in the checkpoint's configuration, but no model of the type"
                f" {config.model_type} reads it: it changes nothing.",
                NoEffectWarning,
                stacklevel=3,
            )


def _require_shapes(before: PreTrainedConfig, after: PreTrainedConfig, fields: dict[str, Any], name: str) -> None:
    """Refuse fields with which the checkpoint's weights would not fit."""
    old, new = _shapes(before), _shapes(after)
    for key in [*old, *new]:
        if old.get(key) != new.get(key):
            shapes = " -> ".join(str(list(shape)) if shape else "nothing" for shape in (old.get(key), new.get(key)))
            raise ConfigurationError(
                f"config_overrides={fields} changes the weights of {name} ({key}: {shapes}), so they could not be"
                " loaded. With a pretrained model, set only fields that change no shape, such as dropouts,"
                " layer_norm_eps or hidden_act; without --model_name_or_path, any."
            )


def _shapes(config: PreTrainedConfig) -> dict[str, torch.Size]:
    with torch.device("meta"):
        model = AutoModelForQuestionAnswering.from_config(config)
    return {key: tensor.shape for key, tensor in model.state_dict().items()}
