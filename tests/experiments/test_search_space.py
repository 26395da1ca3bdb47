from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from transformers import AlbertConfig, BertConfig, DistilBertConfig, T5Config, TrainingArguments

from transformers_palbert.errors import ConfigurationError
from transformers_palbert.experiments import search_space
from transformers_palbert.experiments.search_space import (
    SPACE,
    dropout_fields,
    optuna_space,
    ray_space,
    suggest,
    train_options,
    typed_space,
)
from transformers_palbert.training.config_overrides import override_fields, parse_fields

optuna = pytest.importorskip("optuna")


@pytest.fixture
def args() -> TrainingArguments:
    args = TrainingArguments(output_dir="out", use_cpu=True)
    args.warmup_steps = 0.0
    return args


class TestTypes:
    def test_an_option_of_whole_numbers_gets_whole_numbers(self, args: TrainingArguments) -> None:
        space = {
            "gradient_accumulation_steps": {"low": 1, "high": 4},
            "per_device_train_batch_size": {"low": 2.0, "high": 64, "log": True},
            "data_seed": {"low": 1, "high": 9},  # None by default
            "num_train_epochs": {"low": 1, "high": 4},
            "target_sparsity": {"low": 0, "high": "9e-1"},
        }
        typed = typed_space(space, args)
        trial = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0)).ask()
        values = suggest(trial, typed)
        assert [type(values[name]) for name in space] == [int, int, int, float, float]
        distributions = trial.distributions
        assert distributions["gradient_accumulation_steps"] == optuna.distributions.IntDistribution(1, 4)
        assert distributions["per_device_train_batch_size"] == optuna.distributions.IntDistribution(2, 64, log=True)

    def test_for_ray_as_well(self, args: TrainingArguments, monkeypatch: pytest.MonkeyPatch) -> None:
        names = ("choice", "grid_search", "randint", "lograndint", "uniform", "loguniform")
        tune = SimpleNamespace(**{name: lambda *given, name=name: (name, *given) for name in names})
        monkeypatch.setattr(search_space, "require", lambda *_: tune)
        space = {
            "max_steps": {"low": 1, "high": 4},
            "gradient_accumulation_steps": {"low": 1, "high": 64, "log": True},
            "learning_rate": {"low": "1e-5", "high": 1e-3, "log": True},
            "dropout": {"low": 0, "high": 1},
            "seed": {"grid": [1, 2]},
            "lr_scheduler_type": ["linear", "cosine"],
        }
        assert ray_space(None, typed_space(space, args)) == {
            "max_steps": ("randint", 1, 5),  # without the end, as Ray counts
            "gradient_accumulation_steps": ("lograndint", 1, 65),
            "learning_rate": ("loguniform", 1e-5, 1e-3),
            "dropout": ("uniform", 0.0, 1.0),
            "seed": ("grid_search", [1, 2]),
            "lr_scheduler_type": ("choice", ["linear", "cosine"]),
        }

    def test_the_default_space_is_fine(self, args: TrainingArguments) -> None:
        assert typed_space(SPACE, args) == SPACE

    @pytest.mark.parametrize(
        ("space", "message"),
        [
            (
                {"learning_rat": [1]},
                r"names learning_rat, which cannot .* mean learning_rate.* dropout, layer_lr_decay",
            ),
            ({"pruning_method": ["movement"]}, "names pruning_method, which cannot be searched"),
            ({"max_steps": {"low": 1.5, "high": 4}}, r"max_steps: 1\.5, but max_steps takes whole numbers"),
            ({"max_steps": [2, 2.7]}, r"max_steps: 2\.7, but"),
            ({"learning_rate": 1e-5}, "learning_rate: 1e-05; it must be a list of choices, or low and high"),
            ({"learning_rate": {"min": 1, "max": 2}}, "must be a list of choices"),
            ({"learning_rate": {"low": "small", "high": 2}}, "from or to 'small', which is no number"),
        ],
    )
    def test_what_cannot_be_searched_is_named(self, args: TrainingArguments, space: dict, message: str) -> None:
        with pytest.raises(ConfigurationError, match=message):
            typed_space(space, args)


def test_the_trainer_sets_what_is_its_own() -> None:
    space = {name: [1] for name in ("learning_rate", "dropout", "target_speedup")}
    assert optuna_space(optuna.create_study().ask(), space) == {"learning_rate": 1}


class TestDropout:
    @pytest.mark.parametrize("config", [AlbertConfig(), BertConfig(), DistilBertConfig()])
    def test_the_suggested_command_sets_what_a_trial_sets(self, config: Any) -> None:
        options = train_options({"dropout": 0.123456789, "max_steps": 3}, config, "initializer_range=0.5")
        assert options.keys() == {"config_overrides", "max_steps"}
        changed = override_fields(config, options["config_overrides"])
        assert {getattr(changed, name) for name in dropout_fields(config)} == {0.123456789}
        assert changed.initializer_range == 0.5

    def test_a_field_that_was_given_is_replaced_and_texts_stay(self) -> None:
        options = train_options(
            {"dropout": 0.1}, BertConfig(), 'hidden_act=mish,hidden_dropout_prob=0.3,a="x y",b=[1,2]'
        )
        assert parse_fields(options["config_overrides"]) == {
            "hidden_act": "mish", "hidden_dropout_prob": 0.1, "a": "x y", "b": [1, 2],
            "attention_probs_dropout_prob": 0.1,
        }  # fmt: skip

    def test_names_differ_by_architecture(self) -> None:
        assert dropout_fields(BertConfig()) == ["hidden_dropout_prob", "attention_probs_dropout_prob"]
        assert dropout_fields(DistilBertConfig()) == ["dropout", "attention_dropout", "qa_dropout"]
        assert dropout_fields(T5Config()) == []

    def test_without_it_the_options_are_the_settings(self) -> None:
        assert train_options({"max_steps": 3, "dropout": None}, BertConfig(), "a=1") == {"max_steps": 3}
