from __future__ import annotations

import csv
import io
import json
import shutil

import pytest

from transformers_palbert.cli.models import model_names
from transformers_palbert.errors import ConfigurationError

OPTIONS = ("--bootstrap", 100, "--batch-size", 2)


@pytest.fixture
def other_model(saved_model, tmp_path):
    """The same model under another name."""
    return shutil.copytree(saved_model, tmp_path / "twin|1")


def test_json(palbert, saved_model, other_model, answerable):
    result = palbert("compare", saved_model, other_model, "--data", answerable, *OPTIONS, "--json", "--seed", 4)
    assert result.exit_code == 0, result.output
    found = json.loads(result.stdout)
    assert (found["metric"], found["questions"], found["resamples"], found["seed"]) == ("cmrc2018", 2, 100, 4)
    first, second = found["models"]
    assert (first["name"], second["name"]) == (saved_model.name, "twin|1")
    assert first["f1"] == second["f1"]
    assert first["f1_difference"] is None
    assert second["f1_difference"] == {"value": 0, "low": 0, "high": 0, "p": 1}
    assert first["facts"]["file_bytes"] == (saved_model / "model.safetensors").stat().st_size
    assert "2 questions are few" in result.stderr


def test_csv(palbert, saved_model, other_model, answerable):
    result = palbert("compare", saved_model, other_model, "--data", answerable, *OPTIONS, "--csv")
    first, second = csv.DictReader(io.StringIO(result.stdout))
    assert (second["model"], second["f1_difference_p"]) == ("twin|1", "1.0")
    assert first["f1_difference_p"] == ""
    assert float(first["f1_low"]) <= float(first["f1"]) <= float(first["f1_high"])
    assert float(first["latency_seconds"]) > 0


def test_markdown(palbert, saved_model, other_model, answerable):
    result = palbert("compare", saved_model, other_model, "--data", answerable, *OPTIONS, "--markdown")
    lines = result.stdout.splitlines()
    assert len(lines) == 4
    assert lines[3].startswith("| twin\\|1 | ")
    assert {line.replace("\\|", "").count("|") for line in lines} == {13}


def test_tables_fit_80_columns(palbert, saved_model, other_model, answerable, terminal):
    terminal(80)
    lines = palbert("compare", saved_model, other_model, "--data", answerable, *OPTIONS).stdout.splitlines()
    tables = [line for line in lines if not line.startswith("latency: ")]  # a sentence stays whole in a pipe
    assert max(map(len, tables)) <= 80
    assert lines[0].startswith("2 questions, cmrc2018")
    assert any(line.startswith(f"minus {saved_model.name}") for line in lines)


def test_one_model_has_no_differences(palbert, saved_model, answerable):
    out = palbert("compare", saved_model, "--data", answerable, *OPTIONS).stdout
    assert "minus" not in out


def test_limit(palbert, saved_model, answerable):
    result = palbert("compare", saved_model, "--data", answerable, *OPTIONS, "--limit", 1, "--json")
    assert json.loads(result.stdout)["questions"] == 1


def test_questions_without_an_answer_choose_the_metric(palbert, saved_model, references):
    result = palbert("compare", saved_model, "--data", references, *OPTIONS, "--json")
    assert json.loads(result.stdout)["metric"] == "squad_v2"


def test_a_metric_that_cannot_score_the_data_fails_before_the_work(palbert, references):
    result = palbert("compare", "./nowhere", "--data", references, "--metric", "cmrc2018")
    assert result.exit_code == 1
    assert "has no reference answer" in result.stderr


def test_a_file_without_any_answer(palbert, write, saved_model):
    result = palbert(
        "compare", saved_model, "--data", write("q.json", [{"question": "?", "context": "文", "answers": []}])
    )
    assert result.exit_code == 1
    assert "none of the 1 questions has an answer" in result.stderr


def test_formats_exclude_each_other(palbert, saved_model, answerable):
    result = palbert("compare", saved_model, "--data", answerable, "--json", "--csv")
    assert result.exit_code == 2
    assert "exclude" in result.stderr


def test_a_model_that_is_not_there(palbert, answerable):
    result = palbert("compare", "./nowhere", "--data", answerable)
    assert result.exit_code == 1
    assert "./nowhere is not a folder" in result.stderr


def test_names(tmp_path):
    for folder in ("a/x", "b/x", "b/y"):
        (tmp_path / folder).mkdir(parents=True)
    paths = [str(tmp_path / folder) for folder in ("a/x", "b/x", "b/y")]
    assert model_names(paths) == [paths[0], paths[1], "y"]
    assert model_names(["me/model"]) == ["me/model"]
    with pytest.raises(ConfigurationError, match="more than once"):
        model_names(["me/model", "me/model"])
