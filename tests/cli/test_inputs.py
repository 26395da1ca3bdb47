"""What commands read beside files: standard input, and models and data sets of the Hub."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from tests.hub.conftest import hub  # noqa: F401 (a fixture)
from transformers_palbert.cli.main import app


@pytest.fixture
def piped():
    """Run a command with something on its standard input."""
    return lambda content, *arguments: CliRunner().invoke(app, [str(word) for word in arguments], input=content)


def files_of(folder: Path) -> dict[str, bytes]:
    return {file.name: file.read_bytes() for file in folder.iterdir()}


def test_a_model_of_the_hub_is_inspected_by_its_name(palbert, saved_model, hub):  # noqa: F811
    hub.create("me/qa", files={**files_of(saved_model), "pytorch_model.bin": b"pickle", "notes.txt": b"x"})
    result = palbert("inspect", "me/qa", "--json")
    assert result.exit_code == 0, result.output
    assert json.loads(result.stdout) == json.loads(palbert("inspect", saved_model, "--json").stdout)
    fetched = {request.rpartition("/")[2] for request in hub.requests if "/resolve/" in request}
    assert fetched == {"config.json", "model.safetensors"}  # no pickle, and nothing that is not looked at


def test_a_model_of_the_hub_is_packed_and_unpacked(palbert, saved_model, hub, tmp_path):  # noqa: F811
    hub.create("me/qa", files=files_of(saved_model))
    result = palbert("compress", "me/qa", "small", "--values", "fp16")
    assert result.exit_code == 0, result.output
    assert "me/qa" in result.stdout
    hub.create("me/small", files=files_of(Path("small")))
    assert palbert("decompress", "me/small", "plain").exit_code == 0
    assert (tmp_path / "plain" / "tokenizer.json").is_file()


@pytest.mark.parametrize("name", ["me/nothing", "./nothing", "nothing", "a/b/c"])
@pytest.mark.usefixtures("hub")
def test_a_model_that_is_nowhere(palbert, name):
    result = palbert("inspect", name)
    assert result.exit_code == 2
    assert "there is no folder" in " ".join(result.stderr.replace("│", "").split())


def test_a_data_set_of_the_hub(palbert, references, answerable, hub):  # noqa: F811
    files = {"data/train.json": references.read_bytes(), "dev.json": answerable.read_bytes(), "README.md": b"# x"}
    hub.create("datasets/me/questions", files=files)
    result = palbert("data", "stats", "me/questions", "--json")
    assert result.exit_code == 0, result.output
    assert [part["samples"] for part in json.loads(result.stdout)] == [3, 2]
    assert [
        part["samples"] for part in json.loads(palbert("data", "stats", "me/questions/dev.json", "--json").stdout)
    ] == [2]
    result = palbert("data", "convert", "me/questions", "out.json")
    assert result.exit_code == 2
    assert "me/questions/data/train.json, me/questions/dev.json" in " ".join(result.stderr.replace("│", "").split())
    assert palbert("data", "convert", "me/questions/dev.json", "out.json").exit_code == 0


def test_a_file_that_is_missing_is_not_looked_for_on_the_hub(palbert, hub):  # noqa: F811
    result = palbert("data", "stats", "data/train.json")
    assert result.exit_code == 2
    assert "there is no file data/train.json" in " ".join(result.stderr.replace("│", "").split())
    assert hub.requests == []


@pytest.mark.parametrize(
    "content",
    [
        '{"data": []}',
        '[{"id": "1", "question": "q", "context": "c", "answers": {"text": ["c"], "answer_start": [0]}}]',
        '{"id": "1", "question": "q", "context": "c", "answers": {"text": ["c"], "answer_start": [0]}}\n'
        '{"id": "2", "question": "q", "context": "c", "answers": {"text": ["c"], "answer_start": [0]}}\n',
        "id,question,context,answer_text,answer_start\n1,q,c,c,0\n",
    ],
    ids=["squad", "json", "jsonl", "csv"],
)
def test_questions_come_in_through_a_pipe(piped, tmp_path, content):
    suffix = {"i": ".csv"}.get(content[0], ".jsonl" if "\n" in content else ".json")
    (tmp_path / f"same{suffix}").write_text(content)
    beside = piped("", "data", "stats", tmp_path / f"same{suffix}", "--json")
    result = piped(content, "data", "stats", "-", "--json")
    assert result.exit_code == beside.exit_code, result.output
    if result.exit_code == 0:
        found, expected = json.loads(result.stdout)[0], json.loads(beside.stdout)[0]
        assert (found.pop("file").startswith("/"), expected.pop("file").endswith(suffix)) == (True, True)
        assert found == expected


def test_parts_of_what_came_in_through_a_pipe_are_written_here(piped, tmp_path):
    questions = "".join(
        json.dumps({"id": n, "question": "q", "context": n, "answers": {"text": [n], "answer_start": [0]}}) + "\n"
        for n in ("one", "two")
    )
    result = piped(questions, "data", "split", "-")
    assert result.exit_code == 0, result.output
    assert sorted(file.name for file in tmp_path.glob("*-?.json")) == ["standard-input-1.json", "standard-input-2.json"]


def test_predictions_and_texts_come_in_through_a_pipe(piped, answerable, saved_model):
    predictions = json.dumps({"q1": "曹雪芹", "q2": "清代"})
    result = piped(predictions, "evaluate", "-p", "-", "-r", answerable, "-m", "cmrc2018", "--json")
    assert json.loads(result.stdout)["F1"] == 100
    asked = ("answer", saved_model, "-q", "谁写了《红楼梦》?", "--json")
    from_pipe = piped("作者是曹雪芹。\r\n", *asked, "-f", "-")
    assert from_pipe.exit_code == 0, from_pipe.output
    assert json.loads(from_pipe.stdout) == json.loads(piped("", *asked, "-c", "作者是曹雪芹。\r\n").stdout)


def test_an_empty_pipe_is_said(piped):
    result = piped("", "data", "stats", "-")
    assert result.exit_code == 2
    assert "nothing came in" in result.stderr


def test_probabilities_come_in_through_a_pipe_but_not_beside_predictions(piped, references, tmp_path):
    (tmp_path / "p.json").write_text(json.dumps({"q1": "曹雪芹", "q2": "清代", "q3": ""}))
    odds = json.dumps({"q1": 0.1, "q2": 0.2, "q3": 0.9})
    scored = ("evaluate", "-r", references, "-m", "squad_v2", "--json", "--na-probs")
    (tmp_path / "odds.json").write_text(odds)
    result = piped(odds, *scored, "-", "-p", tmp_path / "p.json")
    assert result.exit_code == 0, result.output
    assert result.stdout == piped("", *scored, tmp_path / "odds.json", "-p", tmp_path / "p.json").stdout
    result = piped(odds, *scored, "-", "-p", "-")
    assert result.exit_code == 2
    assert "it can be named once" in " ".join(result.stderr.replace("│", "").split())


@pytest.mark.parametrize("questions", [False, True])
def test_a_corpus_comes_in_through_a_pipe(piped, saved_model, answerable, tmp_path, questions):
    corpus = answerable.read_text(encoding="utf-8") if questions else "谁,作者\n是\t曹雪芹\n"
    file = tmp_path / f"corpus.{'json' if questions else 'txt'}"
    file.write_text(corpus, encoding="utf-8")
    found = {}
    for name, content in ((str(file), ""), ("-", corpus)):
        out = tmp_path / f"small{len(found)}"
        result = piped(content, "shrink", saved_model, out, "--drop-characters", "--json", "--vocabulary", name)
        assert result.exit_code == 0, result.output
        found[name] = json.loads(result.stdout)
    assert found["-"] == found[str(file)]
