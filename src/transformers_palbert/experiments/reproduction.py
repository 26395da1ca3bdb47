"""Run the experiments of the PAL-BERT paper, and ours beside them: one command, a table and a plot.

    palbert reproduce --list
    palbert reproduce table7 table8              # the paper's model: a GPU and the Hub
    palbert reproduce table7 --scale small       # minutes a run on a CPU, and the caption says so
    palbert reproduce all --jobs 2 --set train_file=train.json --set validation_file=dev.json
    palbert reproduce figure3                    # a picture that no run is needed for

An experiment is a grid of this package; the path of one of your own does as well. Every run is a process of
`palbert train`, kept by its settings: called again, this runs only what is new or changed, and goes on where it was
interrupted. A run that does not fit into memory is "—" in the table, and tried again by the next call unless a
memory_limit_gb made it fail; one that fails otherwise is reported at the end.
Each experiment leaves NAME.jsonl (a line per run), NAME.md, NAME.csv and NAME.png.

More than one GPU:

    palbert reproduce table7 --launcher "accelerate launch --num_processes 2"
"""

from __future__ import annotations

import argparse
import re
import shlex
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import cache, partial
from pathlib import Path

from rich.console import Console
from transformers.utils import cached_file

from ..errors import ConfigurationError, MissingExtraError
from .figures import FIGURES
from .grid import Grid, load_grid, scales_of
from .outcome import Run, Status, write_runs
from .plots import plot
from .progress import chain_of, describe, end_in_order, run_with_progress, show_failures
from .runner import PYTHON, TRAIN, Runner
from .settings import load_settings, parse_overrides
from .tables import caption, csv_table, markdown_table

__all__ = ["GRIDS", "experiment_file", "known_experiments", "main", "weights_at_hand", "write_results"]

GRIDS = Path(__file__).parent / "grids"
PAPER = "paper"


def main(argv: Sequence[str], description: str = __doc__ or "", prog: str = "palbert reproduce") -> int:
    """``palbert reproduce``; returns the exit status: 1 if a run failed or it was interrupted.

    Args:
        argv: The command line without the program's name.
        description: The text above the options in ``--help``.
        prog: How the command is called, in ``--help`` and in the records.

    Raises:
        ConfigurationError: if an experiment or one of its options does not exist.
    """
    args = parse(argv, description, prog)
    console = Console()
    if args.list or not args.tables:
        for name, title in titles().items():
            console.print(f"{name:20} {title}", highlight=False)
        return 0
    names = list(titles()) if args.tables == ["all"] else args.tables
    at_hand, overrides = _weights_asked_once(console), parse_overrides(args.set)
    files = [experiment_file(name) for name in names if name not in FIGURES]
    grids = [
        load_grid(file, args.scale or default_scale(file), overrides, args.seeds, args.start, at_hand) for file in files
    ]
    launcher = shlex.split(args.launcher) if args.launcher else PYTHON
    runner = Runner((str(args.script),) if args.script else TRAIN, args.work / "runs", args.jobs, launcher)
    if args.dry_run:
        show_plan(grids, runner, console)
        return 0
    try:
        failed = run_grids(grids, runner, partial(results_folder, args), f"{prog} {shlex.join(argv)}", console)
    except KeyboardInterrupt:
        console.print("[red]Interrupted[/]: call it again to go on.")
        return 1
    figures = args.results or args.work / (args.scale or PAPER)
    draw([name for name in names if name in FIGURES], figures, console)  # may lack matplotlib, and no run is lost then
    return 1 if failed else 0


def titles() -> dict[str, str]:
    """Name -> title, of all experiments and figures."""
    figures = {name: title for name, (title, _) in FIGURES.items()}
    return {name: load_settings(file)["title"] for name, file in known_experiments().items()} | figures


def draw(names: Sequence[str], folder: Path, console: Console) -> None:
    """Draw figures that no run is needed for."""
    for name in names:
        file = folder / f"{name}.png"
        FIGURES[name][1](file)
        console.print(f"{FIGURES[name][0]}: written to {file}", highlight=False, soft_wrap=True)


def run_grids(
    grids: Sequence[Grid], runner: Runner, folder_of: Callable[[Grid], Path], command: str, console: Console
) -> list[Run]:
    """Run grids, write the results of each into ``folder_of`` it, show what failed, and return that.

    Raises:
        KeyboardInterrupt: if it is interrupted or told to end; what runs is ended in order, and can be resumed.
    """
    end_in_order()
    failed = []
    for grid in grids:
        about = {"name": grid.name, "scale": grid.scale, "caption": grid.caption, "command": command}
        trials = grid.trials()
        runs = run_with_progress(trials, runner, console, grid.name, grid.metrics)
        write_results(grid, [replace(run, grid=about) for run in runs], folder_of(grid), console)
        failed += show_failures(runs, trials, runner, console)
    return failed


def parse(argv: Sequence[str], description: str = "", prog: str | None = None) -> argparse.Namespace:
    """The arguments of a command line."""
    parser = argparse.ArgumentParser(
        prog=prog, description=description, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "tables", nargs="*", metavar="TABLE", help="names of experiments or figures, grid files, or all"
    )
    parser.add_argument("--list", action="store_true", help="list the experiments and figures")
    parser.add_argument(
        "--scale", help="size of the runs: paper (the default where a grid has it), or small (minutes each on one core)"
    )
    parser.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="OPTION=VALUE",
        help="set an option of palbert train in all runs of the table; null takes it away. Runs that these start from"
        " take data, tokenizer, activation and device from it, and nothing else",
    )
    parser.add_argument("--seeds", type=int, nargs="+", help="seeds instead of those in the grid")
    parser.add_argument("--start", help="checkpoint for the runs that would otherwise train one first")
    parser.add_argument("--jobs", type=int, default=1, help="how many runs go on at the same time")
    parser.add_argument("--launcher", help='what starts a run instead of python, such as "accelerate launch"')
    parser.add_argument("--dry-run", action="store_true", help="show the commands that would be run, and run none")
    parser.add_argument("--work", type=Path, default=Path("outputs/experiments"), help="folder for models and records")
    parser.add_argument(
        "--results", type=Path, help="folder for the tables; by default WORK/SCALE, or WORK/results without scales"
    )
    parser.add_argument("--script", type=Path, help="a training script of yours, instead of palbert train")
    return parser.parse_args([re.sub(r"^--[a-z_-]+", lambda found: found[0].replace("_", "-"), word) for word in argv])


def default_scale(file: Path) -> str | None:
    """The paper's scale where a grid has it; without, the grid is run as its file says."""
    return PAPER if PAPER in scales_of(file) else None


def results_folder(args: argparse.Namespace, grid: Grid) -> Path:
    """Where the tables of a grid are written."""
    return Path(args.results or args.work / (grid.scale or "results"))


def known_experiments() -> dict[str, Path]:
    """Name -> grid file; a file without a title is the base of others."""
    return {file.stem: file for file in sorted(GRIDS.glob("*.yaml")) if "title" in load_settings(file)}


def experiment_file(name: str) -> Path:
    """The grid file of that name or path."""
    known = known_experiments()
    if name not in known and not Path(name).is_file():
        raise ConfigurationError(
            f"There is no experiment {name!r}. There are {', '.join(titles())}; the path of a grid file does as well."
        )
    return known.get(name, Path(name))


def weights_at_hand(name: str) -> bool:
    """Whether a model can be loaded: a folder, in the cache, or on the Hub if that can be reached."""
    try:
        return cached_file(name, "config.json") is not None
    except OSError:
        return False


def _weights_asked_once(console: Console) -> Callable[[str], bool]:
    """:func:`weights_at_hand` for several grids: without a network every question waits, and what it means is said."""

    @cache
    def at_hand(name: str) -> bool:
        if not (found := weights_at_hand(name)):
            console.print(
                f"{name} cannot be loaded: where an experiment allows it, its shape is trained from scratch.",
                highlight=False,
                soft_wrap=True,
            )
        return found

    return at_hand


def show_plan(grids: Sequence[Grid], runner: Runner, console: Console) -> None:
    """Every process that would be started, as a command."""
    trials = chain_of([trial for grid in grids for trial in grid.trials()])
    for trial in trials.values():
        state = "known" if runner.is_known(trial) else "to run"
        console.print(f"{state}: {describe(trial)}", highlight=False)
        if state == "to run":
            console.print(f"  {shlex.join(runner.command(trial))}", highlight=False, soft_wrap=True)


def write_results(grid: Grid, runs: Sequence[Run], folder: Path, console: Console) -> None:
    """Write the records, the table in two forms, and the plot; show the table."""
    write_runs(folder / f"{grid.name}.jsonl", runs)
    table = f"{markdown_table(grid, runs)}\n\n{caption(grid, runs)}\n"
    (folder / f"{grid.name}.md").write_text(table, encoding="utf-8")
    (folder / f"{grid.name}.csv").write_text(csv_table(grid, runs), encoding="utf-8")
    if any(run.status is Status.DONE for run in runs):
        try:
            plot(grid, runs, folder / f"{grid.name}.png")
        except MissingExtraError as error:
            console.print(f"No plot: {error}")
    console.print(f"\n{table}\nWritten: {folder / grid.name}.jsonl, .md, .csv, .png\n", highlight=False, soft_wrap=True)
