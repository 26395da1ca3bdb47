from __future__ import annotations

from pathlib import Path

import pytest
import torch

from transformers_palbert.errors import ConfigurationError
from transformers_palbert.experiments.outcome import Run, Status, classify, last_lines, read_runs, write_runs


@pytest.mark.parametrize(
    ("exit_code", "log", "status"),
    [
        (0, "warning: out of memory once, went on", Status.DONE),
        (1, "torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 2.00 GiB.", Status.OUT_OF_MEMORY),
        (1, "MemoryError", Status.OUT_OF_MEMORY),
        (1, "numpy._core._exceptions._ArrayMemoryError: Unable to allocate", Status.OUT_OF_MEMORY),
        (1, "RuntimeError: CUDA error: CUBLAS_STATUS_ALLOC_FAILED", Status.OUT_OF_MEMORY),
        (134, "terminate called after throwing an instance of 'std::bad_alloc'", Status.OUT_OF_MEMORY),
        (-9, "", Status.OUT_OF_MEMORY),
        (137, "", Status.OUT_OF_MEMORY),
        (1, "ValueError: learning_rate", Status.FAILED),
        (-11, "", Status.FAILED),
        (-15, "", Status.INTERRUPTED),
        (130, "KeyboardInterrupt", Status.INTERRUPTED),
    ],
)
def test_how_a_process_ended(exit_code: int, log: str, status: Status) -> None:
    assert classify(exit_code, log) is status


def test_what_torch_says_where_memory_is_short() -> None:
    with pytest.raises(RuntimeError) as error:
        torch.empty(2**60)
    assert classify(1, str(error.value)) is Status.OUT_OF_MEMORY


def test_the_last_lines_skip_what_a_progress_bar_overwrote() -> None:
    assert last_lines("a\n\n 1%\r 50%\r100%\n\nb\n", 2) == "100%\nb"


class TestRun:
    RUN = Run("k", Status.DONE, {"seed": 7}, {"eval_f1": 3}, 12.5, 0.5, "python x", labels={"a": "1"})

    def test_records_are_read_back(self) -> None:
        lost = Run("l", Status.FAILED, {}, reason="错\nline")
        write_runs(Path("new/runs.jsonl"), [self.RUN, lost])
        assert len(Path("new/runs.jsonl").read_text(encoding="utf-8").splitlines()) == 2
        assert read_runs(Path("new/runs.jsonl")) == [self.RUN, lost]

    def test_its_values(self) -> None:
        assert [self.RUN.value(name) for name in ("eval_f1", "seconds", "peak_memory_gb", "no")] == [
            3.0,
            12.5,
            0.5,
            None,
        ]
        assert (self.RUN.seed, Run("k", Status.DONE, {}).seed) == (7, 42)

    @pytest.mark.parametrize("status", Status)
    def test_only_what_would_come_out_the_same_is_final(self, status: Status) -> None:
        assert Run("k", status, {}).final is (status is Status.DONE)
        limited = Run("k", status, {"memory_limit_gb": 8})
        assert limited.final is (status in (Status.DONE, Status.OUT_OF_MEMORY))

    @pytest.mark.parametrize("line", ["{", "[]", '{"key": "k"}', '{"key": "k", "status": "lost", "settings": {}}'])
    def test_another_line_is_refused(self, line: str) -> None:
        with pytest.raises(ConfigurationError, match="no record of a run"):
            Run.from_json(line)
