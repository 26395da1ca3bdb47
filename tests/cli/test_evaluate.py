from __future__ import annotations

import json

import pytest

from tests.cli.conftest import ANSWERS
from transformers_palbert.qa.datasets import load_qa_dataset
from transformers_palbert.qa.metrics import METRICS, compute_metric

PREDICTIONS = {"q1": "曹雪芹", "q2": "明代", "q3": ""}


@pytest.mark.parametrize("metric", METRICS)
def test_json_is_what_the_library_computes(palbert, write, answerable, metric):
    predictions = {"q1": "曹雪芹写", "q2": "清代"}
    result = palbert("evaluate", "-p", write("p.json", predictions), "-r", answerable, "-m", metric, "--json")
    assert result.exit_code == 0, result.output
    assert json.loads(result.stdout) == compute_metric(metric, predictions, load_qa_dataset(answerable))


def test_a_metric_that_cannot_score_the_data_says_so(palbert, write, references):
    result = palbert("evaluate", "-p", write("p.json", PREDICTIONS), "-r", references, "-m", "cmrc2018")
    assert result.exit_code == 1
    assert "'q3'" in result.stderr


def test_table(palbert, write, references):
    result = palbert("evaluate", "-p", write("p.json", PREDICTIONS), "-r", references, "-m", "squad_v2")
    lines = dict(line.split() for line in result.stdout.splitlines())
    assert lines["squad_v2"] == "value"
    assert lines["exact"] == "66.6667"  # q1 and q3 of three
    assert lines["HasAns_exact"] == "50.0000"


def test_a_list_of_records_works_as_well(palbert, write, references):
    records = [{"id": key, "prediction_text": text} for key, text in PREDICTIONS.items()]
    result = palbert("evaluate", "-p", write("p.json", records), "-r", references, "-m", "palbert_qa", "--json")
    assert json.loads(result.stdout) == compute_metric("palbert_qa", PREDICTIONS, load_qa_dataset(references))


def test_no_answer_probabilities_reach_the_metric(palbert, write, references):
    probabilities = {"q1": 0.9, "q2": 0.8, "q3": 0.1}  # the wrong way round
    arguments = ["-p", write("p.json", {**ANSWERS, "q3": "清"}), "-r", references, "-m", "squad_v2", "--json"]
    result = palbert("evaluate", *arguments, "--na-probs", write("na.json", probabilities))
    expected = compute_metric(
        "squad_v2", {**ANSWERS, "q3": "清"}, load_qa_dataset(references), no_answer_probabilities=probabilities
    )
    assert json.loads(result.stdout) == expected
    assert expected["best_exact"] == pytest.approx(200 / 3)


def test_a_missing_prediction_is_a_warning_that_leaves_json_alone(palbert, write, answerable):
    result = palbert("evaluate", "-p", write("p.json", {"q1": "曹"}), "-r", answerable, "-m", "cmrc2018", "--json")
    assert result.exit_code == 0
    assert json.loads(result.stdout)["SKIP"] == 1
    assert result.stderr.startswith("warning: 1 references have no prediction")


@pytest.mark.parametrize(
    ("predictions", "words"),
    [
        ({"q1": 3}, ["q1", "3"]),
        ([{"id": "q1"}], ["prediction_text"]),
        ("曹雪芹", ["曹雪芹"]),
    ],
)
def test_wrong_predictions_are_named(palbert, write, references, predictions, words):
    result = palbert("evaluate", "-p", write("p.json", predictions), "-r", references, "-m", "squad")
    assert result.exit_code == 1
    assert result.stdout == ""
    assert result.stderr.startswith("error: ")
    assert all(word in result.stderr for word in words)
    assert result.stderr.count("\n") == 1


def test_a_file_that_is_not_json(palbert, tmp_path, references):
    file = tmp_path / "p.json"
    file.write_bytes(b"\xff\xfe{")
    result = palbert("evaluate", "-p", file, "-r", references, "-m", "squad")
    assert result.exit_code == 1
    assert f"{file} is not JSON in UTF-8" in result.stderr


@pytest.mark.parametrize("probabilities", [[0.5], {"q1": "0.5"}, {"q1": True}])
def test_wrong_probabilities_are_named(palbert, write, references, probabilities):
    arguments = ["-p", write("p.json", PREDICTIONS), "-r", references, "-m", "squad_v2"]
    result = palbert("evaluate", *arguments, "--na-probs", write("na.json", probabilities))
    assert result.exit_code == 1
    assert "na.json" in result.stderr


def test_probabilities_belong_to_squad_v2(palbert, write, references):
    file = write("p.json", PREDICTIONS)
    result = palbert("evaluate", "-p", file, "-r", references, "-m", "squad", "--na-probs", file)
    assert result.exit_code == 2
    assert "squad_v2" in result.stderr


def test_an_unknown_metric_names_the_known_ones(palbert, write, references):
    result = palbert("evaluate", "-p", write("p.json", PREDICTIONS), "-r", references, "-m", "bleu")
    assert result.exit_code == 2
    assert all(metric in result.stderr for metric in METRICS)


def test_every_metric_of_the_library_is_offered():
    from typing import get_args

    from transformers_palbert.cli.evaluate import Metric

    assert sorted(get_args(Metric)) == sorted(METRICS)


def test_a_missing_file(palbert, references):
    result = palbert("evaluate", "-p", "nowhere.json", "-r", references, "-m", "squad")
    assert result.exit_code == 2
    assert "nowhere.json" in result.stderr


@pytest.mark.parametrize("option", ["--predictions-csv", "--predictions_csv"])
def test_predictions_as_csv_in_the_order_of_the_data(palbert, write, references, tmp_path, option):
    predictions = write("p.json", {"q3": "", "q2": 'in "清代",', "q1": "曹雪芹"})
    file = tmp_path / "answers.csv"
    result = palbert("evaluate", "-p", predictions, "-r", references, "-m", "squad_v2", option, file)
    assert result.exit_code == 0, result.output
    assert file.read_text(encoding="utf-8") == 'ID,Answer\nq1,曹雪芹\nq2,"in ""清代"","\nq3,\n'
