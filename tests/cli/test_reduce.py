from __future__ import annotations

import json
import sys

import datasets
import pytest

from tests.cli.conftest import CONTEXT
from transformers_palbert.qa.datasets import load_qa_dataset
from transformers_palbert.reduction.passages import word_starts

LONG = "天下大雨。" + CONTEXT + "他喜欢猫。"


@pytest.fixture
def data(write):
    answer = {"text": "曹雪芹", "answer_start": LONG.index("曹雪芹")}
    lost = {"text": "大雨", "answer_start": LONG.index("大雨")}
    questions = [
        {"id": "q1", "question": "谁写了《红楼梦》?", "answers": [answer]},
        {"id": "q2", "question": "《红楼梦》的作者?", "answers": [lost]},
    ]
    return write("data.json", {"data": [{"title": "", "paragraphs": [{"context": LONG, "qas": questions}]}]})


def run(palbert, data, out, *options):
    return palbert("reduce", data, out, "--cache", out.parent / "scores", *options)


def test_data_sets_table_manifest_and_picture(palbert, data, tmp_path):
    out = tmp_path / "out"
    result = run(palbert, data, out, "--thresholds", "1, 0")
    assert result.exit_code == 0, result.output
    assert {file.name for file in out.iterdir()} == {"D1.json", "D2.json", "manifest.json", "kept.png"}
    first, second = (load_qa_dataset(out / f"D{number}.json") for number in (1, 2))
    assert first["context"] == [LONG] * 2
    assert second["id"] == ["q1", "q2"]
    assert second["context"] == [CONTEXT] * 2
    assert second[0]["answers"]["answer_start"] == [CONTEXT.index("曹雪芹")]
    tokens = 2 * len(word_starts(LONG))
    assert result.stdout.splitlines()[1].split() == f"D1.json threshold 0 {tokens} 100.0% 2 100.0%".split()
    assert "Up to 1 questions lost all their answers" in " ".join(result.stdout.split())


def test_kept_answers_and_json(palbert, data, tmp_path):
    result = run(palbert, data, tmp_path / "out", "--shares", "0.2", "--keep-answer", "--json")
    assert result.exit_code == 0, result.output
    manifest = json.loads(result.stdout)
    (found,) = manifest["datasets"]
    assert (found["share"], found["answers_kept"], found["answers_cut"]) == (0.2, 2, 0)
    assert manifest["plan"]["keep_answer"] is True
    assert manifest["curves"]["bm25"][0]["answers_kept"] == 1


def test_tokens_of_a_tokenizer_blocks_and_neighbours(palbert, data, saved_model, tmp_path):
    options = ("--max-tokens", "8,4", "--tokenizer", saved_model, "--passages", "4", "--neighbours", "1")
    result = run(palbert, data, tmp_path / "out", *options, "--json")
    assert result.exit_code == 0, result.output
    manifest = json.loads(result.stdout)
    assert [row["max_tokens"] for row in manifest["datasets"]] == [8, 4]
    assert all(row["tokens_after"] <= 2 * row["max_tokens"] for row in manifest["datasets"])
    assert manifest["plan"]["passages"] == 4


def test_integrated_gradients_with_fitted_weights(palbert, data, saved_model, tmp_path):
    pytest.importorskip("captum", reason="captum is not installed")
    options = ("--scorers", "bm25,ig", "--ig-model", saved_model, "--ig-steps", "3", "--fit-weights", "2")
    result = run(palbert, data, tmp_path / "out", "--shares", "0.5", *options, "--device", "cpu")
    assert result.exit_code == 0, result.output
    assert "Weights: bm25" in result.stdout
    assert "Integrated gradients miss" in result.stdout


def test_a_question_limit(palbert, data, tmp_path):
    result = run(palbert, data, tmp_path / "out", "--thresholds", "0.5", "--limit", "1", "--json")
    assert json.loads(result.stdout)["datasets"][0]["questions"] == 1


@pytest.mark.parametrize(
    ("options", "status", "message"),
    [
        ((), 2, "say how much to keep"),
        (("--shares", "0.5", "--max-tokens", "9"), 2, "say how much to keep"),
        (("--shares", "half"), 2, "must be numbers"),
        (("--shares", "2"), 1, "above 0 and at most 1"),
        (("--shares", "0.5", "--scorers", "tfidf"), 1, "no scorer tfidf"),
        (("--shares", "0.5", "--scorers", "sbert"), 1, "needs a model"),
        (("--shares", "0.5", "--weights", "bm25"), 1, "must be of the form bm25=1"),
        (("--shares", "0.5", "--weights", "ig=1"), 1, "weights for ig"),
        (("--shares", "0.5", "--ig-steps", "20"), 2, "--ig-steps has no effect"),
        (("--shares", "0.5", "--ig-baseline", "zero"), 2, "--ig-baseline has no effect"),
        (("--shares", "0.5", "--scorers", "ig", "--ig-steps", "9"), 1, "needs a model"),
    ],
)
def test_what_cannot_be(palbert, data, tmp_path, options, status, message):
    result = run(palbert, data, tmp_path / "out", *options)
    assert result.exit_code == status
    assert message in " ".join(result.stderr.split())
    assert not (tmp_path / "out").exists()


def test_without_matplotlib_there_is_no_picture(palbert, data, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    result = run(palbert, data, tmp_path / "out", "--shares", "0.5")
    assert result.exit_code == 0, result.output
    assert "No picture" in result.stderr
    assert not (tmp_path / "out" / "kept.png").exists()


def test_a_data_set_on_the_hub(palbert, data, tmp_path, monkeypatch):
    dataset, calls = load_qa_dataset(data), []

    def load_dataset(path, **options):
        calls.append((path, options))
        return dataset

    monkeypatch.setattr(datasets, "load_dataset", load_dataset)
    options = ("--shares", "0.5", "--split", "train", "--config", "plain", "--limit", "1", "--json")
    result = run(palbert, "owner/questions", tmp_path / "out", *options)
    assert result.exit_code == 0, result.output
    assert calls == [("owner/questions", {"split": "train", "name": "plain"})]
    assert json.loads(result.stdout)["plan"]["source"] == "owner/questions, config plain, split train, limit 1"


def test_a_file_that_is_not_there(palbert, tmp_path):
    result = run(palbert, "none.json", tmp_path / "out", "--shares", "0.5")
    assert result.exit_code == 1
    assert "none.json: there is no such file or folder" in " ".join(result.stderr.split())


def test_weights_that_were_fitted_on_these_answers_are_told(palbert, data, tmp_path):
    options = ("--scorers", "bm25,lead", "--fit-weights", "2")
    result = run(palbert, data, tmp_path / "out", "--shares", "0.5", *options)
    assert "The weights know answers of these questions" in " ".join(result.stdout.split())
    result = run(palbert, data, tmp_path / "given", "--shares", "0.5", *options[:2], "--weights", "bm25=1")
    assert "know answers" not in result.stdout
