"""``palbert data``: what a data set contains."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from .output import JsonOption, format_count, make_table, show, write_json

if TYPE_CHECKING:
    from ..qa.datasets import RepairReport
    from ..qa.statistics import QADatasetStatistics

FILES_PER_TABLE = 3  # what fits beside the labels in 80 columns

data_app = typer.Typer(help="Look at data sets.", no_args_is_help=True, rich_markup_mode=None)


@data_app.callback()
def data() -> None:
    """Look at data sets."""


@data_app.command()
def stats(
    files: Annotated[list[Path], typer.Argument(exists=True, help="SQuAD, CMRC 2018, DRCD, JSONL, CSV or Parquet.")],
    json: JsonOption = False,
) -> None:
    """Count samples, negatives, articles, lengths, answers and kinds of questions.

    Lengths are in characters.

    Example: palbert data stats train.json dev.json
    """
    measured = [_measure(file) for file in files]
    if json:
        write_json(
            [
                {"file": str(file), **statistics.to_dict(), "repairs": repairs.to_dict()}
                for file, (statistics, repairs) in zip(files, measured, strict=True)
            ]
        )
        return
    columns = [(name, _cells(*result)) for name, result in zip(_names(files), measured, strict=True)]
    for start in range(0, len(columns), FILES_PER_TABLE):
        group = columns[start : start + FILES_PER_TABLE]
        rows = [(label, *(cells[label] for _, cells in group)) for label in group[0][1]]
        show(make_table(["", *(name for name, _ in group)], rows), "")


def _measure(file: Path) -> tuple[QADatasetStatistics, RepairReport]:
    from ..qa.datasets import load_qa_dataset_with_report
    from ..qa.statistics import dataset_statistics

    dataset, report = load_qa_dataset_with_report(file)
    return dataset_statistics(dataset), report


def _names(files: list[Path]) -> list[str]:
    """Return the files' names, with their paths where two are called the same."""
    names = [file.name for file in files]
    return [file.name if names.count(file.name) == 1 else str(file) for file in files]


def _cells(statistics: QADatasetStatistics, repairs: RepairReport) -> dict[str, str]:
    """Return the rows of one file's column: label to text."""
    counts = {
        "samples": statistics.samples,
        "negatives": statistics.negatives,
        "articles": statistics.articles,
        "articles with negatives": statistics.articles_with_negatives,
        "contexts": statistics.contexts,
        "wrong offsets in the file": repairs.offsets_wrong,
        "answers not in context": repairs.answers_not_found,
        "contradict is_impossible": repairs.contradictory,
    }
    summaries = {
        "context length": statistics.context_length,
        "question length": statistics.question_length,
        "answer length": statistics.answer_length,
        "answers a question": statistics.answers_per_question,
    }
    cells = {label: format_count(count) for label, count in counts.items()}
    for label, summary in summaries.items():
        cells[f"{label}, mean"] = f"{summary.mean:,.1f}"
        cells[f"{label}, most"] = format_count(summary.max)
    for kind, count in statistics.question_types.items():
        cells[f"questions: {kind.replace('_', ' ')}"] = f"{count:,} {count / statistics.samples:6.1%}"
    return cells
