"""The table against small models of every architecture in it."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import nn
from transformers import AutoConfig, AutoModel, AutoModelForQuestionAnswering, GPT2Config, PreTrainedModel

from transformers_palbert import ConfigurationError
from transformers_palbert.model.structure import (
    STRUCTURES,
    encoder_layers,
    known_structure,
    layer_applications,
    part_of,
    structure_of,
)

HIDDEN, HEADS, UNITS, DEPTH = 24, 3, 40, 4
SIZES: dict[str, Any] = {"vocab_size": 30, "embedding_size": 8, "max_position_embeddings": 20}
KINDS = sorted(STRUCTURES)


def small_config(kind: str, **changes: Any) -> Any:
    row = STRUCTURES[kind]
    names = {"dim" if kind == "distilbert" else "hidden_size": HIDDEN, row.heads: HEADS, row.units: UNITS}
    return AutoConfig.for_model(kind, **{**SIZES, **names, row.depth: DEPTH, **changes})


def small_model(kind: str, **changes: Any) -> PreTrainedModel:
    return AutoModelForQuestionAnswering.from_config(small_config(kind, **changes))


@pytest.mark.parametrize("kind", KINDS)
def test_every_part_is_where_the_table_says(kind: str) -> None:
    model = small_model(kind)
    layers = encoder_layers(model)
    assert len(layers) == (1 if STRUCTURES[kind].shared else DEPTH)
    for layer in layers:
        assert model.get_submodule(layer.name) is layer.module
        for projection in (layer.query, layer.key, layer.value, layer.attention_output):
            assert projection.weight.shape == (HIDDEN, HIDDEN)
        assert layer.ffn_in.weight.shape == (UNITS, HIDDEN)
        assert layer.ffn_out.weight.shape == (HIDDEN, UNITS)
        assert isinstance(layer.attention_norm, nn.LayerNorm)
        assert isinstance(layer.ffn_norm, nn.LayerNorm)
        width = {name: getattr(layer.attention, name, None) for name in ("attention_head_size", "head_dim", "dim")}
        assert any(value in (HIDDEN // HEADS, HIDDEN) for value in width.values())


@pytest.mark.parametrize("kind", KINDS)
def test_the_parts_do_what_they_are_called(kind: str) -> None:
    """Without values nothing reaches the output projection; with equal keys every token gets the mean of the values."""
    base = AutoModel.from_config(small_config(kind)).eval()
    layer = encoder_layers(base)[0]
    seen: dict[str, torch.Tensor] = {}
    for name in ("attention_output", "ffn_in", "ffn_out", "value"):
        getattr(layer, name).register_forward_hook(
            lambda _, inputs, output, name=name: seen.update({f"{name} in": inputs[0], f"{name} out": output})
        )
    tokens = torch.arange(5, 15)[None]
    with torch.no_grad():
        layer.key.weight.zero_()
        base(tokens)
        mean = seen["value out"].mean(1, keepdim=True).expand(-1, 10, -1)
        torch.testing.assert_close(seen["attention_output in"], mean)
        assert seen["ffn_in out"].shape == seen["ffn_out in"].shape == (1, 10, UNITS)
        layer.value.weight.zero_()
        layer.value.bias.zero_()
        base(tokens)
        assert not seen["attention_output in"].any()


@pytest.mark.parametrize("kind", KINDS)
def test_every_parameter_belongs_to_a_part(kind: str) -> None:
    model = small_model(kind)
    row = structure_of(model)
    parts: dict[str, int] = {}
    for name, parameter in model.named_parameters():
        part = part_of(name, row)
        assert part is not None
        assert part == part_of(name.removeprefix(f"{row.base}."), row)
        parts[part] = parts.get(part, 0) + parameter.numel()
    layer = 4 * HIDDEN * (HIDDEN + 1) + UNITS * (HIDDEN + 1) + HIDDEN * (UNITS + 1) + 4 * HIDDEN
    assert parts["encoder"] == layer * (1 if row.shared else DEPTH)
    assert parts["head"] == 2 * (HIDDEN + 1)
    tables = {id(module.weight) for module in model.modules() if isinstance(module, nn.Embedding)}
    assert all(part_of(n, row) == "embeddings" for n, p in model.named_parameters() if id(p) in tables)


@pytest.mark.parametrize("kind", KINDS)
def test_a_pooler_is_no_head(kind: str) -> None:
    base = AutoModel.from_config(small_config(kind))
    parts = {part_of(name, structure_of(base)) for name, _ in base.named_parameters()}
    assert parts <= {"embeddings", "encoder", "pooler"}
    assert ("pooler" in parts) is bool(STRUCTURES[kind].pooler)


@pytest.mark.parametrize("kind", KINDS)
def test_applications_in_order(kind: str) -> None:
    config = small_config(kind)
    base = AutoModel.from_config(config).eval()
    order: list[str] = []
    for layer in encoder_layers(base):
        layer.module.register_forward_hook(lambda *_, name=layer.name: order.append(name))
    with torch.no_grad():
        base(torch.arange(5, 15)[None])
    assert layer_applications(config) == order


@pytest.mark.parametrize(("groups", "inner"), [(1, 1), (2, 1), (2, 2), (4, 1)])
def test_applications_of_groups(groups: int, inner: int) -> None:
    config = small_config("albert", num_hidden_groups=groups, inner_group_num=inner)
    base = AutoModel.from_config(config).eval()
    order: list[str] = []
    for layer in encoder_layers(base):
        layer.module.register_forward_hook(lambda *_, name=layer.name: order.append(name))
    with torch.no_grad():
        base(torch.arange(5, 15)[None])
    assert layer_applications(config) == order
    assert len(order) == DEPTH * inner


def test_an_unknown_architecture_is_named_with_the_cure() -> None:
    config = GPT2Config()
    assert known_structure(config) is None
    with pytest.raises(
        ConfigurationError, match=r"architecture 'gpt2'.*known are albert, bert, .*granularity='element'"
    ):
        structure_of(config)
    with pytest.raises(ConfigurationError, match="'Linear'"):
        encoder_layers(nn.Linear(2, 2))


def test_customary_names_serve_where_there_is_no_row() -> None:
    names = {
        "model.embed_tokens.weight": "embeddings",
        "bert.encoder.layer.0.output.dense.weight": "encoder",
        "bert.pooler.dense.weight": "pooler",
        "qa_outputs.weight": "head",
        "cls.predictions.decoder.weight": "head",
        "something.weight": None,
    }
    assert {name: part_of(name) for name in names} == names


def test_an_architecture_can_be_added(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(STRUCTURES, "my_bert", replace(STRUCTURES["bert"], model_type="my_bert"))
    assert structure_of("my_bert").base == "bert"
