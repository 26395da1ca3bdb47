"""``palbert evaluate``: score predictions, or models, or several of either that vote."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from ..errors import ConfigurationError, DatasetFormatError
from ..json_text import parse_json
from .inputs import as_typed, data_file, read_text, require_folder_for, text_file
from .models import BatchSizeOption, DeviceOption, answer_all
from .natural_questions import natural_scores
from .null_threshold import ThresholdFromOption, show_fitted, threshold_parts
from .output import JsonOption, following, make_table, show, write_json, written

Metric = Literal["cmrc2018", "squad", "squad_v2", "palbert_qa", "natural_questions"]

_NO_THRESHOLD = 1.0  # no probability is above it
_SHARES = ("palbert_qa",)  # metrics that count from 0 to 1


def evaluate(
    references: Annotated[
        Path,
        typer.Option(
            "--references",
            "-r",
            parser=data_file,
            metavar="FILE",
            help="Data set: SQuAD, CMRC 2018, DRCD, Natural Questions, JSONL, CSV …; - for standard input; or"
            " owner/name on the Hub.",
        ),
    ],
    metric: Annotated[Metric, typer.Option("--metric", "-m", help="Which metric to compute.")],
    predictions: Annotated[
        list[Path] | None,
        typer.Option(
            "--predictions",
            "-p",
            parser=text_file,
            metavar="FILE",
            help="JSON (- for standard input): question id to text, or a list of {id, prediction_text}, or question id"
            " to an n-best list, as in eval_nbest_predictions.json. Several n-best files vote: give the option several"
            " times. With natural_questions: the form of its official script.",
        ),
    ] = None,
    models: Annotated[
        list[str] | None,
        typer.Option(
            "--model",
            help="Instead of predictions: folder of a question-answering checkpoint, or its name on the Hub. Several"
            " models vote: give the option several times.",
        ),
    ] = None,
    na_probs: Annotated[
        Path | None,
        typer.Option(
            "--na-probs",
            parser=text_file,
            metavar="FILE",
            help="With squad_v2: JSON object (- for standard input), question id to the probability that there is no"
            " answer.",
        ),
    ] = None,
    na_prob_thresh: Annotated[
        float | None,
        typer.Option(
            "--na-prob-thresh",
            help="With --na-probs: a question whose probability is above this counts as predicted to have no answer;"
            " by default none does, and with --null-threshold-from those above 0 do.",
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
            help="With --predictions-csv: write an apostrophe before what a spreadsheet program would take for a"
            " formula.",
        ),
    ] = False,
    null_threshold_from: ThresholdFromOption = None,
    batch_size: BatchSizeOption = 16,
    device: DeviceOption = None,
    json: JsonOption = False,
) -> None:
    """Score predictions, or a model's answers, against a data set.

    Several n-best files or models vote: each text has the mean of the probabilities that they give it, and the highest
    wins. Each model answers with the settings saved with it; thresholds for "no answer" play no part in a vote.

    Example: palbert evaluate -p predictions.json -r cmrc2018_dev.json -m cmrc2018

    Example of a vote: palbert evaluate --model ./seed-1 --model ./seed-2 -r cmrc2018_dev.json -m cmrc2018

    Example of a threshold chosen on half of the articles, and judged on the other half:
    palbert evaluate --model ./my-model -r squad2_dev.json -m squad_v2 --null-threshold-from 0.5
    """
    if bool(predictions) == bool(models):
        raise typer.BadParameter("give what to score with either --predictions or --model")
    if na_probs is not None and metric != "squad_v2":
        raise typer.BadParameter(f"--na-probs belongs to --metric squad_v2, not to {metric}")
    if escape_formulas and predictions_csv is None:
        raise typer.BadParameter("--escape-formulas belongs to --predictions-csv")
    if predictions_csv is not None:
        require_folder_for(predictions_csv, "--predictions-csv")
    if models and null_threshold_from is not None:
        _require_its_own(na_probs, na_prob_thresh)
    if metric in _SHARES:
        warnings.warn(f"{metric} counts from 0 to 1, as its paper does; all other metrics count to 100.", stacklevel=1)
    if metric == "natural_questions" or null_threshold_from is not None:
        _require_one(predictions or models or [], metric, null_threshold_from, predictions_csv)
    if metric == "natural_questions":
        content = (str(predictions[0]), _read_json(predictions[0])) if predictions else None
        found = natural_scores(references, content, models[0] if models else "", batch_size, device)
        _show_scores(metric, found, json)
        return
    from ..qa.datasets import load_qa_dataset

    dataset = load_qa_dataset(references)
    if null_threshold_from is not None:
        parts = threshold_parts(null_threshold_from, dataset.to_list())
        if models:
            spans, odds, before = _asked_spans(models[0], [*parts[0], *parts[1]], batch_size, device)
        else:
            spans, odds, before = _read_spans((predictions or [])[0], na_probs, na_prob_thresh)
        show_fitted(spans, odds, parts, before, json)
        return
    if models:
        texts = _ask(models, dataset.to_list(), metric == "squad_v2", batch_size, device)
    else:
        texts = _read_predictions(predictions or [])
    scores = _score(metric, texts, dataset, na_probs, na_prob_thresh)
    _show_scores(metric, scores, json)
    if predictions_csv is not None:
        _write_csv(predictions_csv, texts, dataset["id"], escape_formulas)
    if not json:
        show(
            *([written(predictions_csv)] if predictions_csv is not None else []),
            *([following(_next(models, references))] if models else []),
        )


def _next(models: Sequence[str], references: Path) -> str:
    """The command that shows what a score hides: a page of one model or two, a table of more."""
    command = "report" if len(models) <= 2 else "compare"
    return f"palbert {command} {' '.join(models)} --data {as_typed(references)}"


def _show_scores(metric: str, scores: dict[str, float], json: bool) -> None:
    if json:
        write_json(scores)
    else:
        show(make_table([metric, "value"], [(name, _format(value)) for name, value in scores.items()]))


def _require_one(asked: Sequence[Any], metric: str, threshold_from: str | None, csv: Path | None) -> None:
    """Refuse options that mean nothing together with Natural Questions, or with choosing a threshold."""
    if threshold_from is not None and metric != "squad_v2":
        raise typer.BadParameter(f"--null-threshold-from belongs to --metric squad_v2, not to {metric}")
    what = "--metric natural_questions" if threshold_from is None else "--null-threshold-from"
    if len(asked) > 1:
        raise typer.BadParameter(f"{what} takes one model or one file of predictions: scores of a vote are none")
    if csv is not None:
        raise typer.BadParameter(f"{what} writes no --predictions-csv")


def _require_its_own(na_probs: Path | None, threshold: float | None) -> None:
    """Refuse probabilities, and a threshold for them, where those of a model are used."""
    if na_probs is not None or threshold is not None:
        option = "--na-prob-thresh" if na_probs is None else "--na-probs"
        raise typer.BadParameter(f"with --null-threshold-from, {option} belongs to --predictions, not to --model")


def _asked_spans(
    model: str, records: list[dict[str, Any]], batch_size: int, device: str | None
) -> tuple[dict[str, str], dict[str, float], float]:
    """The best spans of a model, their null odds, and the threshold that is saved with it."""
    from ..qa.null_threshold import best_spans

    answers, settings = answer_all(model, records, impossible=True, batch_size=batch_size, device=device)
    if not answers.null_odds:
        raise ConfigurationError(
            f"{model} is saved with version_2_with_negative=false: it always answers, so there is no threshold."
        )
    return best_spans(answers), answers.null_odds, settings.null_score_diff_threshold


def _read_spans(
    file: Path, na_probs: Path | None, threshold: float | None
) -> tuple[dict[str, str], dict[str, float], float]:
    """Spans and null odds from files; what is compared with is the threshold 0, if no other is given.

    Raises:
        DatasetFormatError: if the file holds answers that a threshold has been applied to already.
    """
    from ..qa.ensembles import is_nbest
    from ..qa.evaluation_decoding import QAPredictions
    from ..qa.metrics.inputs import predictions_by_id
    from ..qa.null_threshold import best_spans

    if na_probs is None:
        raise typer.BadParameter("--null-threshold-from needs --na-probs beside predictions, or a --model")
    content, odds = _read_json(file), _probabilities(na_probs)
    if is_nbest(content):
        spans = best_spans(QAPredictions({}, content, {}))
    else:
        spans = {key: text or "" for key, text in predictions_by_id(content).items()}
        if hidden := [key for key, text in spans.items() if not text and key in odds]:
            raise DatasetFormatError(
                f'{file} answers {len(hidden)} questions with "", such as {hidden[0]!r}: a threshold was applied to it,'
                " and what these questions' best spans are, it does not say. Give n-best lists, such as the"
                " eval_nbest_predictions.json that training writes beside it."
            )
    return spans, odds, threshold or 0.0


def _score(metric: str, texts: Any, dataset: Any, na_probs: Path | None, threshold: float | None) -> dict[str, float]:
    from ..qa.metrics import compute_metric

    probabilities = None if na_probs is None else _probabilities(na_probs)
    highest = _NO_THRESHOLD if threshold is None else threshold
    return compute_metric(metric, texts, dataset, no_answer_probabilities=probabilities, no_answer_threshold=highest)


def _write_csv(file: Path, texts: Any, ids: Sequence[str], escape: bool) -> None:
    from ..qa.metrics.inputs import predictions_by_id
    from ..qa.submission import write_predictions_csv

    write_predictions_csv(file, predictions_by_id(texts), ids, escape_formulas=escape)


def _read_predictions(files: Sequence[Path]) -> Any:
    """Predictions in a form that metrics take; n-best lists become the texts that they vote for.

    Raises:
        DatasetFormatError: if a file is not JSON, or one of several holds no n-best lists.
    """
    from ..qa.ensembles import is_nbest, vote_for_each

    contents = [_read_json(file) for file in files]
    nbest = [is_nbest(content) for content in contents]
    if len(files) == 1 and not nbest[0]:
        return contents[0]
    if not all(nbest):
        raise DatasetFormatError(
            f"{files[nbest.index(False)]} holds one answer for each question, and a vote needs n-best lists with"
            " probabilities. Training writes them beside the predictions, as eval_nbest_predictions.json."
        )
    return vote_for_each(contents, [str(file) for file in files])


def _ask(
    models: Sequence[str], records: list[dict[str, Any]], negative: bool, batch_size: int, device: str | None
) -> dict[str, str]:
    """The answers of a model, or those that several models vote for; one model is in memory at a time."""
    from ..qa.ensembles import vote_for_each

    found = [
        answer_all(model, records, impossible=negative, batch_size=batch_size, device=device)[0] for model in models
    ]
    return found[0].predictions if len(found) == 1 else vote_for_each([answers.nbest for answers in found], models)


def _read_json(file: Path) -> Any:
    try:
        return parse_json(read_text(file))
    except ValueError as error:
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
