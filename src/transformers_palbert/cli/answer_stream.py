"""Many questions for ``palbert answer``: a file of them in, a file of answers out."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

import typer
from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

from ..errors import PalBertError
from .inputs import STANDARD, require_folder_for
from .models import load_reader, probe_text
from .output import format_count, printable, warn, written

if TYPE_CHECKING:
    from ..qa.answer_lines import BadLine
    from ..qa.answering import Reader
    from ..qa.evaluation_decoding import QAPredictions
    from ..reduction.reducer import Reducer

__all__ = ["answer_stream", "ask", "best_of", "load_reducer"]

_REPORTED = 10  # bad lines that are reported one by one; all of them are set aside


def answer_stream(
    models: Sequence[str],
    questions: str,
    out: str,
    rejected: Path | None,
    given: Mapping[str, Any],
    reduction: Mapping[str, Any],
    *,
    top_k: int,
    batch_size: int,
    device: str | None,
) -> None:
    """Answer the questions of a file, and go on where an earlier run was cut off.

    Args:
        models: Folders or names on the Hub; several vote.
        questions: Lines of JSON; ``-`` for standard input.
        out: File that lines of answers are appended to; ``-`` for standard output.
        rejected: File for lines that cannot be answered; None for the name of ``out`` with ``.rejected.jsonl``.
        given: Settings that replace those of the models.
        reduction: How texts are shortened before they are read; empty if they are not.
        top_k: Answers to each question.
        batch_size: Windows that pass through a model at once.
        device: Where to compute; None for the fastest device.

    Raises:
        PalBertError: if a file is missing or holds something else, or a line cannot be answered and there is no place
            to set it aside.
    """
    from ..qa.answer_lines import answer_blocks, answered_ids, question_blocks
    from ..qa.batches import BATCHES_AHEAD

    if rejected is None and out != STANDARD:
        rejected = Path(out).with_suffix(".rejected.jsonl")
    _require_different(questions, out, rejected)
    with ExitStack() as opened:
        source = sys.stdin.buffer if questions == STANDARD else opened.enter_context(Path(questions).open("rb"))
        done = answered_ids(Path(out)) if out != STANDARD and Path(out).exists() else Counter()
        sink = sys.stdout.buffer if out == STANDARD else opened.enter_context(Path(out).open("ab"))
        aside = _Rejects(rejected)
        opened.callback(aside.close)
        blocks = question_blocks(source, done, batch_size * BATCHES_AHEAD)
        answer = _answering(models, given, reduction, top_k=top_k, batch_size=batch_size, device=device)
        counts: Counter[str] = Counter()
        with _progress(source, "Answering") as advance:
            for block in answer_blocks(blocks, answer):
                sink.writelines(f"{line}\n".encode() for line in block.answers)
                sink.flush()
                aside.add(block.bad)  # this may end the run
                counts.update(answered=len(block.answers), skipped=block.skipped, bad=len(block.bad))
                advance(block.size)
    _summarize(counts, rejected, out)


def load_reducer(reduction: Mapping[str, Any], reader: Reader, device: str | None) -> Reducer | None:
    """What shortens texts for ``reader``, its models loaded; None where nothing is asked for."""
    from ..reduction.settings import as_reducer

    return as_reducer({**reduction, "device": device}, reader.tokenizer) if reduction else None


def ask(
    readers: Sequence[Reader], records: Sequence[Mapping[str, Any]], reducer: Reducer | None, batch_size: int
) -> list[QAPredictions]:
    """What each reader finds; with ``reducer`` in the passages that matter, at the places in the whole texts."""
    if reducer is None:
        return [reader.answer(records, batch_size=batch_size) for reader in readers]
    from ..reduction.answers import restore_places

    texts = reducer.shorten(*([record[name] for record in records] for name in ("question", "context")))
    shortened = [{**record, "context": text.text} for record, text in zip(records, texts, strict=True)]
    of = {record["id"]: text for record, text in zip(records, texts, strict=True)}
    found = [(reader.answer(shortened, batch_size=batch_size), reader.settings) for reader in readers]
    return [
        restore_places(answers, of, null_score_diff_threshold=settings.null_score_diff_threshold)
        for answers, settings in found
    ]


def _answering(
    models: Sequence[str],
    given: Mapping[str, Any],
    reduction: Mapping[str, Any],
    *,
    top_k: int,
    batch_size: int,
    device: str | None,
) -> Callable[[Sequence[Mapping[str, Any]]], list[list[dict[str, Any]]]]:
    """What gives the ``top_k`` best answers to each of some records, as dicts; several models vote.

    They are loaded when the first records come, in whose words their tokenizers are tried: a file that holds no
    questions needs none.
    """
    readers: list[Reader] = []
    reducers: list[Reducer | None] = []

    def answer(records: Sequence[Mapping[str, Any]]) -> list[list[dict[str, Any]]]:
        if not readers:
            probe = probe_text(records)
            readers.extend([load_reader(model, probe, given, device=device) for model in models])
            reducers.append(load_reducer(reduction, readers[0], device))
        found = ask(readers, records, reducers[0], batch_size)
        return best_of(found, [record["id"] for record in records], top_k)

    return answer


def best_of(found: Sequence[QAPredictions], ids: Sequence[str], top_k: int) -> list[list[dict[str, Any]]]:
    """The ``top_k`` best answers to each question in ``ids``, of what one reader found, or what several vote for."""
    from ..qa.answering import best_candidates
    from ..qa.ensembles import vote

    if len(found) == 1:
        return [best_candidates(found[0], key, top_k) for key in ids]
    elected = [vote([answers.nbest[key] for answers in found])[:top_k] for key in ids]
    return [
        [
            {"score": best["probability"], "start": best["start"], "end": best["end"], "answer": best["text"]}
            for best in answers
        ]
        for answers in elected
    ]


class _Rejects:
    """The lines that cannot be answered: the file that is made with the first of them, and the first few on stderr."""

    def __init__(self, file: Path | None) -> None:
        self._file, self._count = file, 0
        self._stream: IO[str] | None = None
        if file is not None and file.is_file():  # no pipe or terminal, of which nothing can be overwritten
            from ..qa.answer_lines import is_set_aside

            with file.open("rb") as stream:
                first = stream.readline()
            if first and not is_set_aside(first):
                raise PalBertError(
                    f"{file} holds something else than lines that were set aside, and would be overwritten; nothing was"
                    " changed. Pass another file with --rejected."
                )

    @staticmethod
    def _open(file: Path) -> IO[str]:
        return file.open("w", encoding="utf-8")

    def add(self, bad: Sequence[BadLine]) -> None:
        """Write the bad lines of a block that was answered; a file of an earlier run is begun anew with the first."""
        if self._stream is None and self._file is not None and self._file.is_file():
            self._stream = self._open(self._file)  # every run meets all of them again
        for line in bad:
            if self._file is None:
                raise PalBertError(
                    f"line {line.number} cannot be answered: {line.error}."
                    " Pass --rejected FILE to set such lines aside."
                )
            self._stream = self._stream or self._open(self._file)
            self._stream.write(line.as_json() + "\n")
            self._count += 1
            if self._count <= _REPORTED:
                warn(f"line {line.number} is set aside: {line.error}")
        if self._stream is not None:
            self._stream.flush()

    def close(self) -> None:
        if self._stream is not None:
            self._stream.close()


def _require_different(questions: str, out: str, rejected: Path | None) -> None:
    files = [Path(name).resolve() for name in (questions, out, rejected) if name not in (STANDARD, None)]
    if len(set(files)) < len(files):
        raise typer.BadParameter("--questions, --out and --rejected must be different files")
    for file in files[questions != STANDARD :]:
        require_folder_for(file)


@contextmanager
def _progress(source: IO[bytes], name: str) -> Iterator[Callable[[int], None]]:
    """A bar on stderr where that is a terminal; without an end where the size of the input is not known."""
    console = Console(stderr=True)
    file = Path(str(getattr(source, "name", "")))
    size = file.stat().st_size if file.is_file() else None
    columns = TextColumn("{task.description}"), BarColumn(), TaskProgressColumn(), TimeRemainingColumn()
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as progress:
        task = progress.add_task(name, total=size)
        yield lambda read: progress.advance(task, read)


def _summarize(counts: Counter[str], rejected: Path | None, out: str) -> None:
    parts = [f"{format_count(counts['answered'])} questions answered"]
    if counts["skipped"]:
        parts.append(f"{format_count(counts['skipped'])} were there already")
    if counts["bad"]:
        parts.append(f"{format_count(counts['bad'])} lines set aside in {rejected}")
    lines = [printable(", ".join(parts)), *([] if out == STANDARD else [written(out)])]
    Console(stderr=True, highlight=False, markup=False).print("\n".join(lines), soft_wrap=True)
