from __future__ import annotations

import pytest
from torch import nn

from tests.pruning.helpers import tiny_model
from transformers_palbert.pruning import PruningConfig, prepare_pruning
from transformers_palbert.training.optimizer import parameter_groups


def by_name(model: nn.Module, decays: bool = True) -> dict[str, tuple[float, float]]:
    """Learning rate and weight decay of every parameter, by its name."""
    decaying = {name for name, parameter in model.named_parameters() if decays and parameter.ndim > 1}
    groups = parameter_groups(model, learning_rate=1.0, weight_decay=0.1, decay_names=decaying)
    names = {id(parameter): name for name, parameter in model.named_parameters()}
    found = {names[id(p)]: (group["lr"], group["weight_decay"]) for group in groups for p in group["params"]}
    assert sum(len(group["params"]) for group in groups) == len(found)
    return found


def test_embeddings_learn_below_the_lowest_layer_and_the_head_at_the_top() -> None:
    model = tiny_model("palbert", layers=3, layer_lr_decay=0.5)
    found = by_name(model)
    assert set(found) == {name for name, _ in model.named_parameters()}
    for name, (rate, _) in found.items():
        # the layers' own decay is in their gradients, so that their rate is the head's
        assert rate == (0.5**3 if "embed" in name else 1.0)


def test_decay_is_for_the_named_ones_and_never_for_scores() -> None:
    model = prepare_pruning(tiny_model("palbert", layer_lr_decay=0.5), PruningConfig(0.7))
    found = by_name(model)
    for name, (_, decay) in found.items():
        decays = name.endswith("weight") and "LayerNorm" not in name and "layer_norm" not in name
        assert decay == (0.1 if decays else 0.0), name
    assert any(name.endswith("scores") for name in found)


def test_frozen_parameters_are_left_out() -> None:
    model = tiny_model("palbert", layer_lr_decay=0.5)
    for parameter in model.albert.embeddings.parameters():
        parameter.requires_grad_(False)
    assert not any("embeddings." in name for name in by_name(model))


@pytest.mark.parametrize("kind", ["bert", "albert"])
def test_without_decay_of_rates_there_is_one_rate(kind: str) -> None:
    assert {rate for rate, _ in by_name(tiny_model(kind)).values()} == {1.0}


def test_groups_are_in_a_fixed_order() -> None:
    layouts = []
    for _ in range(2):
        model = tiny_model("palbert", layer_lr_decay=0.5)
        names = {id(parameter): name for name, parameter in model.named_parameters()}
        groups = parameter_groups(model, 1.0, 0.1, {"qa_outputs.weight", "albert.embeddings.word_embeddings.weight"})
        layouts.append([[names[id(parameter)] for parameter in group["params"]] for group in groups])
    assert layouts[0] == layouts[1]
    assert all(layouts[0])
