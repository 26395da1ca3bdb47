"""``palbert compare``: several models on the same questions."""

from __future__ import annotations

import csv
import sys
from typing import TYPE_CHECKING, Annotated, Any

import typer

from .models import (
    BatchSizeOption,
    DataOption,
    DeviceOption,
    ImpossibleOption,
    LimitOption,
    MaxAnswerOption,
    MaxQuestionOption,
    MaxSequenceOption,
    MetricOption,
    NBestOption,
    StrideOption,
    ThresholdOption,
    load_questions,
    load_reader,
    model_names,
    probe_text,
    watch,
)
from .output import JsonOption, format_bytes, format_count, make_table, show, write_json

if TYPE_CHECKING:
    from ..analysis.bootstrap import Difference, Estimate
    from ..analysis.comparing import Comparison, ModelResult


def compare(
    models: Annotated[
        list[str], typer.Argument(help="Folders of question-answering checkpoints, or their names on the Hub.")
    ],
    data: DataOption,
    metric: MetricOption = None,
    limit: LimitOption = None,
    batch_size: BatchSizeOption = 16,
    device: DeviceOption = None,
    max_seq_length: MaxSequenceOption = None,
    doc_stride: StrideOption = None,
    max_question_length: MaxQuestionOption = None,
    max_answer_length: MaxAnswerOption = None,
    n_best_size: NBestOption = None,
    impossible: ImpossibleOption = None,
    null_score_diff_threshold: ThresholdOption = None,
    bootstrap: Annotated[
        int,
        typer.Option(
            "--bootstrap", min=100, help="How many random samples of the questions the intervals are estimated from."
        ),
    ] = 10_000,
    seed: Annotated[
        int,
        typer.Option("--seed", min=0, help="Seed of these random samples; the same seed gives the same intervals."),
    ] = 0,
    json: JsonOption = False,
    csv: Annotated[bool, typer.Option("--csv", help="Print CSV, one line per model, and nothing else.")] = False,
    markdown: Annotated[bool, typer.Option("--markdown", help="Print a Markdown table, and nothing else.")] = False,
) -> None:
    """Compare models on the same questions: scores, sizes and speed on this machine.

    Any model that AutoModelForQuestionAnswering loads. Each cuts windows and decodes answers as it was evaluated in
    training, so that its scores are those of its card, and of palbert evaluate on its predictions. Intervals are 95 %
    bootstrap confidence; differences are to the first model, by paired bootstrap, with a two-sided p-value. Latency is
    the median time for one question, speed that of all questions in batches; models take turns, so that other work on
    the machine slows all of them alike.

    Example: palbert compare ./dense ./pruned --data cmrc2018_dev.json
    """
    if json + csv + markdown > 1:
        raise typer.BadParameter("--json, --csv and --markdown exclude each other")
    from ..analysis.comparing import compare_models

    given = {
        "max_seq_length": max_seq_length,
        "doc_stride": doc_stride,
        "max_question_length": max_question_length,
        "max_answer_length": max_answer_length,
        "n_best_size": n_best_size,
        "version_2_with_negative": impossible,
        "null_score_diff_threshold": null_score_diff_threshold,
    }
    names = model_names(models)
    records, chosen = load_questions(data, limit, metric)
    probe, negative = probe_text(records), chosen == "squad_v2"
    readers = {
        name: load_reader(model, probe, given, may_be_impossible=negative, device=device)
        for name, model in zip(names, models, strict=True)
    }
    result = compare_models(
        readers, records, metric=chosen, batch_size=batch_size, resamples=bootstrap, seed=seed, watch=watch
    )
    if json:
        write_json({"data": str(data), **result.to_dict()})
    elif csv:
        _write_csv(result)
    elif markdown:
        sys.stdout.write(_markdown(result) + "\n")
    else:
        show(*_tables(result))


def _tables(result: Comparison) -> list[Any]:
    """Three small tables that fit a terminal: scores, differences, sizes and speed."""
    parts: list[Any] = [
        f"{result.questions:,} questions, {result.metric}, 95 % confidence from {result.resamples:,} draws",
        "",
        make_table(
            ["model", "F1", "95 %", "EM", "95 %"],
            [(row.name, *_with_interval(row.f1), *_with_interval(row.em)) for row in result.models],
        ),
    ]
    differing = [
        (row.name, *_with_interval(f1, "+"), _p(f1), *_with_interval(em, "+"), _p(em))
        for row in result.models
        if (f1 := row.f1_difference) and (em := row.em_difference)
    ]
    if differing:
        head = [f"minus {result.models[0].name}", "F1", "95 %", "p", "EM", "95 %", "p"]
        parts += ["", make_table(head, differing)]
    sizes = make_table(["model", "parameters", "non-zero", "file", "latency", "questions/s"], map(_size, result.models))
    return [*parts, "", sizes, "", _conditions(result)]


def _conditions(result: Comparison) -> str:
    return (
        f"latency: median of {result.latency_questions} questions one by one; questions/s: batch {result.batch_size};"
        f" on {result.device}, threads: {result.threads}"
    )


def _size(row: ModelResult) -> tuple[str, ...]:
    facts = row.facts
    size = "?" if facts.file_bytes is None else format_bytes(facts.file_bytes)
    counts = format_count(facts.parameters), format_count(facts.nonzero)
    return row.name, *counts, size, f"{1000 * row.latency:.1f} ms", f"{row.questions_per_second:.1f}"


def _with_interval(estimate: Estimate, sign: str = "") -> tuple[str, str]:
    return f"{estimate.value:{sign}.2f}", f"{estimate.low:{sign}.1f} … {estimate.high:{sign}.1f}"


def _p(difference: Difference) -> str:
    return "<0.001" if difference.p < 0.001 else f"{difference.p:.3f}"


def _markdown(result: Comparison) -> str:
    """One table with one row per model."""
    first = result.models[0].name
    head = ["model", "F1 (95 %)", "EM (95 %)", f"F1 minus {first} (95 %)", "p", f"EM minus {first} (95 %)", "p"]
    head += ["parameters", "non-zero", "file", "latency", "questions/s"]
    lines = [head, ["---"] + ["---:"] * (len(head) - 1)]
    for row in result.models:
        differences: list[str] = []
        for difference in (row.f1_difference, row.em_difference):
            cells = ("—", "—") if difference is None else (_joined(difference, "+"), _p(difference))
            differences += cells
        lines.append([row.name, _joined(row.f1), _joined(row.em), *differences, *_size(row)[1:]])
    escaped = [[cell.replace("\\", "\\\\").replace("|", "\\|") for cell in line] for line in lines]
    return "\n".join(f"| {' | '.join(line)} |" for line in escaped)


def _joined(estimate: Estimate, sign: str = "") -> str:
    value, interval = _with_interval(estimate, sign)
    return f"{value} ({interval})"


def _write_csv(result: Comparison) -> None:
    """One line per model with every figure unrounded; empty cells where there is none."""
    lines = [_flat(row) for row in result.models]
    writer = csv.DictWriter(sys.stdout, fieldnames=list(lines[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(lines)


def _flat(row: ModelResult) -> dict[str, Any]:
    cells: dict[str, Any] = {"model": row.name}
    for name in ("f1", "em"):
        estimate: Estimate = getattr(row, name)
        difference: Difference | None = getattr(row, f"{name}_difference")
        cells |= {name: estimate.value, f"{name}_low": estimate.low, f"{name}_high": estimate.high}
        for part in ("value", "low", "high", "p"):
            cells[f"{name}_difference_{part}"] = getattr(difference, part, None)
    facts = row.facts
    cells |= {"parameters": facts.parameters, "nonzero": facts.nonzero, "file_bytes": facts.file_bytes}
    return cells | {"latency_seconds": row.latency, "questions_per_second": row.questions_per_second}
