from __future__ import annotations

import pytest
from torch import nn

from tests.pruning.helpers import tiny_model
from transformers_palbert.model.modes import evaluating


def fail(model: nn.Module) -> None:
    with evaluating(model):
        assert not any(module.training for module in model.modules())
        raise ZeroDivisionError


def test_frozen_parts_stay_in_evaluation_mode() -> None:
    model = tiny_model("bert").train()
    model.bert.embeddings.eval()
    with pytest.raises(ZeroDivisionError):
        fail(model)
    assert not any(module.training for module in model.bert.embeddings.modules())
    assert model.training
    assert all(module.training for module in model.bert.encoder.modules())
