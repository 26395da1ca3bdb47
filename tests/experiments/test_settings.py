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

    def test_a_folder_of_data_counts_by_every_file(self) -> None:
        for folder, text in (("a", "1"), ("b", "1"), ("c", "2")):
            Path(folder, "data").mkdir(parents=True)
            Path(folder, "data", "train.parquet").write_text(text)
            Path(folder, ".cache").write_text(folder)
        one, copy, other = (settings_key({"dataset_name": folder}) for folder in "abc")
        assert one == copy != other
        Path("b", "dev.json").write_text("1")
        assert settings_key({"dataset_name": "b"}) != one
        Path("b", "dev.json").rename("b/test.json")
        assert len({settings_key({"dataset_name": name}) for name in ("a", "b", "c", "hub/name")}) == 4

    def test_empty_folders_count_by_their_names(self) -> None:
        for folder in ("a", "b"):
            Path(folder).mkdir()
        for option in ("dataset_name", "model_name_or_path"):
            assert settings_key({option: "a"}) != settings_key({option: "b"})

    @pytest.mark.parametrize("option", ["reduce_sbert_model", "reduce_ig_model"])
    def test_a_model_that_shortens_contexts_counts_by_what_it_holds(self, option: str) -> None:
        for folder, pooling in (("a", "mean"), ("b", "mean"), ("c", "max")):
            Path(folder, "1_Pooling").mkdir(parents=True)
            Path(folder, "model.safetensors").write_bytes(b"weights")
            Path(folder, "1_Pooling", "config.json").write_text(pooling)
        one, copy, other = (settings_key({option: folder}) for folder in "abc")
        assert one == copy != other

    def test_when_checkpoints_are_saved_counts_where_the_best_is_loaded(self) -> None:
        best = {"load_best_model_at_end": True, "eval_strategy": "steps", "eval_steps": 50}
        assert len({settings_key({**best, "save_steps": steps}) for steps in (50, 100, 200)}) == 3
        assert len({settings_key({**best, "save_strategy": each}) for each in ("steps", "best")}) == 2
        without = {**best, "load_best_model_at_end": False}
        assert len({settings_key({**without, "save_steps": steps}) for steps in (50, 100)}) == 1
        epochs = {**best, "eval_strategy": "epoch", "save_strategy": "epoch"}
        assert len({settings_key({**epochs, "save_steps": steps}) for steps in (50, 100)}) == 1

    @pytest.mark.parametrize(
        ("settings", "key"),
        [
            (
                {"learning_rate": "2e-5", "max_steps": 3, "seed": 42, "output_dir": "x", "logging_steps": 5}
                | {"pruning_method": "movement", "save_steps": 7},
                "b12ec33389cb",
            ),
            (
                {"target_sparsity": 0.7, "pruning_method": "magnitude", "fp16": True, "dataset_name": "hfl/cmrc2018"},
                "1576e42a14f8",
            ),
            (
                {"train_file": "train.json", "model_name_or_path": "model", "teacher_name_or_path": "model", "seed": 1},
                "1c29ae002022",
            ),
            ({"reduce": "sbert", "reduce_sbert_model": "hub/name", "start": "0123456789ab"}, "2b10bc898f23"),
            (
                {"load_best_model_at_end": True, "eval_strategy": "epoch", "save_strategy": "epoch"}
                | {"save_steps": 500, "save_total_limit": 1},
                "c700271a4361",
            ),
            (
                {"load_best_model_at_end": True, "eval_strategy": "steps", "eval_steps": 50}
                | {"save_strategy": "steps", "save_steps": 50},
                "8113920b6bdc",
            ),
        ],
    )
    def test_finished_runs_are_known_by_these(self, settings: dict, key: str) -> None:
        """Their folders are called so: another key would run all of them again."""
        Path("train.json").write_text('{"data": []}')
        Path("model/sub").mkdir(parents=True)
        files = {"config.json": "{}", "model.safetensors": "weights", "vocab.txt": "a", "tokenizer.json": "[]"}
        for name, text in {**files, "trainer_state.json": "x", "sub/config.json": "y"}.items():
            Path("model", name).write_text(text)
        assert settings_key(settings) == key

    def test_a_word_that_is_also_a_folder_is_a_word(self) -> None:
        before = settings_key({"metric": "cmrc2018"})
        Path("cmrc2018").mkdir()
        assert settings_key({"metric": "cmrc2018"}) == before
