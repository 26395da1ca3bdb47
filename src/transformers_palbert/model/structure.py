"""Where the parts of each supported architecture are: one row of a table for each.

Everything that has to know what a query projection, an embedding or a task head is asks here, by the name of a module
or of a parameter. An architecture that is not in the table can be pruned weight by weight, where the customary names in
:data:`CUSTOMARY` must do; whatever removes heads, units or layers needs a row, and :func:`structure_of` says so.

To add an architecture, add a row to :data:`STRUCTURES` here, or from outside::

    from dataclasses import replace
    from transformers_palbert.model.structure import STRUCTURES

    STRUCTURES["my_bert"] = replace(STRUCTURES["bert"], model_type="my_bert", base="my_bert")

The tests in ``tests/model/test_structure.py`` then build a small model of it and look for every part.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields, replace
from typing import Any, Literal

from torch import nn

from ..errors import ConfigurationError

__all__ = [
    "CUSTOMARY",
    "STRUCTURES",
    "EncoderLayer",
    "Part",
    "Structure",
    "base_models",
    "encoder_layer",
    "encoder_layers",
    "known_structure",
    "layer_applications",
    "part_in",
    "part_of",
    "structure_of",
]

Part = Literal["embeddings", "encoder", "pooler", "head"]
"""``encoder``: the layers; ``head``: whatever is beside the base model."""


@dataclass(frozen=True)
class Structure:
    """One architecture; every name is the dotted path of a module.

    Attributes:
        model_type: As in ``config.model_type``.
        base: The attribute of a model with a task head that holds the encoder, its ``base_model_prefix``.
        layer: Path of a layer below the base model, with ``{}`` for its index; for shared layers two of them, group
            and layer in the group.
        query, key, value: Projections, ``[heads × width, hidden]``, below a layer.
        attention_output: Projection back, ``[hidden, heads × width]``.
        ffn_in: Into the feed-forward units, ``[units, hidden]``.
        ffn_out: Back, ``[hidden, units]``.
        attention_norm, ffn_norm: LayerNorms behind the two blocks.
        attention: The module that knows the number of heads.
        attention_dropout: The dropout behind ``attention_output``, where ``attention`` contains both; else empty.
        embeddings: What comes before the layers, below the base model; projections of embeddings included.
        pooler: What comes after them there; empty for an architecture without one.
        heads: The config's name for the number of attention heads.
        units: The config's name for the number of feed-forward units.
        depth: The config's name for the number of applications of a layer.
        shared: Whether one layer's parameters are applied more than once.
    """

    model_type: str
    base: str
    layer: str = "encoder.layer.{}"
    query: str = "attention.self.query"
    key: str = "attention.self.key"
    value: str = "attention.self.value"
    attention_output: str = "attention.output.dense"
    ffn_in: str = "intermediate.dense"
    ffn_out: str = "output.dense"
    attention_norm: str = "attention.output.LayerNorm"
    ffn_norm: str = "output.LayerNorm"
    attention: str = "attention.self"
    attention_dropout: str = ""
    embeddings: tuple[str, ...] = ("embeddings",)
    pooler: tuple[str, ...] = ("pooler",)
    heads: str = "num_attention_heads"
    units: str = "intermediate_size"
    depth: str = "num_hidden_layers"
    shared: bool = False

    @property
    def layer_pattern(self) -> re.Pattern[str]:
        """Matches the path of a layer below the base model."""
        return re.compile(re.escape(self.layer).replace(r"\{\}", r"\d+"))


_BERT = Structure("bert", "bert")
_ALBERT = Structure(
    "albert",
    "albert",
    layer="encoder.albert_layer_groups.{}.albert_layers.{}",
    query="attention.query",
    key="attention.key",
    value="attention.value",
    attention_output="attention.dense",
    ffn_in="ffn",
    ffn_out="ffn_output",
    attention_norm="attention.LayerNorm",
    ffn_norm="full_layer_layer_norm",
    attention="attention",
    attention_dropout="attention.output_dropout",
    embeddings=("embeddings", "encoder.embedding_hidden_mapping_in"),
    pooler=("pooler",),
    shared=True,
)
_ELECTRA = Structure("electra", "electra", embeddings=("embeddings", "embeddings_project"), pooler=())
_DISTILBERT = Structure(
    "distilbert",
    "distilbert",
    layer="transformer.layer.{}",
    query="attention.q_lin",
    key="attention.k_lin",
    value="attention.v_lin",
    attention_output="attention.out_lin",
    ffn_in="ffn.lin1",
    ffn_out="ffn.lin2",
    attention_norm="sa_layer_norm",
    ffn_norm="output_layer_norm",
    attention="attention",
    pooler=(),
    heads="n_heads",
    units="hidden_dim",
    depth="n_layers",
)

STRUCTURES: dict[str, Structure] = {
    row.model_type: row
    for row in (
        _ALBERT,
        replace(_ALBERT, model_type="palbert"),
        _BERT,
        replace(_BERT, model_type="camembert", base="roberta"),
        _DISTILBERT,
        _ELECTRA,
        replace(_BERT, model_type="roberta", base="roberta"),
        replace(_BERT, model_type="xlm-roberta", base="roberta"),
    )
}
"""Model type -> where its parts are."""

CUSTOMARY: dict[Part, re.Pattern[str]] = {
    "embeddings": re.compile(r"embed|vocab_"),
    "pooler": re.compile(r"pooler"),
    "head": re.compile(r"classifier|qa_outputs|predictions|lm_head|(^|\.)cls(\.|$)"),
    "encoder": re.compile(r"(^|\.)encoder\.|(^|\.)transformer\.layer\."),
}
"""What parts are customarily called, in the order in which it is looked for: for architectures without a row."""


def known_structure(model_or_config: Any) -> Structure | None:
    """The row of a model, a config, or a model type; None if there is none."""
    config = getattr(model_or_config, "config", model_or_config)
    model_type = config if isinstance(config, str) else getattr(config, "model_type", None)
    return STRUCTURES.get(str(model_type))


def structure_of(model_or_config: Any) -> Structure:
    """The row of a model, a config, or a model type.

    Raises:
        ConfigurationError: if the architecture has none.
    """
    if (structure := known_structure(model_or_config)) is None:
        config = getattr(model_or_config, "config", model_or_config)
        name = config if isinstance(config, str) else getattr(config, "model_type", type(model_or_config).__name__)
        raise ConfigurationError(
            f"It is not known where the architecture {name!r} has its heads, units and layers; known are"
            f" {', '.join(sorted(STRUCTURES))}. Single weights can be pruned all the same (granularity='element')."
            " To add the architecture, see transformers_palbert.model.structure."
        )
    return structure


def part_of(name: str, structure: Structure | None = None) -> Part | None:
    """Which part of a model the module or parameter called ``name`` belongs to.

    Args:
        name: Dotted, with or without the base model's prefix.
        structure: The row of the architecture; None goes by :data:`CUSTOMARY`, and returns None where it is silent.
    """
    if structure is None:
        return next((part for part, pattern in CUSTOMARY.items() if pattern.search(name)), None)
    below = name.removeprefix(f"{structure.base}.")
    if _is_in(below, structure.embeddings):
        return "embeddings"
    if structure.layer_pattern.match(below):
        return "encoder"
    return "pooler" if _is_in(below, structure.pooler) else "head"


def _is_in(name: str, modules: tuple[str, ...]) -> bool:
    return any(name == module or name.startswith(f"{module}.") for module in modules)


def base_models(model: nn.Module) -> dict[str, nn.Module]:
    """The encoders and decoders in ``model``, without the heads around them, by their paths.

    A model of transformers says in ``base_model_prefix`` which of its attributes is its base model. One that has no
    such attribute either holds other models, as T5 holds two stacks and a module of your own may hold a BERT, or it is
    a base model itself. A module that holds no model of transformers has none.
    """
    prefix = getattr(model, "base_model_prefix", None)
    if prefix and isinstance(getattr(model, prefix, None), nn.Module):
        return {prefix: getattr(model, prefix)}
    inner: dict[str, nn.Module] = {}
    for name, child in model.named_children():
        inner |= {f"{name}.{path}".rstrip("."): base for path, base in base_models(child).items()}
    return inner or ({} if prefix is None else {"": model})


def part_in(name: str, bases: Mapping[str, nn.Module]) -> Part:
    """Which part of a model the module or parameter called ``name`` belongs to, for any architecture.

    Args:
        name: Dotted, from the root of the model.
        bases: What :func:`base_models` says of that model. Whatever lies outside of them is ``"head"``; inside,
            the row of the architecture decides, and without a row the customary names of embeddings and pooler do.
    """
    for path, base in bases.items():
        if not path or name.startswith(f"{path}."):
            below = name.removeprefix(f"{path}.")
            if (structure := known_structure(base)) is not None:
                return part_of(below, structure) or "head"
            customary = part_of(below)
            return customary if customary in ("embeddings", "pooler") else "encoder"
    return "head"


@dataclass(frozen=True)
class EncoderLayer:
    """The modules of one layer; ``name`` is its path in the model that was asked."""

    name: str
    module: nn.Module
    attention: nn.Module
    query: nn.Linear
    key: nn.Linear
    value: nn.Linear
    attention_output: nn.Linear
    ffn_in: nn.Linear
    ffn_out: nn.Linear
    attention_norm: nn.LayerNorm
    ffn_norm: nn.LayerNorm


def encoder_layers(model: nn.Module) -> list[EncoderLayer]:
    """The layers of ``model`` (with a task head, or a base model), each once, in the order of their paths.

    Raises:
        ConfigurationError: if the architecture is not in the table.
    """
    return list(_layers(model, structure_of(model)))


def _layers(model: nn.Module, structure: Structure) -> Iterator[EncoderLayer]:
    prefix = f"{structure.base}." if hasattr(model, structure.base) else ""
    for name, module in model.named_modules():
        if name.startswith(prefix) and structure.layer_pattern.fullmatch(name.removeprefix(prefix)):
            yield encoder_layer(name, module, structure)


def encoder_layer(name: str, module: nn.Module, structure: Structure) -> EncoderLayer:
    """The parts of ``module``, a layer of an architecture with this ``structure``."""
    parts = [field.name for field in fields(EncoderLayer) if field.name not in ("name", "module")]
    modules: dict[str, Any] = {part: module.get_submodule(getattr(structure, part)) for part in parts}
    return EncoderLayer(name, module, **modules)


DEEPEST = 10_000
"""Applications of layers. A configuration costs a few bytes, and lists of what it claims would cost any memory."""


def layer_applications(config: Any) -> list[str]:
    """Paths below the base model of the layers in the order in which a forward pass applies them.

    Each path once, except in ALBERT and PAL-BERT: there a layer serves several depths.

    Raises:
        ConfigurationError: if the architecture is not in the table, or deeper than :data:`DEEPEST`.
    """
    structure = structure_of(config)
    depth = getattr(config, structure.depth)
    if depth * getattr(config, "inner_group_num", 1) > DEEPEST:
        raise ConfigurationError(
            f"{structure.depth}={depth} is more than the {DEEPEST:,} layers that a model may have."
        )
    if not structure.shared:
        return [structure.layer.format(index) for index in range(depth)]
    per_group = depth / config.num_hidden_groups
    return [
        structure.layer.format(int(index / per_group), inner)
        for index in range(depth)
        for inner in range(config.inner_group_num)
    ]
