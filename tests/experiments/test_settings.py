from __future__ import annotations

from pathlib import Path

import pytest

from transformers_palbert.errors import ConfigurationError
from transformers_palbert.experiments.settings import (
    content_key,
    load_settings,
    parse_overrides,
    settings_key,
    to_arguments,
)


def test_settings_become_arguments_and_overrides_settings() -> None:
    settings = {"b": True, "a": "2e-5", "none": None, "layers": "-2,-1", "list": [1, 2]}
    assert to_arguments(settings) == ["--a=2e-5", "--b=true", "--layers=-2,-1", "--list=[1, 2]"]
    pairs = ["learning-rate=1e-5", "--fp16=true", "max_train_samples=null", "qa_layers=-2,-1"]
    assert parse_overrides(pairs) == {
        "learning_rate": "1e-5", "fp16": True, "max_train_samples": None, "qa_layers": "-2,-1"
    }  # fmt: skip


@pytest.mark.parametrize("pair", ["learning_rate", "=3"])
def test_an_override_without_a_value_is_shown(pair: str) -> None:
    with pytest.raises(ConfigurationError, match="option=value"):
        parse_overrides([pair])


@pytest.mark.parametrize("value", ["[", "2024-13-45", "[" * 3000])
def test_an_override_that_cannot_be_read_is_shown(value: str) -> None:
    with pytest.raises(ConfigurationError, match=r"'max_steps=.* has a value that is not YAML"):
        parse_overrides([f"max_steps={value}"])


@pytest.mark.parametrize("text", ["- a", "a: [1", "a: 2024-13-45", "[" * 3000])
def test_a_file_that_is_no_mapping_is_named(text: str) -> None:
    Path("recipe.yaml").write_text(text)
    with pytest.raises(ConfigurationError, match=r"recipe\.yaml"):
        load_settings(Path("recipe.yaml"))
    with pytest.raises(ConfigurationError, match=r"missing\.yaml"):
        load_settings(Path("missing.yaml"))


class TestKey:
    @pytest.mark.parametrize(
        "same",
        [
            {"learning_rate": "2e-5", "max_steps": 3},
            {"max_steps": 3, "learning_rate": 2e-5},
            {"learning_rate": 0.00002, "max_steps": 3.0, "fp16": None},
            {"learning_rate": "0.000020", "max_steps": "3"},
            {"learning_rate": 2e-5, "max_steps": 3, "output_dir": "x", "logging_steps": 5, "report_to": "none"},
            {"learning_rate": 2e-5, "max_steps": 3, "pruning_method": "magnitude"},  # where nothing is pruned
        ],
    )
    def test_what_gives_the_same_result_has_the_same_key(self, same: dict) -> None:
        assert settings_key(same) == settings_key({"learning_rate": 2e-5, "max_steps": 3})

    @pytest.mark.parametrize(
        "other",
        [
            {"learning_rate": 3e-5},
            {"learning_rate": 2e-5, "seed": 1},
            {"learning_rate": 2e-5, "fp16": True},
            {"learning_rate": 2e-5, "fp16": 1},  # not what True means elsewhere
            {"learning_rate": 2e-5, "lookup_initialization": True},
        ],
    )
    def test_what_gives_another_result_has_another(self, other: dict) -> None:
        keys = {settings_key(other), settings_key({"learning_rate": 2e-5})}
        assert len(keys) == 2

    def test_a_pruning_option_counts_where_something_is_pruned(self) -> None:
        pruned = [{"target_sparsity": 0.5, "pruning_method": method} for method in ("magnitude", "movement")]
        assert len({settings_key(settings) for settings in pruned}) == 2

    def test_a_file_counts_by_what_it_holds(self) -> None:
        for name, text in (("a.json", "1"), ("b.json", "1"), ("c.json", "2")):
            Path(name).write_text(text)
        first, copy, other, missing = (
            settings_key({"train_file": name}) for name in ("a.json", "b.json", "c.json", "no.json")
        )
        assert first == copy
        assert len({first, other, missing}) == 3
        Path("a.json").write_text("2")
        assert settings_key({"train_file": "a.json"}) == other

    def test_a_model_counts_by_weights_config_and_vocabulary(self) -> None:
        for folder in ("a", "b"):
            Path(folder).mkdir()
            Path(folder, "model.safetensors").write_bytes(b"weights")
            Path(folder, "config.json").write_text("{}")
        Path("b", "trainer_state.json").write_text("{}")
        assert content_key(Path("a")) == content_key(Path("b"))
        assert settings_key({"model_name_or_path": "a"}) == settings_key({"model_name_or_path": "b"})
        Path("b", "config.json").write_text('{"hidden_act": "mish"}')
        assert content_key(Path("a")) != content_key(Path("b"))

    def test_a_word_that_is_also_a_folder_is_a_word(self) -> None:
        before = settings_key({"metric": "cmrc2018"})
        Path("cmrc2018").mkdir()
        assert settings_key({"metric": "cmrc2018"}) == before
