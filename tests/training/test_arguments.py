from __future__ import annotations

import json
import warnings
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest
import yaml
from transformers import TrainingArguments

from transformers_palbert import PalBertConfig, StorageConfig
from transformers_palbert.errors import ConfigurationError, NoEffectWarning
from transformers_palbert.pruning import PruningConfig
from transformers_palbert.training.arguments import (
    DataArguments,
    DistillationArguments,
    ModelArguments,
    PruningArguments,
)
from transformers_palbert.training.baseline_arguments import BaselineArguments
from transformers_palbert.training.config_overrides import override_fields
from transformers_palbert.training.option_parser import parse_arguments
from transformers_palbert.training.recipe_files import RECIPES
from transformers_palbert.training.run_arguments import RunArguments

FILES = sorted(file for file in RECIPES.glob("*.*") if not file.name.startswith("pretrain_"))  # another script
TYPES = (ModelArguments, BaselineArguments, DataArguments, PruningArguments, TrainingArguments)


def test_command_line(tmp_path: Path) -> None:
    argv = ["--output_dir", str(tmp_path), "--target_sparsity", "0.7", "--learning_rate", "2e-5", "--use_cpu"]
    model, _, data, pruning, training = parse_arguments(TYPES, argv)
    assert isinstance(model, ModelArguments)
    assert data.max_seq_length == 384
    assert pruning.target_sparsity == 0.7
    assert (training.learning_rate, training.use_cpu, training.output_dir) == (2e-5, True, str(tmp_path))


@pytest.mark.parametrize("suffix", [".yaml", ".yml", ".json"])
def test_a_recipe_sets_defaults_and_the_command_line_wins(suffix: str, tmp_path: Path) -> None:
    recipe = tmp_path / f"recipe{suffix}"
    values = {"output_dir": "out", "target_sparsity": 0.7, "learning_rate": 1e-3, "do_train": True, "max_steps": 5}
    recipe.write_text(json.dumps(values))  # JSON is YAML
    argv = [str(recipe), "--learning_rate", "3e-4", "--pruning_method", "magnitude"]
    _, _, _, pruning, training = parse_arguments(TYPES, argv)
    assert (pruning.target_sparsity, pruning.pruning_method) == (0.7, "magnitude")
    assert (training.learning_rate, training.do_train, training.max_steps) == (3e-4, True, 5)
    assert training.output_dir == "out"


def test_yaml_numbers_without_a_dot_are_numbers(tmp_path: Path) -> None:
    """YAML 1.1 reads ``2e-5`` as a string."""
    (tmp_path / "recipe.yaml").write_text("output_dir: out\nlearning_rate: 2e-5\ntarget_sparsity: 7e-1\nmax_steps: 3\n")
    _, _, _, pruning, training = parse_arguments(TYPES, [str(tmp_path / "recipe.yaml")])
    assert training.learning_rate == 2e-5
    assert pruning.target_sparsity == 0.7
    assert training.max_steps == 3


def test_one_recipe_does_not_leak_into_the_next_call(tmp_path: Path) -> None:
    (tmp_path / "recipe.yaml").write_text("output_dir: out\ntarget_sparsity: 0.7\n")
    parse_arguments(TYPES, [str(tmp_path / "recipe.yaml")])
    _, _, _, pruning, _ = parse_arguments(TYPES, ["--output_dir", "out"])
    assert pruning.target_sparsity is None


@pytest.mark.parametrize(
    "text", ["output_dir: out\ntarget_sparsty: 0.7\n", '{"target_sparsty": 1, "output_dir": "out"}']
)
def test_an_option_that_does_not_exist_is_named(text: str, tmp_path: Path) -> None:
    (tmp_path / "recipe.yaml").write_text(text)
    with pytest.raises(ConfigurationError, match="options that do not exist: target_sparsty"):
        parse_arguments(TYPES, [str(tmp_path / "recipe.yaml")])


@pytest.mark.parametrize("text", ["- a\n- b\n", "just text", "3"])
def test_a_recipe_that_is_no_mapping(text: str, tmp_path: Path) -> None:
    (tmp_path / "recipe.yaml").write_text(text)
    with pytest.raises(ConfigurationError, match="must hold a mapping"):
        parse_arguments(TYPES, [str(tmp_path / "recipe.yaml")])


@pytest.mark.parametrize(
    ("name", "text"), [("r.yaml", "a: [1"), ("r.json", "{"), ("r.yaml", "[" * 3000), ("r.json", "[" * 100_000)]
)
def test_a_recipe_that_cannot_be_read_is_named(name: str, text: str, tmp_path: Path) -> None:
    (tmp_path / name).write_text(text)
    with pytest.raises(ConfigurationError, match=name):
        parse_arguments(TYPES, [str(tmp_path / name)])


def test_a_value_of_the_wrong_type(tmp_path: Path) -> None:
    (tmp_path / "recipe.yaml").write_text("output_dir: out\nmax_steps: many\n")
    with pytest.raises(ConfigurationError, match="--max_steps: invalid int value: 'many'"):
        parse_arguments(TYPES, [str(tmp_path / "recipe.yaml")])


@pytest.mark.parametrize("recipe", FILES, ids=lambda path: path.name)
def test_the_recipes_of_the_examples_parse(recipe: Path) -> None:
    argv = [str(recipe), "--fp16", "false", "--use_cpu", "true"]  # half precision needs a GPU
    model, _, data, pruning, training, *_ = parse_arguments((*TYPES, RunArguments, DistillationArguments), argv)
    assert data.metric_name
    assert training.output_dir == f"outputs/{recipe.stem}"
    pruning.callback()  # raises if a setting has no effect or does not go with another
    if model.config_overrides and model.model_name_or_path:
        config = PalBertConfig(hidden_dropout_prob=0.1, attention_probs_dropout_prob=0.1)
        changed = override_fields(config, model.config_overrides)
        assert (changed.hidden_dropout_prob, changed.attention_probs_dropout_prob) == (0.0, 0.0)


@pytest.mark.parametrize("name", ["paper_cmrc2018", "paper_cmrc2018_19mb"])
def test_the_recipe_of_the_paper_says_which_values_are_ours(name: str) -> None:
    """Of what the paper gives, every value is the paper's; every other is marked."""
    file = RECIPES / f"{name}.yaml"
    papers = {
        "hidden_act": "mish",
        "config_overrides": "hidden_dropout_prob=0.0,attention_probs_dropout_prob=0.0",
        "layer_lr_decay": 0.95,
        "dataset_name": "hfl/cmrc2018",
        "per_device_train_batch_size": 32,
        "gradient_accumulation_steps": 2,
        "learning_rate": 2.0e-5,
        "num_train_epochs": 5,
        "fp16": True,
    }
    without_effect = {"do_train", "further_metrics", "save_strategy", "save_total_limit", "report_to", "output_dir"}
    recipe = yaml.safe_load(file.read_text(encoding="utf-8"))
    assert papers.items() <= recipe.items()
    lines = file.read_text(encoding="utf-8").splitlines()
    marked = {line.partition(":")[0] for line in lines if "# ours" in line}
    assert marked == recipe.keys() - papers.keys() - without_effect


def test_there_are_recipes() -> None:
    assert FILES


def test_a_checkpoint_is_not_initialised_anew() -> None:
    with pytest.raises(ConfigurationError, match="overwrite what mine has learnt"):
        ModelArguments(model_name_or_path="mine", lookup_initialization=True)


class TestPruningArguments:
    def test_nothing_is_pruned_unless_asked(self) -> None:
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            assert PruningArguments().callback() is None
            assert PruningArguments(save_sparse=False, export_stock="stock").callback() is None

    def test_what_has_no_effect_without_a_target_is_named(self) -> None:
        options = {"pruning_method": "magnitude", "max_metric_drop": 2.0, "stop_on_collapse": True}
        message = "^--pruning_method, --max_metric_drop, --stop_on_collapse: without effect.* Give --target_sparsity"
        with pytest.warns(NoEffectWarning, match=message):
            assert PruningArguments(**options).callback() is None

    def test_options_become_the_config(self) -> None:
        arguments = PruningArguments(
            target_sparsity=0.9,
            pruning_method="magnitude",
            pruning_scope="global",
            pruning_schedule="linear",
            pruning_warmup=0.2,
            pruning_cooldown=0.1,
            pruning_targets="ffn,query",
            max_metric_drop=2.0,
            pruning_metric="em",
        )
        callback = arguments.callback()
        assert callback.config == PruningConfig(
            0.9, "magnitude", scope="global", schedule="linear", warmup=0.2, cooldown=0.1, targets=("ffn", "query")
        )
        assert (callback.guard.max_drop, callback.guard.metric) == (2.0, "eval_em")

    @pytest.mark.parametrize(
        ("options", "settings"),
        [
            ({"target_flops": 0.5, "latency_length": 128}, {"target_flops": 0.5, "latency_length": 128}),
            ({"target_speedup": 2.0, "latency_batch_size": 1}, {"target_speedup": 2.0, "latency_batch_size": 1}),
        ],
    )
    def test_targets_of_work_and_speed(self, options: dict[str, Any], settings: dict[str, Any]) -> None:
        given = PruningArguments(
            **options, pruning_granularity="structure", pruning_method="fisher", pruning_fisher_decay=0.5
        )
        expected = PruningConfig(granularity="structure", method="fisher", fisher_decay=0.5, **settings)
        assert given.prunes
        assert given.callback().config == expected
        assert given.storage == StorageConfig()

    def test_two_targets(self) -> None:
        with pytest.raises(ConfigurationError, match="target_sparsity and target_flops given"):
            PruningArguments(target_sparsity=0.5, target_flops=0.5, pruning_granularity="structure").callback()

    def test_a_wrong_value_is_named(self) -> None:
        with pytest.raises(ConfigurationError, match="method='random'"):
            PruningArguments(target_sparsity=0.5, pruning_method="random").callback()

    def test_defaults_are_those_of_the_config(self) -> None:
        callback = PruningArguments(target_sparsity=0.5).callback()
        assert (callback.config, callback.storage) == (PruningConfig(0.5), StorageConfig())

    def test_how_the_model_is_stored(self) -> None:
        argv = ["--output_dir", "out", "--target_sparsity", "0.5"]
        options = ["--sparse_values", "int8", "--sparse_embeddings", "float16", "--sparse_entropy"]
        pruning = parse_arguments(TYPES, [*argv, *options])[3]
        assert pruning.callback().storage == StorageConfig("int8", "float16", entropy=True)
        assert parse_arguments(TYPES, [*argv, "--save_sparse", "false"])[3].callback().storage is None

    @pytest.mark.parametrize("option", [{"sparse_values": "int8"}, {"sparse_entropy": True}])
    @pytest.mark.parametrize("rest", [{}, {"target_sparsity": 0.5, "save_sparse": False}])
    def test_storage_without_effect(self, option: dict[str, Any], rest: dict[str, Any]) -> None:
        with pytest.raises(ConfigurationError, match="palbert compress DIR OUT"):
            PruningArguments(**option, **rest).callback()

    def test_a_wrong_type_of_values(self) -> None:
        with pytest.raises(ConfigurationError, match="values='int4'"):
            PruningArguments(target_sparsity=0.5, sparse_values="int4").callback()


class TestModelArguments:
    def test_fields_of_pal_bert_are_those_given(self) -> None:
        assert ModelArguments().palbert_fields == {}
        arguments = ModelArguments(qa_layers="3, 7,-1", qa_layer_pooling="mean", layer_lr_decay=0.9)
        assert arguments.palbert_fields == {"qa_layers": [3, 7, -1], "qa_layer_pooling": "mean", "layer_lr_decay": 0.9}

    @pytest.mark.parametrize("text", ["5,8,", "5 8", "last"])
    def test_layers_that_are_no_numbers_are_named(self, text: str) -> None:
        with pytest.raises(ConfigurationError, match=f"qa_layers='{text}' cannot be read"):
            _ = ModelArguments(qa_layers=text).palbert_fields


def test_the_metric_suits_the_data() -> None:
    assert DataArguments().metric_name == "squad"
    assert DataArguments(version_2_with_negative=True).metric_name == "squad_v2"
    assert DataArguments(metric="cmrc2018").metric_name == "cmrc2018"


@pytest.mark.parametrize("kind", [ModelArguments, DataArguments, PruningArguments])
def test_every_option_is_explained(kind: type) -> None:
    assert all(field.metadata["help"].endswith(".") for field in fields(kind))
