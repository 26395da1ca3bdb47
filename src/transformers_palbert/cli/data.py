"""``palbert data``: what a data set contains, the same in the form of SQuAD, and parts that share no article."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from ..errors import ConfigurationError
from .command_line import Command
from .inputs import data_file, data_files
from .output import JsonOption, format_count, make_table, show, write_json, written

if TYPE_CHECKING:
    from ..qa.datasets import RepairReport
    from ..qa.statistics import QADatasetStatistics

FORMS = (
    "SQuAD, CMRC 2018, DRCD, Natural Questions, MRQA, DPR, JSONL, CSV or Parquet, .gz too; or - for standard input, or"
    " owner/name of a data set on the Hub."
)
FileArgument = Annotated[Path, typer.Argument(parser=data_file, metavar="FILE", help=FORMS)]
FILES_PER_TABLE = 3  # what fits beside the labels in 80 columns

data_app = typer.Typer(help="Look at data sets, convert and split them.", no_args_is_help=True, rich_markup_mode=None)


@data_app.callback()
def data() -> None:
    """Look at data sets, convert and split them."""


@data_app.command(cls=Command)
def stats(
    names: Annotated[list[str], typer.Argument(metavar="FILE", help=FORMS)],
    json: JsonOption = False,
) -> None:
    """Count samples, negatives, articles, lengths, answers and kinds of questions.

    Lengths are in characters.

    Example: palbert data stats train.json dev.json
    """
    files = [file for name in names for file in data_files(name)]
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


@data_app.command(cls=Command)
def convert(
    file: FileArgument,
    out: Annotated[Path, typer.Argument(dir_okay=False, help="New file to write, ending in .json.")],
    training: Annotated[
        bool, typer.Option("--training", help="Leave out questions that cannot be learnt from, as training does.")
    ] = False,
) -> None:
    """Write a data set in the form of SQuAD 2.0, with offsets repaired.

    What SQuAD files cannot hold is left out, such as the annotations of Natural Questions.

    Example: palbert data convert nq-train.jsonl.gz nq-train.json --training
    """
    from ..qa.datasets import load_qa_dataset_with_report

    if out.exists() or out.suffix != ".json":
        raise ConfigurationError(f"{out} exists already, or does not end in .json; give the name of a new file.")
    dataset, report = load_qa_dataset_with_report(file, training=training)
    _write(out, dataset)
    show(f"{report}.", written(out, f"palbert data stats {out}"))


@data_app.command(cls=Command)
def split(
    name: Annotated[str, typer.Argument(metavar="FILE", help=FORMS)],
    by: Annotated[
        Literal["article"], typer.Option(help="What stays whole: all questions about one article.")
    ] = "article",
    fractions: Annotated[str, typer.Option(help="Share of the questions in each part, adding up to 1.")] = "0.5,0.5",
    seed: Annotated[int, typer.Option(help="Seed of the order in which articles are dealt out.")] = 0,
    out: Annotated[
        Path | None,
        typer.Option(file_okay=False, help="Folder for the parts; by default that of the file, else here."),
    ] = None,
    json: JsonOption = False,
) -> None:
    """Split a data set into parts that share no article, title or context, in the form of SQuAD 2.0.

    An article is what has one title; without titles, one context. The parts are called after the file, with -1, -2 and
    so on behind its name. What SQuAD files cannot hold is left out, such as the annotations of Natural Questions.

    Example: palbert data split dev.json --fractions 0.5,0.5 --seed 0
    """
    from ..qa.datasets import load_qa_dataset
    from ..qa.splitting import split_by_article

    file = data_file(name)
    records = load_qa_dataset(file).to_list()
    parts = {"article": split_by_article}[by](records, _numbers(fractions), seed=seed)
    beside = file.parent if Path(name).exists() else Path()  # not beside a copy in a cache
    stem, folder = Path(file.name.removesuffix(".gz")).stem, out or beside
    targets = [folder / f"{stem}-{number}.json" for number in range(1, len(parts) + 1)]
    if taken := [target for target in targets if target.exists()]:
        raise ConfigurationError(f"{taken[0]} exists; move it away, or give another folder with --out.")
    folder.mkdir(parents=True, exist_ok=True)
    sizes = []
    for target, part in zip(targets, parts, strict=True):
        chosen = [records[index] for index in part]
        _write(target, chosen)
        articles = len({record["title"] or record["context"] for record in chosen})
        negatives = sum(not record["answers"]["text"] for record in chosen)
        sizes.append({"file": str(target), "articles": articles, "samples": len(chosen), "negatives": negatives})
    if json:
        write_json(sizes)
    else:
        columns = ["", "articles", "samples", "negatives"]
        rows = [
            [Path(str(size["file"])).name, *(format_count(int(str(size[name]))) for name in columns[1:])]
            for size in sizes
        ]
        places = "\n".join(written(target) for target in targets)
        show(make_table(columns, rows), places, f"Next: palbert data stats {targets[0]}")


def _write(file: Path, records: Iterable[Any]) -> None:
    from ..qa.squad_files import squad_file

    with squad_file(file) as stream:
        for record in records:
            stream.add(record)


def _numbers(text: str) -> list[float]:
    try:
        return [float(number) for number in text.split(",")]
    except ValueError as error:
        raise ConfigurationError(f"--fractions {text!r} must be numbers with commas between, as in 0.5,0.5.") from error


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
