"""The search as a user runs it, on a small set of generated facts."""

from __future__ import annotations

import csv
import os
import random
import subprocess
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import yaml
from torch import nn
from transformers import DistilBertConfig

from tests.examples.test_run_qa import SHAPE, options
from tests.references.scripts import ROOT, load_script
from transformers_palbert.errors import ConfigurationError, NoEffectWarning
from transformers_palbert.experiments import tuning
from transformers_palbert.experiments.pareto import Trial, pareto_front
from transformers_palbert.experiments.tuning import SPACE as DEFAULT
from transformers_palbert.experiments.tuning import Space, TuningTrainer, parse, search
from transformers_palbert.pruning import MovementPruningCallback
from transformers_palbert.training.arguments import ModelArguments
from transformers_palbert.training.setup import load_config, load_tokenizer

optuna = pytest.importorskip("optuna")
SPACE = {
    "learning_rate": {"low": "1e-4", "high": "1e-2", "log": True},
    "per_device_train_batch_size": [4, 8],
    "layer_lr_decay": {"grid": [0.8, 1.0]},
    "warmup_steps": {"low": 0.0, "high": 0.5},
    "dropout": {"low": 0.0, "high": 0.3},
    "target_sparsity": {"low": 0.2, "high": 0.9},
}


@pytest.fixture
def tune() -> ModuleType:
    return load_script("examples/tune.py")


def arguments(files: dict[str, str], output: str, **more: Any) -> list[str]:
    Path("space.yaml").write_text(yaml.safe_dump(SPACE))
    settings = {"tokenizer_name": files["vocab"], "config_overrides": SHAPE, "space": "space.yaml"}
    return options(files, output, **settings, max_steps=8, pruning_warmup=0.4, **more)


def rows(folder: str) -> list[dict[str, str]]:
    with Path(folder, "trials.csv").open(encoding="utf-8", newline="") as stream:
        return list(csv.DictReader(stream))


def test_a_search_keeps_its_trials_and_goes_on(files: dict[str, str], tune: ModuleType) -> None:
    tune.main(arguments(files, "out", trials=2))
    first = rows("out")
    front = tune.main(arguments(files, "out", trials=3))
    assert rows("out")[:2] == [row | {"front": again["front"]} for row, again in zip(first, rows("out"), strict=False)]
    found = rows("out")
    assert len(found) == 3
    assert len({row["learning_rate"] for row in found}) == 3
    sparsest = sorted(found, key=lambda row: float(row["target_sparsity"]))
    sizes = [float(row["bytes"]) for row in sparsest]
    assert sizes == sorted(sizes, reverse=True)  # the more is pruned, the smaller is the file
    assert sum(row["front"] == "True" for row in found) == len(front) >= 1
    assert "of 3 trials" in Path("out/trials.md").read_text()
    assert Path("out/trials.png").read_bytes().startswith(b"\x89PNG")
    tune.main(arguments(files, "out", trials=1, max_seq_length=40))
    assert len(rows("out")) == 1  # other settings are another study


def test_each_trial_has_its_own_model_and_callback(
    files: dict[str, str],
    tune: ModuleType,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    seen: list[tuple[float, ...]] = []
    evaluate = TuningTrainer.evaluate

    def watch(self: Any, *args: Any, **kwargs: Any) -> dict[str, float]:
        metrics = evaluate(self, *args, **kwargs)
        config = self.model.config
        seen.append(
            (config.hidden_dropout_prob, config.classifier_dropout_prob, config.layer_lr_decay, self.args.learning_rate,
             self.args.warmup_steps, self.args.train_batch_size, 1 - metrics["eval_density_encoder"])
        )  # fmt: skip
        return metrics

    monkeypatch.setattr(TuningTrainer, "evaluate", watch)
    tune.main(arguments(files, "out", trials=2))
    names = ("dropout", "dropout", "layer_lr_decay", "learning_rate", "warmup_steps", "per_device_train_batch_size",
             "target_sparsity")  # fmt: skip
    wanted = [tuple(float(row[name]) for name in names) for row in rows("out")]
    for found, expected in zip(seen, wanted, strict=True):
        assert found == pytest.approx(expected, abs=1e-3)


def callbacks(trainer: TuningTrainer) -> list[MovementPruningCallback]:
    return [one for one in trainer.callback_handler.callbacks if isinstance(one, MovementPruningCallback)]


def made_trainer(files: dict[str, str], space: Space, **more: Any) -> TuningTrainer:
    return tuning.make_trainer(parse(arguments(files, "out", **more)), space)


class TestTargets:
    def test_one_that_is_not_searched_is_pruned_to(self, files: dict[str, str]) -> None:
        given = {"target_flops": 0.5, "pruning_granularity": "structure"}
        trainer = made_trainer(files, {"learning_rate": [1e-3]}, **given)
        trainer.call_model_init(optuna.trial.FixedTrial({"learning_rate": 1e-3}))
        assert [one.config.target_flops for one in callbacks(trainer)] == [0.5]

    def test_each_trial_is_pruned_to_its_own_and_to_none_where_it_has_none(self, files: dict[str, str]) -> None:
        trainer = made_trainer(files, {"target_sparsity": [0.5, None]})
        for target in (0.5, None):
            trainer.call_model_init(optuna.trial.FixedTrial({"target_sparsity": target}))
            assert [one.config.target_sparsity for one in callbacks(trainer)] == [target] * (target is not None)

    def test_two_are_refused_before_the_first_trial(self, files: dict[str, str]) -> None:
        given = parse(arguments(files, "out", target_speedup=2, pruning_granularity="structure"))
        with pytest.raises(ConfigurationError, match="together have target_sparsity and target_speedup"):
            search(given, DEFAULT)


class TestData:
    def test_contexts_are_shortened_as_in_a_training(
        self, files: dict[str, str], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        seen: list[tuple[Any, ...]] = []
        load = tuning.load_questions
        monkeypatch.setattr(tuning, "load_questions", lambda *given: seen.append(given[1:]) or load(*given))
        trainer = made_trainer(files, {"max_steps": [1]}, reduce="lead", reduce_curriculum="8,all", seed=7)
        assert seen == [(part, trainer.processing_class, 7) for part in ("train", "validation")]
        assert trainer.args.train_sampling_strategy == "sequential"

    def test_another_order_than_that_of_a_curriculum_is_refused(self, files: dict[str, str]) -> None:
        given = parse(arguments(files, "out", reduce="lead", reduce_curriculum="8,all"))
        with pytest.raises(ConfigurationError, match="sets the order of the questions"):
            search(given, {"train_sampling_strategy": ["random", "group_by_length"]})


class TestStudies:
    def name(self, files: dict[str, str], space: Space, **more: Any) -> str:
        return tuning._study_name(parse(arguments(files, "out", **more)), space)

    @pytest.mark.parametrize("given", [{}, {"target_flops": 0.5}])
    def test_pruning_options_count_where_something_is_pruned(self, files: dict[str, str], given: dict) -> None:
        space: Space = {"max_steps": [1]} if given else {"target_sparsity": [0.5, 0.7]}
        ways = ("structure", "head") if given else ("element", "row")
        assert len({self.name(files, space, pruning_granularity=way, **given) for way in ways}) == 2
        dense = {self.name(files, {"max_steps": [1]}, pruning_granularity=way) for way in ways}
        assert len(dense) == 1

    def test_the_value_given_for_what_is_searched_does_not_count(self, files: dict[str, str]) -> None:
        space = {"learning_rate": [1e-3, 1e-4], "target_sparsity": [0.5]}
        same = [{}, {"learning_rate": 0.5}, {"target_sparsity": 0.7}]
        assert len({self.name(files, space, **given) for given in same}) == 1
        assert self.name(files, space) != self.name(files, {**space, "target_sparsity": [0.7]})
        assert self.name(files, space) != self.name(files, space, weight_decay=0.5)


class TestOptions:
    @pytest.mark.parametrize(
        ("option", "value"), [("model_type", "bilstm"), ("teacher_name_or_path", "bilstm"), ("max_metric_drop", "2.0")]
    )
    def test_what_a_search_cannot_do_is_refused(self, files: dict[str, str], option: str, value: str) -> None:
        given = parse(arguments(files, "out", **{option: value}))
        with pytest.raises(ConfigurationError, match=f"--{option} {value} is not for a search"):
            search(given, {"max_steps": [1]})

    def test_what_has_no_effect_is_told(self, files: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(tuning, "search_with_optuna", lambda *_: [])
        given = parse(arguments(files, "out", further_metrics="palbert_qa", predictions_csv="a.csv"))
        with pytest.warns(NoEffectWarning, match=r"--predictions_csv, --further_metrics: without effect"):
            assert search(given, {"max_steps": [1]}) == []

    def test_a_search_makes_no_repository(self, files: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(tuning, "search_with_optuna", lambda *_: [])
        given = parse(arguments(files, "out", push_to_hub="true"))
        with pytest.warns(NoEffectWarning, match=r"--push_to_hub: without effect"):
            search(given, {"max_steps": [1]})
        assert given.training.push_to_hub is False

    def test_the_recipe_of_the_paper_is_taken(self) -> None:
        assert parse(["paper_cmrc2018.yaml", "--trials", "3", "--fp16", "false"]).run.metrics == ["palbert_qa"]

    def test_dropout_is_refused_where_a_model_has_none(
        self, files: dict[str, str], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(tuning, "dropout_fields", lambda _: [])
        with pytest.raises(ConfigurationError, match="palbert has no dropout that is known here"):
            search(parse(arguments(files, "out")), {"dropout": [0.1]})

    def test_dropout_is_set_by_whatever_name_an_architecture_has_for_it(self, files: dict[str, str]) -> None:
        DistilBertConfig(dim=16, n_layers=1, n_heads=2, hidden_dim=16).save_pretrained("config")
        options = ModelArguments(config_name="config", tokenizer_name=files["vocab"])
        tokenizer = load_tokenizer(options, load_config(options))
        model: Any = tuning.new_model(options, tokenizer, {"dropout": 0.25})
        assert {part.p for part in model.modules() if isinstance(part, nn.Dropout)} == {0.25}
        assert tuning.new_model(options, tokenizer, {}).config.dropout == DistilBertConfig().dropout

    def test_a_space_is_looked_at_before_the_first_trial(self, files: dict[str, str]) -> None:
        with pytest.raises(ConfigurationError, match="names learning_rat, which cannot be searched"):
            search(parse(arguments(files, "out")), {"learning_rat": [1]})


def test_the_front_is_what_no_other_beats() -> None:
    draw = random.Random(0)
    trials = [Trial({"n": n}, draw.randint(0, 20), draw.randint(0, 20)) for n in range(60)]

    def beaten(one: Any) -> bool:
        return any(o.f1 >= one.f1 and o.bytes <= one.bytes and (o.f1, o.bytes) != (one.f1, one.bytes) for o in trials)

    front = pareto_front(trials)
    assert {(t.f1, t.bytes) for t in front} == {(t.f1, t.bytes) for t in trials if not beaten(t)}
    assert len({(t.f1, t.bytes) for t in front}) == len(front)
    assert [t.bytes for t in front] == sorted(t.bytes for t in front)
    assert pareto_front([]) == []


def test_an_unknown_backend_is_named(files: dict[str, str], tune: ModuleType) -> None:
    with pytest.raises(ConfigurationError, match="backend='hyperopt' must be optuna or ray"):
        tune.main(arguments(files, "out", backend="hyperopt"))


def test_ray_spreads_a_grid(files: dict[str, str]) -> None:
    pytest.importorskip("ray")
    command = arguments(files, "out", trials=1, backend="ray")
    space = {"target_sparsity": {"grid": [0.3, 0.8]}, "dropout": {"low": 0.0, "high": 0.1}}
    Path("space.yaml").write_text(yaml.safe_dump(space))
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "src"), "RAY_USAGE_STATS_ENABLED": "0"}
    process = subprocess.run(
        [sys.executable, str(ROOT / "examples" / "tune.py"), *command],
        env=environment, capture_output=True, text=True, timeout=240, check=False,
    )  # fmt: skip
    assert process.returncode == 0, process.stdout[-2000:] + process.stderr[-2000:]
    found = sorted(rows("out"), key=lambda row: float(row["target_sparsity"]))
    assert [float(row["target_sparsity"]) for row in found] == [0.3, 0.8]
    assert float(found[0]["bytes"]) > float(found[1]["bytes"])
