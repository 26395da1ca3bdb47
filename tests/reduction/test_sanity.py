from __future__ import annotations

import numpy as np
import pytest
import torch

from tests.reduction.scorers.test_integrated_gradients import CONTEXT, QUESTION, scorer
from transformers_palbert.reduction.sanity import randomization_check, rank_correlation

pytest.importorskip("captum", reason="captum is not installed")


def test_rank_correlation() -> None:
    values = np.array([0.1, 5.0, 2.0, -3.0])
    assert rank_correlation(values, np.exp(values)) == pytest.approx(1)
    assert rank_correlation(values, -values) == pytest.approx(-1)
    assert rank_correlation(values, np.zeros(4)) == 0
    assert rank_correlation(values, np.array([1.0, 2.0, 2.0, 0.0])) == pytest.approx(0.9486833)  # ranks 2, 3.5, 3.5, 1


@pytest.mark.parametrize(
    ("kind", "parts"),
    [
        ("bert", ["head", "bert.encoder.layer.1", "bert.encoder.layer.0", "embeddings"]),
        ("albert", ["head", "albert.encoder.albert_layer_groups.0.albert_layers.0", "embeddings"]),
    ],
)
def test_attributions_depend_on_the_weights(kind: str, parts: list[str]) -> None:
    reader = scorer(kind, steps=10)
    before = {name: tensor.clone() for name, tensor in reader.model.state_dict().items()}
    questions = [QUESTION, "what is my name ?", "where ?", "who lives ?"]
    steps = randomization_check(reader, questions, [CONTEXT] * 4)
    assert [step.part for step in steps] == parts
    assert all(abs(step.correlation) < 0.7 for step in steps)
    assert all(torch.equal(tensor, before[name]) for name, tensor in reader.model.state_dict().items())


def test_every_parameter_is_made_random_once() -> None:
    from transformers_palbert.reduction.sanity import _parts

    model = scorer().model
    found = [name for _, parameters in _parts(model) for name in parameters]
    assert sorted(found) == sorted(name for name, _ in model.named_parameters())


def test_a_model_compared_with_itself_is_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("transformers_palbert.reduction.sanity._randomize", lambda *_: None)
    steps = randomization_check(scorer(steps=5), [QUESTION], [CONTEXT])
    assert [step.correlation for step in steps] == pytest.approx([1.0] * 4)
