"""``palbert answer``: ask one question about one text."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from ..errors import PalBertError
from .models import load_pipeline
from .output import JsonOption, make_table, show, write_json


def answer(
    model: Annotated[str, typer.Argument(help="Folder of a question-answering checkpoint, or its name on the Hub.")],
    question: Annotated[str, typer.Option("--question", "-q", help="The question.")],
    context: Annotated[str | None, typer.Option("--context", "-c", help="The text that holds the answer.")] = None,
    context_file: Annotated[
        Path | None, typer.Option("--context-file", "-f", exists=True, dir_okay=False, help="A UTF-8 file with it.")
    ] = None,
    top_k: Annotated[int, typer.Option("--top-k", "-k", min=1, help="How many answers to show, best first.")] = 1,
    impossible: Annotated[
        bool, typer.Option("--impossible", help="Let the model say that the text does not hold the answer.")
    ] = False,
    json: JsonOption = False,
) -> None:
    """Answer a question from a text. An answer is an exact slice of the text: context[start:end].

    Example: palbert answer ./my-model -q "作者是谁?" -f chapter.txt --top-k 3
    """
    answers = _ask(model, question, _read_context(context, context_file), top_k=top_k, impossible=impossible)
    if json:
        write_json(answers)
    else:
        show(_table(answers))


def _read_context(context: str | None, file: Path | None) -> str:
    """Return the text of exactly one of the two options."""
    if (context is None) == (file is None):
        raise typer.BadParameter("give the text with either --context or --context-file")
    if file is None:
        return context or ""
    try:
        return file.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise PalBertError(f"{file} is not UTF-8 text: {error}. Convert it, for example with iconv.") from error


def _ask(model: str, question: str, context: str, *, top_k: int, impossible: bool) -> list[dict[str, Any]]:
    """Return the ``top_k`` best answers as dicts with ``score``, ``start``, ``end`` and ``answer``."""
    pipe = load_pipeline(model, probe=question)
    found = pipe(question=question, context=context, top_k=top_k, handle_impossible_answer=impossible)
    return found if isinstance(found, list) else [found]


def _table(answers: list[dict[str, Any]]) -> Any:
    rows = [(a["answer"] or "(no answer)", f"{a['score']:.4f}", str(a["start"]), str(a["end"])) for a in answers]
    return make_table(["answer", "score", "start", "end"], rows)
