"""``palbert report``: one page on what a model gets right and wrong."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from .models import (
    BatchSizeOption,
    DataOption,
    LimitOption,
    MaxAnswerOption,
    MaxSequenceOption,
    MetricOption,
    load_pipeline,
    load_questions,
    probe_text,
    watch,
)
from .output import JsonOption, format_bytes, show, write_json


def report(
    model: Annotated[str, typer.Argument(help="Folder of a question-answering checkpoint, or its name on the Hub.")],
    data: DataOption,
    out: Annotated[Path, typer.Option("--out", "-o", dir_okay=False, help="The HTML file to write.")] = Path(
        "report.html"
    ),
    metric: MetricOption = None,
    limit: LimitOption = None,
    batch_size: BatchSizeOption = 16,
    top_k: Annotated[int, typer.Option("--top-k", "-k", min=1, help="Candidates to show of each question.")] = 5,
    max_answer_length: MaxAnswerOption = 30,
    max_seq_length: MaxSequenceOption = None,
    json: JsonOption = False,
) -> None:
    """Write one self-contained HTML page about a model's answers.

    Scores by question type, answer length, context length and confidence; every question with its candidates, marked
    in the context, to filter and to search; pictures of where the weights are. The page loads nothing.

    With --json, what the page shows goes to stdout as well, without the questions.

    Example: palbert report ./my-model --data cmrc2018_dev.json --out report.html
    """
    from ..analysis.answering import Answering
    from ..analysis.page import render_page
    from ..analysis.report import report_data

    if not out.parent.is_dir():
        raise typer.BadParameter(f"{out.parent} is not a folder", param_hint="--out")  # before the work, not after it
    records, chosen = load_questions(data, limit, metric)
    pipe = load_pipeline(model, probe_text(records))
    answering = Answering(batch_size, max_answer_length, max_seq_length, impossible=chosen == "squad_v2", top_k=top_k)
    name = Path(model).resolve().name if Path(model).is_dir() else model
    content = report_data(pipe, records, name=name, source=data.name, metric=chosen, answering=answering, watch=watch)
    out.write_text(render_page(content), encoding="utf-8")
    if json:
        write_json(_figures(content))
    else:
        f1, em = content["scores"]["f1"], content["scores"]["em"]
        show(f"{out}: {format_bytes(out.stat().st_size)}, {len(records):,} questions, F1 {f1[0]:.2f}, EM {em[0]:.2f}")


def _figures(content: dict[str, Any]) -> dict[str, Any]:
    kept = ("model", "source", "metric", "topK", "facts", "scores", "best", "breakdowns")
    return {"questions": len(content["questions"]), **{key: content[key] for key in kept}}
