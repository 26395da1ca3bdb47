"""Sizes that a configuration tells, against those of the modules."""

from __future__ import annotations

import pytest
from transformers import GPT2Config

from tests.model.test_removal import random_kept, random_model
from tests.model.test_structure import DEPTH, HEADS, KINDS, UNITS, small_config
from transformers_palbert import ConfigurationError
from transformers_palbert.model.applications import mask_to_text
from transformers_palbert.model.described_sizes import described_sizes
from transformers_palbert.model.removal import LayerSize, keep_units, layer_sizes


@pytest.mark.parametrize("kind", KINDS)
def test_they_are_those_of_the_modules(kind: str) -> None:
    model = random_model(kind)
    whole = set(described_sizes(model.config).values())
    assert whole == {LayerSize(HEADS, UNITS)}
    keep_units(model, random_kept(model))
    assert described_sizes(model.config) == layer_sizes(model)


def test_applications_have_rows_of_their_own() -> None:
    masks = [mask_to_text([index < number for index in range(UNITS)]) for number in range(DEPTH)]
    found = described_sizes(small_config("palbert", application_units=masks))
    assert list(found.values()) == [LayerSize(HEADS, number) for number in range(DEPTH)]
    assert list(found)[2] == "encoder.albert_layer_groups.0.albert_layers.0 (application 2)"


def test_other_architectures_have_none() -> None:
    assert described_sizes(GPT2Config()) == {}


def test_damaged_configurations() -> None:
    config = small_config("bert")
    config.layer_sizes = {"encoder.layer.0": [1]}
    with pytest.raises(ConfigurationError, match="two numbers"):
        described_sizes(config)


@pytest.mark.parametrize("kind", ["bert", "albert"])
def test_a_depth_that_nothing_has_is_refused_before_memory_is_spent(kind: str) -> None:
    config = small_config(kind)
    config.num_hidden_layers = 10**10
    with pytest.raises(ConfigurationError, match="num_hidden_layers=10000000000 is more than the 10,000 layers"):
        described_sizes(config)
