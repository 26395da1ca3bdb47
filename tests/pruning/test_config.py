from __future__ import annotations

import json

import pytest

from transformers_palbert.errors import ConfigurationError
from transformers_palbert.pruning import PruningConfig


def test_seventy_percent_sparsity_is_thirty_percent_density() -> None:
    assert PruningConfig(0.7).final_density == 0.3
    assert PruningConfig(0).final_density == 1


@pytest.mark.parametrize("field", ["target_sparsity", "warmup", "cooldown", "sensitivity_decay"])
@pytest.mark.parametrize("value", [-0.1, 1, 1.5, float("nan"), "0.5", None, True])
def test_fractions(field: str, value: object) -> None:
    with pytest.raises(ConfigurationError, match=field):
        PruningConfig(**{"target_sparsity": 0.5, field: value})  # type: ignore[arg-type]


def test_a_percentage_gets_a_hint() -> None:
    with pytest.raises(ConfigurationError, match=r"target_sparsity=70 must be .* 0\.7 rather than 70"):
        PruningConfig(70)


@pytest.mark.parametrize(("field", "hint"), [("warmup", "0.1 is the first"), ("cooldown", "0.3 is the last three")])
def test_a_number_of_steps_gets_a_hint_of_its_own(field: str, hint: str) -> None:
    with pytest.raises(ConfigurationError, match=rf"{field}=100 must be .* fraction of the run and no number .*{hint}"):
        PruningConfig(0.5, **{field: 100})  # type: ignore[arg-type]


def test_other_fractions_get_no_hint_of_these() -> None:
    with pytest.raises(ConfigurationError, match=r"sensitivity_decay=2 must be a number in \[0, 1\)\.$"):
        PruningConfig(0.5, sensitivity_decay=2)


@pytest.mark.parametrize(
    ("settings", "steps", "cut"),
    [
        ({"warmup": 0.99, "cooldown": 0.0}, 100, 0.7),
        ({}, 1, 0.7),
        ({}, 100, 0.0),
        ({"cooldown": 0.0, "warmup": 0.0, "schedule": "linear"}, 100, 0.007),
        ({"cooldown": 0.0, "warmup": 0.0, "schedule": "linear", "mask_every": 10}, 100, 0.07),
    ],
)
def test_what_the_last_step_removes(settings: dict[str, object], steps: int, cut: float) -> None:
    assert PruningConfig(0.7, **settings).last_cut(steps) == pytest.approx(cut)  # type: ignore[arg-type]


@pytest.mark.parametrize("field", ["method", "granularity", "scope", "schedule", "score_start", "score_update"])
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
    for config in (
        PruningConfig(0.9, method="magnitude", scope="global", targets=("a", "b"), exclude=("c",)),
        PruningConfig(0.9, method="movement", score_start="rank", score_learning_rate=1e-3, mask_every=10),
        PruningConfig(0.9, uncertainty_decay=None),
    ):
        values = json.loads(json.dumps(config.to_dict()))
        assert PruningConfig(**values) == config


@pytest.mark.parametrize("value", [0, -1, 1.5, True, "2", None])
def test_masks_change_every_so_many_steps(value: object) -> None:
    with pytest.raises(ConfigurationError, match=r"mask_every=.* must be a whole number of at least 1"):
        PruningConfig(0.5, mask_every=value)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "settings",
    [
        {"method": "magnitude", "sensitivity_decay": 0.5},
        {"method": "movement", "uncertainty_decay": None},
        {"method": "sensitivity", "score_start": "rank"},
        {"method": "magnitude", "score_update": "sum"},
        {"score_learning_rate": 0.1},
        {"method": "movement", "fisher_decay": 0.5},
    ],
)
def test_a_setting_of_another_method_is_refused(settings: dict[str, object]) -> None:
    with pytest.raises(ConfigurationError, match=r"is a setting of method=.* and changes nothing"):
        PruningConfig(0.5, **settings)  # type: ignore[arg-type]


def test_a_rate_needs_scores_that_do_not_start_at_zero() -> None:
    with pytest.raises(ConfigurationError, match="only the order of the scores"):
        PruningConfig(0.5, method="movement", score_learning_rate=0.1)


@pytest.mark.parametrize("rate", [0.0, -1.0, float("nan"), float("inf"), "0.1"])
def test_a_rate_is_a_positive_number(rate: object) -> None:
    with pytest.raises(ConfigurationError, match=r"score_learning_rate=.* must be a number above 0"):
        PruningConfig(0.5, method="movement", score_start="rank", score_learning_rate=rate)  # type: ignore[arg-type]


def test_a_sum_on_top_of_weights_needs_a_rate() -> None:
    with pytest.raises(ConfigurationError, match="give score_learning_rate"):
        PruningConfig(0.5, method="movement", score_start="magnitude", score_update="sum")
    PruningConfig(0.5, method="movement", score_start="magnitude", score_update="sum", score_learning_rate=0.1)


def test_the_default_is_the_method_for_runs_of_any_length() -> None:
    assert PruningConfig(0.7).method == "sensitivity"
