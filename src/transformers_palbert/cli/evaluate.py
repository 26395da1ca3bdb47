"""``palbert evaluate``: score a file of predictions."""

from __future__ import annotations

from json import JSONDecodeError, loads
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from ..errors import DatasetFormatError
from .output import JsonOption, make_table, show, write_json

Metric = Literal["cmrc2018", "squad", "squad_v2", "palbert_qa"]


def evaluate(
    predictions: Annotated[
        Path, typer.Option("--predictions", "-p", exists=True, dir_okay=False, help="JSON object: question id to text.")
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
    json: JsonOption = False,
) -> None:
    """Score predictions against a data set.

    palbert evaluate -p predictions.json -r cmrc2018_dev.json -m cmrc2018
    """
    if na_probs is not None and metric != "squad_v2":
        raise typer.BadParameter(f"--na-probs belongs to --metric squad_v2, not to {metric}")
    texts = _read_mapping(predictions, str)
    probabilities = None if na_probs is None else _read_mapping(na_probs, float)
    scores = _score(metric, texts, references, probabilities)
    if json:
        write_json(scores)
    else:
        show(make_table([metric, "value"], [(name, _format(value)) for name, value in scores.items()]))


def _score(
    metric: Metric, predictions: dict[str, str], references: Path, na_probs: dict[str, float] | None
) -> dict[str, Any]:
    from ..qa.datasets import load_qa_dataset
    from ..qa.metrics import compute_metric

    return compute_metric(metric, predictions, load_qa_dataset(references), no_answer_probabilities=na_probs)


def _read_mapping(file: Path, kind: type[Any]) -> dict[str, Any]:
    """Read a JSON object whose values are of ``kind`` (an integer passes for a float).

    Raises:
        DatasetFormatError: if the file holds anything else; the message names the first value that does not fit.
    """
    try:
        content = loads(file.read_text(encoding="utf-8"))
    except (JSONDecodeError, UnicodeDecodeError) as error:
        raise DatasetFormatError(f"{file} is not JSON in UTF-8: {error}") from error
    wanted = f'expected a JSON object that maps question ids to values of type {kind.__name__}, like {{"id": …}}'
    if not isinstance(content, dict):
        raise DatasetFormatError(f"{file} holds a {type(content).__name__}; {wanted}")
    allowed = (int, float) if kind is float else kind
    for key, value in content.items():
        if not isinstance(value, allowed) or isinstance(value, bool):
            raise DatasetFormatError(f"{file}: the value of {key!r} is {value!r}; {wanted}")
    return content


def _format(value: Any) -> str:
    return f"{value:.4f}" if isinstance(value, float) else str(value)
