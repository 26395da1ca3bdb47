"""Applications that keep units of their own, against the network whose others have no way out."""

from __future__ import annotations

import copy
from pathlib import Path

import pytest
import torch
from transformers import AutoModelForQuestionAnswering

from tests.model.test_applications import naive_logits
from tests.pruning.helpers import qa_batch, tiny_model
from transformers_palbert import PalBertForQuestionAnswering
from transformers_palbert.compaction.applications import keep_applied_units
from transformers_palbert.model.removal import KeptUnits, layer_sizes
from transformers_palbert.speed.latency import applied_sizes

HEADS = [[0], [], [0]]
UNITS: list[list[int]] = [list(range(10)), list(range(5, 20)), []]


def naive(model: PalBertForQuestionAnswering) -> torch.Tensor:
    heads = [[head in kept for head in range(2)] for kept in HEADS]
    units = [[unit in kept for unit in range(32)] for kept in UNITS]
    return naive_logits(model, heads, units)


def kept(model: PalBertForQuestionAnswering) -> dict[tuple[str, int], KeptUnits]:
    (path,) = layer_sizes(model)
    return {(path, number): KeptUnits(HEADS[number], UNITS[number]) for number in range(3)}


def test_logits_and_sizes(tmp_path: Path) -> None:
    model = tiny_model("palbert").eval()
    expected = naive(copy.deepcopy(model))  # type: ignore[arg-type]
    keep_applied_units(model, kept(model))  # type: ignore[arg-type]
    found = model(**qa_batch())
    torch.testing.assert_close(torch.stack([found.start_logits, found.end_logits], -1), expected, rtol=1e-5, atol=1e-5)
    assert applied_sizes(model) == [(1, 10), (0, 15), (1, 0)]
    assert next(iter(layer_sizes(model).values())).units == 20  # what none keeps is gone
    assert next(iter(layer_sizes(model).values())).heads == 1
    assert model.config.application_heads == ["01", "00", "01"]
    model.save_pretrained(tmp_path)
    loaded = AutoModelForQuestionAnswering.from_pretrained(tmp_path).eval()
    assert torch.equal(loaded(**qa_batch()).start_logits, found.start_logits)


def test_a_second_time() -> None:
    once, twice = (tiny_model("palbert").eval() for _ in range(2))
    keep_applied_units(once, kept(once))  # type: ignore[arg-type]
    (path,) = layer_sizes(twice)
    more = [KeptUnits([0, 1], range(25)), KeptUnits([0], range(2, 30)), KeptUnits([0, 1], range(32))]
    keep_applied_units(twice, {(path, number): stays for number, stays in enumerate(more)})  # type: ignore[arg-type]
    keep_applied_units(twice, kept(twice))  # type: ignore[arg-type]
    assert applied_sizes(twice) == applied_sizes(once)
    assert torch.equal(once(**qa_batch()).start_logits, twice(**qa_batch()).start_logits)


def test_keeping_everything_says_nothing() -> None:
    model = tiny_model("palbert").eval()
    expected, config = model(**qa_batch()).start_logits, model.config.to_dict()
    (path,) = layer_sizes(model)
    everything = {(path, number): KeptUnits(range(2), range(32)) for number in range(3)}
    keep_applied_units(model, everything)  # type: ignore[arg-type]
    assert torch.equal(model(**qa_batch()).start_logits, expected)
    assert {**model.config.to_dict(), "attention_head_size": None} == config


@pytest.mark.parametrize("inner", [1, 2])
def test_groups_of_layers_stay_as_large_as_they_are(inner: int) -> None:
    model = tiny_model("palbert", num_hidden_groups=2, inner_group_num=inner, layers=4).eval()
    keys = [(path, number) for path in layer_sizes(model) for number in range(2)]
    keep_applied_units(model, {key: KeptUnits([place % 2], range(place)) for place, key in enumerate(keys)})  # type: ignore[arg-type]
    assert {size.units for size in layer_sizes(model).values()} == {32}
    assert sorted(applied_sizes(model)) == [(1, place) for place in range(len(keys))]
    again = type(model)(model.config).eval()
    again.load_state_dict(model.state_dict())
    assert torch.equal(again(**qa_batch()).start_logits, model(**qa_batch()).start_logits)
