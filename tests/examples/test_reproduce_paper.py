"""The experiments as a user runs them, with a script that takes no time in the place of the training."""

from __future__ import annotations

import json
import math
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import yaml
from transformers import TrainingArguments

from tests.references.scripts import ROOT, load_script
from transformers_palbert.errors import ConfigurationError
from transformers_palbert.experiments.grid import Trial, load_grid
from transformers_palbert.experiments.outcome import Status, read_runs
from transformers_palbert.experiments.reproduction import GRIDS, experiment_file, weights_at_hand
from transformers_palbert.experiments.runner import TRAIN, Runner
from transformers_palbert.experiments.settings import to_arguments
from transformers_palbert.training.arguments import DataArguments, ModelArguments, PruningArguments
from transformers_palbert.training.baseline_arguments import BaselineArguments
from transformers_palbert.training.option_parser import parse_arguments
from transformers_palbert.training.question_answering import learn_in_order
from transformers_palbert.training.run_arguments import RunArguments

STUB = ROOT / "tests" / "references" / "stub_script.py"
NAMES = sorted(path.stem for path in GRIDS.glob("*.yaml") if not path.stem.startswith("common"))
TYPES = (ModelArguments, BaselineArguments, DataArguments, PruningArguments, TrainingArguments, RunArguments)


@pytest.fixture(scope="module")
def script() -> ModuleType:
    return load_script("examples/reproduce_paper.py")


@pytest.fixture
def grid() -> str:
    content = {
        "title": "Small", "axes": {"a": [1, 2, 3]}, "metrics": {"F1": "eval_f1"}, "seeds": [1, 3],
        "scales": {"paper": {}, "small": {"caption": "Little.", "seeds": [1]}},
    }  # fmt: skip
    Path("mine.yaml").write_text(yaml.safe_dump(content))
    return "mine.yaml"


def run(script: ModuleType, *argv: str) -> int:
    return script.main([*argv, "--script", str(STUB)])


def starts() -> int:
    return sum(len(file.read_text().split()) for file in Path("outputs/experiments/runs").glob("*/calls.txt"))


def test_a_grid_leaves_records_tables_and_a_plot_and_runs_once(script: ModuleType, grid: str) -> None:
    assert run(script, grid, "--jobs", "2") == 0
    folder = Path("outputs/experiments/paper")
    assert sorted(file.name for file in folder.iterdir()) == ["mine.csv", "mine.jsonl", "mine.md", "mine.png"]
    runs = read_runs(folder / "mine.jsonl")
    assert [(run.labels["a"], run.seed, run.value("eval_f1")) for run in runs] == [
        (str(a), seed, 10.0 * a + seed) for a in (1, 2, 3) for seed in (1, 3)
    ]
    table = (folder / "mine.md").read_text(encoding="utf-8")
    assert "| 2 | 22.00 ± 1.41 |" in table
    assert "Small." in table
    assert "`palbert reproduce mine.yaml --jobs 2" in table
    assert "2,done,2,22.0,1.41" in (folder / "mine.csv").read_text()
    assert run(script, grid) == 0
    assert starts() == 6
    assert run(script, grid, "--scale", "small", "--set", "b=1", "--results", "here") == 0
    assert starts() == 9  # changed settings
    assert "Little." in Path("here/mine.md").read_text()


def test_a_grid_without_scales_is_run_as_it_is(script: ModuleType) -> None:
    Path("mine.yaml").write_text(yaml.safe_dump({"axes": {"a": [1]}, "scales": {"small": {"settings": {"a": 2}}}}))
    assert run(script, "mine.yaml") == 0
    assert [run.settings["a"] for run in read_runs(Path("outputs/experiments/results/mine.jsonl"))] == [1]


def test_a_changed_start_is_in_the_caption(script: ModuleType) -> None:
    Path("mine.yaml").write_text(yaml.safe_dump({"axes": {"a": [1]}, "start": [{"b": 1}]}))
    assert run(script, "mine.yaml", "--start", "mine", "--set", "c=2") == 0
    assert "Changed on the command line: c=2, start=mine." in Path("outputs/experiments/results/mine.md").read_text()


def test_memory_and_failures_do_not_stop_a_grid(
    script: ModuleType, grid: str, capsys: pytest.CaptureFixture[str]
) -> None:
    content = yaml.safe_load(Path(grid).read_text())
    content["axes"] = {
        "a": {"fits": {"a": 1}, "big": {"trouble": "memory"}, "wrong": {"trouble": "bug"}, "last": {"a": 2}}
    }
    Path(grid).write_text(yaml.safe_dump(content, sort_keys=False))
    assert run(script, grid, "--seeds", "1") == 1
    shown = capsys.readouterr().out
    assert "ValueError: learning_rate is wrong" in shown
    assert "log.txt" in shown
    table = Path("outputs/experiments/paper/mine.md").read_text(encoding="utf-8").splitlines()
    assert table[2:6] == ["| fits | 11.00 |", "| big | — |", "| wrong | failed |", "| last | 21.00 |"]


def test_a_dry_run_runs_nothing(script: ModuleType, grid: str, capsys: pytest.CaptureFixture[str]) -> None:
    run(script, grid, "--seeds", "1", "--set", "b=7")
    assert run(script, grid, "--seeds", "1", "2", "--set", "b=7", "--dry-run") == 0
    shown = capsys.readouterr().out
    assert shown.count("known: ") == shown.count("to run: ") == 3
    assert shown.count("--b=7 --seed=2 --output_dir=") == 3
    assert starts() == 3


def test_all_experiments_are_listed(script: ModuleType, capsys: pytest.CaptureFixture[str]) -> None:
    assert script.main(["--list"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines] == [*NAMES, "figure3"]
    assert {"table6", "table7", "table8", "table9"} < set(NAMES)


def test_a_figure_needs_no_run(script: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    pyplot = pytest.importorskip("matplotlib.pyplot")
    drawn: list[Any] = []
    monkeypatch.setattr(pyplot, "close", lambda figure: drawn.append(figure.axes[0]))
    assert script.main(["figure3", "--results", "here"]) == 0
    assert Path("here/figure3.png").read_bytes().startswith(b"\x89PNG")
    assert not Path("outputs/experiments/runs").exists()
    relu, mish = drawn[0].lines
    assert (relu.get_label(), mish.get_label()) == ("ReLU", "Mish")
    for x, low, high in zip(relu.get_xdata(), relu.get_ydata(), mish.get_ydata(), strict=True):
        assert low == pytest.approx(max(0.0, x))
        assert high == pytest.approx(x * math.tanh(math.log1p(math.exp(x))), abs=1e-6)


def test_a_dry_run_draws_nothing(script: ModuleType, grid: str) -> None:
    assert script.main(["figure3", grid, "--dry-run", "--results", "here"]) == 0
    assert not Path("here").exists()


def test_an_experiment_that_is_not_there_is_named(script: ModuleType) -> None:
    with pytest.raises(ConfigurationError, match=r"no experiment 'table5'\. There are activation"):
        script.main(["table5"])


def test_weights_at_hand_are_folders_or_cached() -> None:
    assert not weights_at_hand("nobody/nothing")
    assert not weights_at_hand("folder")
    Path("folder").mkdir()
    Path("folder/config.json").write_text("{}")
    assert weights_at_hand("folder")


def test_weights_that_are_missing_are_asked_for_once_and_named(
    script: ModuleType, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []
    monkeypatch.setattr("transformers_palbert.experiments.reproduction.weights_at_hand", asked.append)
    assert script.main(["table7", "table8", "--dry-run"]) == 0
    (name,) = asked
    assert f"{name} cannot be loaded: where an experiment allows it" in capsys.readouterr().out


def every_run(trial: Trial) -> list[Trial]:
    return [*(every_run(trial.start) if trial.start else []), trial]


@pytest.mark.parametrize("scale", ["paper", "small"])
@pytest.mark.parametrize("name", NAMES)
def test_the_options_of_every_run_are_those_of_the_training_script(name: str, scale: str) -> None:
    file = experiment_file(name)
    english = name == "ids_extract" and scale == "paper"  # it compares sizes of pretrained models: none, no comparison
    for weights in (True,) if english else (True, False):
        grid = load_grid(file, scale, weights_at_hand=lambda _, found=weights: found)
        assert ("o pretrained" in grid.caption or "without pretrained" in grid.caption) is (
            scale == "small" or not weights
        )
        for run in {run.key: run for trial in grid.trials() for run in every_run(trial)}.values():
            start = {} if run.start is None else {"model_name_or_path": "start"}
            device = {"fp16": False, "use_cpu": True, "output_dir": "out"}
            model, baseline, data, pruning, args, _ = parse_arguments(
                TYPES, to_arguments(run.settings | start | device)
            )
            assert data.dataset_name == ("rajpurkar/squad" if english else "hfl/cmrc2018")
            assert args.do_train
            assert model.model_name_or_path or baseline.model_type or model.lookup_initialization
            assert args.do_eval or data.cloze_questions
            if data.curriculum_stages:
                learn_in_order(args)
            assert (pruning.callback() is not None) is pruning.prunes
            assert run.start is None or model.qa_layer_pooling != "concat"  # whose head is wider than that of the start
    assert set(grid.names) <= {axis for at in (None, "paper", "small") for axis in load_grid(file, at).axes}


def test_a_record_is_one_line_of_json(script: ModuleType, grid: str) -> None:
    run(script, grid, "--seeds", "1")
    for line in Path("outputs/experiments/paper/mine.jsonl").read_text(encoding="utf-8").splitlines():
        record = json.loads(line)
        assert record["status"] == Status.DONE
        assert {"hardware", "versions"} <= set(record["machine"])
        assert record["command"].startswith("python ")
        assert record["grid"] | {"command": ""} == {"name": "mine", "scale": "paper", "caption": "", "command": ""}


def test_an_interrupted_grid_says_how_to_go_on(
    script: ModuleType, grid: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Runner, "run", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
    assert run(script, grid) == 1
    assert "call it again to go on" in capsys.readouterr().out


def test_without_a_script_the_runs_are_those_of_the_command(
    script: ModuleType, grid: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert script.main([grid, "--seeds", "1", "--dry-run", "--launcher", "accelerate launch"]) == 0
    assert f"accelerate launch {' '.join(TRAIN)} --a=1 --seed=1 --output_dir=" in capsys.readouterr().out
