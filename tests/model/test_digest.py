from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AlbertConfig, AlbertForQuestionAnswering

from transformers_palbert.model.digest import model_digest

SHAPE: dict[str, Any] = {
    "vocab_size": 20,
    "embedding_size": 4,
    "hidden_size": 8,
    "num_attention_heads": 2,
    "intermediate_size": 8,
}


def albert(**changes: Any) -> AlbertForQuestionAnswering:
    torch.manual_seed(0)
    return AlbertForQuestionAnswering(AlbertConfig(**SHAPE | {"num_hidden_layers": 2} | changes))


def test_it_is_that_of_the_model_and_not_of_its_place(tmp_path: Path) -> None:
    model = albert()
    model.save_pretrained(tmp_path)
    assert model_digest(AlbertForQuestionAnswering.from_pretrained(tmp_path)) == model_digest(model)


@pytest.mark.parametrize("changes", [{"num_hidden_layers": 6}, {"hidden_act": "relu"}])
def test_equal_weights_applied_otherwise_are_another_model(changes: dict[str, Any]) -> None:
    one, other = albert(), albert(**changes)
    assert all(torch.equal(a, b) for a, b in zip(one.state_dict().values(), other.state_dict().values(), strict=True))
    assert model_digest(one) != model_digest(other)


def test_a_weight_and_its_dtype_count() -> None:
    changed = albert()
    with torch.no_grad():
        changed.qa_outputs.bias[0] += 1
    assert len({model_digest(albert()), model_digest(changed), model_digest(albert().to(torch.bfloat16))}) == 3


def test_the_parts_of_a_module_without_a_config_of_its_own_count() -> None:
    parts = [torch.nn.Sequential(albert()), torch.nn.Sequential(albert(num_hidden_layers=6))]
    assert model_digest(parts[0]) != model_digest(parts[1])
