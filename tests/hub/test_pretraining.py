"""A pre-trained model is pushed like one that answers: whole, in one commit, with a card, without pickles or tokens."""

from __future__ import annotations

import re

import torch
from huggingface_hub import ModelCard
from transformers import AutoModelForPreTraining, AutoModelForQuestionAnswering, AutoTokenizer

from tests.hub.fake_hub import FakeHub
from tests.training.test_pretraining import TOKENIZER, make_trainer

REPO = "me/pretrained"


def test_a_pretrained_model_comes_back(hub: FakeHub) -> None:
    trainer = make_trainer("pretrained", max_steps=2, hub_token=hub.token, push_to_hub=True)
    trainer.processing_class = TOKENIZER
    trainer.train()
    metrics = trainer.evaluate()
    trainer.push_to_hub()

    files = hub.repos[REPO].files()
    assert {"config.json", "model.safetensors", "tokenizer.json", "README.md"} <= files.keys()
    assert not [path for path in files if re.search(r"\.(bin|pt|pth|pkl)$", path)]
    assert not [path for path, content in hub.everything().items() if hub.token.encode() in content]
    assert hub.repos[REPO].messages[1:] == ["End of training"]

    model = AutoModelForPreTraining.from_pretrained(REPO).state_dict()
    assert all(torch.equal(tensor, model[name]) for name, tensor in trainer.model.state_dict().items())
    assert AutoModelForQuestionAnswering.from_pretrained(REPO).config.model_type == "palbert"
    assert AutoTokenizer.from_pretrained(REPO).get_vocab() == TOKENIZER.get_vocab()

    card = ModelCard.load(REPO)
    assert card.data.pipeline_tag == "fill-mask"
    assert f"{metrics['eval_mlm_loss']:.4f}" in card.text
    assert "marks the span" not in card.text
