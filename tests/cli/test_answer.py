from __future__ import annotations

import json
import shutil

import pytest

from tests.cli.conftest import CONTEXT, QUESTIONS, reseeded

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


def test_several_models_vote(palbert, saved_model, tmp_path):
    other = reseeded(saved_model, tmp_path / "other")
    arguments = ["-q", QUESTION, "-c", CONTEXT, "-k", 50, "--max-answer-length", 3, "--json"]
    first, second, both = (
        json.loads(palbert("answer", *models, *arguments).stdout)
        for models in ([saved_model], [other], [saved_model, other])
    )
    sums: dict[str, float] = {}
    for found in (first, second):
        for answer in found:
            sums[answer["answer"]] = sums.get(answer["answer"], 0) + answer["score"]
    assert both[0]["answer"] == max(sums, key=sums.get)
    assert {answer["answer"]: answer["score"] for answer in both} == pytest.approx(
        {text: total / 2 for text, total in sums.items()}
    )
    assert all(CONTEXT[answer["start"] : answer["end"]] == answer["answer"] for answer in both)


def test_device(palbert, saved_model):
    arguments = ["answer", saved_model, "-q", QUESTION, "-c", CONTEXT, "--json", "--device"]
    assert palbert(*arguments, "cpu").exit_code == 0
    for name in ("cuda:77", "typewriter"):
        result = palbert(*arguments, name)
        assert (result.exit_code, result.stdout) == (1, "")
        assert result.stderr.startswith(f"error: --device {name} cannot be used: ")


def test_offsets_count_the_line_ends_of_the_file(palbert, saved_model, tmp_path):
    text = "《红楼梦》\r\n的作者\r\n是曹雪芹"
    (tmp_path / "text.txt").write_bytes(b"\xef\xbb\xbf" + text.encode())
    arguments = ["-q", QUESTION, "-f", tmp_path / "text.txt", "-k", 50, "--json"]
    answers = json.loads(palbert("answer", saved_model, *arguments).stdout)
    assert all(text[answer["start"] : answer["end"]] == answer["answer"] for answer in answers)
    assert max(answer["end"] for answer in answers) == len(text)


@pytest.mark.parametrize("command", ["answer", "compare", "report", "evaluate"])
def test_long_questions_and_texts_alarm_nobody(palbert, saved_model, tmp_path, write, complaints, command):
    model = reseeded(saved_model, tmp_path / "short", model_max_length=40)
    question = QUESTION * 6  # longer than the model's input, as are 20 questions together
    paragraph = {"context": CONTEXT * 3, "qas": []}
    for number in range(20):
        answer = {"text": "曹雪芹", "answer_start": CONTEXT.index("曹雪芹")}
        paragraph["qas"].append({"id": str(number), "question": question, "answers": [answer]})
    data = write("data.json", {"data": [{"title": "", "paragraphs": [paragraph]}]})
    result = {
        "answer": lambda: palbert("answer", model, "-q", question, "-c", CONTEXT * 3, "--max-question-length", 10),
        "compare": lambda: palbert(
            "compare", model, "--data", data, "--max-question-length", 10, "--bootstrap", 100, "--limit", 20
        ),
        "report": lambda: palbert("report", model, "--data", data, "--max-question-length", 10),
        "evaluate": lambda: palbert("evaluate", "--model", with_settings(model), "-r", data, "-m", "cmrc2018"),
    }[command]()
    assert result.exit_code == 0, result.output
    assert complaints == []


def with_settings(model):
    config = json.loads((model / "config.json").read_text())
    settings = {"max_seq_length": 40, "doc_stride": 8, "max_question_length": 10}
    (model / "config.json").write_text(json.dumps({**config, "question_answering": settings}))
    return model


BOOK = "\n".join(f"第{number}章,写的是清代。" for number in range(300)) + CONTEXT


def test_a_long_text_is_read_in_part_and_answers_keep_their_places(palbert, saved_model, tmp_path):
    other = reseeded(saved_model, tmp_path / "other")
    for models in ([saved_model], [saved_model, other]):
        result = palbert(
            "answer",
            *models,
            "-q",
            QUESTION,
            "-c",
            BOOK,
            "-k",
            5,
            "--reduce",
            "bm25",
            "--reduce-max-tokens",
            60,
            "--json",
        )
        assert result.exit_code == 0, result.output
        answers = json.loads(result.stdout)
        assert len(answers) == 5
        for answer in answers:
            assert BOOK[answer["start"] : answer["end"]] == answer["answer"]
        assert any(answer["start"] >= len(BOOK) - len(CONTEXT) for answer in answers)


def test_reading_a_part_needs_scorers_and_their_models(palbert, saved_model):
    asked = ("answer", saved_model, "-q", QUESTION, "-c", CONTEXT)
    for options, status, message in (
        (("--reduce-max-tokens", 9), 2, "no effect without --reduce"),
        (("--ig-model", "x"), 2, "no effect without --reduce"),
        (("--reduce", "tfidf"), 1, "no scorer tfidf"),
        (("--reduce", "sbert"), 1, "needs a model"),
    ):
        result = palbert(*asked, *options)
        assert result.exit_code == status, result.output
        assert message in " ".join(result.stderr.split())
