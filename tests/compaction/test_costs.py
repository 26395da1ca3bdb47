"""The order in which units go against exhaustive least squares, and what the model's gradients make of it."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

from tests.pruning.helpers import qa_batch, tiny_model
from transformers_palbert.compaction.costs import DAMPING, application_costs, removal_costs
from transformers_palbert.errors import ConfigurationError
from transformers_palbert.model.applications import mask_to_text
from transformers_palbert.model.removal import layer_sizes
from transformers_palbert.model.structure import encoder_layers


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


@pytest.mark.parametrize("estimate", [removal_costs, application_costs])
def test_the_learning_rates_of_the_layers_do_not_count(estimate: Callable[..., Any]) -> None:
    plain, decayed = (tiny_model("palbert", layer_lr_decay=decay) for decay in (1.0, 0.5))
    one, other = (estimate(model, batches()) for model in (plain, decayed))
    assert decayed.config.layer_lr_decay == 0.5
    for place in one:
        for left, right in zip(one[place], other[place], strict=True):
            np.testing.assert_allclose(left.losses, right.losses, rtol=1e-3, atol=1e-9)


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


class TestApplications:
    def test_they_have_costs_of_their_own(self) -> None:
        model = tiny_model("palbert")
        costs = application_costs(model, batches())
        path = next(iter(layer_sizes(model)))
        assert list(costs) == [(path, number) for number in range(3)]
        assert len({float(units.losses[-1]) for _, units in costs.values()}) == 3
        for pair in costs.values():
            for found, count in zip(pair, (2, 32), strict=True):
                assert sorted(found.order.tolist()) == list(range(count))
                assert found.losses[0] == 0
                assert (np.diff(found.losses) >= 0).all()

    def test_one_application_alone_is_a_layer_that_nothing_makes_up_for(self) -> None:
        """Removing all units of a layer leaves nothing that could make up for them."""
        model = tiny_model("palbert", layers=1)
        ((heads, units),) = removal_costs(model, batches()).values()
        ((applied_heads, applied_units),) = application_costs(model, batches()).values()
        assert applied_heads.losses[-1] == pytest.approx(heads.losses[-1], rel=0.1)  # the other is damped
        assert applied_units.losses[-1] == pytest.approx(units.losses[-1], rel=0.1)

    def test_units_that_an_application_lost_before_are_no_more(self) -> None:
        heads = [[True, False], [False, True], [False, False]]
        units = [[unit % 3 == number for unit in range(32)] for number in range(2)] + [[False] * 32]
        masks = {
            "application_heads": [mask_to_text(mask) for mask in heads],
            "application_units": [mask_to_text(mask) for mask in units],
        }
        costs = application_costs(tiny_model("palbert", **masks), batches())
        for pair, head, unit in zip(costs.values(), heads, units, strict=True):
            for found, mask in zip(pair, (head, unit), strict=True):
                assert sorted(found.order.tolist()) == [index for index, left in enumerate(mask) if left]
                assert len(found.losses) == sum(mask) + 1


def test_costs_are_those_of_the_sums_that_blocks_add_to() -> None:
    """Against the sums of all examples, with inputs and gradients taken by hooks."""
    model, batch, seen = tiny_model("bert", layers=2).eval(), qa_batch(), {}
    layer = encoder_layers(model)[0]

    def keep(name):
        def hook(_, args):
            args[0].retain_grad()
            seen[name] = args[0]

        return hook

    parts = ("attention_output", "attention_norm", "ffn_out", "ffn_norm")
    handles = [getattr(layer, part).register_forward_pre_hook(keep(part)) for part in parts]
    model(**batch).loss.backward()
    for handle in handles:
        handle.remove()
    model.zero_grad()
    for found, block in zip(
        removal_costs(model, [batch])["encoder.layer.0"], ("attention_output", "ffn_out"), strict=True
    ):
        rows = seen[block].detach().flatten(0, 1).double()
        gradients = seen[block.replace("output", "norm").replace("_out", "_norm")].grad.flatten(0, 1).double() * 4
        moments = rows.T @ rows
        moments += DAMPING * moments.diagonal().mean() * torch.eye(len(moments))
        weight = getattr(layer, block).weight.detach().double() * gradients.square().mean(0).sqrt()[:, None]
        assert found.losses[-1] == pytest.approx(float((weight @ moments @ weight.T).trace()) / 8, rel=1e-3)


def test_each_application_has_its_own_gradients() -> None:
    model, batch, inputs, sums = tiny_model("palbert").eval(), qa_batch(), [], []
    (layer,) = encoder_layers(model)

    def keep(into):
        def hook(_, args):
            args[0].retain_grad()
            into.append(args[0])

        return hook

    handles = [
        layer.ffn_out.register_forward_pre_hook(keep(inputs)),
        layer.ffn_norm.register_forward_pre_hook(keep(sums)),
    ]
    model(**batch).loss.backward()
    for handle in handles:
        handle.remove()
    model.zero_grad()
    costs = application_costs(model, [batch])
    for (_, units), x, total in zip(costs.values(), inputs, sums, strict=True):
        sensitivity = (total.grad * 4).square().flatten(0, 1).mean(0)
        each = x.detach().square().sum((0, 1)) * (sensitivity[:, None] * layer.ffn_out.weight.detach().square()).sum(0)
        assert units.losses[1] == pytest.approx(float(each.min()) / 8, rel=1e-3)
