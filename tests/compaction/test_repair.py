"""Projections fitted anew: what they give again, and what they leave alone."""

from __future__ import annotations

import copy

import numpy as np
import pytest
import torch
from torch import nn
from transformers import PreTrainedModel

from tests.pruning.helpers import qa_batch, tiny_model
from transformers_palbert.compaction.applications import keep_applied_units
from transformers_palbert.compaction.costs import removal_costs
from transformers_palbert.compaction.repair import _solve, repair_projections
from transformers_palbert.model.conversion import palbert_of
from transformers_palbert.model.removal import KeptUnits, keep_units, layer_path, layer_sizes
from transformers_palbert.model.structure import encoder_layers

BATCHES = [qa_batch(count=16, seed=seed) for seed in range(8)]


def distance(small: PreTrainedModel, whole: PreTrainedModel) -> float:
    with torch.no_grad():
        one, other = (model.eval()(**qa_batch(count=16, seed=99)) for model in (small, whole))
    return float((one.start_logits - other.start_logits).square().mean())


@pytest.mark.parametrize("kind", ["albert", "palbert", "bert", "roberta", "distilbert"])
def test_it_comes_nearer_to_the_whole_model(kind: str) -> None:
    whole = tiny_model(kind)
    for parameter in whole.base_model.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    small = copy.deepcopy(whole)
    keep_units(small, {path: KeptUnits(None, range(24)) for path in layer_sizes(small)})
    before, others = distance(small, whole), copy.deepcopy(small.state_dict())
    repair_projections(small, whole, BATCHES)
    assert distance(small, whole) < before / 2
    changed = {name for name, tensor in small.state_dict().items() if not torch.equal(tensor, others[name])}
    allowed = {
        f"{name}.{kind}"
        for layer in encoder_layers(small)
        for name, module in small.named_modules()
        for kind in ("weight", "bias")
        if module in (layer.attention_output, layer.ffn_out)
    }
    assert changed <= allowed
    assert changed


def test_what_the_others_can_give_comes_back() -> None:
    """Every unit has a twin; without the twins nothing is lost."""
    whole = tiny_model("bert")
    with torch.no_grad():
        for layer in encoder_layers(whole):
            for tensor in (layer.ffn_in.weight, layer.ffn_in.bias):
                torch.nn.init.normal_(tensor, std=0.5)
                tensor[16:] = tensor[:16]
    small = copy.deepcopy(whole)
    keep_units(small, {layer_path(small, layer): KeptUnits(None, range(16)) for layer in encoder_layers(small)})
    before = distance(small, whole)
    repair_projections(small, whole, BATCHES, ridge=1e-8)
    assert distance(small, whole) < before * 1e-4


def test_a_whole_model_stays_as_it_is() -> None:
    whole = tiny_model("bert")
    small = copy.deepcopy(whole)
    repair_projections(small, whole, BATCHES[:2])
    for name, tensor in small.state_dict().items():
        torch.testing.assert_close(tensor, whole.state_dict()[name], rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("kept", [KeptUnits([], range(32)), KeptUnits(range(2), []), KeptUnits([], [])])
def test_applications_without_units_get_their_mean_back(kept: KeptUnits) -> None:
    """The shared weights keep one unit that no application uses, so that all inputs of the projection are zero."""
    whole = palbert_of(tiny_model("albert"))
    small = copy.deepcopy(whole)
    (path,) = layer_sizes(small)
    keep_applied_units(small, {(path, number): kept for number in range(small.config.num_hidden_layers)})
    repair_projections(small, whole, BATCHES)
    with torch.no_grad():
        assert small(**qa_batch()).start_logits.isfinite().all()


def test_what_was_pruned_stays_pruned() -> None:
    whole = tiny_model("bert")
    with torch.no_grad():
        for layer in encoder_layers(whole):
            layer.ffn_out.weight[torch.rand_like(layer.ffn_out.weight) < 0.7] = 0
    small = copy.deepcopy(whole)
    keep_units(small, {path: KeptUnits(None, range(20)) for path in layer_sizes(small)})
    zeros = {layer.name: layer.ffn_out.weight == 0 for layer in encoder_layers(small)}
    repair_projections(small, whole, BATCHES[:3])
    for layer in encoder_layers(small):
        assert torch.equal(layer.ffn_out.weight == 0, zeros[layer.name])


@pytest.mark.parametrize("density", [0.0, 0.3, 1.0])
def test_each_row_is_fitted_by_the_weights_that_it_has(density: float) -> None:
    """Against least squares of one row at a time; what a whole row's fit would say is far from it."""
    torch.manual_seed(0)
    linear = nn.Linear(12, 5)
    inputs, errors = torch.randn(60, 12), torch.randn(60, 5)
    inputs[:, 1:] += inputs[:, :1]  # so that the weights left have to stand in for the others
    with torch.no_grad():
        linear.weight[torch.rand(5, 12) >= density] = 0
        before, bias = linear.weight.clone(), linear.bias.clone()
        _solve(linear, iter([(inputs[:40], errors[:40]), (inputs[40:], errors[40:])]), ridge=1e-9)
    for row in range(5):
        kept = before[row] != 0
        columns = torch.cat([inputs[:, kept], torch.ones(60, 1)], dim=1).double()
        change = torch.linalg.lstsq(columns, errors[:, row].double()).solution.float()
        torch.testing.assert_close(linear.weight[row, kept], before[row, kept] + change[:-1], rtol=1e-4, atol=1e-4)
        torch.testing.assert_close(linear.bias[row], bias[row] + change[-1], rtol=1e-4, atol=1e-4)
        assert not linear.weight[row, ~kept].any()


def test_padding_does_not_count() -> None:
    whole = tiny_model("bert")
    results = []
    for padding in (0, 5):
        small = copy.deepcopy(whole)
        keep_units(small, {path: KeptUnits(None, range(16)) for path in layer_sizes(small)})
        batches = [
            {name: torch.nn.functional.pad(t, (0, padding)) if t.dim() > 1 else t for name, t in batch.items()}
            for batch in BATCHES[:3]
        ]
        repair_projections(small, whole, batches)
        results.append(small.state_dict())
    for name, tensor in results[0].items():
        torch.testing.assert_close(results[1][name], tensor, rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("kept", [24, 16])
def test_applications_are_repaired_too(kept: int) -> None:
    """Each with inputs of its own."""
    whole = tiny_model("palbert")
    for parameter in whole.base_model.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    small = copy.deepcopy(whole)
    (path,) = layer_sizes(small)
    keep_applied_units(small, {(path, n): KeptUnits(range(2), range(2 * n, kept + 2 * n)) for n in range(3)})
    before = distance(small, whole)
    repair_projections(small, whole, [qa_batch(count=16, seed=seed) for seed in range(8)])
    after = distance(small, whole)
    assert after < before / 100


def test_a_layer_without_units_gets_its_mean_back() -> None:
    whole = tiny_model("bert")
    for parameter in whole.base_model.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    small = copy.deepcopy(whole)
    keep_units(small, {path: KeptUnits(None, []) for path in layer_sizes(small)})
    before = distance(small, whole)
    repair_projections(small, whole, [qa_batch(count=16, seed=seed) for seed in range(8)])
    after = distance(small, whole)
    bias = small.bert.encoder.layer[0].output.dense.bias
    assert not torch.equal(bias, whole.bert.encoder.layer[0].output.dense.bias)
    assert after < before


def test_costs_and_repair_know_no_dropout() -> None:
    model = tiny_model("bert", dropout=0.5)
    for one, other in zip(
        *(removal_costs(model.train(mode), [qa_batch()]).values() for mode in (False, True)), strict=True
    ):
        for left, right in zip(one, other, strict=True):
            np.testing.assert_array_equal(left.losses, right.losses)
    states = []
    for mode in (False, True):
        small = copy.deepcopy(model).train(mode)
        keep_units(small, {path: KeptUnits(None, range(24)) for path in layer_sizes(small)})
        repair_projections(small, model.train(mode), [qa_batch()])
        states.append(small.state_dict())
    assert all(torch.equal(tensor, states[1][name]) for name, tensor in states[0].items())
