"""What ``palbert evaluate --null-threshold-from`` does: a threshold chosen on some questions, judged on others."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

import typer

from ..errors import ConfigurationError
from .inputs import data_file
from .output import make_table, show, write_json

__all__ = ["ThresholdFromOption", "show_fitted", "threshold_parts"]

Records = list[dict[str, Any]]

ThresholdFromOption = Annotated[
    str | None,
    typer.Option(
        "--null-threshold-from",
        help="With squad_v2 and a --model, or n-best --predictions with --na-probs: choose the threshold for no answer"
        " on this share of the references' articles, as in 0.5, or on the questions of this file, - for standard input;"
        " and score the rest, or all references, with it and without.",
    ),
]


def threshold_parts(source: str, records: Records) -> tuple[Records, Records]:
    """The questions that choose the threshold, and those that it is judged by.

    Args:
        source: A share of the articles, between 0 and 1, or a file.
        records: The references.

    Raises:
        ConfigurationError: if the share is out of range, or the file has questions or articles of the references.
        typer.BadParameter: if it is neither a number nor a file.
    """
    from ..qa.datasets import load_qa_dataset
    from ..qa.splitting import split_by_article

    if (share := _share(source)) is not None:
        parts = split_by_article(records, (share, 1 - share))
        development, test = ([records[index] for index in part] for part in parts)
        return development, test
    development = load_qa_dataset(data_file(source)).to_list()
    for name in ("id", "context", "title"):
        known = {record[name] for record in records if record[name]}  # not every file has titles
        if both := known & {record[name] for record in development}:
            raise ConfigurationError(
                f"{source} and the references share {len(both)} {name}s, such as {min(both)!r:.60}: the threshold would"
                " be judged by what chose it. Split the file with `palbert data split`."
            )
    return development, records


def show_fitted(
    spans: Mapping[str, str], odds: Mapping[str, float], parts: tuple[Records, Records], before: float, json: bool
) -> None:
    """Choose the threshold, and show what it is good for."""
    from ..qa.null_threshold import fit_null_threshold

    fitted = fit_null_threshold(spans, odds, *parts, before=before)
    if json:
        write_json(fitted.to_dict())
        return
    names = [name for name in fitted.before if not name.endswith("total")]
    rows = [(name, f"{fitted.before[name]:.2f}", f"{fitted.after[name]:.2f}") for name in names]
    show(
        make_table(["squad_v2", f"threshold {before:.4g}", f"threshold {fitted.threshold:.4g}"], rows),
        f"Chosen on {fitted.chosen_on:,} questions, scored on {fitted.scored_on:,} others. To answer with it:"
        f" --null-score-diff-threshold {fitted.threshold:.4g}",
    )


def _share(source: str) -> float | None:
    try:
        share = float(source)
    except ValueError:
        return None
    if not 0 < share < 1:
        raise ConfigurationError(f"--null-threshold-from {source} must be between 0 and 1, as in 0.5, or a file.")
    return share
