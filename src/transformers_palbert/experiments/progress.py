"""Run trials and show how far they are; tell what failed, and end in order when told to end."""

from __future__ import annotations

import signal
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from .grid import Trial
from .outcome import Run, Status
from .run_folder import LOG
from .runner import Runner

__all__ = ["chain_of", "describe", "end_in_order", "run_with_progress", "show_failures"]


def end_in_order() -> None:
    """Let SIGTERM end this process as Ctrl-C does: the runs that it started end as well, and can be resumed."""
    for number in (signal.SIGINT, signal.SIGTERM):  # a shell lets what it runs in the background ignore Ctrl-C
        signal.signal(number, _interrupt)


def _interrupt(*_: Any) -> None:
    raise KeyboardInterrupt


def run_with_progress(
    trials: Iterable[Trial], runner: Runner, console: Console, title: str, metrics: Mapping[str, str]
) -> list[Run]:
    """Run what is not known yet, with a progress bar and a line for each run that ends.

    Args:
        trials: What to run; what they start from runs before them.
        runner: Runs them.
        console: Where it is shown.
        title: What the bar is called.
        metrics: What a line shows: heading -> metric of the run.

    Returns:
        A record per trial, in their order.

    Raises:
        KeyboardInterrupt: if it is interrupted; call it again to go on.
    """
    trials = list(trials)
    pending = {key: trial for key, trial in chain_of(trials).items() if not runner.is_known(trial)}
    console.rule(f"{title}: {len(trials)} runs, {len(pending)} processes to start")
    counts = (MofNCompleteColumn(), TimeElapsedColumn(), TimeRemainingColumn())
    with Progress(TextColumn("{task.description}"), BarColumn(), *counts, console=console) as progress:
        bar = progress.add_task(title, total=len(pending))

        def on_end(trial: Trial, run: Run) -> None:
            if pending.pop(trial.key, None):
                scores = " ".join(f"{name} {run.value(key):.2f}" for name, key in metrics.items() if run.value(key))
                progress.console.print(f"{describe(trial)}: {run.status} {scores}", highlight=False)
                progress.advance(bar)

        return runner.run(trials, on_end)


def show_failures(runs: Iterable[Run], trials: Iterable[Trial], runner: Runner, console: Console) -> list[Run]:
    """Show why runs failed or where they stopped, and return these; one that did not fit into memory is a result."""
    results = (Status.DONE, Status.OUT_OF_MEMORY)
    failed = [(run, trial) for run, trial in zip(runs, trials, strict=True) if run.status not in results]
    for run, trial in failed:
        console.print(f"\n[red]{run.status}[/]: {describe(trial)}\n{run.reason}", highlight=False)
        console.print(f"  whole log: {runner.folder(trial) / LOG}", highlight=False)
    return [run for run, _ in failed]


def chain_of(trials: Sequence[Trial]) -> dict[str, Trial]:
    """Key -> trial, of the trials and all that they start from, in the order they run."""
    chain: dict[str, Trial] = {}
    starts = [trial.start for trial in trials if trial.start is not None]
    if starts:
        chain |= chain_of(starts)
    return chain | {trial.key: trial for trial in trials}


def describe(trial: Trial) -> str:
    """A trial in words: its point of the grid and its seed."""
    if not trial.labels:
        return f"start {trial.folder}" if trial.folder else "start"
    labels = [f"{axis} {label}" for axis, label in trial.labels.items()]
    return ", ".join([*labels, f"seed {trial.settings.get('seed')}"])
