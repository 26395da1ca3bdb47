from __future__ import annotations

import warnings
from typing import Any

import pytest
import torch
from transformers import AlbertConfig, AlbertForQuestionAnswering, BertConfig, BertForQuestionAnswering

from tests.references.tiny_models import SHAPE
from transformers_palbert import PalBertConfig, StorageConfig, enable_sparse_saving
from transformers_palbert.errors import ConfigurationError, NoEffectWarning
from transformers_palbert.training.arguments import ModelArguments
from transformers_palbert.training.config_overrides import override_fields, parse_fields
from transformers_palbert.training.setup import load_config

BERT = {name: value for name, value in SHAPE.items() if name != "embedding_size"}


def test_values_are_read_as_what_they_are() -> None:
    assert parse_fields("a=1, b=0.5,c=mish,d=1e-6,e=true,f=null") == {
        "a": 1, "b": 0.5, "c": "mish", "d": 1e-6, "e": True, "f": None
    }  # fmt: skip
    with pytest.raises(ConfigurationError, match="config_overrides='hidden_size' must look like"):
        parse_fields("hidden_size")


def test_values_are_no_yaml() -> None:
    assert parse_fields('a=no,b=1:30,c=[1,2],d={"x": [1, 2], "y": 3},e="a,]b",f=.5,g=True,h=None,i=1_0,j=010') == {
        "a": "no", "b": "1:30", "c": [1, 2], "d": {"x": [1, 2], "y": 3}, "e": "a,]b", "f": 0.5, "g": True, "h": None,
        "i": "1_0", "j": 10.0,
    }  # fmt: skip


@pytest.mark.parametrize("value", ["", " ", "[", "[1", '{"x"}', '"text', "[" * 100_000, "[" + "1" * 5000 + "]"])
def test_a_value_that_cannot_be_read_is_named(value: str) -> None:
    with pytest.raises(ConfigurationError, match="config_overrides sets hidden_size to "):
        parse_fields(f"hidden_act=mish,hidden_size={value}")


@pytest.fixture
def albert() -> AlbertForQuestionAnswering:
    model = AlbertForQuestionAnswering(AlbertConfig(**SHAPE))
    model.save_pretrained("albert")
    return model


def load(name: str, overrides: str, **options: Any) -> Any:
    return load_config(ModelArguments(model_name_or_path=name, config_overrides=overrides, **options))


@pytest.mark.parametrize(
    "fields",
    [
        {"hidden_dropout_prob": 0.2},
        {"attention_probs_dropout_prob": 0.2, "classifier_dropout_prob": 0.3},
        {"layer_norm_eps": 1e-6},
        {"hidden_act": "mish"},
        {"num_hidden_layers": 2},  # layers share their weights
    ],
)
def test_a_pretrained_model_takes_what_changes_no_shape(
    albert: AlbertForQuestionAnswering, fields: dict[str, Any]
) -> None:
    config = load("albert", ",".join(f"{name}={value}" for name, value in fields.items()))
    assert {name: getattr(config, name) for name in fields} == fields
    model = AlbertForQuestionAnswering.from_pretrained("albert", config=config)
    assert all(torch.equal(value, model.state_dict()[name]) for name, value in albert.state_dict().items())


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        ("intermediate_size=8", r"ffn.weight: \[20, 24\] -> \[8, 24\]"),
        ("vocab_size=61", r"word_embeddings.weight: \[60, 8\] -> \[61, 8\]"),
        ("num_hidden_groups=2", r"nothing -> \["),
        ("hidden_droput_prob=0.2", "hidden_droput_prob, which is no field .* Did you mean hidden_dropout_prob"),
    ],
)
@pytest.mark.usefixtures("albert")
def test_what_would_not_fit_is_refused(overrides: str, message: str) -> None:
    with pytest.raises(ConfigurationError, match=message):
        load("albert", overrides)


def test_a_layer_less_does_not_fit_where_layers_have_weights_of_their_own() -> None:
    BertForQuestionAnswering(BertConfig(**BERT)).save_pretrained("bert")
    with pytest.raises(ConfigurationError, match=r"layer\.3\..*-> nothing"):
        load("bert", "num_hidden_layers=3")
    assert load("bert", "hidden_dropout_prob=0.3").hidden_dropout_prob == 0.3


def test_a_field_that_nothing_reads_is_told() -> None:
    config = BertConfig(**BERT, pooler_num_fc_layers=3)
    with pytest.warns(NoEffectWarning, match="pooler_num_fc_layers.*no model of the type bert reads it: it changes"):
        override_fields(config, "pooler_num_fc_layers=5", "bert")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        override_fields(config, "hidden_dropout_prob=0.3", "bert")


@pytest.mark.usefixtures("albert")
def test_a_wrong_value_is_the_configurations_error() -> None:
    with pytest.raises(ConfigurationError, match=r"hidden_dropout_prob=1\.5 is not allowed"):
        load("albert", "hidden_dropout_prob=1.5", hidden_act="mish")


def test_a_packed_checkpoint_stays_one(albert: AlbertForQuestionAnswering) -> None:
    with torch.no_grad():
        for name, parameter in albert.named_parameters():
            if "ffn" in name and parameter.dim() == 2:
                parameter[::2] = 0
    enable_sparse_saving(albert, StorageConfig())
    albert.save_pretrained("packed")
    config = load("packed", "hidden_dropout_prob=0.2")
    model = AlbertForQuestionAnswering.from_pretrained("packed", config=config)
    assert model.config.hidden_dropout_prob == 0.2
    assert all(torch.equal(value, model.state_dict()[name]) for name, value in albert.state_dict().items())


def test_a_new_model_takes_any_field() -> None:
    config = load_config(ModelArguments(config_overrides="hidden_size=16,num_attention_heads=2,embedding_size=8"))
    assert isinstance(config, PalBertConfig)
    assert (config.hidden_size, config.embedding_size) == (16, 8)
    with pytest.raises(ConfigurationError, match=r"hiden_size, which is no field .* Did you mean hidden_size"):
        load_config(ModelArguments(config_overrides="hiden_size=16"))
