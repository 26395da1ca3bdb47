"""Latencies, measured in processes of their own."""

from __future__ import annotations

import threading
from multiprocessing import Pipe
from pathlib import Path
from typing import Any

import pytest

from tests.references.exported_models import exported, source
from transformers_palbert.analysis.latency import measure_latencies
from transformers_palbert.analysis.latency_worker import Case, serve
from transformers_palbert.errors import ConfigurationError


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("model")
    source("albert")[0].save_pretrained(folder)
    return folder


def answers_of(case: Case, questions: list[Any]) -> list[Any]:
    """What a worker sends back, in a thread of this process."""
    ours, theirs = Pipe()
    thread = threading.Thread(target=serve, args=(theirs, case), daemon=True)
    thread.start()
    found = [ours.recv()]
    for question in questions:
        ours.send(question)
        found.append(ours.recv())
    thread.join(timeout=10)
    assert not thread.is_alive()
    return found


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_a_worker_times_what_it_is_asked_and_tells_its_memory(saved: Path, precision: str) -> None:
    case = Case("tiny", str(saved), "torch", precision, 1)
    loaded, first, second, memory = answers_of(case, [(1, 8), (3, 20), None])
    assert loaded is None
    assert 0 < first < 60
    assert 0 < second < 60
    assert memory > 10_000_000


def test_a_worker_runs_an_exported_model() -> None:
    pytest.importorskip("onnxruntime", reason="the extra `onnx` is not installed")
    case = Case("tiny", str(exported("structured")), "onnx", "float32", 1)
    assert [type(answer) for answer in answers_of(case, [(2, 8), None])] == [type(None), float, int]


def test_a_worker_says_what_went_wrong(saved: Path, tmp_path: Path) -> None:
    (error,) = answers_of(Case("tiny", str(tmp_path), "onnx", "float32", 1), [])
    assert error.startswith("StorageError: ")
    loaded, error = answers_of(Case("tiny", str(saved), "torch", "float32", 1), [(1, 500)])  # it has 64 positions
    assert loaded is None
    assert "Error: " in error


def test_cases_take_turns_and_one_that_fails_is_named(saved: Path, tmp_path: Path) -> None:
    good = Case("good", str(saved), "torch", "float32", 1)
    bad = Case("bad", str(tmp_path), "torch", "float32", 1)
    table = measure_latencies([good, bad], [(1, 8), (2, 16)], rounds=3)
    assert [(row.case, row.batch_size, row.length) for row in table.timings] == [(good, 1, 8), (good, 2, 16)]
    assert all(0 < row.p50 <= row.p95 and row.questions_per_second == row.batch_size / row.p50 for row in table.timings)
    assert list(table.failed) == [bad]
    said = table.to_dict()
    assert said["machine"]
    assert {"model", "runtime", "p50", "memory"} <= said["timings"][0].keys()
    assert said["failed"][0]["model"] == "bad"


def test_nothing_to_measure() -> None:
    with pytest.raises(ConfigurationError, match="0 cases, 1 shapes"):
        measure_latencies([], [(1, 8)])
