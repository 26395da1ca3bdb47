"""The benchmarks that train are grids: their runs have names, are kept, and are recognised again."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest
from transformers import TrainingArguments

from tests.references.scripts import ROOT
from transformers_palbert.experiments.grid import Trial
from transformers_palbert.experiments.runner import Runner
from transformers_palbert.experiments.settings import to_arguments
from transformers_palbert.training.arguments import DataArguments, ModelArguments, PruningArguments
from transformers_palbert.training.baseline_arguments import BaselineArguments
from transformers_palbert.training.option_parser import parse_arguments
from transformers_palbert.training.run_arguments import RunArguments

Load = Callable[[str], ModuleType]
GRIDS = sorted(file.stem for file in (ROOT / "benchmarks" / "grids").glob("*.yaml"))
TYPES = (ModelArguments, BaselineArguments, DataArguments, PruningArguments, TrainingArguments, RunArguments)
STUB = ROOT / "tests" / "references" / "stub_script.py"
FILES = {"train_file": Path("train.json"), "validation_file": Path("dev.json")}

SQUAD_RUNS = [
    f"{score}_{sparsity}_{length}"
    for length in ("500_steps", "2_epochs")
    for sparsity in (50, 70, 90)
    for score in ("sensitivity", "magnitude", "movement_from_rank", "movement")
] + [f"{score}_global_70_500_steps" for score in ("sensitivity", "magnitude")]
"""What folders of finished runs are called, and what --only takes."""


def squad_trials(script: Load, seed: int = 42) -> dict[str, Trial]:
    return script("runs").all_trials(script("squad_pruning").load_grids(Path("start"), FILES, seed))


@pytest.mark.parametrize("name", GRIDS)
def test_the_options_of_every_run_are_those_of_the_training_script(script: Load, name: str) -> None:
    runs = script("runs")
    files = {option: file for option, file in FILES.items() if (name, option) != ("reduced_readers", "train_file")}
    grid = runs.load_benchmark(name, files, seed=7)  # the readers' axes say what each learns from
    trials = runs.all_trials([grid])
    assert None not in trials
    for trial in trials.values():
        options = {**trial.settings, "use_cpu": True, "output_dir": "out"}
        model, baseline, data, _, args, _ = parse_arguments(TYPES, to_arguments(options))
        assert data.dataset_name is None  # nothing is fetched
        assert (args.seed, args.do_train or args.do_eval) == (7, True)
        assert not (model.model_name_or_path and baseline.model_type)


def test_runs_on_squad_are_called_as_ever(script: Load) -> None:
    trials = squad_trials(script)
    assert list(trials) == ["dense", *SQUAD_RUNS]
    dense, pruned = trials["dense"], trials["movement_from_rank_90_2_epochs"]
    assert dense.settings["model_name_or_path"] == "start"
    assert (dense.settings["validation_file"], dense.settings["seed"]) == ("dev.json", 42)
    assert pruned.start == dense
    options = {"target_sparsity": 0.9, "pruning_score_start": "rank", "num_train_epochs": 2, "train_file": "train.json"}
    assert options.items() <= pruned.settings.items()
    assert "pruning_scope" not in pruned.settings
    assert trials["magnitude_global_70_500_steps"].settings["pruning_scope"] == "global"


def test_labels_of_a_row_are_those_of_table_and_plot(script: Load) -> None:
    squad, trials = script("squad_pruning"), squad_trials(script)
    assert squad._labels(trials["dense"]) == {}
    assert squad._labels(trials["sensitivity_global_70_500_steps"]) == {
        "score": "sensitivity", "sparsity": 0.7, "length": "500 steps", "scope": "global"
    }  # fmt: skip


def test_what_failed_is_shown_and_there_is_no_result(script: Load, capsys: pytest.CaptureFixture[str]) -> None:
    runs, runner = script("runs"), Runner([str(STUB)], Path("work"))
    trials = [Trial({"a": "1"}, {"a": 1}, folder="one"), Trial({"a": "2"}, {"trouble": "bug"}, folder="two")]
    assert list(runs.run_benchmark(trials[:1], runner, "stub", {"F1": "eval_f1"})) == ["one"]
    with pytest.raises(SystemExit, match=r"no result without two \(failed\)"):
        runs.run_benchmark(trials, runner, "stub", {"F1": "eval_f1"})
    assert "learning_rate is wrong" in capsys.readouterr().out
    assert Path("work/one/calls.txt").read_text().split() == ["new"]


def test_what_was_killed_is_tried_again(script: Load) -> None:
    runs, runner = script("runs"), Runner([str(STUB)], Path("work"))
    trials = [Trial({"a": "1"}, {"trouble": "killed"}, folder="one")]
    for _ in range(2):
        with pytest.raises(SystemExit, match=r"no result without one \(out of memory\)"):
            runs.run_benchmark(trials, runner, "stub", {"F1": "eval_f1"})
    assert Path("work/one/calls.txt").read_text().split() == ["new", "new"]


def test_a_checkpoint_that_is_given_takes_the_place_of_the_runs_before(script: Load) -> None:
    grid = script("runs").load_benchmark("cmrc2018_pruning", FILES, seed=1, start=Path("mine"))
    assert {trial.settings["model_name_or_path"] for trial in grid.trials()} == {"mine"}


def test_the_shape_of_the_small_model_is_in_the_result(script: Load) -> None:
    grid = script("runs").load_benchmark("cmrc2018_pruning", FILES, seed=1)
    recorded = json.loads((ROOT / "benchmarks/results/cmrc2018_pruning.json").read_text(encoding="utf-8"))["model"]
    assert script("cmrc2018").shape(grid) == recorded


def test_local_paths_are_called_otherwise_in_results(script: Load) -> None:
    here = Path("data").resolve()
    result = {"command": f"python x --data data --work {here}/work"}
    assert script("runs").without_local_paths(result, {Path("data"): "cmrc2018"}) == {
        "command": "python x --cmrc2018 cmrc2018 --work cmrc2018/work"
    }


def test_files_in_the_folder_at_hand_keep_their_dots(script: Load) -> None:
    result = {"command": "python x.py --data dev.json"}
    assert script("runs").without_local_paths(result, {Path(): "data"}) == result


def test_options_for_the_training_script_are_passed_on(script: Load) -> None:
    options = script("baselines").training_options
    assert options(["--bf16", "--use_cpu", "--disable_tqdm", "True", "--logging_steps", "50", "--a=b"]) == {
        "bf16": True, "use_cpu": True, "disable_tqdm": True, "logging_steps": 50, "a": "b"
    }  # fmt: skip


def test_models_that_load_as_the_same_weights_are_scored_once(script: Load) -> None:
    torch = pytest.importorskip("torch")
    one, two = ({"w": torch.tensor([value])} for value in (1.0, 2.0))
    storage = script("storage_cmrc2018")
    assert storage.twins({"dense": one, "float32": one, "int8": two}) == {
        "dense": "dense", "float32": "dense", "int8": "int8"
    }  # fmt: skip
    grid = storage.with_models(script("runs").load_benchmark("storage_cmrc2018", {}, 42), {"int8": Path("copy")})
    assert [(trial.folder, trial.settings["model_name_or_path"]) for trial in grid.trials()] == [("int8", "copy")]
    known = script("runs").load_benchmark("storage_cmrc2018", {}, 42).axes["stored"]
    assert list(known) == ["dense", *storage.PACKED]
