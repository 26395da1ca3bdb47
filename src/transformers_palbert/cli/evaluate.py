"""``palbert evaluate``: score a file of predictions."""

from __future__ import annotations

from json import JSONDecodeError, loads
from pathlib import Path
from typing import Annotated, Any

import typer

from ..errors import DatasetFormatError
from .models import Metric
from .output import JsonOption, make_table, show, write_json


def evaluate(
    predictions: Annotated[
        Path,
        typer.Option(
            "--predictions",
            "-p",
            exists=True,
            dir_okay=False,
            help="JSON: question id to text, or a list of {id, prediction_text}.",
        ),
    ],
    references: Annotated[
        Path, typer.Option("--references", "-r", exists=True, help="Data set: SQuAD, CMRC 2018, DRCD, JSONL, CSV ….")
    ],
    metric: Annotated[Metric, typer.Option("--metric", "-m", help="How to count.")],
    na_probs: Annotated[
        Path | None,
        typer.Option(
            "--na-probs",
            exists=True,
            dir_okay=False,
            help="With squad_v2: JSON object, question id to the probability that there is no answer.",
        ),
    ] = None,
    predictions_csv: Annotated[
        Path | None,
        typer.Option(
            "--predictions-csv",
            "--predictions_csv",
            dir_okay=False,
            help="Write the predictions to this file as ID,Answer, in the order of the data set.",
        ),
    ] = None,
    escape_formulas: Annotated[
        bool,
        typer.Option(
            "--escape-formulas",
            help="In that file, write an apostrophe before what a spreadsheet program would take for a formula.",
        ),
    ] = False,
    json: JsonOption = False,
) -> None:
    """Score predictions against a data set.

    Example: palbert evaluate -p predictions.json -r cmrc2018_dev.json -m cmrc2018
    """
    if na_probs is not None and metric != "squad_v2":
        raise typer.BadParameter(f"--na-probs belongs to --metric squad_v2, not to {metric}")
    scores = _score(metric, predictions, references, na_probs, predictions_csv, escape_formulas)
    if json:
        write_json(scores)
    else:
        show(make_table([metric, "value"], [(name, _format(value)) for name, value in scores.items()]))


def _score(
    metric: str, predictions: Path, references: Path, na_probs: Path | None, table: Path | None, escape: bool
) -> dict[str, float]:
    from ..qa.datasets import load_qa_dataset
    from ..qa.metrics import compute_metric
    from ..qa.metrics.inputs import predictions_by_id
    from ..qa.submission import write_predictions_csv

    probabilities = None if na_probs is None else _probabilities(na_probs)
    texts, dataset = _read_json(predictions), load_qa_dataset(references)
    scores = compute_metric(metric, texts, dataset, no_answer_probabilities=probabilities)
    if table is not None:
        write_predictions_csv(table, predictions_by_id(texts), dataset["id"], escape_formulas=escape)
    return scores


def _read_json(file: Path) -> Any:
    try:
        return loads(file.read_text(encoding="utf-8"))
    except (JSONDecodeError, UnicodeDecodeError) as error:
        raise DatasetFormatError(f"{file} is not JSON in UTF-8: {error}") from error


def _probabilities(file: Path) -> dict[str, float]:
    """Read ``{id: number}``.

    Raises:
        DatasetFormatError: if the file holds anything else.
    """
    content = _read_json(file)
    if not isinstance(content, dict):
        raise DatasetFormatError(f"{file}: expected a JSON object of id to number, got a {type(content).__name__}")
    for key, value in content.items():
        if isinstance(value, bool) or not isinstance(value, (int, float)):
            raise DatasetFormatError(f"{file}: expected a number for {key!r}, got {value!r}")
    return content


def _format(value: float) -> str:
    return f"{value:.4f}" if isinstance(value, float) else str(value)
