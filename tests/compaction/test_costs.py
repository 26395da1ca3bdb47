"""The order in which units go against exhaustive least squares, and what the model's gradients make of it."""

from __future__ import annotations

import copy

import numpy as np
import pytest
import torch

from tests.pruning.helpers import qa_batch, tiny_model
from tests.references.compaction import naive_order
from transformers_palbert.compaction.costs import removal_costs, removal_order
from transformers_palbert.errors import ConfigurationError
from transformers_palbert.model.removal import layer_sizes
from transformers_palbert.model.structure import encoder_layers


@pytest.mark.parametrize(("units", "width"), [(7, 1), (4, 3), (1, 2)])
def test_order_and_costs_are_those_of_least_squares(units: int, width: int) -> None:
    torch.manual_seed(units)
    inputs = torch.randn(50, units * width, dtype=torch.float64) @ torch.randn(units * width, units * width).double()
    weight = torch.randn(5, units * width, dtype=torch.float64)
    moments = inputs.T @ inputs + 0.1 * torch.eye(units * width, dtype=torch.float64)
    order, costs = removal_order(weight, moments, units)
    expected_order, totals = naive_order(weight, inputs, units, 0.1)
    assert order == expected_order
    np.testing.assert_allclose(np.cumsum(costs), totals, rtol=1e-8)


def test_a_unit_that_another_one_repeats_costs_nothing() -> None:
    torch.manual_seed(0)
    inputs = torch.randn(100, 5, dtype=torch.float64)
    inputs[:, 3] = 2 * inputs[:, 1]
    moments = inputs.T @ inputs + 1e-9 * torch.eye(5, dtype=torch.float64)
    order, costs = removal_order(torch.randn(4, 5, dtype=torch.float64), moments, 5)
    assert order[0] in (1, 3)
    assert costs[0] == pytest.approx(0, abs=1e-6)
    assert costs[1] > 1


def batches() -> list[dict[str, torch.Tensor]]:
    found = [qa_batch(count=4, seed=seed) for seed in range(3)]
    found[0]["attention_mask"][0, 6:] = 0
    return found


@pytest.mark.parametrize("kind", ["albert", "palbert", "bert", "roberta", "distilbert"])
def test_costs_of_a_model(kind: str) -> None:
    model = tiny_model(kind)
    before = copy.deepcopy(model.state_dict())
    costs = removal_costs(model.train(), batches())
    assert model.training
    assert all(parameter.requires_grad and parameter.grad is None for parameter in model.parameters())
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())
    assert list(costs) == list(layer_sizes(model))
    for path, size in layer_sizes(model).items():
        for found, count in zip(costs[path], (size.heads, size.units), strict=True):
            assert sorted(found.order.tolist()) == list(range(count))
            assert len(found.losses) == count + 1
            assert found.losses[0] == 0
            assert (np.diff(found.losses) >= 0).all()
            assert found.losses[-1] > 0


def test_padding_does_not_count() -> None:
    model = tiny_model("bert")
    short = {name: tensor[:, :7] if tensor.dim() > 1 else tensor.clamp(max=6) for name, tensor in qa_batch().items()}
    padded = {name: torch.nn.functional.pad(t, (0, 3)) if t.dim() > 1 else t for name, t in short.items()}
    one, other = (removal_costs(model, [batch]) for batch in (short, padded))
    for path in one:
        for left, right in zip(one[path], other[path], strict=True):
            np.testing.assert_allclose(left.losses, right.losses, rtol=1e-3, atol=1e-9)


def test_examples_count_alike_in_batches_of_any_size() -> None:
    model = tiny_model("bert")
    whole = qa_batch(count=6)
    parts = [{name: tensor[at : at + 2] for name, tensor in whole.items()} for at in (0, 2, 4)]
    one, other = removal_costs(model, [whole]), removal_costs(model, parts)
    for path in one:
        for left, right in zip(one[path], other[path], strict=True):
            np.testing.assert_allclose(left.losses, right.losses, rtol=1e-3, atol=1e-9)


def test_a_unit_without_a_way_out_goes_first() -> None:
    model = tiny_model("bert")
    layer = encoder_layers(model)[0]
    with torch.no_grad():
        layer.ffn_out.weight[:, 5] = 0
        layer.attention_output.weight[:, 8:] = 0
    heads, units = removal_costs(model, batches())["encoder.layer.0"]
    assert units.order[0] == 5
    assert heads.order[0] == 1
    assert units.losses[1] == heads.losses[1] == 0


def test_costs_that_overflow_are_no_costs() -> None:
    model = tiny_model("bert").half()
    with torch.no_grad():
        encoder_layers(model)[0].ffn_out.weight.fill_(6e4)
    with pytest.raises(ConfigurationError, match=r"not a finite number.*dtype='float32'"):
        removal_costs(model, batches())


def test_examples_are_needed() -> None:
    with pytest.raises(ConfigurationError, match="there are none"):
        removal_costs(tiny_model("bert"), [])
    inputs = {name: tensor for name, tensor in qa_batch().items() if "positions" not in name}
    with pytest.raises(ConfigurationError, match=r"no loss for inputs called input_ids, .*need labels"):
        removal_costs(tiny_model("bert"), [inputs])
