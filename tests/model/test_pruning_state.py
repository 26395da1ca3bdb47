from __future__ import annotations

import json
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from transformers_palbert import ConfigurationError
from transformers_palbert.model.pruning_state import TRAINING_KEYS, PruningState, is_training_key

STATE = PruningState(("a.query", "b"), 0.3, "training", {"method": "movement", "target_sparsity": 0.7, "exclude": None})


def test_a_state_survives_json() -> None:
    assert PruningState.from_dict(json.loads(json.dumps(STATE.to_dict()))) == STATE
    assert STATE.to_dict()["targets"] == ["a.query", "b"]


def test_of_a_model_a_config_and_a_file() -> None:
    config = SimpleNamespace(pruning=STATE.to_dict())
    for holder in (SimpleNamespace(config=config), config, {"pruning": STATE.to_dict()}):
        assert PruningState.of(holder) == STATE
    for holder in (SimpleNamespace(config=SimpleNamespace()), SimpleNamespace(pruning=None), {}, {"pruning": {}}):
        assert PruningState.of(holder) is None


def test_written_into_the_config() -> None:
    model = SimpleNamespace(config=SimpleNamespace())
    STATE.write(model)
    assert PruningState.of(model) == STATE
    STATE.write(SimpleNamespace())  # a model without a config has no place for it


def test_finished_or_not() -> None:
    assert not STATE.is_finished
    assert PruningState.from_dict({"method": "magnitude"}).is_finished


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (["movement"], r"pruning=\['movement'\] is not allowed; allowed: a mapping"),
        ({"method": 1}, r"pruning\['method'\]=1 .* a string"),
        ({"target_sparsity": "much"}, r"pruning\['target_sparsity'\]='much' .* a number in \[0, 1\]"),
        ({"density": float("nan")}, r"pruning\['density'\]=nan"),
        ({"status": "done"}, r"pruning\['status'\]='done' .* one of 'training', 'final'"),
        ({"targets": "query"}, r"pruning\['targets'\]='query' .* a list of module names"),
        ({"targets": [1]}, r"pruning\['targets'\]=\[1\]"),
    ],
)
def test_malformed_states_are_named(values: Any, message: str) -> None:
    with pytest.raises(ConfigurationError, match=message):
        PruningState.from_dict(values)


def test_keys_of_a_run_that_goes_on() -> None:
    assert all(is_training_key(f"bert.encoder.layer.0.output.dense.{key}") for key in TRAINING_KEYS)
    assert not is_training_key("bert.encoder.layer.0.output.dense.weight")
    assert not is_training_key("bert.mask.weight")


class TestTrainedOn:
    """A finished model that is trained on without masks."""

    @staticmethod
    def weights(*densities: float) -> dict[str, torch.Tensor]:
        names = ("a.query.weight", "b.weight")
        return {
            name: (torch.arange(1000) < 1000 * density).float().view(10, 100)
            for name, density in zip(names, densities, strict=True)
        }

    def test_a_state_that_is_true_stays(self) -> None:
        for densities in ((0.3, 0.3), (0.2, 0.4), (0.1, 0.1), (0.305, 0.305)):
            assert STATE.after_training_on(self.weights(*densities)) == STATE

    def test_weights_that_grew_back_count(self) -> None:
        grown = STATE.after_training_on(self.weights(0.3, 0.7))
        assert grown is not None
        assert grown == replace(STATE, density=0.5)

    def test_a_model_that_is_dense_again_has_no_state(self) -> None:
        assert STATE.after_training_on(self.weights(1.0, 0.995)) is None

    def test_nothing_is_said_of_weights_that_are_not_there(self) -> None:
        assert STATE.after_training_on({"c.weight": torch.ones(2, 2)}) == STATE
