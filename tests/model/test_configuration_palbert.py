from __future__ import annotations

import copy
import json
import logging
import pickle
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AlbertConfig, AutoConfig, BertConfig

from transformers_palbert import ConfigurationError, PalBertConfig, PalBertForQuestionAnswering

# The configuration that albert_zh publishes for its large model (PAL-BERT paper, Table 5), old keys and all.
ALBERT_LARGE_ZH = {
    "attention_probs_dropout_prob": 0.1,
    "directionality": "bidi",
    "down_scale_factor": 1,
    "embedding_size": 128,
    "gap_size": 0,
    "hidden_act": "gelu",
    "hidden_dropout_prob": 0.1,
    "hidden_size": 1024,
    "initializer_range": 0.02,
    "inner_group_num": 1,
    "intermediate_size": 4096,
    "layers_to_keep": [],
    "ln_type": "postln",
    "max_position_embeddings": 512,
    "net_structure_type": 0,
    "num_attention_heads": 16,
    "num_hidden_groups": 1,
    "num_hidden_layers": 24,
    "num_memory_blocks": 0,
    "pooler_fc_size": 768,
    "pooler_num_attention_heads": 12,
    "pooler_num_fc_layers": 3,
    "pooler_size_per_head": 128,
    "pooler_type": "first_token_transform",
    "type_vocab_size": 2,
    "vocab_size": 21128,
}


def write(folder: Path, config: dict[str, Any]) -> Path:
    (folder / "config.json").write_text(json.dumps(config), encoding="utf-8")
    return folder


def test_defaults_are_alberts_and_the_additions_are_off() -> None:
    ours, stock = PalBertConfig().to_dict(), AlbertConfig().to_dict()
    assert {name: ours[name] for name in stock if name != "model_type"} == {
        name: value for name, value in stock.items() if name != "model_type"
    }
    assert {name: ours[name] for name in ours.keys() - stock.keys()} == {
        "application_heads": None,
        "application_units": None,
        "attention_head_size": None,
        "layer_lr_decay": 1.0,
        "pruning": None,
        "qa_layer_pooling": "last",
        "qa_layers": None,
    }


@pytest.mark.parametrize("model_type", ["albert", None])
def test_reads_albert_large_zh_without_a_warning(
    model_type: str | None, tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(logging.getLogger("transformers"), "propagate", True)
    extra = {} if model_type is None else {"model_type": model_type, "architectures": ["AlbertForMaskedLM"]}
    write(tmp_path, ALBERT_LARGE_ZH | extra)
    with caplog.at_level(logging.WARNING):
        config = PalBertConfig.from_pretrained(tmp_path, qa_layers=[11, -1], qa_layer_pooling="concat")
    assert caplog.messages == []
    assert type(config) is PalBertConfig
    assert config.to_dict()["model_type"] == "palbert"
    assert {name: getattr(config, name) for name in ALBERT_LARGE_ZH} == ALBERT_LARGE_ZH
    assert config.head_size == 64
    assert config.qa_layer_indices == [11, 23]


def test_a_configuration_of_another_family_is_still_warned_about(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(logging.getLogger("transformers"), "propagate", True)
    BertConfig().save_pretrained(tmp_path)
    with caplog.at_level(logging.WARNING):
        PalBertConfig.from_pretrained(tmp_path)
    assert any("`bert` to instantiate a model of type `palbert`" in message for message in caplog.messages)


def test_round_trip_through_a_folder_keeps_every_field(tmp_path: Path) -> None:
    config = PalBertConfig(
        hidden_size=96,
        num_attention_heads=5,
        attention_head_size=32,
        num_hidden_layers=6,
        hidden_act="mish",
        qa_layers=(1, -1),
        qa_layer_pooling="weighted_sum",
        layer_lr_decay=0.95,
        id2label={0: "start", 1: "end"},
        label2id={"start": 0, "end": 1},
        pruning={"method": "movement", "density": 0.3, "status": "final", "targets": ["a.query"], "steps": {"7": 1}},
    )
    config.save_pretrained(tmp_path)
    for loaded in (PalBertConfig.from_pretrained(tmp_path), AutoConfig.from_pretrained(tmp_path)):
        assert type(loaded) is PalBertConfig
        assert loaded.to_diff_dict() == config.to_diff_dict()
        assert loaded.id2label == {0: "start", 1: "end"}
        assert loaded.qa_layer_indices == [1, 5]
    assert copy.deepcopy(config).to_dict() == config.to_dict() == pickle.loads(pickle.dumps(config)).to_dict()


def test_gradient_scales_are_powers_of_the_decay() -> None:
    config = PalBertConfig(num_hidden_layers=4, layer_lr_decay=0.5)
    assert config.gradient_scales == [0.125, 0.25, 0.5, 1.0]
    assert PalBertConfig(num_hidden_layers=3).gradient_scales == [1.0, 1.0, 1.0]
    assert PalBertConfig(num_hidden_layers=3, layer_lr_decay=2).gradient_scales == [4.0, 2.0, 1.0]


@pytest.mark.parametrize(
    ("size", "layers", "width", "heads", "million"),
    [
        ("tiny", 4, 312, 12, 4.0),
        ("small", 6, 384, 12, 4.6),
        ("base", 12, 768, 12, 10.0),
        ("large", 24, 1024, 16, 15.5),
        ("xlarge", 24, 2048, 32, 53.4),
    ],
)
def test_the_published_sizes_have_names(size: str, layers: int, width: int, heads: int, million: float) -> None:
    config = getattr(PalBertConfig, f"albert_{size}_zh")(qa_layers=[1], hidden_act="mish")
    with torch.device("meta"):
        model = PalBertForQuestionAnswering(config)
    embeddings = (21128 + 512 + 2 + 2) * 128
    layer = 12 * width**2 + 13 * width  # four square matrices and two of four times the width; biases, two LayerNorms
    assert model.num_parameters() == embeddings + 129 * width + layer + 2 * width + 2
    assert round(model.num_parameters() / 1e6, 1) == million
    assert f"{million} million" in getattr(PalBertConfig, f"albert_{size}_zh").__doc__
    assert (config.num_hidden_layers, config.num_attention_heads, config.hidden_dropout_prob) == (layers, heads, 0.0)
    assert (config.qa_layers, config.hidden_act) == ([1], "mish")


def test_the_large_one_is_the_published_file(tmp_path: Path) -> None:
    write(tmp_path, ALBERT_LARGE_ZH)
    published, named = PalBertConfig.from_pretrained(tmp_path), PalBertConfig.albert_large_zh()
    fields = [field for field in ALBERT_LARGE_ZH if hasattr(named, field) and "dropout" not in field]  # the paper's: 0
    assert len(fields) == 12
    assert {field: getattr(named, field) for field in fields} == {field: getattr(published, field) for field in fields}


@pytest.mark.parametrize("activation", ["gelu", "gelu_new", "mish", "relu"])
def test_activations_of_the_paper_and_of_published_checkpoints_are_allowed(activation: str) -> None:
    assert PalBertConfig(hidden_act=activation).hidden_act == activation


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"hidden_act": "mich"}, r"hidden_act='mich' is not allowed; allowed: one of .*'gelu', .*'mish'"),
        ({"hidden_size": 0}, r"hidden_size=0 is not allowed; allowed: a positive integer"),
        ({"num_hidden_layers": -2}, r"num_hidden_layers=-2 .* a positive integer"),
        ({"hidden_size": "768"}, r"'hidden_size' expected int, got str \(value: '768'\)"),
        ({"hidden_dropout_prob": 1.0}, r"hidden_dropout_prob=1.0 .* a probability in \[0, 1\)"),
        ({"attention_probs_dropout_prob": -0.1}, r"attention_probs_dropout_prob=-0.1"),
        ({"layer_norm_eps": 0.0}, r"layer_norm_eps=0.0 .* a positive number"),
        ({"num_hidden_groups": 13}, r"num_hidden_groups=13 .* at most num_hidden_layers=12"),
        ({"num_attention_heads": 7}, r"num_attention_heads=7 .* a divisor of hidden_size=4096, or attention_head_size"),
        ({"attention_head_size": 0}, r"attention_head_size=0 .* a positive integer or None"),
        ({"attention_head_size": 1.5}, r"attention_head_size"),
        ({"layer_lr_decay": 0.0}, r"layer_lr_decay=0.0 .* a number above 0"),
        ({"layer_lr_decay": -0.9}, r"layer_lr_decay=-0.9 .* a number above 0"),
        ({"layer_lr_decay": float("inf")}, r"layer_lr_decay=inf .* a number above 0"),
        ({"layer_lr_decay": 2.0, "num_hidden_layers": 24}, r"layer_lr_decay=2.0 .* between 0.548 and 1.82 with .*=24"),
        ({"layer_lr_decay": float("nan")}, r"layer_lr_decay=nan"),
        ({"layer_lr_decay": 0.1, "num_hidden_layers": 24}, r"layer_lr_decay=0.1 .* between 0.548 and 1.82 with .*=24"),
        ({"qa_layers": []}, r"qa_layers=\[\] .* non-empty list of layers in \[-12, 12\)"),
        ({"qa_layers": [12]}, r"qa_layers=\[12\] .* in \[-12, 12\) for num_hidden_layers=12"),
        ({"qa_layers": [-13]}, r"qa_layers=\[-13\]"),
        ({"qa_layers": ["last"]}, r"qa_layers"),
        ({"qa_layers": 3}, r"Field 'qa_layers' with value 3"),
        ({"qa_layers": [11, -1], "qa_layer_pooling": "mean"}, r"qa_layers=\[11, -1\] .* each layer once.*\[11, 11\]"),
        ({"qa_layers": [3, 5]}, r"qa_layer_pooling='last' .* \('mean', 'max', 'concat', 'weighted_sum'\)"),
        ({"qa_layer_pooling": "mean"}, r"qa_layer_pooling='mean' .* name the layers to pool in qa_layers"),
        (
            {"qa_layer_pooling": "median"},
            r"qa_layer_pooling='median' .* 'last', 'mean', 'max', 'concat', 'weighted_sum'",
        ),
        ({"pruning": ["movement"]}, r"pruning"),
        ({"pruning": {"method": 1}}, r"pruning\['method'\]=1 .* a string"),
        ({"pruning": {"density": 70}}, r"pruning\['density'\]=70 .* a number in \[0, 1\]"),
        ({"pruning": {"status": "done"}}, r"pruning\['status'\]='done' .* one of 'training', 'final'"),
        ({"pruning": {"targets": "query"}}, r"pruning\['targets'\]='query' .* a list of module names"),
    ],
)
def test_wrong_values_are_refused_with_field_value_and_allowed_values(fields: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigurationError, match=f"(?s){message}"):
        PalBertConfig(**fields)


def test_overrides_at_loading_are_checked_against_the_file_and_together(tmp_path: Path) -> None:
    write(tmp_path, ALBERT_LARGE_ZH)
    loaded = PalBertConfig.from_pretrained(tmp_path, num_hidden_layers=12, qa_layers=[11])  # 12 layers, so 11 is one
    assert loaded.qa_layer_indices == [11]
    with pytest.raises(ConfigurationError, match=r"qa_layers=\[23\]"):
        PalBertConfig.from_pretrained(tmp_path, num_hidden_layers=12, qa_layers=[23])
    config, unused = PalBertConfig.from_pretrained(tmp_path, qa_layers=[3], foo=1, return_unused_kwargs=True)
    assert (config.qa_layers, unused) == ([3], {"foo": 1})


def test_assignment_and_saving_are_checked_too(tmp_path: Path) -> None:
    config = PalBertConfig()
    with pytest.raises(ConfigurationError, match="Field 'layer_lr_decay'"):
        config.layer_lr_decay = "0.95"
    config.layer_lr_decay = 9.0  # a wrong value is found when the configuration is next used as a whole
    with pytest.raises(ConfigurationError, match=r"layer_lr_decay=9\.0"):
        config.save_pretrained(tmp_path)


def test_errors_are_value_errors() -> None:
    with pytest.raises(ValueError, match="qa_layers"):
        PalBertConfig(qa_layers=[99])
