"""Questions written as one file in the form of SQuAD 2.0, one after another, however many there are."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

from .record_cache import whole_file

__all__ = ["SquadFile", "squad_file"]

LONGEST_ARTICLE = 1000  # questions that are held in memory; one article with more becomes several of one title


class SquadFile:
    """Takes questions and writes them; made by :func:`squad_file`."""

    def __init__(self, stream: IO[str]) -> None:
        self._stream = stream
        self._article: dict[str, Any] | None = None
        self._questions = 0
        self._separator = "\n"
        self._stream.write('{"version": "v2.0", "data": [')

    def add(self, record: Mapping[str, Any]) -> None:
        """Add a question of the SQuAD schema.

        Neighbours with one title are one article, and those with one context one paragraph of it.
        """
        article = self._article
        if article is None or article["title"] != record["title"] or self._questions >= LONGEST_ARTICLE:
            self._end_article()
            article = self._article = {"title": record["title"], "paragraphs": []}
        paragraphs = article["paragraphs"]
        if not paragraphs or paragraphs[-1]["context"] != record["context"]:
            paragraphs.append({"context": record["context"], "qas": []})
        paragraphs[-1]["qas"].append(_question(record))
        self._questions += 1

    def end(self) -> None:
        """Write what is left, and the end of the file."""
        self._end_article()
        self._stream.write("\n]}\n")

    def _end_article(self) -> None:
        if self._article is not None:
            self._stream.write(self._separator + json.dumps(self._article, ensure_ascii=False))
            self._separator = ",\n"
        self._article, self._questions = None, 0


@contextmanager
def squad_file(path: Path) -> Iterator[SquadFile]:
    """A file that questions can be added to; it appears when all are in it, and not where something goes wrong.

    Raises:
        OSError: if it cannot be written.
    """
    with whole_file(path) as temporary, open(temporary, "w", encoding="utf-8") as stream:
        file = SquadFile(stream)
        yield file
        file.end()


def _question(record: Mapping[str, Any]) -> dict[str, Any]:
    pairs = zip(record["answers"]["text"], record["answers"]["answer_start"], strict=True)
    answers = [{"text": text, "answer_start": start} for text, start in pairs]
    return {"id": record["id"], "question": record["question"], "answers": answers, "is_impossible": not answers}
