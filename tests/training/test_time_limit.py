from __future__ import annotations

import time
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from transformers import TrainerControl, TrainerState

from transformers_palbert.errors import ConfigurationError
from transformers_palbert.training.time_limit import StopInTime

ONE = SimpleNamespace(world_size=1, device="cpu")


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> dict[str, float]:
    now = {"seconds": 1000.0}
    monkeypatch.setattr(time, "monotonic", lambda: now["seconds"])
    return now


def after_step(callback: StopInTime, step: int, args: Any = ONE) -> TrainerControl:
    return callback.on_step_end(args, TrainerState(global_step=step, max_steps=10), TrainerControl())


def test_it_saves_and_stops_at_the_first_step_after_the_time(clock: dict[str, float]) -> None:
    callback = StopInTime(60)
    clock["seconds"] += 59.9
    control = after_step(callback, 3)
    assert not control.should_training_stop
    assert not callback.stopped
    clock["seconds"] += 0.1
    control = after_step(callback, 4)
    assert control.should_save
    assert control.should_training_stop
    assert callback.stopped


def test_the_last_step_ends_the_run_and_no_piece_of_it(clock: dict[str, float]) -> None:
    callback = StopInTime(60)
    clock["seconds"] += 100
    assert not after_step(callback, 10).should_training_stop
    assert not callback.stopped


@pytest.mark.usefixtures("clock")
def test_all_processes_stop_when_one_is_late(monkeypatch: pytest.MonkeyPatch) -> None:
    others = iter([0, 1])

    def all_reduce(flag: torch.Tensor, op: Any) -> None:
        assert op == torch.distributed.ReduceOp.MAX
        flag.copy_(torch.maximum(flag, torch.tensor(next(others))))

    monkeypatch.setattr(torch.distributed, "all_reduce", all_reduce)
    callback, two = StopInTime(60), SimpleNamespace(world_size=2, device="cpu")
    assert not after_step(callback, 3, two).should_training_stop
    assert after_step(callback, 4, two).should_training_stop


@pytest.mark.parametrize("seconds", [0, -1])
def test_no_time_is_an_error(seconds: float) -> None:
    with pytest.raises(ConfigurationError, match=f"max_seconds={seconds} is not allowed"):
        StopInTime(seconds)
