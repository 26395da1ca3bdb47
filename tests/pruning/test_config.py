from __future__ import annotations

import json

import pytest

from transformers_palbert.errors import ConfigurationError
from transformers_palbert.pruning import PruningConfig


def test_seventy_percent_sparsity_is_thirty_percent_density() -> None:
    assert PruningConfig(0.7).final_density == 0.3
    assert PruningConfig(0).final_density == 1


@pytest.mark.parametrize("field", ["target_sparsity", "warmup", "cooldown"])
@pytest.mark.parametrize("value", [-0.1, 1, 1.5, float("nan"), "0.5", None, True])
def test_fractions(field: str, value: object) -> None:
    with pytest.raises(ConfigurationError, match=field):
        PruningConfig(**{"target_sparsity": 0.5, field: value})  # type: ignore[arg-type]


def test_a_percentage_gets_a_hint() -> None:
    with pytest.raises(ConfigurationError, match=r"target_sparsity=70 must be .* 0\.7 rather than 70"):
        PruningConfig(70)


@pytest.mark.parametrize("field", ["method", "granularity", "scope", "schedule"])
def test_choices_name_the_allowed_values(field: str) -> None:
    with pytest.raises(ConfigurationError, match=rf"{field}='nonsense' is not allowed; choose one of \['"):
        PruningConfig(0.5, **{field: "nonsense"})  # type: ignore[arg-type]


@pytest.mark.parametrize("value", [["movement"], {"a": 1}, None, 3])
def test_choices_of_a_wrong_type(value: object) -> None:
    with pytest.raises(ConfigurationError, match="method="):
        PruningConfig(0.5, method=value)  # type: ignore[arg-type]


def test_warm_up_and_cool_down_leave_room_to_prune() -> None:
    with pytest.raises(ConfigurationError, match=r"warmup=0\.6 \+ cooldown=0\.4"):
        PruningConfig(0.5, warmup=0.6, cooldown=0.4)


def test_patterns_may_be_one_or_many() -> None:
    assert PruningConfig(0.5, targets="ffn").targets == ("ffn",)  # type: ignore[arg-type]
    assert PruningConfig(0.5, targets=["ffn", "query"]).targets == ("ffn", "query")  # type: ignore[arg-type]
    assert PruningConfig(0.5).targets is None


def test_a_broken_pattern_is_named() -> None:
    with pytest.raises(ConfigurationError, match=r"targets.*'attention\('"):
        PruningConfig(0.5, targets=["attention("])  # type: ignore[arg-type]


def test_dictionary_is_plain_and_makes_the_same_config() -> None:
    config = PruningConfig(0.9, method="magnitude", scope="global", targets=("a", "b"), exclude=("c",))
    values = json.loads(json.dumps(config.to_dict()))
    assert PruningConfig(**values) == config
