"""Question-answering data sets in one schema: SQuAD, CMRC 2018, DRCD, flat files, and data sets of the Hub.

Every data set that :func:`load_qa_dataset` returns has the columns of SQuAD on the Hub:

    id: str   title: str   context: str   question: str   answers: {"text": [str], "answer_start": [int]}

``answer_start`` counts characters (Unicode code points) of the unmodified context, from 0. An unanswerable question has
empty lists. An answer whose text occurs nowhere in its context keeps the text, with ``answer_start`` -1.
"""

from __future__ import annotations

import hashlib
import logging
import os
import tempfile
from collections import Counter
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import datasets
import pyarrow as pa

from transformers_palbert.errors import ConfigurationError, DatasetFormatError
from transformers_palbert.qa.readers import SUFFIXES, RawAnswer, RawQuestion, flat_question, read_questions

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
        set_aside: questions that were left out, as none of their answers was found; only when loading for training.
    """

    questions: int
    unanswerable: int
    answers: int
    offsets_wrong: int
    offsets_repaired: int
    offsets_missing: int
    offsets_found: int
    answers_not_found: int
    set_aside: tuple[str, ...]

    def to_dict(self) -> dict[str, Any]:
        """All counts, and the ids of the questions set aside as a list: ready for JSON."""
        return asdict(self) | {"set_aside": list(self.set_aside)}

    def __str__(self) -> str:
        return (
            f"{self.questions} questions ({self.unanswerable} unanswerable), {self.answers} answers:"
            f" {self.offsets_wrong} wrong offsets ({self.offsets_repaired} repaired),"
            f" {self.offsets_missing} missing offsets ({self.offsets_found} found),"
            f" {self.answers_not_found} answers not in their context, {len(self.set_aside)} questions set aside"
        )


def load_qa_dataset(
    source: str | os.PathLike[str] | datasets.Dataset,
    *,
    split: str | None = None,
    training: bool = False,
    **load_dataset_kwargs: Any,
) -> datasets.Dataset:
    """Load a question-answering data set into the schema of this module, with offsets repaired.

    Args:
        source: a file (SQuAD 1.1 or 2.0 JSON, CMRC 2018 in both of its forms, DRCD, flat JSON, JSON lines, CSV, TSV or
            Parquet), a folder of such files, a data set, or the id of one on the Hub. A path that exists wins.
        split: the split of a Hub id, or the files of a folder whose name contains it (``dev`` and ``validation`` are
            the same). One file is one split: the name is then only a label.
        training: leave out answers that cannot be found in the context, and questions that have no other answers.
            Otherwise nothing is ever left out.
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
    questions = _read(source, split, load_dataset_kwargs)
    records, report = _to_records(questions, training=training)
    logger.info("%s: %s", source if isinstance(source, (str, os.PathLike)) else "data set", report)
    if report.set_aside:
        logger.warning(
            "%d of %d questions set aside: no answer is in the context", len(report.set_aside), report.questions
        )
    if not records:
        raise DatasetFormatError(f"{source}: none of the {report.questions} questions has an answer in its context")
    return _on_disk(datasets.Dataset.from_list(records, features=FEATURES)), report


def _read(source: Any, split: str | None, kwargs: dict[str, Any]) -> Iterable[RawQuestion]:
    if isinstance(source, datasets.Dataset):
        return _from_dataset(source, "data set")
    path = Path(source)
    if not path.exists():
        if path.suffix.lower() in SUFFIXES or not _looks_like_hub_id(os.fspath(source)):
            raise DatasetFormatError(f"{path}: there is no such file or folder")
        return _from_hub(os.fspath(source), split, kwargs)
    if kwargs:
        raise ConfigurationError(f"{', '.join(kwargs)}: only data sets of the Hub take such arguments, {path} is local")
    if (path / "dataset_info.json").is_file() or (path / "dataset_dict.json").is_file():  # from `save_to_disk`
        loaded = datasets.load_from_disk(str(path))
        if split is not None and isinstance(loaded, dict) and split in loaded:
            loaded = loaded[split]
        return _from_dataset(loaded, str(path))
    files = _files_of_folder(path, split) if path.is_dir() else [path]
    if split is not None and "[" in split:
        raise ConfigurationError(f"split {split!r}: a part of a local file cannot be chosen; use `.select(range(...))`")
    return [question for file in files for question in read_questions(file)]


def _looks_like_hub_id(source: str) -> bool:
    return source.count("/") <= 1 and not source.startswith((".", "/", "~")) and "\\" not in source


def _from_hub(name: str, split: str | None, kwargs: dict[str, Any]) -> Iterable[RawQuestion]:
    return _from_dataset(datasets.load_dataset(name, split=split, **kwargs), name)


def _from_dataset(dataset: Any, name: str) -> Iterable[RawQuestion]:
    if isinstance(dataset, dict):
        raise ConfigurationError(f"{name}: pass split=..., one of {', '.join(map(repr, dataset))}")
    return (flat_question(record, f"{name}: row {index}") for index, record in enumerate(dataset))


def _files_of_folder(folder: Path, split: str | None) -> list[Path]:
    files = sorted(file for file in folder.iterdir() if file.is_file() and file.suffix.lower() in SUFFIXES)
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


def _to_records(questions: Iterable[RawQuestion], *, training: bool) -> tuple[list[dict[str, Any]], RepairReport]:
    counts: Counter[str] = Counter()
    places: dict[str, str] = {}  # id -> where it stands
    records: list[dict[str, Any]] = []
    set_aside: list[str] = []
    for question in questions:
        key = question.id if question.id is not None else _generated_id(question, places)
        if key in places:
            raise DatasetFormatError(f"{question.where}.id: {key!r} is taken already, by {places[key]}")
        places[key] = question.where
        found = [(answer.text, _locate(answer, question.context, counts)) for answer in question.answers]
        counts["unanswerable"] += not found
        kept = [pair for pair in found if pair[1] >= 0] if training else found
        if found and not kept:
            set_aside.append(key)
            continue
        records.append(
            {
                "id": key,
                "title": question.title,
                "context": question.context,
                "question": question.question,
                "answers": {"text": [text for text, _ in kept], "answer_start": [start for _, start in kept]},
            }
        )
    return records, _report(counts, len(places), tuple(set_aside))


def _locate(answer: RawAnswer, context: str, counts: Counter[str]) -> int:
    """Offset of the answer: the stated one if right, else the nearest occurrence, else -1."""
    counts["answers"] += 1
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


def _generated_id(question: RawQuestion, taken: dict[str, str]) -> str:
    """An id that depends on the texts alone; a second question with the same texts gets ``-1`` appended, and so on."""
    content = "\0".join((question.title, question.context, question.question))
    digest = hashlib.sha256(content.encode("utf-8", "surrogatepass")).hexdigest()[:16]
    copy = 0
    while (key := f"{digest}-{copy}" if copy else digest) in taken:
        copy += 1
    return key


def _report(counts: Counter[str], questions: int, set_aside: tuple[str, ...]) -> RepairReport:
    names = ("unanswerable", "answers", "offsets_wrong", "offsets_repaired", "offsets_missing", "offsets_found")
    return RepairReport(
        questions=questions,
        **{name: counts[name] for name in names},
        answers_not_found=counts["answers_not_found"],
        set_aside=set_aside,
    )


def _on_disk(dataset: datasets.Dataset) -> datasets.Dataset:
    """Move a data set from memory into the cache of `datasets`, under a name made from its content.

    Only a data set with a file behind it lets `Dataset.map` find its earlier results, and lets processes share it. The
    same content always gets the same file. Without caching, or a writable cache, the data set stays in memory.
    """
    if not datasets.is_caching_enabled():
        return dataset
    table = dataset.data.table
    folder = Path(datasets.config.HF_DATASETS_CACHE) / "palbert_qa"
    path = folder / f"{_table_digest(table)}.arrow"
    try:
        if not path.exists():
            folder.mkdir(parents=True, exist_ok=True)
            _write_arrow(table, path)
    except OSError as error:
        logger.warning("%s cannot be written (%s): the data set stays in memory, and nothing is cached", path, error)
        return dataset
    return datasets.Dataset.from_file(str(path))


def _table_digest(table: pa.Table) -> str:
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table)
    return hashlib.sha256(sink.getvalue()).hexdigest()[:32]


def _write_arrow(table: pa.Table, path: Path) -> None:
    handle, temporary = tempfile.mkstemp(dir=path.parent, suffix=".tmp")
    os.close(handle)
    with pa.OSFile(temporary, "wb") as sink, pa.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table)
    os.replace(temporary, path)  # two processes may write the same content at once
