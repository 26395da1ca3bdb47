"""Weights, operations and seconds as costs of a structure, compared with counting on modules."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from torch import nn

from tests.pruning.helpers import tiny_model
from transformers_palbert.errors import ConfigurationError
from transformers_palbert.model.removal import KeptUnits, keep_units
from transformers_palbert.model.structure import encoder_layers
from transformers_palbert.speed.costs import Curve, StructureCosts, flop_costs, second_costs, weight_costs
from transformers_palbert.speed.latency import LatencyTable

KINDS = ("albert", "palbert", "bert", "roberta", "distilbert")
LENGTH = 6


def test_a_curve_is_straight_between_what_is_known() -> None:
    curve = Curve((1, 3), (2.0, 6.0))
    assert curve.at([0, 1, 2, 2.5, 3, 4]).tolist() == [2.0, 2.0, 4.0, 5.0, 6.0, 6.0]


def operations(module: nn.Module, heads: int, width: int) -> int:
    """Operations of one layer for one example, one product of matrices after the other."""
    layer = module
    products = 0
    for linear in (layer.query, layer.key, layer.value, layer.attention_output, layer.ffn_in, layer.ffn_out):
        products += 2 * LENGTH * linear.in_features * linear.out_features
    for _ in range(heads):
        products += 2 * LENGTH * LENGTH * width  # q kᵀ
        products += 2 * LENGTH * LENGTH * width  # weights v
    return products


@pytest.mark.parametrize("kind", KINDS)
def test_operations_and_weights_are_those_of_the_modules(kind: str) -> None:
    layer = encoder_layers(tiny_model(kind))[0]
    for heads, units in ((2, 32), (1, 5), (2, 1)):
        model = tiny_model(kind)
        costs, weights = flop_costs(model, LENGTH), weight_costs(model)
        path = layer.name.split(".", 1)[1]
        keep_units(model, {path: KeptUnits(range(heads), range(units))})
        small = encoder_layers(model)[0]
        assert costs.heads.at(heads) + costs.units.at(units) == operations(small, heads, 8)  # type: ignore[arg-type]
        linears = (small.query, small.key, small.value, small.attention_output, small.ffn_in, small.ffn_out)
        assert weights.heads.at(heads) + weights.units.at(units) == sum(linear.weight.numel() for linear in linears)
    assert (costs.rest, costs.per_application, weights.per_application) == (0.0, True, False)
    assert costs.heads.at(0) == costs.units.at(0) == 0


def test_of_layers_of_different_sizes() -> None:
    model = tiny_model("bert")
    keep_units(model, {"encoder.layer.0": KeptUnits([1], range(5)), "encoder.layer.2": KeptUnits(None, range(9))})
    whole = flop_costs(tiny_model("bert"), LENGTH)
    assert flop_costs(model, LENGTH) == whole


def test_seconds_are_those_of_the_table() -> None:
    table = LatencyTable((1, 3), np.array([0.0, 4.0]), (0, 8), np.array([1.0, 9.0]), 5.0)
    costs = second_costs(table)
    for heads, units in ((1, 0), (2, 4), (3, 8)):
        assert costs.heads.at(heads) + costs.units.at(units) == table.layer(heads, units)
    assert costs.rest == 5.0
    assert costs.heads.at(0) == costs.heads.at(1)  # what was not measured costs what comes next


def test_plain_values_survive_json_bit_for_bit() -> None:
    heads = tuple(float(value) for value in torch.rand(4, dtype=torch.float64).cumsum(0))
    costs = StructureCosts(Curve((0, 1, 2, 5), heads), Curve((0, 7), (0.1, 0.3)), 1 / 3, True)
    assert StructureCosts.from_dict(json.loads(json.dumps(costs.to_dict()))) == costs


@pytest.mark.parametrize(
    "values", [{}, None, {"heads": [[0], [1.0]], "units": 3, "rest": 1.0, "per_application": True}]
)
def test_what_are_no_costs(values: object) -> None:
    with pytest.raises(ConfigurationError, match="are no costs of a structure"):
        StructureCosts.from_dict(values)
