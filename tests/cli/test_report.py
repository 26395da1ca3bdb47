from __future__ import annotations

import json
import re

from tests.cli.conftest import reseeded


def test_page_and_figures(palbert, saved_model, answerable, tmp_path):
    out = tmp_path / "report.html"
    result = palbert("report", saved_model, "--data", answerable, "--out", out, "--top-k", 3, "--json")
    assert result.exit_code == 0, result.output
    figures = json.loads(result.stdout)
    page = out.read_text(encoding="utf-8")
    data = json.loads(re.search(r'id="data">(.*?)</script>', page, re.DOTALL)[1])
    assert figures["questions"] == len(data["questions"]) == 2
    assert {key: data[key] for key in figures if key != "questions"} == {
        key: value for key, value in figures.items() if key != "questions"
    }
    assert all(len(question["answers"]) == 3 for question in data["questions"])
    assert data["model"] == saved_model.name
    densities = {matrix["name"]: matrix["density"] for matrix in data["matrices"]}
    assert densities["bert.encoder.layer.0.intermediate.dense"] == 0.25


def test_candidates_are_slices_of_the_context(palbert, saved_model, references, tmp_path):
    out = tmp_path / "report.html"
    assert palbert("report", saved_model, "--data", references, "--out", out, "-k", 50).exit_code == 0
    data = json.loads(re.search(r'id="data">(.*?)</script>', out.read_text(encoding="utf-8"), re.DOTALL)[1])
    assert data["metric"] == "squad_v2"
    for question in data["questions"]:
        assert [0, 0] in [answer[1:3] for answer in question["answers"]]  # "no answer" is a candidate
        scores = [answer[0] for answer in question["answers"]]
        assert scores == sorted(scores, reverse=True)


def test_what_was_written_is_said(palbert, saved_model, answerable):
    result = palbert("report", saved_model, "--data", answerable, "--out", "r.html")
    assert result.stdout.startswith("2 questions, cmrc2018")
    assert "Written: r.html (" in result.stdout


def test_two_models(palbert, saved_model, answerable, tmp_path):
    other = reseeded(saved_model, tmp_path / "other")
    result = palbert("report", saved_model, other, "--data", answerable, "--json")
    assert result.exit_code == 0, result.output
    figures = json.loads(result.stdout)
    assert (figures["model"], figures["other"]["model"]) == (saved_model.name, "other")
    assert palbert("report", saved_model, other, "third", "--data", answerable).exit_code == 2


def test_a_folder_that_is_not_there_is_said_before_the_work(palbert, answerable):
    result = palbert("report", "./nowhere", "--data", answerable, "--out", "missing/r.html")
    assert result.exit_code == 2
    assert "missing is not a folder" in result.stderr
