"""Predictions as the CSV file that course competitions take."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Mapping
from pathlib import Path

__all__ = ["write_predictions_csv"]


FORMULA = ("=", "+", "-", "@", "\t", "\r")
"""How a cell begins that a spreadsheet program takes for a formula, and computes."""


def write_predictions_csv(
    file: Path, predictions: Mapping[str, str | None], ids: Iterable[str], *, escape_formulas: bool = False
) -> None:
    """Write ``ID,Answer`` and one line per question, UTF-8, quoted where a text holds a comma, a quote or a line break.

    An answer is a piece of its text, whoever wrote that. Opened in a spreadsheet program, an answer such as
    ``=HYPERLINK(…)`` is computed; so for files that people open there, set ``escape_formulas``.

    Args:
        file: Where to; a file that exists is replaced.
        predictions: Text by question id.
        ids: Questions in the order of the data file. One without a prediction gets an empty answer, and what is
            predicted for others is left out: a submission has exactly the lines of its data.
        escape_formulas: Write an apostrophe before what begins as a formula does. The file then no longer holds the
            exact answers, so leave it off for a submission.
    """
    rows = [(key, predictions.get(key) or "") for key in ids]
    if escape_formulas:
        rows = [(_escape(key), _escape(text)) for key, text in rows]
    # With this line ending the module leaves a lone carriage return bare, which its reader takes for a line's end.
    bare = any("\r" in text for _, text in rows)
    with file.open("w", encoding="utf-8", newline="") as stream:
        stream.write("ID,Answer\n")
        csv.writer(stream, lineterminator="\n", quoting=csv.QUOTE_ALL if bare else csv.QUOTE_MINIMAL).writerows(rows)


def _escape(text: str) -> str:
    return f"'{text}" if text.startswith(FORMULA) else text
