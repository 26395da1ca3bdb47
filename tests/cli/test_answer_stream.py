from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from typer.testing import CliRunner

from tests.cli.conftest import CONTEXT, QUESTIONS, reseeded
from transformers_palbert.cli.answer_stream import answer_stream
from transformers_palbert.errors import PalBertError
from transformers_palbert.qa.answer_lines import BadLine


def row(key: Any, question: str, context: str = CONTEXT) -> str:
    return json.dumps({"id": key, "question": question, "context": context}, ensure_ascii=False)


@pytest.fixture
def many(tmp_path: Path) -> Path:
    """Six questions, one of them about a longer text."""
    file = tmp_path / "many.jsonl"
    rows = [row(key, question) for key, question in QUESTIONS.items()]
    rows += [row(f"long-{key}", question, CONTEXT * 20) for key, question in QUESTIONS.items()]
    file.write_text("\n".join(rows) + "\n", encoding="utf-8")
    return file


def lines(file: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()]


def test_answers_are_those_of_one_question_at_a_time(palbert, saved_model, many, tmp_path):
    out = tmp_path / "answers.jsonl"
    result = palbert("answer", saved_model, "--questions", many, "--out", out, "-k", 3, "--batch-size", 4)
    assert result.exit_code == 0, result.output
    assert result.stdout == ""
    assert "6 questions answered" in result.stderr
    for asked, answered in zip(lines(many), lines(out), strict=True):
        arguments = ["-q", asked["question"], "-c", asked["context"], "-k", 3, "--json"]
        single = json.loads(palbert("answer", saved_model, *arguments).stdout)
        assert answered["id"] == asked["id"]
        assert [one["answer"] for one in answered["candidates"]] == [one["answer"] for one in single]
        assert [one["score"] for one in answered["candidates"]] == pytest.approx([one["score"] for one in single])
        assert answered["answer"] == asked["context"][answered["start"] : answered["end"]]
    assert not (tmp_path / "answers.rejected.jsonl").exists()


def test_long_texts_are_read_in_part(palbert, saved_model, many, tmp_path):
    out = tmp_path / "answers.jsonl"
    reduced = ("--reduce", "bm25", "--reduce-max-tokens", 40)
    result = palbert("answer", saved_model, "--questions", many, "--out", out, *reduced, "-k", 2)
    assert result.exit_code == 0, result.output
    for asked, answered in zip(lines(many), lines(out), strict=True):
        arguments = ["-q", asked["question"], "-c", asked["context"], "-k", 2, "--json", *reduced]
        single = json.loads(palbert("answer", saved_model, *arguments).stdout)
        assert [(one["start"], one["end"]) for one in answered["candidates"]] == [
            (one["start"], one["end"]) for one in single
        ]
        assert answered["answer"] == asked["context"][answered["start"] : answered["end"]]


def test_a_run_that_was_cut_off_is_finished(palbert, saved_model, many, tmp_path):
    out = tmp_path / "answers.jsonl"
    arguments = ["answer", saved_model, "--questions", many, "--out", out, "--batch-size", 1]
    assert palbert(*arguments).exit_code == 0
    whole = out.read_bytes()
    out.write_bytes(whole[: whole.index(b"\n", 200) + 30])
    result = palbert(*arguments)
    assert result.exit_code == 0
    assert "were there already" in result.stderr
    assert [line["id"] for line in lines(out)] == [line["id"] for line in lines(many)]
    again = palbert(*arguments)
    assert "0 questions answered, 6 were there already" in again.stderr


def test_standard_input_and_output(saved_model, many):
    from transformers_palbert.cli.main import app

    arguments = ["answer", str(saved_model), "--questions", "-", "--out", "-"]
    result = CliRunner().invoke(app, arguments, input=many.read_bytes())
    assert result.exit_code == 0, result.output
    assert [json.loads(line)["id"] for line in result.stdout.splitlines()] == [line["id"] for line in lines(many)]


def test_bad_lines_are_reported_and_set_aside(palbert, saved_model, many, tmp_path):
    many.write_text(many.read_text(encoding="utf-8") + '{"question": 1}\nnonsense\n', encoding="utf-8")
    out, rejected = tmp_path / "answers.jsonl", tmp_path / "answers.rejected.jsonl"
    for expected in ("6 questions answered, 2 lines", "0 questions answered, 6 were there already, 2 lines"):
        result = palbert("answer", saved_model, "--questions", many, "--out", out)
        assert result.exit_code == 0
        assert "line 7 is set aside: its question must be a string, not int" in result.stderr
        assert "line 8 is set aside: it is not valid JSON" in result.stderr
        assert expected in result.stderr
        assert [(line["line"], line["text"]) for line in lines(rejected)] == [(7, '{"question": 1}'), (8, "nonsense")]
    to_stdout = palbert("answer", saved_model, "--questions", many)
    assert (to_stdout.exit_code, "Pass --rejected FILE" in to_stdout.stderr) == (1, True)
    elsewhere = tmp_path / "bad.jsonl"
    assert palbert("answer", saved_model, "--questions", many, "--rejected", elsewhere).exit_code == 0
    assert len(lines(elsewhere)) == 2


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="Windows has no such pipes")
def test_rejected_lines_go_through_a_pipe(palbert, saved_model, many, tmp_path):
    """Nobody can look into it for lines of an earlier run: that would wait for ever."""
    many.write_text(many.read_text(encoding="utf-8") + "nonsense\n", encoding="utf-8")
    os.mkfifo(tmp_path / "pipe")
    with ThreadPoolExecutor(1) as threads:
        received = threads.submit((tmp_path / "pipe").read_text)
        result = palbert("answer", saved_model, "--questions", many, "--rejected", tmp_path / "pipe")
        assert (result.exit_code, json.loads(received.result(timeout=60))["line"]) == (0, 7)


def test_a_file_that_holds_something_else_is_not_overwritten(palbert, saved_model, many, tmp_path):
    notes = tmp_path / "notes.txt"
    notes.write_text("mine")
    result = palbert("answer", saved_model, "--questions", many, "--rejected", notes)
    assert (result.exit_code, notes.read_text()) == (1, "mine")
    assert "nothing was changed" in result.stderr


def test_lines_that_were_set_aside_stay_until_others_are_known(palbert, saved_model, many, tmp_path):
    aside = tmp_path / "aside.jsonl"
    aside.write_text(BadLine(7, "nonsense", "x").as_json() + "\n")
    assert palbert("answer", tmp_path / "nowhere", "--questions", many, "--rejected", aside).exit_code == 1
    assert len(lines(aside)) == 1
    assert palbert("answer", saved_model, "--questions", many, "--rejected", aside).exit_code == 0
    assert aside.read_text() == ""  # every run meets all bad lines again, and there are none


def test_bad_lines_are_handled_while_more_come(monkeypatch, tmp_path):
    """No model is there, and none is needed."""

    def bad_lines(check: Callable[[], bool]) -> Iterator[bytes]:
        yield from [b"nonsense\n"] * 1000
        assert check()

    def answer(lines: Iterator[bytes], out: str) -> None:
        monkeypatch.setattr(sys, "stdin", SimpleNamespace(buffer=lines))
        answer_stream(["./nowhere"], "-", out, None, {}, {}, top_k=1, batch_size=1, device=None)

    answer(bad_lines((tmp_path / "out.rejected.jsonl").exists), str(tmp_path / "out"))
    assert len(lines(tmp_path / "out.rejected.jsonl")) == 1000
    with pytest.raises(PalBertError, match=r"line 1 cannot be answered: .* Pass --rejected FILE"):
        answer(bad_lines(lambda: pytest.fail("all lines were read")), "-")


def test_several_models_vote(palbert, saved_model, many, tmp_path):
    other = reseeded(saved_model, tmp_path / "other")
    out = tmp_path / "answers.jsonl"
    assert palbert("answer", saved_model, other, "--questions", many, "--out", out).exit_code == 0
    asked, answered = lines(many)[0], lines(out)[0]
    single = palbert("answer", saved_model, other, "-q", asked["question"], "-c", asked["context"], "--json")
    assert json.loads(single.stdout)[0]["answer"] == answered["answer"]


def test_a_file_that_is_something_else_is_left_alone(palbert, saved_model, many, tmp_path):
    out = tmp_path / "thesis.txt"
    out.write_text("Years of work", encoding="utf-8")
    result = palbert("answer", saved_model, "--questions", many, "--out", out)
    assert (result.exit_code, out.read_text()) == (1, "Years of work")
    assert "nothing was changed" in result.stderr


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        (["--questions", "{many}", "-q", "a?"], "does not go with"),
        (["--questions", "{many}", "--json"], "does not go with"),
        (["-q", "a?", "-c", "b", "--out", "x.jsonl"], "--questions"),
        (["--questions", "{many}", "--out", "{many}"], "different files"),
        (["--questions", "{many}", "--out", "nowhere/x.jsonl"], "is not a folder"),
        ([], "--question"),
    ],
)
def test_options_that_do_not_go_together(palbert, saved_model, many, options, reason):
    result = palbert("answer", saved_model, *(option.format(many=many) for option in options))
    assert result.exit_code == 2
    assert reason in " ".join(result.stderr.replace("│", " ").split())


def test_no_file_and_no_questions(palbert, saved_model, tmp_path):
    assert palbert("answer", saved_model, "--questions", tmp_path / "none.jsonl").exit_code == 1
    (tmp_path / "empty.jsonl").touch()
    result = palbert("answer", saved_model, "--questions", tmp_path / "empty.jsonl")
    assert (result.exit_code, result.stdout) == (0, "")
