"""``palbert answer``: ask one question about one text, or all questions of a file."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

from ..errors import PalBertError
from .answer_stream import answer_stream, ask, best_of, load_reducer
from .inputs import read_text, text_file
from .models import (
    BatchSizeOption,
    DeviceOption,
    ImpossibleOption,
    MaxAnswerOption,
    MaxQuestionOption,
    MaxSequenceOption,
    NBestOption,
    ReduceMaxTokensOption,
    ReduceOption,
    StrideOption,
    ThresholdOption,
    given_reduction,
    load_reader,
)
from .output import JsonOption, make_table, show, write_json
from .reduce import DprPassageOption, DprQuestionOption, IgModelOption, SbertModelOption


def answer(
    models: Annotated[
        list[str],
        typer.Argument(help="Folder of a question-answering checkpoint, or its name on the Hub; several for a vote."),
    ],
    question: Annotated[str | None, typer.Option("--question", "-q", help="The question to answer.")] = None,
    context: Annotated[str | None, typer.Option("--context", "-c", help="The text to look for the answer in.")] = None,
    context_file: Annotated[
        Path | None,
        typer.Option(
            "--context-file",
            "-f",
            parser=text_file,
            metavar="FILE",
            help="A UTF-8 file that holds the text; - for standard input.",
        ),
    ] = None,
    top_k: Annotated[
        int, typer.Option("--top-k", "-k", min=1, help="How many answers to show, best first, at most --n-best-size.")
    ] = 1,
    max_seq_length: MaxSequenceOption = None,
    doc_stride: StrideOption = None,
    max_question_length: MaxQuestionOption = None,
    max_answer_length: MaxAnswerOption = None,
    n_best_size: NBestOption = None,
    impossible: ImpossibleOption = None,
    null_score_diff_threshold: ThresholdOption = None,
    reduce: ReduceOption = None,
    reduce_max_tokens: ReduceMaxTokensOption = None,
    sbert_model: SbertModelOption = None,
    dpr_question_model: DprQuestionOption = None,
    dpr_passage_model: DprPassageOption = None,
    ig_model: IgModelOption = None,
    device: DeviceOption = None,
    json: JsonOption = False,
    questions: Annotated[
        str | None,
        typer.Option("--questions", help="Instead of one question: a file with one in each line, or - for stdin."),
    ] = None,
    out: Annotated[
        str, typer.Option("--out", "-o", help="With --questions: the file to write answers to, or - for stdout.")
    ] = "-",
    rejected: Annotated[
        Path | None,
        typer.Option(
            "--rejected",
            dir_okay=False,
            help="With --questions: the file for lines that cannot be answered; by default OUT.rejected.jsonl.",
        ),
    ] = None,
    batch_size: BatchSizeOption = 16,
) -> None:
    """Answer a question from a text. An answer is an exact slice of the text: context[start:end].

    Windows are cut and answers decoded as when the model was evaluated in training. The score is the probability of an
    answer among the best --n-best-size candidates.

    Several models answer together: each text has the mean of the probabilities that they give it, and the highest
    wins. Thresholds for "no answer" play no part in that.

    With --questions, every line of a file is a JSON object with "question", "context" and an "id" (without one, line 7
    has the id "line-7"). For each, a line with "id", "answer", "score", "start" and "end" is written, and with --top-k
    above 1 "candidates", a list of objects with the last four. Any number of questions goes through in a fixed amount
    of memory. Started again, the command goes on where it was cut off: it skips the ids that are in --out, which it
    holds in memory, and answers again what was half written. Lines that cannot be answered are reported and set aside,
    each as an object with "line" (its number), "error" and "text".

    Example: palbert answer ./my-model -q "作者是谁?" -f chapter.txt --top-k 3

    Example of a file: palbert answer ./my-model --questions many.jsonl --out answers.jsonl

    Of a long text, --reduce reads only the passages that share words or sense with the question, which takes a fraction
    of the time. The places of answers are those in the whole text all the same.

    Example of a vote: palbert answer ./seed-1 ./seed-2 ./seed-3 -q "作者是谁?" -f chapter.txt

    Example of a book: palbert answer ./my-model -q "作者是谁?" -f book.txt --reduce bm25
    """
    given = {
        "max_seq_length": max_seq_length,
        "doc_stride": doc_stride,
        "max_question_length": max_question_length,
        "max_answer_length": max_answer_length,
        "n_best_size": n_best_size,
        "version_2_with_negative": impossible,
        "null_score_diff_threshold": null_score_diff_threshold,
    }
    chosen = given_reduction(
        reduce,
        reduce_max_tokens,
        sbert_model=sbert_model,
        dpr_question_model=dpr_question_model,
        dpr_passage_model=dpr_passage_model,
        ig_model=ig_model,
    )
    if questions is not None:
        if question is not None or context is not None or context_file is not None or json:
            raise typer.BadParameter("--questions does not go with --question, --context, --context-file or --json")
        answer_stream(
            models, questions, out, rejected, given, chosen, top_k=top_k, batch_size=batch_size, device=device
        )
        return
    if question is None or out != "-" or rejected is not None:
        raise typer.BadParameter("give --question with a text; or --questions, to which --out and --rejected belong")
    text = _read_context(context, context_file)
    answers = _ask(models, question, text, given, chosen, top_k=top_k, batch_size=batch_size, device=device)
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
        return read_text(file)
    except UnicodeDecodeError as error:
        raise PalBertError(f"{file} is not UTF-8 text: {error}. Convert it, for example with iconv.") from error


def _ask(
    models: list[str],
    question: str,
    context: str,
    given: Mapping[str, Any],
    reduction: Mapping[str, Any],
    *,
    top_k: int,
    batch_size: int,
    device: str | None,
) -> list[dict[str, Any]]:
    """Return the ``top_k`` best answers as dicts with ``score``, ``start``, ``end`` and ``answer``."""
    from ..qa.inputs import checked_example

    record = {"id": "asked", **checked_example({"question": question, "context": context})}
    readers = [load_reader(model, question, given, device=device) for model in models]
    found = ask(readers, [record], load_reducer(reduction, readers[0], device), batch_size)
    return best_of(found, ["asked"], top_k)[0]


def _table(answers: list[dict[str, Any]]) -> Any:
    rows = [(a["answer"] or "(no answer)", f"{a['score']:.4f}", str(a["start"]), str(a["end"])) for a in answers]
    return make_table(["answer", "score", "start", "end"], rows)
