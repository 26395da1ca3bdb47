"""Records on disk, under a name made from their source: what was read once need not be read again.

The files are in the cache of `datasets`, whose settings say where it is and whether it is used. A data set with a file
behind it lets ``Dataset.map`` find its earlier results, is shared between processes, and costs no memory of its own.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import tempfile
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from itertools import islice
from pathlib import Path
from typing import Any

import datasets
import pyarrow as pa

from ..json_text import parse_json

__all__ = ["cached_file", "dataset_in_memory", "load_cached", "whole_file", "write_cached"]

logger = logging.getLogger(__name__)

_ROWS = 1000  # records that are held as Python objects at a time


def cached_file(*key: object) -> Path | None:
    """Where the records of ``key`` are cached, or are to be; None where nothing can or shall be cached."""
    if not datasets.is_caching_enabled():
        return None
    folder = Path(datasets.config.HF_DATASETS_CACHE) / "palbert_qa"
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        logger.warning("%s cannot be made (%s): the data set stays in memory, and is not cached", folder, error)
        return None
    return folder / f"{hashlib.sha256(json.dumps(key).encode()).hexdigest()[:32]}.arrow"


def load_cached(file: Path) -> tuple[datasets.Dataset, dict[str, Any]] | None:
    """The data set in ``file`` and its report, or None if it is not there as :func:`write_cached` left it."""
    try:
        content = parse_json(_report_file(file).read_text(encoding="utf-8"))
        dataset = datasets.Dataset.from_file(str(file))
    except (OSError, ValueError):  # not there, or cut off by a machine that lost power
        return None
    return (dataset, content["report"]) if len(dataset) == content["rows"] else None


def write_cached(
    file: Path, features: datasets.Features, records: Iterable[dict[str, Any]], report: Callable[[], dict[str, Any]]
) -> datasets.Dataset:
    """Write records into ``file`` as they come, and what ``report`` returns after the last one.

    The file appears when it is whole: two processes may write the same one at once.

    Raises:
        OSError: if the disk is full, or the folder cannot be written.
    """
    rows = 0
    with whole_file(file) as temporary:
        with pa.OSFile(temporary, "wb") as sink, pa.ipc.new_stream(sink, features.arrow_schema) as writer:
            for batch in _batches(features, records):
                writer.write_batch(batch)
                rows += batch.num_rows
        with whole_file(_report_file(file)) as report_file:
            content = json.dumps({"rows": rows, "report": report()}, ensure_ascii=False)
            Path(report_file).write_text(content, encoding="utf-8")
    return datasets.Dataset.from_file(str(file))


def dataset_in_memory(features: datasets.Features, records: Iterable[dict[str, Any]]) -> datasets.Dataset:
    """A data set without a file behind it."""
    return datasets.Dataset(pa.Table.from_batches(_batches(features, records), schema=features.arrow_schema))


def _batches(features: datasets.Features, records: Iterable[dict[str, Any]]) -> Iterator[pa.RecordBatch]:
    stream = iter(records)
    while rows := list(islice(stream, _ROWS)):
        yield pa.RecordBatch.from_pylist(rows, schema=features.arrow_schema)


def _report_file(file: Path) -> Path:
    return file.with_suffix(".json")


@contextmanager
def whole_file(file: Path) -> Iterator[str]:
    """Name of a temporary file that takes the place of ``file`` once all is well, and is deleted otherwise."""
    handle, temporary = tempfile.mkstemp(dir=file.parent, suffix=".tmp")
    os.close(handle)
    try:
        yield temporary
        umask = os.umask(0)
        os.umask(umask)
        os.chmod(temporary, 0o666 & ~umask)  # those of `mkstemp` are private, and a cache may be shared
        os.replace(temporary, file)
    finally:
        with suppress(FileNotFoundError):
            os.unlink(temporary)
