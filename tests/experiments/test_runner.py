from __future__ import annotations

import shlex
import sys
import threading
import time
from dataclasses import replace
from pathlib import Path

import pytest

from transformers_palbert.errors import ConfigurationError
from transformers_palbert.experiments.grid import Trial
from transformers_palbert.experiments.outcome import Run, Status, write_runs
from transformers_palbert.experiments.runner import TRAIN, Runner

STUB = Path(__file__).parents[1] / "references" / "stub_script.py"


@pytest.fixture
def runner() -> Runner:
    return Runner([str(STUB)], Path("runs"))


def trial(start: Trial | None = None, **settings: object) -> Trial:
    return Trial({"a": str(settings.get("a"))}, settings, start)


def calls(runner: Runner, trial: Trial) -> list[str]:
    return (runner.folder(trial) / "calls.txt").read_text().split()


def test_a_run_is_recorded(runner: Runner) -> None:
    one = trial(a=1, seed=2, output_dir="elsewhere", nothing=None)
    (record,) = runner.run([one])
    assert (record.status, record.metrics) == (Status.DONE, {"eval_f1": 12.0, "eval_em": 6.0, "file_mb": 2.0})
    assert (record.key, record.labels, record.settings) == (runner.key(one), {"a": "1"}, {"a": 1, "seed": 2})
    assert 0.001 < record.peak_memory_gb < 10
    assert set(record.machine) == {"hardware", "versions"}
    assert shlex.split(record.command) == ["python", str(STUB), "--a=1", "--seed=2", f"--output_dir=runs/{record.key}"]
    assert (runner.folder(one) / "log.txt").read_text().split() == ["done"]


def test_what_is_known_is_not_run_again(runner: Runner) -> None:
    trials = [trial(a=1), trial(a=2), trial(a=1, logging_steps=5)]  # the last is the first, told otherwise
    assert not any(map(runner.is_known, trials))
    first = runner.run(trials)
    assert all(map(runner.is_known, trials))
    assert first[0].metrics == first[2].metrics
    assert Runner([str(STUB)], Path("runs")).run(trials) == first
    assert [calls(runner, one) for one in trials] == [["new"]] * 3
    runner.run([trial(a=3)])
    assert len(list(Path("runs").iterdir())) == 3


@pytest.mark.parametrize("trouble", ["memory", "killed"])
def test_out_of_memory_is_a_result_and_final_where_a_limit_made_it_so(runner: Runner, trouble: str) -> None:
    trials = [trial(a=1, trouble=trouble), trial(a=1, trouble=trouble, memory_limit_gb=8), trial(a=2)]
    lost, limited, done = runner.run(trials)
    assert (lost.status, lost.metrics, done.status) == (Status.OUT_OF_MEMORY, {}, Status.DONE)
    assert "exit code" in lost.reason
    assert limited.status is Status.OUT_OF_MEMORY
    assert [runner.is_known(one) for one in trials] == [False, True, True]
    runner.run(trials)
    assert [calls(runner, one) for one in trials] == [["new", "new"], ["new"], ["new"]]


def test_a_failure_is_told_and_tried_again(runner: Runner) -> None:
    trials = [trial(trouble="bug"), trial(a=2)]
    failed, done = runner.run(trials)
    assert (failed.status, done.status) == (Status.FAILED, Status.DONE)
    assert "ValueError: learning_rate is wrong" in failed.reason
    runner.run(trials)
    assert [len(calls(runner, one)) for one in trials] == [2, 1]


def test_a_run_goes_on_where_it_stopped(runner: Runner) -> None:
    one = trial(a=1, trouble="once")
    (first,) = runner.run([one])
    write_runs(runner.folder(one) / "run.json", [replace(first, seconds=1000.0)])
    (second,) = runner.run([one])
    assert (first.status, second.status) == (Status.FAILED, Status.DONE)
    assert calls(runner, one) == ["new", "resumed"]
    assert second.seconds >= 1000  # of both attempts
    assert "ConnectionError" not in second.reason
    assert not list(runner.folder(one).glob("checkpoint-*"))


class TestStart:
    def test_it_runs_once_before_the_others(self, runner: Runner) -> None:
        start = Trial({}, {"a": 5}, Trial({}, {"a": 4}))
        seen: list[str] = []
        runs = runner.run([trial(start, a=1), trial(start, a=2)], lambda one, _: seen.append(one.key))
        assert [run.metrics["eval_f1"] for run in runs] == [152.0, 162.0]  # 100 for being started from somewhere
        assert seen[:2] == [start.start.key, start.key]
        assert runs[0].settings["model_name_or_path"] == f"runs/{runner.key(start)}"
        assert calls(runner, start) == ["new"]

    @pytest.mark.parametrize(("trouble", "status"), [("bug", Status.FAILED), ("memory", Status.OUT_OF_MEMORY)])
    def test_without_it_nothing_runs(self, runner: Runner, trouble: str, status: Status) -> None:
        one = trial(Trial({}, {"trouble": trouble}), a=1)
        (record,) = runner.run([one])
        assert record.status is status
        assert "starts from" in record.reason
        assert not (runner.folder(one) / "calls.txt").exists()
        assert runner.record(one) is None


def test_jobs_run_at_the_same_time_and_in_order() -> None:
    runner = Runner([str(STUB)], Path("runs"), jobs=3)
    runs = runner.run([trial(a=number) for number in range(5)])
    assert [run.metrics["eval_f1"] for run in runs] == [10.0 * number + 42 for number in range(5)]


def test_an_interrupted_grid_ends_its_processes_and_can_be_resumed() -> None:
    runner, one = Runner([str(STUB)], Path("runs")), trial(a=1, trouble="slow")
    raised: list[BaseException] = []

    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt  # in the place of Ctrl-C, which reaches the main thread alone

    def run() -> None:
        try:
            runner.run([trial(a=0), one, trial(a=2)], interrupt)
        except BaseException as error:
            raised.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    thread.join(timeout=30)
    assert not thread.is_alive()  # it did not wait for the slow one
    assert isinstance(raised[0], KeyboardInterrupt)
    assert not runner.is_known(trial(a=2))
    (record,) = Runner([str(STUB)], Path("runs")).run([trial(a=2)])
    assert record.status is Status.DONE


def test_a_process_that_is_ended_is_interrupted_not_failed() -> None:
    runner, one = Runner([str(STUB)], Path("runs")), trial(a=1, trouble="slow")
    records: list[Run] = []
    thread = threading.Thread(target=lambda: records.extend(runner.run([one])))
    thread.start()
    deadline = time.monotonic() + 30
    while not (runner.folder(one) / "checkpoint-1").is_dir():
        assert time.monotonic() < deadline
        time.sleep(0.02)
    for process in list(runner._processes):
        process.terminate()
    thread.join(timeout=30)
    assert [record.status for record in records] == [Status.INTERRUPTED]
    (record,) = runner.run([one])
    assert record.status is Status.DONE
    assert calls(runner, one) == ["new", "resumed"]


class TestNamedFolders:
    ONE = Trial({}, {"a": 1, "do_eval": True}, folder="one")

    def test_a_run_is_where_its_name_says(self, runner: Runner) -> None:
        (record,) = runner.run([self.ONE])
        assert record.command.endswith("--output_dir=runs/one")
        assert (runner.folder(self.ONE), runner.is_known(self.ONE)) == (Path("runs/one"), True)
        assert record.processor_seconds > 0

    def test_other_settings_in_that_folder_are_refused(self, runner: Runner) -> None:
        runner.run([self.ONE])
        other = replace(self.ONE, settings={"a": 2, "do_eval": True})
        with pytest.raises(ConfigurationError, match=r"runs/one holds a run with other settings \(a: 1 there, 2 asked"):
            runner.run([other])
        assert calls(runner, self.ONE) == ["new"]

    def test_so_is_a_file_that_has_changed(self, runner: Runner) -> None:
        one = Trial({}, {"train_file": "data.json"}, folder="one")
        Path("data.json").write_text("1")
        runner.run([one])
        Path("data.json").write_text("22")
        with pytest.raises(ConfigurationError, match="a file that its settings name has changed"):
            runner.run([one])

    def test_results_without_a_record_are_nobodys(self, runner: Runner) -> None:
        """They may be those of other settings."""
        one = Trial({}, {"do_eval": True}, folder="one")
        runner.folder(one).mkdir(parents=True)
        (runner.folder(one) / "eval_results.json").write_text("{}")
        assert runner.record(one) is None

    @pytest.mark.parametrize("left", ["checkpoint-250", "model.safetensors", "all_results.json"])
    def test_what_is_there_without_a_record_is_not_written_over(self, runner: Runner, left: str) -> None:
        (runner.folder(self.ONE) / left).mkdir(parents=True)
        with pytest.raises(ConfigurationError, match=r"nobody knows the settings of: there is no run\.json"):
            runner.run([self.ONE])

    def test_an_empty_record_is_named(self, runner: Runner) -> None:
        runner.folder(self.ONE).mkdir(parents=True)
        (runner.folder(self.ONE) / "run.json").write_text("")
        with pytest.raises(ConfigurationError, match=r"run\.json is empty"):
            runner.run([self.ONE])

    def test_a_run_whose_runner_is_killed_leaves_its_settings(
        self, runner: Runner, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        class KilledError(BaseException):
            pass

        def die(*_: object) -> None:
            (runner.folder(self.ONE) / "checkpoint-1").mkdir()
            raise KilledError

        killed = Runner([str(STUB)], Path("runs"))
        monkeypatch.setattr(killed, "_wait", die)
        with pytest.raises(KilledError):
            killed.run([self.ONE])
        record = runner.record(self.ONE)
        assert (record.status, record.key) == (Status.INTERRUPTED, runner.key(self.ONE))
        with pytest.raises(ConfigurationError, match="other settings"):
            runner.run([Trial({}, {"a": 99}, folder="one")])
        assert Runner([str(STUB)], Path("runs")).run([self.ONE])[0].status is Status.DONE


class TestProgram:
    def test_the_training_command_is_known_by_the_settings_alone(self) -> None:
        assert Runner(TRAIN, Path("runs")).key(trial(a=1)) == trial(a=1).key

    def test_other_programs_and_launchers_are_other_runs(self, runner: Runner) -> None:
        Path("mine.py").write_text(STUB.read_text())
        Path("other.py").write_text(STUB.read_text() + "\n")
        accelerate = ("accelerate", "launch", "--num_processes", "2")
        made = [Runner(TRAIN, Path("runs")), runner, Runner(["other.py"], Path("runs"))]
        made += [Runner(TRAIN, Path("runs"), launcher=accelerate), Runner([str(STUB)], Path("runs"), 1, accelerate)]
        assert len({one.key(trial(a=1)) for one in made}) == 5
        assert Runner(["mine.py"], Path("elsewhere"), 3).key(trial(a=1)) == runner.key(trial(a=1))
        runner.run([trial(a=1)])
        assert [one.is_known(trial(a=1)) for one in made] == [False, True, False, False, False]

    def test_another_in_a_named_folder_is_refused(self, runner: Runner) -> None:
        one = Trial({}, {"a": 1}, folder="one")
        runner.run([one])
        with pytest.raises(ConfigurationError, match="its program, launcher or start"):
            Runner(TRAIN, Path("runs")).is_known(one)


def test_another_launcher() -> None:
    runner = Runner([str(STUB)], Path("runs"), launcher=(sys.executable, "-X", "utf8"))
    (record,) = runner.run([trial(a=1)])
    assert record.command.startswith("python -X utf8")
    assert record.status is Status.DONE
