from __future__ import annotations

import pytest
import torch
from torch import nn

from tests.pruning.helpers import tiny_model
from transformers_palbert.errors import NoEffectWarning, PruningError
from transformers_palbert.pruning import PruningConfig, prepare_pruning
from transformers_palbert.pruning.optimizer import (
    require_in_optimizer,
    restore_groups,
    separate_groups,
    take_gradients,
    warn_of_one_rate,
)
from transformers_palbert.training.optimizer import parameter_groups


def parameters(count: int) -> list[nn.Parameter]:
    return [nn.Parameter(torch.full((2,), 1.0 + index)) for index in range(count)]


def layout(optimizer: torch.optim.Optimizer) -> list[tuple[float, list[int]]]:
    return [
        (group["weight_decay"], [id(parameter) for parameter in group["params"]]) for group in optimizer.param_groups
    ]


def test_scores_leave_decaying_groups_and_return_in_order() -> None:
    a, b, c, d, e = parameters(5)
    groups = [
        {"params": [a, b, c], "weight_decay": 0.1},
        {"params": [d], "weight_decay": 0.0},
        {"params": [e], "weight_decay": 0.2},
    ]
    optimizer = torch.optim.AdamW(groups, lr=0.1)
    before = layout(optimizer)
    changed = separate_groups(optimizer, [b, d, e])
    assert layout(optimizer) == [
        (0.1, [id(a), id(c)]),
        (0.0, [id(d)]),
        (0.2, []),
        (0.0, [id(b)]),
        (0.0, [id(e)]),
    ]
    restore_groups(optimizer, changed)
    assert layout(optimizer) == before


@pytest.mark.parametrize("kind", [torch.optim.AdamW, torch.optim.SGD, torch.optim.RMSprop, torch.optim.Adagrad])
def test_a_step_decays_the_weights_and_not_the_scores(kind: type[torch.optim.Optimizer]) -> None:
    weight, scores = parameters(2)
    plain_weight, plain_scores = parameters(2)
    decaying = kind([weight, scores], lr=0.1, weight_decay=0.5)  # type: ignore[call-arg]
    plain = kind([plain_weight, plain_scores], lr=0.1)  # type: ignore[call-arg]
    plain.param_groups[0]["weight_decay"] = 0.0
    for _ in range(3):
        for parameter in (weight, scores, plain_weight, plain_scores):
            parameter.grad = torch.ones(2)
        changed = separate_groups(decaying, [scores])
        decaying.step()
        restore_groups(decaying, changed)
        plain.step()
    assert torch.equal(scores, plain_scores)
    assert not torch.equal(weight, plain_weight)


def test_the_temporary_group_has_the_learning_rate_of_its_own_group() -> None:
    weight, scores = parameters(2)
    optimizer = torch.optim.SGD([{"params": [weight, scores], "lr": 0.25, "weight_decay": 0.1}], lr=1.0)
    separate_groups(optimizer, [scores])
    assert optimizer.param_groups[-1]["lr"] == 0.25


def test_a_rate_of_their_own_follows_the_schedule() -> None:
    weight, scores = parameters(2)
    optimizer = torch.optim.SGD([weight, scores], lr=0.5)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: 1.0 if step == 0 else 0.25)
    for factor in (1.0, 0.25):
        changed = separate_groups(optimizer, [scores], learning_rate=0.08)
        assert [group["lr"] for group in optimizer.param_groups] == pytest.approx([0.5 * factor, 0.08 * factor])
        weight.grad, scores.grad = torch.ones(2), torch.ones(2)
        optimizer.step()
        restore_groups(optimizer, changed)
        assert len(optimizer.param_groups) == 1
        schedule.step()


def test_a_rate_of_zero_has_no_schedule() -> None:
    (scores,) = parameters(1)
    optimizer = torch.optim.SGD([{"params": [scores], "lr": 0.0}], lr=0.0)
    separate_groups(optimizer, [scores], learning_rate=0.08)
    assert optimizer.param_groups[-1]["lr"] == 0.0


def test_gradients_that_are_taken_leave_no_state() -> None:
    weight, scores = parameters(2)
    optimizer = torch.optim.AdamW([weight, scores], lr=0.1, weight_decay=0.5)
    weight.grad, scores.grad = torch.ones(2), torch.full((2,), 3.0)
    before = scores.detach().clone()
    (taken,) = take_gradients([scores])
    optimizer.step()
    assert torch.equal(taken, torch.full((2,), 3.0))
    assert torch.equal(scores, before)
    assert list(optimizer.state) == [weight]


def test_nothing_changes_without_decay() -> None:
    weight, scores = parameters(2)
    optimizer = torch.optim.AdamW([weight, scores], lr=0.1, weight_decay=0.0)
    assert separate_groups(optimizer, [scores]) == []
    restore_groups(optimizer, [])
    assert len(optimizer.param_groups) == 1


def test_state_dict_has_the_same_layout_before_and_after() -> None:
    weight, scores = parameters(2)
    optimizer = torch.optim.AdamW([weight, scores], lr=0.1, weight_decay=0.1)
    before = optimizer.state_dict()["param_groups"]
    restore_groups(optimizer, separate_groups(optimizer, [scores]))
    assert optimizer.state_dict()["param_groups"] == before


def test_an_optimizer_made_too_early_is_refused() -> None:
    model = tiny_model("bert")
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    prepare_pruning(model, PruningConfig(0.7))
    with pytest.raises(PruningError, match="does not know 18 of the score tensors"):
        require_in_optimizer(optimizer, model)
    require_in_optimizer(torch.optim.SGD(model.parameters(), lr=0.1), model)


def test_layers_that_were_frozen_too_late_are_named() -> None:
    model = prepare_pruning(tiny_model("bert"), PruningConfig(0.7))
    model.bert.encoder.layer[1].requires_grad_(False)
    optimizer = torch.optim.SGD([p for p in model.parameters() if p.requires_grad], lr=0.1)
    with pytest.raises(PruningError, match=r"scores of 6 layers, the first of them bert\.encoder\.layer\.1\..* frozen"):
        require_in_optimizer(optimizer, model)


class TestOneRate:
    """``layer_lr_decay`` needs groups for embeddings and head."""

    def test_one_for_all_warns(self) -> None:
        model = tiny_model("palbert", layer_lr_decay=0.9)
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
        torch.optim.lr_scheduler.LambdaLR(optimizer, lambda _: 0.0)
        with pytest.warns(NoEffectWarning, match=r"layer_lr_decay=0\.9 works between the layers alone"):
            warn_of_one_rate(model, optimizer)

    @pytest.mark.filterwarnings("error::transformers_palbert.errors.NoEffectWarning")
    @pytest.mark.parametrize("decay", [1.0, 0.9])
    def test_groups_of_their_own_do_not(self, decay: float) -> None:
        model = tiny_model("palbert", layer_lr_decay=decay)
        optimizer = torch.optim.SGD(parameter_groups(model, 0.1, 0.0, ()), lr=0.1)
        torch.optim.lr_scheduler.LambdaLR(optimizer, lambda _: 0.0)
        warn_of_one_rate(model, optimizer)
        warn_of_one_rate(tiny_model("bert"), torch.optim.SGD(tiny_model("bert").parameters(), lr=0.1))
