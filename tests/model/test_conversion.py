"""ALBERTs that become PAL-BERTs: the same weights in the same memory, and what the two give."""

from __future__ import annotations

import pytest
import torch
from transformers import AutoModelForMaskedLM, AutoModelForSequenceClassification, AutoModelForTokenClassification

from tests.model.test_removal import INPUTS, logits, random_model
from tests.model.test_structure import small_config
from transformers_palbert import KeptUnits, PalBertConfig, PalBertForQuestionAnswering
from transformers_palbert.model.conversion import has_palbert_form, palbert_of
from transformers_palbert.model.removal import keep_units, layer_sizes


@pytest.mark.parametrize("attention", ["eager", "sdpa"])
def test_the_same_logits_from_the_same_weights(attention: str) -> None:
    model = random_model("albert", attn_implementation=attention).eval()
    made = palbert_of(model)
    assert type(made) is PalBertForQuestionAnswering
    assert isinstance(made.config, PalBertConfig)
    assert not made.training
    assert made.config._attn_implementation == attention
    assert torch.equal(logits(made), logits(model))
    weights = dict(model.named_parameters())
    assert all(parameter is weights[name] for name, parameter in made.named_parameters())


def test_what_is_frozen_stays_frozen() -> None:
    model = random_model("albert")
    frozen = model.get_input_embeddings().weight.requires_grad_(False)
    made = palbert_of(model)
    assert made.get_input_embeddings().weight is frozen
    assert not frozen.requires_grad
    assert made.qa_outputs.weight.requires_grad


@pytest.mark.parametrize("head", [
    AutoModelForMaskedLM, AutoModelForSequenceClassification, AutoModelForTokenClassification,
])  # fmt: skip
def test_heads_of_other_tasks(head: type) -> None:
    model = head.from_config(small_config("albert", num_labels=3)).bfloat16().eval()  # type: ignore[attr-defined]
    made = palbert_of(model)
    assert type(made).__name__ == f"Pal{type(model).__name__.replace('Albert', 'Bert')}"
    assert made.dtype == torch.bfloat16
    assert torch.equal(made(**INPUTS).logits, model(**INPUTS).logits)


def test_a_palbert_is_one() -> None:
    model = random_model("palbert")
    assert has_palbert_form(model)
    assert palbert_of(model) is model


def test_what_has_no_such_form() -> None:
    assert not has_palbert_form(random_model("bert"))
    model = random_model("albert")
    assert has_palbert_form(model)
    keep_units(model, {path: KeptUnits([1]) for path in layer_sizes(model)})
    assert not has_palbert_form(model)
