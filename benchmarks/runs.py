"""What the benchmarks that train share: a grid of this folder is run, and what its runs measured is collected.

Every run is a process of `palbert train` with a folder of its own. Finished runs are kept and skipped when a benchmark
is repeated; an interrupted one goes on from its last checkpoint.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from rich.console import Console

from transformers_palbert.experiments.grid import Grid, Trial, load_grid
from transformers_palbert.experiments.outcome import Run, Status
from transformers_palbert.experiments.progress import chain_of, end_in_order, run_with_progress, show_failures
from transformers_palbert.experiments.run_folder import describe_training, logged
from transformers_palbert.experiments.runner import TRAIN, Runner

__all__ = [
    "all_trials",
    "chosen_runs",
    "load_benchmark",
    "measured",
    "new_runner",
    "once",
    "run_benchmark",
    "without_local_paths",
]

_EXACT = ("eval_em", "eval_exact_match", "eval_exact")
"""What metrics call the exact match."""

GRIDS = Path(__file__).resolve().parent / "grids"


def load_benchmark(
    name: str, settings: Mapping[str, Any], seed: int, start: Path | None = None, first: Mapping[str, Any] | None = None
) -> Grid:
    """The grid of a benchmark.

    Args:
        name: That of its file in `grids`.
        settings: Options of the training script that all of its runs share, such as files.
        seed: The seed of all its runs, and of those that they start from.
        start: A checkpoint that runs start from, instead of those the grid has for that.
        first: Options of the first run that the others start from.
    """
    shared = {option: str(value) if isinstance(value, Path) else value for option, value in settings.items()}
    begin = None if start is None else str(start)
    grid = load_grid(GRIDS / f"{name}.yaml", overrides=shared, seeds=[seed], start=begin)
    if isinstance(grid.start, str):
        return grid
    steps = [{**step, "seed": seed} for step in grid.start]
    return replace(grid, start=[{**step, **(first or {})} if step is steps[0] else step for step in steps])


def new_runner(work: Path, jobs: int = 1) -> Runner:
    """Runs trials in folders of ``work``, ``jobs`` at a time."""
    return Runner(TRAIN, work, jobs)


def all_trials(grids: Sequence[Grid]) -> dict[str, Trial]:
    """Folder -> run of the grids, those that others start from first."""
    return {str(trial.folder): trial for trial in chain_of([t for grid in grids for t in grid.trials()]).values()}


def chosen_runs(
    parser: argparse.ArgumentParser, only: Sequence[str] | None, trials: Mapping[str, Trial], runner: Runner
) -> list[str]:
    """Names of the runs that ``--only`` asks for and of those that are finished; of all runs where it is not given.

    A name that no run has ends the program, as any wrong option does.
    """
    if unknown := sorted(set(only or ()) - set(trials)):
        parser.error(f"no runs called {', '.join(unknown)}; there are {', '.join(trials)}")
    return [name for name in trials if only is None or name in only or runner.is_known(trials[name])]


def run_benchmark(trials: Sequence[Trial], runner: Runner, title: str, metrics: Mapping[str, str]) -> dict[str, Run]:
    """Run what is not finished, and end the program where a run failed; folder -> record."""
    console = Console()
    end_in_order()
    try:
        runs = run_with_progress(trials, runner, console, title, metrics)
    except KeyboardInterrupt:
        sys.exit("Interrupted: call it again to go on.")
    found = {str(trial.folder): run for trial, run in zip(trials, runs, strict=True)}
    show_failures(runs, trials, runner, console)
    if missing := [f"{name} ({run.status})" for name, run in found.items() if run.status is not Status.DONE]:
        sys.exit(f"There is no result without {', '.join(missing)}: call it again to go on.")
    return found


def measured(runner: Runner, trial: Trial, run: Run) -> dict[str, Any]:
    """What a finished run measured, as a row of a result file."""
    folder = runner.folder(trial)
    return {
        "name": trial.folder,
        "command": run.command,
        "settings": run.settings,
        "seconds": round(run.seconds),
        "f1": run.value("eval_f1"),
        "em": next((run.value(name) for name in _EXACT if name in run.metrics), None),
        **describe_training(folder),
        "curve": logged(folder, "eval_f1", "eval_em", "eval_density_encoder"),
        "losses": logged(folder, "loss", "density_encoder"),
    }


def once(file: Path, measure: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    """What ``measure`` gives, kept in ``file``: measured only where that is missing."""
    if not file.is_file():
        file.write_text(json.dumps(measure()), encoding="utf-8")
    kept: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
    return kept


def without_local_paths(result: dict[str, Any], names: Mapping[Path, str]) -> dict[str, Any]:
    """The result with each folder of this machine written as ``names`` calls it."""
    text = json.dumps(result, ensure_ascii=False)
    for path, name in names.items():
        for spelling in {str(path.resolve()): None, str(path): None}:
            if spelling != ".":  # the folder that the benchmark is run in has no name to replace
                text = text.replace(spelling, name)
    changed: dict[str, Any] = json.loads(text)
    return changed
