"""Question-answering data sets in one schema, from files of many forms and from the Hub.

Every data set that :func:`load_qa_dataset` returns has the columns of SQuAD on the Hub:

    id: str   title: str   context: str   question: str   answers: {"text": [str], "answer_start": [int]}

``answer_start`` counts characters (Unicode code points) of the unmodified context, from 0. An unanswerable question has
empty lists. An answer whose text occurs nowhere in its context keeps the text, with ``answer_start`` -1.
"""

from __future__ import annotations

import hashlib
import logging
import os
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, fields
from itertools import chain
from pathlib import Path
from typing import Any

import datasets

from ..errors import ConfigurationError, DatasetFormatError
from .raw_questions import RawAnswer, RawQuestion
from .readers import flat_question, read_questions
from .record_cache import cached_file, dataset_in_memory, load_cached, write_cached
from .record_files import SUFFIXES, is_record_file, suffix_of

__all__ = ["FEATURES", "RepairReport", "load_qa_dataset", "load_qa_dataset_with_report"]

logger = logging.getLogger(__name__)

FEATURES = datasets.Features(
    {
        "id": datasets.Value("string"),
        "title": datasets.Value("string"),
        "context": datasets.Value("string"),
        "question": datasets.Value("string"),
        "answers": {
            "text": datasets.List(datasets.Value("string")),
            "answer_start": datasets.List(datasets.Value("int32")),
        },
    }
)
"""The schema of every data set that this module returns."""

_READING = 1  # part of the cache's key: raise it whenever an unchanged source becomes other records
_SPLIT_NAMES = {"validation": ("validation", "valid", "val", "dev"), "train": ("train", "training"), "test": ("test",)}


@dataclass(frozen=True)
class RepairReport:
    """What was found and done while loading.

    Attributes:
        questions: questions in the source.
        unanswerable: of these, questions without an answer.
        answers: reference answers in the source; empty texts do not count.
        offsets_wrong: answers whose text does not stand at the offset that the source gives.
        offsets_repaired: of these, answers that were moved to the nearest place where their text does stand.
        offsets_missing: answers for which the source gives no offset.
        offsets_found: of these, answers whose text was found; the first occurrence is taken.
        answers_not_found: answers whose text occurs nowhere in the context.
        contradictory: questions that ``is_impossible`` says to be without an answer although they have one, or the
            other way round.
        set_aside: questions that were left out, because they contradict themselves or none of their answers was found;
            only when loading for training.
    """

    questions: int
    unanswerable: int
    answers: int
    offsets_wrong: int
    offsets_repaired: int
    offsets_missing: int
    offsets_found: int
    answers_not_found: int
    contradictory: int
    set_aside: tuple[str, ...]

    def to_dict(self) -> dict[str, Any]:
        """All counts, and the ids of the questions set aside as a list: ready for JSON."""
        return asdict(self) | {"set_aside": list(self.set_aside)}

    def __str__(self) -> str:
        return (
            f"{self.questions} questions ({self.unanswerable} unanswerable), {self.answers} answers:"
            f" {self.offsets_wrong} wrong offsets ({self.offsets_repaired} repaired),"
            f" {self.offsets_missing} missing offsets ({self.offsets_found} found),"
            f" {self.answers_not_found} answers not in their context,"
            f" {self.contradictory} questions contradict their is_impossible,"
            f" {len(self.set_aside)} questions set aside"
        )

    @classmethod
    def of(cls, counts: Mapping[str, int], set_aside: Iterable[str]) -> RepairReport:
        """A report from counts by the names of the attributes; what is not counted is 0."""
        names = [field.name for field in fields(cls) if field.name != "set_aside"]
        return cls(**{name: counts.get(name, 0) for name in names}, set_aside=tuple(set_aside))


def load_qa_dataset(
    source: str | os.PathLike[str] | datasets.Dataset,
    *,
    split: str | None = None,
    training: bool = False,
    **load_dataset_kwargs: Any,
) -> datasets.Dataset:
    """Load a question-answering data set into the schema of this module, with offsets repaired.

    A source is read once, record by record, into a file in the cache of `datasets`. The next call finds that file by
    the content of the source, and maps it into memory. A data set in memory that has this schema stays there.

    Args:
        source: a file (SQuAD 1.1 or 2.0 JSON, CMRC 2018 in both of its forms, DRCD, Natural Questions in its simplified
            and its original form, MRQA 2019, DPR, flat JSON, JSON lines, CSV, TSV or Parquet; all but the last also
            compressed, as ``.gz``), a folder of such files, a data set, or the id of one on the Hub. A path that exists
            wins.
        split: the split of a Hub id, or the files of a folder whose name contains it (``dev`` and ``validation`` are
            the same). One file is one split: the name is then only a label.
        training: leave out answers that cannot be found in the context, questions that have no other answers, and
            questions whose ``is_impossible`` contradicts their answers. Otherwise nothing is ever left out.
        load_dataset_kwargs: for `datasets.load_dataset`, with a Hub id only.

    Raises:
        DatasetFormatError: if a file is missing or malformed; the message names file, record and field.
        ConfigurationError: if the arguments do not fit the source.
    """
    return load_qa_dataset_with_report(source, split=split, training=training, **load_dataset_kwargs)[0]


def load_qa_dataset_with_report(
    source: str | os.PathLike[str] | datasets.Dataset,
    *,
    split: str | None = None,
    training: bool = False,
    **load_dataset_kwargs: Any,
) -> tuple[datasets.Dataset, RepairReport]:
    """Do what :func:`load_qa_dataset` does, and return the report with the data set."""
    dataset, report = _load(_find(source, split, load_dataset_kwargs), training)
    logger.info("%s: %s", source if isinstance(source, (str, os.PathLike)) else "data set", report)
    if report.set_aside:
        logger.warning(
            "%d of %d questions set aside: no answer is in the context, or is_impossible contradicts the answers",
            len(report.set_aside),
            report.questions,
        )
    elif report.contradictory:
        logger.warning(
            "%d of %d questions contradict their is_impossible; they are kept as they are",
            report.contradictory,
            report.questions,
        )
    return dataset, report


@dataclass(frozen=True)
class _Source:
    """Where questions come from: ``read`` them, ``content`` tells them from any others; ``cached`` if that helps."""

    name: str
    content: tuple[str, ...]
    read: Callable[[], Iterable[RawQuestion]]
    cached: bool = True


def _load(source: _Source, training: bool) -> tuple[datasets.Dataset, RepairReport]:
    file = cached_file(_READING, training, *source.content) if source.cached else None
    if file is not None:
        if (found := load_cached(file)) is not None:
            dataset, report = found
            return dataset, RepairReport.of(report, report["set_aside"])
        repairs = _Repairs(source, training)
        try:
            dataset = write_cached(file, FEATURES, repairs.records(), lambda: repairs.report.to_dict())
        except OSError as error:
            logger.warning("%s cannot be written (%s): the data set stays in memory, and is not cached", file, error)
        else:
            return dataset, repairs.report
    repairs = _Repairs(source, training)
    return dataset_in_memory(FEATURES, repairs.records()), repairs.report


# --- sources ------------------------------------------------------------------------------------------------------


def _find(source: Any, split: str | None, kwargs: dict[str, Any]) -> _Source:
    if isinstance(source, datasets.Dataset):
        return _of_dataset(source, "data set")
    path = Path(source)
    if not path.exists():
        if is_record_file(path) or not _looks_like_hub_id(os.fspath(source)):
            raise DatasetFormatError(f"{path}: there is no such file or folder")
        return _of_dataset(datasets.load_dataset(os.fspath(source), split=split, **kwargs), os.fspath(source))
    if kwargs:
        raise ConfigurationError(f"{', '.join(kwargs)}: only data sets of the Hub take such arguments, {path} is local")
    if (path / "dataset_info.json").is_file() or (path / "dataset_dict.json").is_file():  # from `save_to_disk`
        loaded = datasets.load_from_disk(str(path))
        if split is not None and isinstance(loaded, dict) and split in loaded:
            loaded = loaded[split]
        return _of_dataset(loaded, str(path))
    if split is not None and "[" in split:
        raise ConfigurationError(f"split {split!r}: a part of a local file cannot be chosen; use `.select(range(...))`")
    return _of_files(_files_of_folder(path, split) if path.is_dir() else [path], str(path))


def _of_files(files: list[Path], name: str) -> _Source:
    content = [part for file in files for part in (suffix_of(file), _digest(file))]
    return _Source(name, tuple(content), lambda: chain.from_iterable(map(read_questions, files)))


def _of_dataset(dataset: Any, name: str) -> _Source:
    if isinstance(dataset, dict):
        raise ConfigurationError(f"{name}: pass split=..., one of {', '.join(map(repr, dataset))}")
    in_memory = not dataset.cache_files and dataset.features == FEATURES  # copied at most, and never parsed
    return _Source(
        name,
        ("data set", dataset._fingerprint),
        lambda: (flat_question(record, f"{name}: row {index}") for index, record in enumerate(dataset)),
        cached=not in_memory,
    )


def _digest(file: Path) -> str:
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def _looks_like_hub_id(source: str) -> bool:
    return source.count("/") <= 1 and not source.startswith((".", "/", "~")) and "\\" not in source


def _files_of_folder(folder: Path, split: str | None) -> list[Path]:
    files = sorted(file for file in folder.iterdir() if file.is_file() and is_record_file(file))
    if split is not None:
        names = next((group for group in _SPLIT_NAMES.values() if split in group), (split,))
        files = [file for file in files if set(names) & _words(file.stem)]
    if not files:
        wanted = f" of split {split!r}" if split else ""
        raise DatasetFormatError(f"{folder}: no file{wanted} ending in {', '.join(SUFFIXES)}")
    if split is None and len(files) > 1:
        raise ConfigurationError(
            f"{folder}: several files ({', '.join(file.name for file in files)}); pass one of them, or split=..."
        )
    return files


def _words(stem: str) -> set[str]:
    return set("".join(character if character.isalpha() else " " for character in stem.lower()).split())


# --- repairs ------------------------------------------------------------------------------------------------------


class _Repairs:
    """Turns questions into records of the schema, and counts what was found and done on the way."""

    def __init__(self, source: _Source, training: bool) -> None:
        self._source = source
        self._training = training
        self._counts: Counter[str] = Counter()
        self._set_aside: list[str] = []

    @property
    def report(self) -> RepairReport:
        """What :meth:`records` has found and done so far."""
        return RepairReport.of(self._counts, self._set_aside)

    def records(self) -> Iterator[dict[str, Any]]:
        """Read the source once, record by record."""
        taken: set[str] = set()
        for question in self._source.read():
            key = question.id if question.id is not None else _generated_id(question, taken)
            if key in taken:
                raise self._repeated(key, question.where)
            taken.add(key)
            self._counts["questions"] += 1
            if (answers := self._answers(question)) is None:
                self._set_aside.append(key)
            else:
                texts = {"title": question.title, "context": question.context, "question": question.question}
                yield {"id": key, **texts, "answers": answers}
        if len(self._set_aside) == len(taken):
            raise DatasetFormatError(
                f"{self._source.name}: none of the {len(taken)} questions can be learnt from: no answer is in its"
                " context, or is_impossible contradicts the answers"
            )

    def _answers(self, question: RawQuestion) -> dict[str, list[Any]] | None:
        """Texts and offsets of the answers, or None for a question that is set aside."""
        found = [(answer.text, _locate(answer, question.context, self._counts)) for answer in question.answers]
        self._counts["unanswerable"] += not found
        self._counts["contradictory"] += question.contradictory
        kept = [pair for pair in found if pair[1] >= 0] if self._training else found
        if self._training and (question.contradictory or (found and not kept)):
            return None
        return {"text": [text for text, _ in kept], "answer_start": [start for _, start in kept]}

    def _repeated(self, key: str, where: str) -> DatasetFormatError:
        first = next(question.where for question in self._source.read() if question.id == key)
        return DatasetFormatError(f"{where}.id: {key!r} is taken already, by {first}")


def _locate(answer: RawAnswer, context: str, counts: Counter[str]) -> int:
    """Offset of the answer: the stated one if right, else the nearest occurrence, else -1."""
    counts["answers"] += 1
    if not answer.in_context:  # a "no" that happens to stand there answers nothing
        counts["answers_not_found"] += 1
        return -1
    text, start = answer.text, answer.start
    if start is not None and start >= 0 and context.startswith(text, start):
        return start
    found = context.find(text) if start is None else _nearest(text, context, start)
    if start is None:
        counts["offsets_missing"] += 1
        counts["offsets_found"] += found >= 0
    else:
        counts["offsets_wrong"] += 1
        counts["offsets_repaired"] += found >= 0
    counts["answers_not_found"] += found < 0
    return found


def _nearest(text: str, context: str, start: int) -> int:
    """Occurrence of ``text`` nearest to ``start``, the earlier of two equally near ones; -1 if there is none."""
    before = context.rfind(text, 0, max(start, 0) + len(text))
    after = context.find(text, max(start, 0))
    if before < 0 or after < 0:
        return max(before, after)
    return before if start - before <= after - start else after


def _generated_id(question: RawQuestion, taken: set[str]) -> str:
    """An id that depends on the texts alone; a second question with the same texts gets ``-1`` appended, and so on."""
    content = "\0".join((question.title, question.context, question.question))
    digest = hashlib.sha256(content.encode("utf-8", "surrogatepass")).hexdigest()[:16]
    copy = 0
    while (key := f"{digest}-{copy}" if copy else digest) in taken:
        copy += 1
    return key
