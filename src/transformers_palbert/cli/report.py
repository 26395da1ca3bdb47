"""``palbert report``: one page on what a model gets right and wrong."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

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
    device: DeviceOption = None,
    top_k: Annotated[
        int,
        typer.Option(
            "--top-k",
            "-k",
            min=1,
            help="Candidates to show of each question, at most --n-best-size; no score depends on it.",
        ),
    ] = 5,
    max_seq_length: MaxSequenceOption = None,
    doc_stride: StrideOption = None,
    max_question_length: MaxQuestionOption = None,
    max_answer_length: MaxAnswerOption = None,
    n_best_size: NBestOption = None,
    impossible: ImpossibleOption = None,
    null_score_diff_threshold: ThresholdOption = None,
    json: JsonOption = False,
) -> None:
    """Write one self-contained HTML page about a model's answers.

    Scores by question type, answer length, context length and confidence; every question with its candidates, marked
    in the context, to filter and to search; pictures of where the weights are. The page loads nothing.

    The model cuts windows and decodes answers as it was evaluated in training, so that the scores are those of its card
    and of palbert evaluate on its predictions.

    With --json, what the page shows goes to stdout as well, without the questions.

    Example: palbert report ./my-model --data cmrc2018_dev.json --out report.html
    """
    from ..analysis.page import render_page
    from ..analysis.report import report_data

    if not out.parent.is_dir():
        raise typer.BadParameter(f"{out.parent} is not a folder", param_hint="--out")  # before the work, not after it
    given = {
        "max_seq_length": max_seq_length,
        "doc_stride": doc_stride,
        "max_question_length": max_question_length,
        "max_answer_length": max_answer_length,
        "n_best_size": n_best_size,
        "version_2_with_negative": impossible,
        "null_score_diff_threshold": null_score_diff_threshold,
    }
    records, chosen = load_questions(data, limit, metric)
    reader = load_reader(model, probe_text(records), given, may_be_impossible=chosen == "squad_v2", device=device)
    name = Path(model).resolve().name if Path(model).is_dir() else model
    content = report_data(
        reader, records, name=name, source=data.name, metric=chosen, batch_size=batch_size, top_k=top_k, watch=watch
    )
    out.write_text(render_page(content), encoding="utf-8")
    if json:
        write_json(_figures(content))
    else:
        f1, em = content["scores"]["f1"], content["scores"]["em"]
        show(f"{out}: {format_bytes(out.stat().st_size)}, {len(records):,} questions, F1 {f1[0]:.2f}, EM {em[0]:.2f}")


def _figures(content: dict[str, Any]) -> dict[str, Any]:
    kept = ("model", "source", "metric", "topK", "settings", "facts", "scores", "best", "breakdowns")
    return {"questions": len(content["questions"]), **{key: content[key] for key in kept}}
