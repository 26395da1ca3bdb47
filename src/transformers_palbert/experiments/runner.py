"""Run the trials of a grid in processes of their own, and keep what they gave.

A process ends with its memory, and one that crashes or runs out of memory takes nothing with it. A folder per run,
called as its grid says or else after its key, holds model, log and record; so whoever asks for the same settings again,
of the same program, gets the record, and a run that was interrupted goes on from its last checkpoint.
"""

from __future__ import annotations

import hashlib
import logging
import os
import shlex
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from filelock import FileLock

from ..errors import ConfigurationError
from ..machine import describe_machine
from .grid import Trial
from .outcome import Run, Status, classify, last_lines
from .run_folder import (
    LOG,
    RECORD,
    collect_metrics,
    delete_checkpoints,
    holds_training,
    read_record,
    write_record,
)
from .settings import Settings, content_key, to_arguments

__all__ = ["TRAIN", "Runner"]

logger = logging.getLogger(__name__)

TRAIN = ("-m", "transformers_palbert", "train")
"""What Python is to run for a training: ``palbert train``, in a form that ``accelerate launch`` takes as well."""

PYTHON = (sys.executable,)
"""What starts a training, unless another launcher is given."""

TAIL = 20_000  # bytes of the log that are looked at


class Runner:
    """Runs trials with a training program that takes ``--option=value`` and ``--output_dir``.

    The program must go on from the last checkpoint in its ``output_dir``, and leave ``all_results.json`` there.

    Args:
        program: What the launcher is to run: :data:`TRAIN`, or a script of yours.
        work: Folder that the folders of runs are made in.
        jobs: Processes at the same time.
        launcher: What the program is started with; by default this Python. Another is
            ``("accelerate", "launch", "--num_processes", "2")``.
    """

    def __init__(self, program: Sequence[str], work: Path, jobs: int = 1, launcher: Sequence[str] = PYTHON) -> None:
        self.program, self.work, self.jobs, self.launcher = tuple(program), work, jobs, tuple(launcher)
        self._processes: set[subprocess.Popen[bytes]] = set()
        self._stopped = threading.Event()

    def key(self, trial: Trial) -> str:
        """A digest that is equal for runs with the same result: the trial's, where ``palbert train`` is run by Python.

        Another program counts by the content of its files, another launcher by its words.
        """
        if (self.program, self.launcher) == (TRAIN, PYTHON):
            return trial.key
        program = [content_key(Path(word)) if Path(word).is_file() else word for word in self.program]
        return hashlib.sha256("\n".join([trial.key, *program, *self.launcher]).encode()).hexdigest()[:12]

    def folder(self, trial: Trial) -> Path:
        """The folder that holds the trial's model, log and record."""
        return self.work / (trial.folder or self.key(trial))

    def record(self, trial: Trial) -> Run | None:
        """What is known of the trial, if it ran before.

        Raises:
            ConfigurationError: if the trial's folder holds a run with other settings, or with unknown ones.
        """
        folder = self.folder(trial)
        record = read_record(folder)
        if record is not None and record.key != self.key(trial):
            raise ConfigurationError(
                f"{folder} holds a run with other settings ({self._differences(record, trial)}). Move it away, or give"
                " another folder for the runs."
            )
        if record is None and holds_training(folder):
            raise ConfigurationError(
                f"{folder} holds a model or checkpoints of a run that nobody knows the settings of: there is no"
                f" {RECORD}. Move it away, or give another folder for the runs."
            )
        return record

    def _differences(self, record: Run, trial: Trial) -> str:
        """What a record's settings and a trial's do not have in common."""
        wanted = self._settings(trial)
        options = sorted({*record.settings, *wanted})
        changed = [
            f"{option}: {record.settings.get(option)} there, {wanted.get(option)} asked for"
            for option in options
            if record.settings.get(option) != wanted.get(option)
        ]
        return "; ".join(changed) or "a file that its settings name has changed, or its program, launcher or start"

    def is_known(self, trial: Trial) -> bool:
        """True if the trial has been run, so that it is skipped."""
        record = self.record(trial)
        return record is not None and record.final

    def command(self, trial: Trial) -> list[str]:
        """The command that runs the trial."""
        output = f"--output_dir={self.folder(trial)}"
        return [*self.launcher, *self.program, *to_arguments(self._settings(trial)), output]

    def _settings(self, trial: Trial) -> Settings:
        """The trial's settings and the folder that it starts from, without what is not given."""
        start = {} if trial.start is None else {"model_name_or_path": str(self.folder(trial.start))}
        settings = trial.settings | start | {"output_dir": None}
        return {option: value for option, value in settings.items() if value is not None}

    def run(self, trials: Iterable[Trial], on_end: Callable[[Trial, Run], None] = lambda *_: None) -> list[Run]:
        """Run what is not known yet, each trial once, and return a record per trial, in their order.

        Args:
            trials: What to run.
            on_end: Called with a trial and its record as soon as there is one; from several threads.

        Raises:
            KeyboardInterrupt: if interrupted; processes are ended then, and can be resumed.
        """
        trials = list(trials)
        starts = [trial.start for trial in trials if trial.start is not None]
        if starts:
            self.run(starts, on_end)
        records = self._run_all({trial.key: trial for trial in trials}.values(), on_end)
        return [replace(records[trial.key], labels=trial.labels) for trial in trials]

    def _run_all(self, trials: Iterable[Trial], on_end: Callable[[Trial, Run], None]) -> dict[str, Run]:
        def run(trial: Trial) -> Run:
            record = self.run_one(trial)
            on_end(trial, record)
            return record

        with ThreadPoolExecutor(self.jobs) as pool:
            futures = {trial.key: pool.submit(run, trial) for trial in trials}
            try:
                return {key: future.result() for key, future in futures.items()}
            except BaseException:
                self._stop(pool)
                raise

    def _stop(self, pool: ThreadPoolExecutor) -> None:
        self._stopped.set()
        pool.shutdown(wait=False, cancel_futures=True)
        for process in list(self._processes):
            process.terminate()

    def run_one(self, trial: Trial) -> Run:
        """The record of one trial, from its folder or by running it."""
        folder = self.folder(trial)
        folder.mkdir(parents=True, exist_ok=True)
        with FileLock(folder / ".lock"):  # two calls of the same grid do not write into each other
            record = self.record(trial)
            if record is not None and record.final:
                return record
            if trial.start is not None and not self._has_start(trial.start):
                return self._without_start(trial, trial.start)
            earlier = 0.0 if record is None else record.seconds
            begun = self._record(trial, Status.INTERRUPTED, seconds=earlier, reason="Whatever ran it was killed.")
            write_record(folder, begun)  # whoever goes on from its checkpoints must know its settings
            record = self._execute(trial, earlier=earlier)
            write_record(folder, record)
        return record

    def _has_start(self, start: Trial) -> bool:
        record = self.record(start)
        return record is not None and record.status is Status.DONE

    def _without_start(self, trial: Trial, start: Trial) -> Run:
        record = self.record(start)
        status = Status.INTERRUPTED if record is None else record.status
        reason = f"The run it starts from, {self.folder(start)}: {status}.\n{record.reason if record else ''}"
        return Run(self.key(trial), status, trial.settings, reason=reason.strip())

    def _execute(self, trial: Trial, earlier: float) -> Run:
        folder, command = self.folder(trial), self.command(trial)
        logger.info("%s: %s", folder.name, shlex.join(command))
        started = time.monotonic()
        with (folder / LOG).open("ab") as log:
            begin = log.tell()
            exit_code, used = self._wait(command, log)
        seconds = round(earlier + time.monotonic() - started, 1)
        if exit_code == 0:
            delete_checkpoints(folder)
            return self._record(trial, Status.DONE, seconds=seconds, metrics=collect_metrics(folder), **used)
        with (folder / LOG).open("rb") as log:
            log.seek(max(begin, (folder / LOG).stat().st_size - TAIL))
            tail = last_lines(log.read().decode(errors="replace"))
        status = Status.INTERRUPTED if self._stopped.is_set() else classify(exit_code, tail)
        return self._record(trial, status, seconds=seconds, reason=f"{tail}\nexit code {exit_code}".strip(), **used)

    def _record(self, trial: Trial, status: Status, **known: Any) -> Run:
        """The record of a trial: what can be said of it here and now, and what is known."""
        return Run(
            key=self.key(trial),
            status=status,
            settings=self._settings(trial),
            command=shlex.join(["python" if part == sys.executable else part for part in self.command(trial)]),
            machine=describe_machine(),
            date=datetime.now(UTC).date().isoformat(),
            **known,
        )

    def _wait(self, command: list[str], log: object) -> tuple[int, dict[str, float]]:
        """Run the command; its exit code, and what it used: ``peak_memory_gb`` and ``processor_seconds``."""
        if self._stopped.is_set():
            return -signal.SIGTERM, {}
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT)  # type: ignore[call-overload]
        self._processes.add(process)
        if self._stopped.is_set():  # between the look above and now
            process.terminate()
        try:
            if not hasattr(os, "wait4"):
                return process.wait(), {}
            _, status, usage = os.wait4(process.pid, 0)
            process.returncode = os.waitstatus_to_exitcode(status)
            unit = 1 if sys.platform == "darwin" else 1024  # of ru_maxrss, in bytes
            memory, busy = usage.ru_maxrss * unit / 1e9, usage.ru_utime + usage.ru_stime
            return process.returncode, {"peak_memory_gb": round(memory, 3), "processor_seconds": round(busy, 3)}
        finally:
            self._processes.discard(process)
