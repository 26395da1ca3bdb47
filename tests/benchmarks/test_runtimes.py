"""The benchmark of the runtimes: who answers, who takes turns, what is kept."""

from __future__ import annotations

import json
import shutil
from argparse import Namespace
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from tests.references.exported_models import CHINESE, ENGLISH, exported, source
from transformers_palbert.analysis.latency_worker import Case
from transformers_palbert.runtime import load

QUESTIONS = [
    {"id": f"q{number}", "question": question, "context": text, "answers": {"text": ["Berlin"], "answer_start": [0]}}
    for number, (question, text) in enumerate([("where?", ENGLISH * 2), ("谁？", CHINESE), ("who?", ENGLISH)])
]


SETTINGS = {"max_seq_len": 40, "doc_stride": 10, "max_question_len": 16, "max_answer_len": 6}


@pytest.fixture
def runtimes(script: Callable[[str], ModuleType]) -> ModuleType:
    return script("runtimes")


@pytest.fixture
def worker(script: Callable[[str], ModuleType]) -> ModuleType:
    return script("runtimes_worker")


@pytest.fixture
def onnx() -> Path:
    pytest.importorskip("onnxruntime", reason="the extra `onnx` is not installed")
    return exported("albert")


def test_plain_onnxruntime_finds_the_same_spans(worker: ModuleType, onnx: Path) -> None:
    plain = worker.load_asker(Case("whole", str(onnx), worker.PLAIN, "float32", 2))
    task = (0, len(QUESTIONS), 2)
    found = worker.answer(plain, QUESTIONS, task, SETTINGS)
    expected = [
        load(onnx)(row, max_seq_len=40, doc_stride=10, max_answer_len=6, align_to_words=False)["answer"]
        for row in QUESTIONS
    ]
    assert found["answers"] == expected
    assert 0 < found["seconds"] < 60


def test_each_case_is_the_pipeline_or_the_runtime(worker: ModuleType, onnx: Path, tmp_path: Path) -> None:
    model, tokenizer, _ = source("albert")
    model.save_pretrained(tmp_path)
    tokenizer.save_pretrained(tmp_path)
    cases = [Case("whole", str(tmp_path), "torch", "float32", 1), Case("whole", str(onnx), "onnx", "float32", 1)]
    found = [worker.answer(worker.load_asker(case), QUESTIONS, (0, 3, 2), SETTINGS)["answers"] for case in cases]
    assert found[0] == found[1]
    assert worker.answer(worker.load_asker(cases[1]), QUESTIONS, (1, 2, 2), SETTINGS)["answers"] == found[1][1:2]


class Turn:
    """Takes turns in this process; fails at a task if told to."""

    def __init__(self, *answers: Any) -> None:
        self.answers, self.tasks = list(answers), []

    def __enter__(self) -> Turn:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def receive(self) -> None:
        return None

    def ask(self, task: Any) -> Any:
        self.tasks.append(task)
        return self.answers.pop(0)


def test_all_questions_are_scored_in_parts(runtimes: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runtimes, "CHUNK", 2)
    turn = Turn({"answers": ["Berlin", "Bonn"]}, {"answers": ["in Berlin"]})
    assert runtimes.score(turn, QUESTIONS, 8) == {
        "f1": pytest.approx(500 / 9),
        "em": pytest.approx(100 / 3),
        "scored": 3,
    }
    assert turn.tasks == [(0, 2, 8), (2, 3, 8)]
    assert runtimes.score(Turn({"answers": ["Berlin", "Bonn"]}, "it broke"), QUESTIONS, 8) == "it broke"


def test_what_is_finished_is_kept_as_long_as_the_settings_are_the_same(runtimes: ModuleType, tmp_path: Path) -> None:
    file = tmp_path / "new" / "row.json"
    assert runtimes.kept(file, {"seed": 1}, lambda: "a failure") == "a failure"
    assert not file.exists()
    assert runtimes.kept(file, {"seed": 1}, lambda: {"f1": 1}) == {"f1": 1}
    assert runtimes.kept(file, {"seed": 1}, lambda: {"f1": 2}) == {"f1": 1}
    assert runtimes.kept(file, {"seed": 2}, lambda: {"f1": 3}) == {"f1": 3}


def test_ratios_are_taken_round_by_round(runtimes: ModuleType) -> None:
    case = Case("whole", "x", "torch", "float32", 1)
    seconds = {"whole": {"1": [2.0, 4.0, 2.0]}, "peer": {"1": [1.0, 1.0, 2.0]}}
    rows = runtimes.rows_of({"whole": case, "broken": case, "peer": None}, seconds, 10)
    assert [(row["name"], row["speed"], row["questions_per_second"]) for row in rows] == [
        ("whole", {"1": 1.0}, {"1": 5.0}), ("peer", {"1": 2.0}, {"1": 10.0})
    ]  # fmt: skip
    assert (rows[0]["runtime"], "runtime" in rows[1]) == ("torch", False)


def test_a_peer_that_cannot_be_installed_is_named(
    runtimes: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: Any) -> None:
        raise OSError("no network")

    monkeypatch.setattr(runtimes, "old_environment", fail)
    (tmp_path / "questions.json").write_text("[]")
    args = Namespace(work=tmp_path, shape=False, model=tmp_path / "dense", environment=tmp_path, threads=1,
                     max_seq_len=40, doc_stride=10, max_answer_len=6)  # fmt: skip
    failed: dict[str, str] = {}
    assert runtimes.make_peers(args, tmp_path / "questions.json", failed) == {}
    assert list(failed.values()) == ["it cannot be installed here: no network"] * 2


class Inside:
    """What a process does, in this one."""

    def __init__(self, _: Any, case: Case, questions: Path, settings: Any) -> None:
        self.case, self.questions, self.settings = case, questions, settings

    def __enter__(self) -> Inside:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def receive(self) -> str | None:
        if self.case.precision == "nothing":
            return "there is no such precision"
        self.ask_model = self.worker.load_asker(self.case)
        return None

    def ask(self, task: Any) -> Any:
        return self.worker.answer(self.ask_model, json.loads(self.questions.read_text()), task, self.settings)


def test_a_whole_run_measures_keeps_and_names_what_failed(
    runtimes: ModuleType, worker: ModuleType, onnx: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model, tokenizer, _ = source("albert")
    for part in (model, tokenizer):
        part.save_pretrained(tmp_path / "model")
    shutil.copytree(onnx, tmp_path / "work/exported/model-onnx-float32")
    monkeypatch.setattr(runtimes, "RUNTIMES", (("torch", "float32"), ("onnx", "float32"), ("torch", "nothing")))
    monkeypatch.setattr(runtimes, "Worker", Inside)
    monkeypatch.setattr(Inside, "worker", worker, raising=False)
    (tmp_path / "dev.jsonl").write_text("\n".join(json.dumps(row) for row in QUESTIONS), encoding="utf-8")
    args = Namespace(
        model=tmp_path / "model", structured=None, dev=tmp_path / "dev.jsonl", calibrate=None, shape=False, peers=False,
        questions=2, limit=None, batch_sizes=[1, 2], rounds=1, threads=1, work=tmp_path / "work", seed=1,
        max_seq_len=40, doc_stride=10, max_answer_len=6,
    )  # fmt: skip
    result = runtimes.measure(args)
    assert [row["name"] for row in result["runs"]] == ["whole, torch float32", "whole, onnx float32"]
    assert result["failed"] == {"whole, torch nothing": "there is no such precision"}
    assert result["runs"][0]["speed"] == {"1": 1.0, "2": 1.0}
    assert result["runs"][0]["f1"] == result["runs"][1]["f1"]
    assert str(tmp_path) not in json.dumps(result["runs"])
    monkeypatch.setattr(Inside, "receive", lambda _: pytest.fail("it was measured twice"))
    assert runtimes.measure(args)["runs"] == result["runs"]
