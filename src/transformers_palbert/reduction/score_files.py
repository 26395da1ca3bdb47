"""Scores of a large data set, on disk: found again by the next run, and made by several processes.

A data set is cut into chunks of some questions. The scores of a chunk are one small file, called after a digest of the
questions, their passages, and all that the scorer's scores depend on. A run that was killed loses the chunks that were
being scored; called again, it goes on with these.
"""

from __future__ import annotations

import hashlib
import json
import multiprocessing
import zipfile
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import datasets
import numpy as np

from ..qa.record_cache import whole_file
from .passages import Cutting, Passages
from .scorers.base import Scored, Scorer

__all__ = ["CHUNK", "Chunks", "cache_folder", "load_scores", "score_chunks"]

CHUNK = 64
"""Questions of a chunk: what an interruption costs at most, per process."""

_FORMAT = 1  # part of every file's name: raise it whenever unchanged passages get other scores


@dataclass(frozen=True)
class Chunks:
    """A data set (SQuAD schema) in chunks, read and cut into passages as needed.

    Args:
        dataset: The questions; in memory or mapped from a file.
        cutting: How their contexts are cut.
        size: Questions of a chunk.
    """

    dataset: datasets.Dataset
    cutting: Cutting
    size: int = CHUNK

    def __len__(self) -> int:
        return -(-len(self.dataset) // self.size)

    def records(self) -> Iterator[dict[str, list[Any]]]:
        """The questions of each chunk, as columns."""
        for start in range(0, len(self.dataset), self.size):
            yield self.dataset[start : start + self.size]

    def __iter__(self) -> Iterator[list[Passages]]:
        return (self.cutting.cut(records["question"], records["context"]) for records in self.records())


def cache_folder() -> Path:
    """Where scores are kept by default: in the cache of `datasets`."""
    return Path(datasets.config.HF_DATASETS_CACHE) / "palbert_scores"


def score_chunks(
    chunks: Chunks, scorer: Scorer, folder: Path, *, load: Callable[[], Scorer] | None = None, processes: int = 1
) -> Iterator[tuple[Path, bool]]:
    """Score chunks that have no file yet.

    Args:
        chunks: What to score.
        scorer: What scores them.
        folder: Where the files are, and are to be.
        load: Loads the same scorer in another process, for which it must be possible to pickle it.
        processes: How many score at the same time; with 1, or without ``load``, this process does.

    Yields:
        The file of each chunk, in order, as soon as it is there, and whether it had to be made.
    """
    folder.mkdir(parents=True, exist_ok=True)
    name = partial(_file_name, json.dumps(scorer.describe(), sort_keys=True))
    named = ((chunk, folder / name(chunk)) for chunk in chunks)
    if load is not None and processes > 1:
        yield from _in_processes(named, load, processes)
        return
    for chunk, file in named:
        missing = not _is_whole(file)
        if missing:
            _write(file, scorer(chunk))
        yield file, missing


def load_scores(file: Path) -> Scored:
    """The scores that a file of :func:`score_chunks` holds."""
    with np.load(file, allow_pickle=False) as arrays:
        scores = np.split(arrays["scores"], np.cumsum(arrays["lengths"])[:-1])
        measured = {name: arrays[name] for name in arrays.files if name not in ("scores", "lengths")}
    return Scored(scores, measured)


def _file_name(scorer: str, chunk: list[Passages]) -> str:
    digest = hashlib.sha256(f"{_FORMAT} {scorer}".encode())
    for row in chunk:
        digest.update(json.dumps([row.question, row.context, row.spans]).encode())
    return f"{digest.hexdigest()[:32]}.npz"


def _is_whole(file: Path) -> bool:
    """Whether scores are there; a machine that lost power may have left a part of a file."""
    return zipfile.is_zipfile(file)


def _write(file: Path, scored: Scored) -> None:
    lengths = np.array([len(scores) for scores in scored.scores], dtype=np.int64)
    arrays: dict[str, Any] = {"lengths": lengths, "scores": np.concatenate(scored.scores), **scored.measured}
    try:
        with whole_file(file) as temporary, open(temporary, "wb") as stream:
            np.savez(stream, **arrays)
    except OSError as error:
        why = f"the scores of {len(lengths)} questions cannot be written ({error.strerror})"
        raise OSError(error.errno, f"{why}; make room, or choose another folder for scores", str(file)) from error


# --- several processes ------------------------------------------------------------------------------------------------

_scorer: Scorer | None = None  # of this process, where it is one of several


def _in_processes(
    named: Iterator[tuple[list[Passages], Path]], load: Callable[[], Scorer], processes: int
) -> Iterator[tuple[Path, bool]]:
    # spawn: forking a process whose libraries have started threads may hang
    context = multiprocessing.get_context("spawn")
    pending: deque[tuple[Path, Future[None] | None]] = deque()
    with ProcessPoolExecutor(processes, mp_context=context, initializer=_start, initargs=(load, processes)) as pool:
        for chunk, file in named:
            pending.append((file, None if _is_whole(file) else pool.submit(_score, chunk, file)))
            if len(pending) > 4 * processes:  # so that a large data set is never in memory as a whole
                yield _finished(*pending.popleft())
        while pending:
            yield _finished(*pending.popleft())


def _start(load: Callable[[], Scorer], processes: int) -> None:
    """Load the scorer into a new process, which takes its part of the cores."""
    import torch

    global _scorer
    torch.set_num_threads(max(torch.get_num_threads() // processes, 1))
    _scorer = load()


def _score(chunk: list[Passages], file: Path) -> None:
    assert _scorer is not None
    _write(file, _scorer(chunk))


def _finished(file: Path, future: Future[None] | None) -> tuple[Path, bool]:
    if future is not None:
        future.result()  # raises here what was raised there
    return file, future is not None
