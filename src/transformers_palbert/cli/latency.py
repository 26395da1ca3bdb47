"""``palbert latency``: how fast models answer on this machine, in every runtime."""

from __future__ import annotations

import sys
from contextlib import redirect_stdout
from enum import StrEnum
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ..errors import ConfigurationError, PalBertError, require
from .inputs import require_folder_for, values
from .models import load_model, watch
from .output import JsonOption, following, format_bytes, make_table, show, write_json, written

if TYPE_CHECKING:
    from ..analysis.latency import LatencyTable, Timing
    from ..analysis.latency_worker import Case

__all__ = ["latency"]

Runtime = StrEnum("Runtime", ["torch", "compiled", "onnx", "openvino"])


def latency(
    models: Annotated[
        list[str],
        typer.Argument(help="Folders of question-answering checkpoints, or their names on the Hub; exported ones too."),
    ],
    runtimes: Annotated[
        list[Runtime] | None,
        typer.Option("--runtime", "-r", help="What runs the models; give it several times. By default all of these."),
    ] = None,
    precisions: Annotated[
        list[str] | None,
        typer.Option(
            "--precision",
            "-p",
            parser=values,
            metavar="float32|bfloat16|int8",
            help="What they compute in, where the runtime can; several times. By default all. Also fp32, bf16.",
        ),
    ] = None,
    batch_sizes: Annotated[
        list[int] | None,
        typer.Option("--batch-size", "-b", min=1, help="Windows of a batch; several times. By default 1."),
    ] = None,
    lengths: Annotated[
        list[int] | None,
        typer.Option("--length", "-l", min=8, help="Tokens of a window; several times. By default 384."),
    ] = None,
    threads: Annotated[
        list[int] | None,
        typer.Option("--threads", "-t", min=1, help="Threads of a model; several times. By default 1."),
    ] = None,
    rounds: Annotated[int, typer.Option(min=1, help="How many batches of each shape are timed.")] = 20,
    plot: Annotated[
        Path | None, typer.Option("--plot", dir_okay=False, help="Draw the medians into this PNG or SVG file.")
    ] = None,
    json: JsonOption = False,
) -> None:
    """Measure how long models take to answer on this machine's processor.

    Each model runs in PyTorch, compiled PyTorch, ONNX Runtime and OpenVINO, in float32, bfloat16 and int8, as far as
    these can; it is exported for that into a temporary folder. Every combination has a process of its own, and all take
    turns, batch by batch. Memory is the most that its process held, with PyTorch in all of them. Texts are not
    tokenized, and how good the answers are is not looked at: palbert export and palbert compare do that.

    Example: palbert latency ./my-model ./shrunk --runtime torch --runtime openvino --length 128 --length 384
    """
    from ..analysis.latency import measure_latencies

    if plot is not None:
        require("matplotlib", "plot")  # said now, not after the work
        require_folder_for(plot, "--plot")
    shapes = [(batch, length) for batch in batch_sizes or [1] for length in lengths or [384]]
    with TemporaryDirectory(prefix="palbert-latency-") as place:
        with redirect_stdout(sys.stderr):
            cases, failed = _cases(
                models, list(map(str, runtimes or [])), precisions or [], threads or [1], Path(place)
            )
        result = measure_latencies(cases, shapes, rounds=rounds, watch=watch)
        result.failed.update(failed)
    if plot is not None:
        _draw(result, plot)
    if json:
        write_json(result.to_dict())
    else:
        show(*_tables(result), *([written(plot)] if plot is not None else []), *_next(result))


def _cases(
    models: list[str], runtimes: list[str], precisions: list[str], threads: list[int], place: Path
) -> tuple[list[Case], dict[Case, str]]:
    """What to measure, models exported where a runtime needs that; and what cannot be, with the reason."""
    from ..analysis.latency import PRECISIONS
    from ..analysis.latency_worker import Case

    chosen = [
        (runtime, precision)
        for runtime in runtimes or PRECISIONS
        for precision in PRECISIONS[runtime]
        if not precisions or precision in precisions
    ]
    if not chosen:
        raise ConfigurationError("No runtime that is asked for computes in a precision that is asked for.")
    cases: list[Case] = []
    failed: dict[Case, str] = {}
    possible = [_possible(model, chosen) for model in models]  # all of it said before the first export
    for number, model in enumerate(models):
        for runtime, precision in possible[number]:
            try:
                folder = _folder(model, runtime, precision, place / str(number))
            except PalBertError as error:  # an architecture without an export, or libraries that are not installed
                failed |= {Case(model, model, runtime, precision, count): str(error) for count in threads}
            else:
                cases += [Case(model, folder, runtime, precision, count) for count in threads]
    if not cases:
        raise ConfigurationError(f"Nothing could be measured. The first error was: {next(iter(failed.values()))}")
    return cases, failed


def _possible(model: str, chosen: list[tuple[str, str]]) -> list[tuple[str, str]]:
    """Of what is chosen, that which a model can do: an exported one runs as it was exported.

    Raises:
        ConfigurationError: if that is nothing.
    """
    from ..runtime.description import read_description

    if not _is_exported_folder(model):
        return chosen
    said = read_description(Path(model))
    own = [(said.format, said.precision)]
    if own == [("openvino", "float32")]:
        own.append(("openvino", "bfloat16"))
    if not (found := [kind for kind in own if kind in chosen]):
        raise ConfigurationError(
            f"{model} was exported for {said.format} in {said.precision}, and runs in no other way: leave out"
            " --runtime and --precision, or the model."
        )
    return found


def _is_exported_folder(model: str) -> bool:
    """Whether a model runs as it was exported; one on the Hub is taken for a checkpoint."""
    from ..runtime.description import DESCRIPTION_FILE

    return (Path(model) / DESCRIPTION_FILE).is_file()


def _folder(model: str, runtime: str, precision: str, place: Path) -> str:
    """The folder to load, where the model is exported to if it has to be."""
    from ..export.exporting import export_model

    if runtime in ("torch", "compiled") or _is_exported_folder(model):
        return model
    folder = place / f"{runtime}-{'int8' if precision == 'int8' else 'float32'}"
    if not folder.exists():
        export_model(*load_model(model), folder, format=runtime, int8=precision == "int8")
    return str(folder)


def _tables(result: LatencyTable) -> list[Any]:
    head = ["model", "threads", "batch", "tokens", "p50", "p95", "questions/s", "memory"]
    parts: list[Any] = [make_table(head, [_row(timing) for timing in result.timings]), "", _conditions(result)]
    return parts + [f"{case.model}, {case.runtime}, {case.precision}: {error}" for case, error in result.failed.items()]


def _next(result: LatencyTable) -> list[str]:
    """The command that goes on with what answers most questions in a second; none where nothing could run."""
    if not result.timings:
        return []
    best = max(result.timings, key=lambda timing: timing.questions_per_second).case
    if best.runtime in ("torch", "compiled") or _is_exported_folder(best.model):
        return [following(f"palbert serve {best.model}")]
    int8 = " --int8" if best.precision == "int8" else ""
    return [following(f"palbert export {best.model} OUT --format {best.runtime}{int8}")]


def _row(timing: Timing) -> tuple[str, ...]:
    case = timing.case
    counts = str(case.threads), str(timing.batch_size), str(timing.length)
    times = f"{1000 * timing.p50:.1f} ms", f"{1000 * timing.p95:.1f} ms", f"{timing.questions_per_second:.1f}"
    name = f"{Path(case.model).name}, {case.runtime} {case.precision}"
    return name, *counts, *times, "—" if timing.memory is None else format_bytes(timing.memory)


def _conditions(result: LatencyTable) -> str:
    libraries = ", ".join(
        f"{name} {version}" for name, version in result.versions.items() if name in ("python", "torch")
    )
    return f"{result.machine}, {result.cores} logical cores; {result.rounds} rounds in turns; {libraries}"


def _draw(result: LatencyTable, file: Path) -> None:
    """One bar for each line of the table: its median."""
    figures = require("matplotlib.figure", "plot")
    names = [" × ".join(_row(timing)[:4]) for timing in result.timings]
    figure = figures.Figure(figsize=(9, 1 + 0.35 * len(names)), layout="constrained")
    axes = figure.subplots()
    axes.barh(names, [1000 * timing.p50 for timing in result.timings])
    axes.invert_yaxis()
    axes.set_xlabel("milliseconds for a batch, median")
    axes.set_title(f"{result.machine}, {result.cores} logical cores", fontsize="medium")
    figure.savefig(file)
