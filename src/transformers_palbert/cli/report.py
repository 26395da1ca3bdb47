"""``palbert report``: one page on what a model gets right and wrong."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from .inputs import require_folder_for
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
from .output import JsonOption, make_table, show, write_json, written


def report(
    models: Annotated[
        list[str],
        typer.Argument(
            metavar="MODEL",
            help="Folder of a question-answering checkpoint, or its name on the Hub; a second one to stand beside it.",
        ),
    ],
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
    in the context, to filter, to search and to link to; pictures of where the weights are. The page loads nothing.

    Of two models, every question shows both answers, and can be filtered by which of them is better.

    The model cuts windows and decodes answers as it was evaluated in training, so that the scores are those of its card
    and of palbert evaluate on its predictions.

    With --json, what the page shows goes to stdout as well, without the questions.

    Example: palbert report ./my-model --data cmrc2018_dev.json --out report.html

    Example of two models: palbert report ./dense ./pruned --data cmrc2018_dev.json
    """
    from ..analysis.page import render_page
    from ..analysis.report import report_data

    require_folder_for(out, "--out")
    given = {
        "max_seq_length": max_seq_length,
        "doc_stride": doc_stride,
        "max_question_length": max_question_length,
        "max_answer_length": max_answer_length,
        "n_best_size": n_best_size,
        "version_2_with_negative": impossible,
        "null_score_diff_threshold": null_score_diff_threshold,
    }
    if len(models) > 2:
        raise typer.BadParameter("a report shows one model or two; palbert compare takes any number")
    names = model_names(models)
    records, chosen = load_questions(data, limit, metric)
    probe, negative = probe_text(records), chosen == "squad_v2"
    readers = {
        name: load_reader(model, probe, given, may_be_impossible=negative, device=device)
        for name, model in zip(names, models, strict=True)
    }
    content = report_data(
        readers, records, source=data.name, metric=chosen, batch_size=batch_size, top_k=top_k, watch=watch
    )
    out.write_text(render_page(content), encoding="utf-8")
    if json:
        write_json(_figures(content))
    else:
        figures = [content, *([content["other"]] if content["other"] else [])]
        rows = [(of["model"], f"{of['scores']['f1'][0]:.2f}", f"{of['scores']['em'][0]:.2f}") for of in figures]
        table = make_table(["model", "F1", "EM"], rows)
        show(f"{len(records):,} questions, {chosen}", table, written(out), "Next: open it in a browser.")


def _figures(content: dict[str, Any]) -> dict[str, Any]:
    kept = ("model", "source", "metric", "topK", "other", "settings", "facts", "scores", "best", "breakdowns")
    return {"questions": len(content["questions"]), **{key: content[key] for key in kept}}
