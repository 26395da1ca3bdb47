"""Loading of models and questions, for the commands that ask."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Any, Literal

import typer
from rich.console import Console
from rich.progress import track

from ..errors import ConfigurationError, PalBertError

__all__ = [
    "BatchSizeOption",
    "DataOption",
    "LimitOption",
    "MaxAnswerOption",
    "MaxSequenceOption",
    "Metric",
    "MetricOption",
    "load_pipeline",
    "load_questions",
    "probe_text",
    "watch",
]

PROBED = 20
"""Questions whose words a tokenizer must know something of."""

Metric = Literal["cmrc2018", "squad", "squad_v2", "palbert_qa"]

DataOption = Annotated[
    Path, typer.Option("--data", "-d", exists=True, help="Questions: SQuAD, CMRC 2018, DRCD, JSONL, CSV or Parquet.")
]
MetricOption = Annotated[
    Metric | None,
    typer.Option(
        "--metric",
        "-m",
        help="How to count; by default squad_v2 if a question has no answer, else cmrc2018 for Chinese, else squad.",
    ),
]
LimitOption = Annotated[int | None, typer.Option("--limit", min=1, help="Use only this many questions, the first.")]
BatchSizeOption = Annotated[int, typer.Option("--batch-size", "-b", min=1, help="Windows in one batch.")]
MaxAnswerOption = Annotated[int, typer.Option("--max-answer-length", min=1, help="Longest answer, in tokens.")]
MaxSequenceOption = Annotated[
    int | None,
    typer.Option("--max-seq-length", min=8, help="Tokens of a window; by default 384 or what the tokenizer allows."),
]


def load_pipeline(model: str, probe: str) -> Any:
    """Load a question-answering pipeline from a folder or the Hub.

    Args:
        model: Folder or name on the Hub.
        probe: Text in the language of the questions; an answer from unknown tokens alone would be noise.

    Raises:
        PalBertError: if there is no such model, or it cannot answer questions.
        TokenizerError: if the tokenizer knows nothing of ``probe``.
    """
    if model.startswith((".", "/", "~")) and not Path(model).is_dir():  # do not go and look for it on the Hub
        raise PalBertError(
            f"{model} is not a folder; give one that save_pretrained or Trainer wrote, or a name on the Hub"
        )
    from transformers import pipeline
    from transformers.utils.logging import disable_progress_bar

    from ..model.tokenization_palbert import check_tokenizer

    disable_progress_bar()
    task: Any = "question-answering"  # transformers' own types no longer list it
    try:
        pipe = pipeline(task, model=model)
    except (OSError, ValueError) as error:
        raise PalBertError(f"cannot load {model!r} as a question-answering model: {error}") from error
    check_tokenizer(pipe.tokenizer, probe=probe)
    return pipe


def load_questions(file: Path, limit: int | None, metric: str | None) -> tuple[list[dict[str, Any]], str]:
    """Questions of a file in the SQuAD schema, and the metric to count with.

    Raises:
        DatasetFormatError: if the file cannot be read, or holds a question that the metric cannot score.
        ConfigurationError: if no question has an answer.
    """
    from ..analysis.scores import default_metric, score_each
    from ..qa.datasets import load_qa_dataset

    dataset = load_qa_dataset(file)
    records = dataset.select(range(min(limit or len(dataset), len(dataset)))).to_list()
    if metric is None and not any(record["answers"]["text"] for record in records):
        raise ConfigurationError(
            f"{file}: none of the {len(records)} questions has an answer to compare with. If that is meant, pass"
            " --metric squad_v2."
        )
    chosen = metric or default_metric(records)
    unanswerable = [record for record in records if not record["answers"]["text"]][:1]
    score_each(chosen, [""] * len(unanswerable), unanswerable)  # what it cannot score is said now, not after the work
    return records, chosen


def probe_text(records: list[dict[str, Any]]) -> str:
    """Words of the questions, for the ``probe`` of :func:`load_pipeline`."""
    return " ".join(record["question"] for record in records[:PROBED])


def watch(items: Iterable[Any], name: str) -> Iterable[Any]:
    """Pass ``items`` on, with a progress bar on stderr where that is a terminal."""
    console = Console(stderr=True)
    return track(items, name, console=console, transient=True, disable=not console.is_terminal)
