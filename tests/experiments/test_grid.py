from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from transformers_palbert.errors import ConfigurationError
from transformers_palbert.experiments.grid import Grid, Trial, load_grid, scales_of
from transformers_palbert.experiments.reproduction import GRIDS
from transformers_palbert.qa.metrics import compute_metric


def write(name: str, **content: object) -> Path:
    file = Path(name)
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(yaml.safe_dump(content, sort_keys=False, allow_unicode=True), encoding="utf-8")
    return file


def settings(grid: Grid) -> list[dict]:
    return [trial.settings for trial in grid.trials()]


def test_every_combination_with_every_seed() -> None:
    axes = {"learning_rate": [0.1, 0.2], "precision": {"fp32": {}, "bf16": {"bf16": True, "tf32": False}}}
    grid = load_grid(write("grid.yaml", axes=axes, seeds=[1, 2], settings={"max_steps": 3}))
    trials = grid.trials()
    assert [tuple(trial.labels.values()) for trial in trials[::2]] == [
        ("0.1", "fp32"), ("0.1", "bf16"), ("0.2", "fp32"), ("0.2", "bf16")
    ]  # fmt: skip
    assert trials[2].settings == {"max_steps": 3, "learning_rate": 0.1, "bf16": True, "tf32": False, "seed": 1}
    assert [trial.settings["seed"] for trial in trials] == [1, 2] * 4
    assert len({trial.key for trial in trials}) == 8
    assert (grid.name, grid.title, grid.plot, grid.columns) == ("grid", "grid", "learning_rate", None)


def test_recipes_bases_and_scales_are_merged() -> None:
    write("recipes/r.yaml", learning_rate=0.5, max_steps=9, fp16=True)
    write(
        "common.yaml", metrics={"F1": "f1"},
        scales={"small": {"settings": {"recipe": "recipes/r.yaml", "max_steps": 2}, "seeds": [7], "caption": "Small."}},
    )  # fmt: skip
    file = write(
        "sub/grid.yaml", title="T", base="../common.yaml", axes={"a": [1, 2], "b": [1]},
        settings={"fp16": False, "z": 1}, scales={"small": {"axes": {"a": [3]}}},
    )  # fmt: skip
    small = load_grid(file, "small", {"learning_rate": 0.1})
    assert settings(small) == [{"fp16": True, "z": 1, "learning_rate": 0.1, "max_steps": 2, "a": 3, "b": 1, "seed": 7}]
    assert (small.title, small.metrics, small.caption, small.scale) == ("T", {"F1": "f1"}, "Small.", "small")
    whole = load_grid(file, seeds=[5])
    assert settings(whole) == [{"fp16": False, "z": 1, "a": a, "b": 1, "seed": 5} for a in (1, 2)]


class TestOverrides:
    PRECISION = {"fp32": {}, "bf16": {"bf16": True}}  # noqa: RUF012

    def test_they_win_over_the_options_of_labels(self) -> None:
        write("r.yaml", learning_rate=0.5, use_cpu=True)
        axes = {"model": {"one": {"recipe": "r.yaml"}, "two": {"recipe": "r.yaml", "z": 1}}}
        grid = load_grid(write("g.yaml", axes=axes), overrides={"use_cpu": None, "new": 6})
        assert settings(grid) == [
            {"learning_rate": 0.5, "use_cpu": None, "new": 6, "seed": 42, **more} for more in ({}, {"z": 1})
        ]

    @pytest.mark.parametrize(
        ("axes", "overrides", "axis"),
        [
            ({"a": [1, 2]}, {"a": 5}, "a"),
            ({"b": [1], "precision": PRECISION}, {"bf16": True, "c": 1}, "precision"),
            ({"precision": PRECISION}, {"bf16": None}, "precision"),
            ({"s": {"dense": {"target": None}, "half": {"target": 0.5}}}, {"target": "0.7"}, "s"),
        ],
    )
    def test_what_an_axis_varies_cannot_be_set(self, axes: dict, overrides: dict, axis: str) -> None:
        with pytest.raises(ConfigurationError, match=f"in all runs would undo what the axis {axis} varies"):
            load_grid(write("g.yaml", axes=axes), overrides=overrides)

    def test_nor_that_of_a_list_with_one_value(self) -> None:
        with pytest.raises(ConfigurationError, match="a=5 in all runs would undo what the axis a varies"):
            load_grid(write("g.yaml", axes={"a": [1]}), overrides={"a": 5})

    def test_points_that_are_equal_in_the_file_may_be(self) -> None:
        axes = {"s": {"dense": {"target": None}, "half": {"target": 0.5}}, "m": {"x": {}, "y": {}}}
        assert len(settings(load_grid(write("g.yaml", axes=axes), overrides={"z": 1}))) == 4

    def test_seeds_have_an_option_of_their_own(self) -> None:
        with pytest.raises(ConfigurationError, match=r"seed=7: .*--seeds"):
            load_grid(write("g.yaml", axes={"a": [1]}), overrides={"seed": 7})

    def test_what_they_change_is_told(self) -> None:
        Path("a.json").write_text("1")
        Path("copy.json").write_text("1")
        own = {"a": 1, "b": 2e-5, "train_file": "a.json", "unused": 1}
        axes = {"c": {"x": {"d": 1, "unused": 2}, "y": {"d": 2, "unused": 2}}}
        file = write("g.yaml", settings=own, axes=axes)
        overrides = {"a": 5, "b": "2e-5", "train_file": "copy.json", "new": 3, "gone": None, "unused": 2}
        assert load_grid(file, overrides=overrides).changed == {"a": 5, "new": 3}
        assert load_grid(file).changed == {}

    def test_one_for_some_labels_is_told_as_well(self) -> None:
        axes = {"c": {"x": {"d": 1, "e": 1}, "y": {"d": 2}}}
        assert load_grid(write("g.yaml", axes=axes), overrides={"d": 2}).changed == {"d": 2}

    def test_so_is_a_start_where_runs_need_one(self) -> None:
        file = write("g.yaml", axes={"a": [1]}, start=[{"b": 1}])
        assert load_grid(file, start="mine").changed == {"start": "mine"}
        assert load_grid(file, overrides={"model_name_or_path": "m"}, start="mine").changed == {
            "model_name_or_path": "m"
        }

    def test_weights_that_are_missing_stay_away(self) -> None:
        file = write(
            "g.yaml", axes={"a": [1]}, settings={"model_name_or_path": "there"}, without_weights={"caption": "!"}
        )
        grid = load_grid(file, overrides={"model_name_or_path": "gone"}, weights_at_hand=lambda name: name == "there")
        assert (grid.caption, settings(grid)[0]["model_name_or_path"]) == ("!", None)


def test_scales_are_those_of_the_base_as_well() -> None:
    write("base.yaml", scales={"small": {}})
    assert scales_of(write("g.yaml", base="base.yaml", axes={"a": [1]}, scales={"paper": {}})) == ["paper", "small"]
    assert scales_of(write("h.yaml", axes={"a": [1]})) == []


class TestStart:
    STEPS = ({"cloze": 1, "train_file": "own"}, {"dense": 1})

    def grid(self, **settings: object) -> list[Trial]:
        file = write("g.yaml", axes={"hidden_act": ["gelu", "mish"]}, settings=settings, start=list(self.STEPS))
        return load_grid(file, seeds=[1, 2]).trials()

    def test_runs_start_from_a_chain_that_shares_data_and_activation(self) -> None:
        trials = self.grid(train_file="train.json", learning_rate=1)
        dense = trials[0].start
        assert dense.settings == {"dense": 1, "hidden_act": "gelu", "train_file": "train.json"}
        assert dense.start.settings == {"cloze": 1, "hidden_act": "gelu", "train_file": "train.json"}
        assert dense.start.start is None
        assert len({trial.start.key for trial in trials}) == 2  # seeds share it, activations do not

    def test_one_that_evaluates_does_so_on_their_data(self) -> None:
        steps = [{"do_train": True}, {"do_eval": True}]
        file = write("g.yaml", axes={"a": [1]}, settings={"validation_file": "dev.json"}, start=steps)
        dense = load_grid(file).trials()[0].start
        assert (dense.settings["validation_file"], "validation_file" in dense.start.settings) == ("dev.json", False)

    def test_its_folder_may_have_a_name(self) -> None:
        (trial,) = load_grid(write("g.yaml", axes={"a": [1]}, start=[{"b": 1, "folder": "dense"}])).trials()
        assert (trial.start.folder, trial.start.settings, trial.folder) == ("dense", {"b": 1}, None)

    def test_another_start_is_another_run(self) -> None:
        trial, *_ = self.grid()
        assert trial.key != Trial(trial.labels, trial.settings).key
        assert trial.key != Trial(trial.labels, trial.settings, trial.start.start).key

    @pytest.mark.parametrize("settings", [{"model_name_or_path": "mine"}, {"model_type": "bilstm"}])
    def test_a_checkpoint_that_is_given_and_a_reader_made_anew_have_none(self, settings: dict) -> None:
        assert all(trial.start is None for trial in self.grid(**settings))

    def test_so_does_a_start_but_only_where_one_is_needed(self) -> None:
        axes = {"m": {"ours": {}, "theirs": {"model_name_or_path": "theirs"}, "words": {"model_type": "bilstm"}}}
        grid = load_grid(write("g.yaml", axes=axes, start=list(self.STEPS)), start="mine")
        assert [trial.settings.get("model_name_or_path") for trial in grid.trials()] == ["mine", "theirs", None]
        assert all(trial.start is None for trial in grid.trials())


class TestWithoutWeights:
    def file(self) -> Path:
        scratch = {"caption": "From scratch.", "start": [{"c": 1}]}
        settings = {"model_name_or_path": "hub/name"}
        return write("g.yaml", axes={"a": [1]}, caption="Pretrained.", settings=settings, without_weights=scratch)

    def test_missing_weights_are_told_in_the_caption(self) -> None:
        grid = load_grid(self.file(), weights_at_hand=lambda name: name != "hub/name")
        assert grid.caption == "From scratch."
        assert grid.trials()[0].start.settings == {"c": 1}

    def test_those_of_an_axis_too(self) -> None:
        axes = {"m": {"ours": {"model_name_or_path": "hub/name"}, "theirs": {"model_name_or_path": "there"}}}
        file = write("g.yaml", axes=axes, without_weights={"caption": "From scratch.", "start": [{"c": 1}]})
        grid = load_grid(file, weights_at_hand=lambda name: name == "there")
        ours, theirs = grid.trials()
        assert (grid.caption, ours.start.settings, theirs.start) == ("From scratch.", {"c": 1}, None)
        assert theirs.settings["model_name_or_path"] == "there"

    def test_nothing_changes_where_they_are(self) -> None:
        file = self.file()
        for grid in (
            load_grid(file),
            load_grid(file, overrides={"model_name_or_path": "mine"}, weights_at_hand=lambda name: name == "mine"),
        ):
            assert grid.caption == "Pretrained."
            assert grid.trials()[0].start is None


@pytest.mark.parametrize(("name", "labels", "figure"), [
    ("table6", ("32", "fp16"), 0.816), ("table6", ("32", "fp32"), "—"), ("table7", ("3",), 0.816),
    ("table8", ("2.5e-5", "0.90"), 0.792), ("table9", ("TextCNN-W",), 0.763), ("table9", ("ALBERT",), None),
])  # fmt: skip
def test_the_papers_figures(name: str, labels: tuple[str, ...], figure: float | str | None) -> None:
    grid = load_grid(GRIDS / f"{name}.yaml", "paper")
    assert grid.figure("accuracy", dict(zip(grid.axes, labels, strict=True))) == figure
    assert grid.figure("EM", dict(zip(grid.axes, labels, strict=True))) is None


@pytest.mark.parametrize(("name", "points"), [("table6", 6), ("table7", 4), ("table8", 8), ("table9", 5)])
def test_every_figure_of_the_paper_has_a_point_and_our_scale(name: str, points: int) -> None:
    """Figures of another scale than that of the metric they stand beside would mislead."""
    grid = load_grid(GRIDS / f"{name}.yaml", "paper")
    answers = {"text": ["北京"], "answer_start": [0]}
    best = compute_metric("palbert_qa", {"a": "北京"}, [{"id": "a", "answers": answers}])
    for column in grid.paper:
        found = [
            grid.figure(column, trial.labels) for trial in grid.trials() if trial.settings["seed"] == grid.seeds[0]
        ]
        reported = [figure for figure in found if figure is not None]
        assert len(reported) == points
        best_of_all = best[grid.metrics[column].removeprefix("eval_palbert_qa_")]
        assert all(0.5 * best_of_all < figure <= best_of_all for figure in reported if figure != "—")


@pytest.mark.parametrize("scale", ["paper", "small"])
@pytest.mark.parametrize("name", ["table6", "table7", "table8"])
def test_the_papers_tables_are_of_a_pruned_model_with_mish(name: str, scale: str) -> None:
    for trial in load_grid(GRIDS / f"{name}.yaml", scale).trials():
        assert (trial.settings["hidden_act"], trial.settings["target_sparsity"]) == ("mish", 0.7)
        assert trial.settings["further_metrics"] == "palbert_qa"
        assert trial.settings.get("memory_limit_gb") == (8 if (name, scale) == ("table6", "paper") else None)


def test_tables_share_the_runs_that_they_have_in_common() -> None:
    """A run of the paper's size takes hours of a GPU."""
    tables = {name: load_grid(GRIDS / f"{name}.yaml", "paper", seeds=[42]).trials() for name in ("table7", "table8")}
    (two,) = [trial for trial in tables["table7"] if trial.labels["gradient_accumulation_steps"] == "2"]
    (best,) = [trial for trial in tables["table8"] if tuple(trial.labels.values()) == ("2.0e-5", "0.95")]
    assert two.key == best.key


def test_a_metric_can_be_taken_away_and_what_is_added_comes_first() -> None:
    write("base.yaml", metrics={"F1": "f1", "EM": "em"})
    file = write("g.yaml", base="base.yaml", axes={"a": [1]}, metrics={"accuracy": "acc", "EM": None})
    assert list(load_grid(file).metrics.items()) == [("accuracy", "acc"), ("F1", "f1")]


class TestFolders:
    AXES = {"length": {"2 epochs": {"num_train_epochs": 2}}, "score": ["a", "b"]}  # noqa: RUF012

    def test_they_are_made_of_labels_and_seed(self) -> None:
        file = write("g.yaml", axes=self.AXES, folder="{score} {length} {seed}", seeds=[1, 2])
        trials = load_grid(file).trials()
        assert [trial.folder for trial in trials] == [f"{s}_2_epochs_{n}" for s in "ab" for n in (1, 2)]
        assert trials[0].key == load_grid(write("h.yaml", axes=self.AXES, seeds=[1])).trials()[0].key

    @pytest.mark.parametrize(
        ("folder", "message"),
        [("{score}", "several runs the folder 'a'"), ("{method}", r"not made of \{length\}, \{score\}, \{seed\}")],
    )
    def test_a_name_that_does_not_tell_runs_apart_is_refused(self, folder: str, message: str) -> None:
        with pytest.raises(ConfigurationError, match=message):
            load_grid(write("g.yaml", axes=self.AXES, folder=folder, seeds=[1, 2]))


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ({"axes": {"a": [1]}, "axis": 1}, "unknown keys: axis"),
        ({"title": "T"}, "no axes"),
        ({"axes": {"a": 1}}, "axis a must be a list"),
        ({"axes": {"a": {"x": 1}}}, "axis a must be a list"),
        ({"axes": {"a": [1]}, "columns": "b"}, "columns='b' is no axis; axes are a"),
        ({"axes": {"a": [1]}, "plot": "b"}, "plot='b' is no axis"),
        ({"axes": {"a": [1]}, "settings": {"recipe": "no.yaml"}}, "no recipe 'no.yaml'"),
    ],
)
def test_a_wrong_file_is_explained(spec: dict, message: str) -> None:
    with pytest.raises(ConfigurationError, match=message):
        load_grid(write("g.yaml", **spec))


def test_a_scale_that_is_not_there_is_named() -> None:
    with pytest.raises(ConfigurationError, match="no scale 'big'; it has small"):
        load_grid(write("g.yaml", axes={"a": [1]}, scales={"small": {}}), "big")
