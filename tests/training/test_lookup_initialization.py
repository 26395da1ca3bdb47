from __future__ import annotations

import math

import pytest
import torch
from transformers import AlbertForQuestionAnswering, BertConfig, BertForQuestionAnswering

from tests.pruning.helpers import tiny_config
from transformers_palbert import PalBertForQuestionAnswering
from transformers_palbert.errors import ConfigurationError
from transformers_palbert.training.lookup_initialization import initialize_for_lookup, sinusoids


@pytest.mark.parametrize("size", [6, 7])
def test_sinusoids_are_those_of_the_formula(size: int) -> None:
    table = sinusoids(5, size)
    assert table.shape == (5, size)
    for position in range(5):
        for column in range(size):
            angle = position / 10000 ** (2 * (column // 2) / size)
            expected = math.cos(angle) if column % 2 else math.sin(angle)
            assert table[position, column].item() == pytest.approx(expected, abs=1e-5)


@pytest.mark.parametrize(
    ("kind", "cls"), [("albert", AlbertForQuestionAnswering), ("palbert", PalBertForQuestionAnswering)]
)
def test_tokens_attend_to_their_like_and_their_neighbours(kind: str, cls: type) -> None:
    torch.manual_seed(0)
    model = cls(tiny_config(kind))
    types = model.albert.embeddings.token_type_embeddings.weight.detach().clone()
    initialize_for_lookup(model)
    attention = model.albert.encoder.albert_layer_groups[0].albert_layers[0].attention
    assert torch.equal(attention.query.weight, attention.key.weight)
    assert attention.query.weight.data_ptr() != attention.key.weight.data_ptr()
    assert torch.equal(model.albert.embeddings.token_type_embeddings.weight, types / 2)
    positions = model.albert.embeddings.position_embeddings.weight.detach()
    similarity = positions @ positions.T
    middle = len(positions) // 2
    assert similarity[middle].argmax() == middle
    assert similarity[middle, middle + 1] > similarity[middle, middle + 4]
    assert positions.std().item() == pytest.approx(model.config.initializer_range, rel=0.3)


def test_another_architecture_is_refused() -> None:
    config = BertConfig(vocab_size=8, hidden_size=4, num_hidden_layers=1, num_attention_heads=1, intermediate_size=4)
    with pytest.raises(ConfigurationError, match="not BertForQuestionAnswering"):
        initialize_for_lookup(BertForQuestionAnswering(config))
