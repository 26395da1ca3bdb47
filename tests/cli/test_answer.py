from __future__ import annotations

import json
import shutil

import pytest

from tests.cli.conftest import CONTEXT, QUESTIONS

QUESTION = QUESTIONS["q1"]


def test_answers_are_slices_of_the_text_best_first(palbert, saved_model):
    result = palbert("answer", saved_model, "-q", QUESTION, "-c", CONTEXT, "-k", 3, "--json")
    assert result.exit_code == 0, result.output
    answers = json.loads(result.stdout)
    assert len(answers) == 3
    assert all(CONTEXT[a["start"] : a["end"]] == a["answer"] for a in answers)
    assert [a["score"] for a in answers] == sorted((a["score"] for a in answers), reverse=True)


def test_one_answer_is_a_list_of_one(palbert, saved_model):
    result = palbert("answer", saved_model, "-q", QUESTION, "-c", CONTEXT, "--json")
    assert len(json.loads(result.stdout)) == 1


def test_a_file_gives_the_same_answer_as_its_text(palbert, saved_model, tmp_path):
    (tmp_path / "text.txt").write_text(CONTEXT, encoding="utf-8")
    from_file = palbert("answer", saved_model, "-q", QUESTION, "-f", tmp_path / "text.txt", "--json")
    assert from_file.stdout == palbert("answer", saved_model, "-q", QUESTION, "-c", CONTEXT, "--json").stdout


def test_table(palbert, saved_model):
    shown = palbert("answer", saved_model, "-q", QUESTION, "-c", CONTEXT).stdout.splitlines()
    best = json.loads(palbert("answer", saved_model, "-q", QUESTION, "-c", CONTEXT, "--json").stdout)[0]
    assert shown[0].split() == ["answer", "score", "start", "end"]
    assert shown[1].split() == [best["answer"], f"{best['score']:.4f}", str(best["start"]), str(best["end"])]


def test_impossible_offers_the_empty_answer(palbert, saved_model):
    arguments = ["answer", saved_model, "-q", QUESTION, "-c", CONTEXT, "-k", 50, "--json"]
    assert "" in [a["answer"] for a in json.loads(palbert(*arguments, "--impossible").stdout)]
    assert "" not in [a["answer"] for a in json.loads(palbert(*arguments).stdout)]


@pytest.mark.parametrize("options", [[], ["-c", "文", "-f", "text.txt"]])
def test_the_text_is_given_exactly_once(palbert, saved_model, tmp_path, options):
    (tmp_path / "text.txt").write_text("文", encoding="utf-8")
    result = palbert("answer", saved_model, "-q", QUESTION, *options)
    assert result.exit_code == 2
    assert "--context-file" in result.stderr


def test_a_text_in_another_encoding(palbert, saved_model, tmp_path):
    (tmp_path / "text.txt").write_bytes(CONTEXT.encode("gb18030"))
    result = palbert("answer", saved_model, "-q", QUESTION, "-f", tmp_path / "text.txt")
    assert result.exit_code == 1
    assert "not UTF-8" in result.stderr


@pytest.mark.parametrize("model", ["./nowhere", "nobody/nothing"])
def test_a_model_that_is_not_there(palbert, model):
    result = palbert("answer", model, "-q", QUESTION, "-c", CONTEXT)
    assert result.exit_code == 1
    assert result.stdout == ""
    assert result.stderr.startswith("error: ")
    assert model in result.stderr


def test_a_question_of_unknown_tokens_alone_is_refused(palbert, saved_model):
    result = palbert("answer", saved_model, "-q", "zzz", "-c", CONTEXT)
    assert result.exit_code == 1
    assert "knows nothing of 'zzz'" in result.stderr


def test_an_empty_text_is_refused(palbert, saved_model):
    result = palbert("answer", saved_model, "-q", QUESTION, "-c", "")
    assert result.exit_code == 1
    assert "context" in result.stderr


def test_the_settings_of_the_model_are_the_default(palbert, saved_model, tmp_path):
    model = shutil.copytree(saved_model, tmp_path / "model")
    config = json.loads((model / "config.json").read_text())
    (model / "config.json").write_text(json.dumps({**config, "question_answering": {"max_answer_length": 1}}))
    arguments = ["-q", QUESTION, "-c", CONTEXT, "-k", 20, "--json"]
    lengths = {a["end"] - a["start"] for a in json.loads(palbert("answer", model, *arguments).stdout)}
    assert lengths == {1}
    longer = palbert("answer", model, *arguments, "--max-answer-length", 5)
    assert max(a["end"] - a["start"] for a in json.loads(longer.stdout)) > 1


def test_settings_that_cannot_be_read(palbert, saved_model, tmp_path):
    model = shutil.copytree(saved_model, tmp_path / "model")
    config = json.loads((model / "config.json").read_text())
    (model / "config.json").write_text(json.dumps({**config, "question_answering": {"stride": 1}}))
    result = palbert("answer", model, "-q", QUESTION, "-c", CONTEXT)
    assert result.exit_code == 1
    assert "'stride' is no answering setting" in result.stderr
