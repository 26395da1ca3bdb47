"""Questions of many clients, answered in batches by one thread that owns the model.

The first question of a batch waits a few milliseconds for others with the same options. While the model computes,
questions gather by themselves, so that a busy server never waits. Of more than a batch holds, the one that has waited
longest takes along those that are about as long, as windows of a batch are padded to the longest of them. Together they
hold no more characters than one context may: what a client asks for and does not wait for holds up the others no longer
than a single text can.
"""

from __future__ import annotations

import logging
import math
import threading
import traceback
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from itertools import accumulate
from time import monotonic
from typing import Any, Protocol

from ..errors import PalBertError
from .limits import Limits

__all__ = ["Ask", "Asked", "Batcher", "ModelFailedError", "QueueFullError", "StoppedError", "Watcher", "log_failure"]

logger = logging.getLogger(__name__)

Options = tuple[tuple[str, Any], ...]
Ask = Callable[..., Any]
"""The question-answering pipeline, or what takes and returns the same: called with lists ``question`` and ``context``,
``batch_size`` and options, it returns for each question a dictionary with ``score``, ``start``, ``end`` and ``answer``,
or a list of them; for a single question without a list around it."""

_WARM_UP = {"question": "谁 who?", "context": "张三 Ann."}


class QueueFullError(PalBertError, RuntimeError):
    """There is no room for the questions of a request.

    Args:
        retry_after: Seconds after which there will probably be room.
    """

    def __init__(self, retry_after: int) -> None:
        super().__init__(f"the queue is full; try again in {retry_after} s")
        self.retry_after = retry_after


class StoppedError(PalBertError, RuntimeError):
    """The server is about to end and takes no more questions."""


class ModelFailedError(PalBertError, RuntimeError):
    """The model raised an exception that is not the question's fault."""


class Watcher(Protocol):
    """Whoever wants to know of batches."""

    def batch_answered(self, questions: int, seconds: float) -> None:
        """A batch of so many questions took the model so many seconds."""


@dataclass(eq=False)
class Asked:
    """A question that waits for its answer.

    Attributes:
        example: Question and context.
        options: Options of the pipeline.
        answer: What will be known: answers, best first.
        since: When it was asked, in seconds of the monotonic clock.
    """

    example: Mapping[str, str]
    options: Options
    answer: Future[list[dict[str, Any]]] = field(default_factory=Future)
    since: float = field(default_factory=monotonic)

    @property
    def length(self) -> int:
        """Characters to read."""
        return sum(map(len, self.example.values()))


class Batcher:
    """Answers questions in batches, in a thread of its own.

    Args:
        ask: The model, see :data:`Ask`. Only the thread calls it.
        limits: Size of a batch, time to wait for it, length of the queue.
        watcher: Is told of every batch.
    """

    def __init__(self, ask: Ask, limits: Limits, watcher: Watcher | None = None) -> None:
        self.ask, self.limits, self.watcher = ask, limits, watcher
        self._has_answered = False
        self._waiting: list[Asked] = []
        self._changed = threading.Condition()
        self._stopping = False
        self._seconds_per_question = 0.1  # a guess, until something has been measured
        self._thread = threading.Thread(target=self._work, name="palbert-model", daemon=True)

    @property
    def waiting(self) -> int:
        """Questions in the queue, without those that the model is busy with."""
        return len(self._waiting)

    @property
    def ready(self) -> bool:
        """Whether the model has answered once, and its thread goes on."""
        return self._has_answered and self._thread.is_alive()

    @property
    def stopping(self) -> bool:
        """Whether no more questions are taken: after :meth:`stop`, or if the thread has ended by itself."""
        return self._stopping or (self._thread.ident is not None and not self._thread.is_alive())

    def start(self) -> None:
        """Start the thread, and let the model answer a question of our own."""
        self._thread.start()

    def submit(self, examples: Sequence[Mapping[str, str]], options: Options) -> list[Asked]:
        """Put questions into the queue: all of them, or none.

        Raises:
            QueueFullError: if there is no room for all of them.
            StoppedError: after :meth:`stop`, or if the thread has ended by itself.
        """
        asked = [Asked(example, options) for example in examples]
        with self._changed:
            if self.stopping:
                raise StoppedError("the server is stopping; ask another one")
            if len(self._waiting) + len(asked) > self.limits.max_queue:
                seconds = len(self._waiting) * self._seconds_per_question
                raise QueueFullError(min(max(math.ceil(seconds), 1), 60))
            self._waiting += asked
            self._changed.notify_all()
        return asked

    def abandon(self, asked: Sequence[Asked]) -> None:
        """Free the places of questions that nobody waits for any more."""
        for one in asked:
            one.answer.cancel()
        with self._changed:
            self._waiting = [one for one in self._waiting if not one.answer.cancelled()]

    def stop(self, timeout: float) -> bool:
        """Take no more questions, answer those in the queue, and end; returns whether that took less than ``timeout``.

        Args:
            timeout: Seconds to wait for the end.
        """
        with self._changed:
            self._stopping = True
            self._changed.notify_all()
        self._thread.join(timeout)
        return not self._thread.is_alive()

    def _work(self) -> None:
        warm_up = Asked(_WARM_UP, ())
        self._answer([warm_up])
        if error := warm_up.answer.exception():  # whose text is our own
            logger.error("The model cannot answer a first question, %r: %s", _WARM_UP, error)
        while batch := self._next_batch():
            self._answer([one for one in batch if one.answer.set_running_or_notify_cancel()])

    def _next_batch(self) -> list[Asked]:
        """Wait for questions, and for more with the options of the first; nothing means the end."""
        with self._changed:
            while self._waiting or not self._stopping:
                if not self._waiting:
                    self._changed.wait()
                    continue
                first = self._waiting[0]
                alike = [one for one in self._waiting if one.options == first.options]
                batch = _nearest(first, alike, self.limits.max_batch_size, self.limits.max_context_chars)
                left = first.since + self.limits.max_wait_ms / 1000 - monotonic()
                if len(batch) == self.limits.max_batch_size or left <= 0 or self._stopping:
                    taken = set(batch)
                    self._waiting = [one for one in self._waiting if one not in taken]
                    return batch
                self._changed.wait(left)
            return []

    def _answer(self, batch: list[Asked]) -> None:
        """Answer questions with the same options; what a single one is to blame for does not befall the others."""
        if not batch:
            return
        failure: PalBertError
        try:
            answers = self._timed(batch)
        except (KeyboardInterrupt, SystemExit):
            raise
        except PalBertError as error:
            failure = error
        except BaseException as error:  # a panic of a library in Rust is no Exception
            log_failure(f"The model failed on a batch of {len(batch)}", error)
            failure = ModelFailedError("the model failed; the server's log says how")
        else:
            for one, found in zip(batch, answers, strict=True):
                one.answer.set_result(found)
            return
        if len(batch) == 1:
            batch[0].answer.set_exception(failure)
            return
        for one in batch:
            self._answer([one])

    def _timed(self, batch: list[Asked]) -> list[list[dict[str, Any]]]:
        started = monotonic()
        found = self.ask(
            question=[one.example["question"] for one in batch],
            context=[one.example["context"] for one in batch],
            batch_size=self.limits.max_batch_size,
            **dict(batch[0].options),
        )
        answers = _per_question(found, len(batch))
        seconds = monotonic() - started
        self._seconds_per_question += 0.2 * (seconds / len(batch) - self._seconds_per_question)
        self._has_answered = True
        if self.watcher is not None:
            self.watcher.batch_answered(len(batch), seconds)
        return answers


def _nearest(first: Asked, others: Sequence[Asked], count: int, characters: int) -> list[Asked]:
    """At most ``count`` of ``others``, those that are nearest to ``first`` in length; of equals, those that came first.

    Together they have at most ``characters``, but ``first`` is always among them.
    """
    nearest = sorted(others, key=lambda one: (one is not first, abs(one.length - first.length)))[:count]
    totals = accumulate(one.length for one in nearest)
    return [one for one, total in zip(nearest, totals, strict=True) if one is first or total <= characters]


def log_failure(what: str, error: BaseException) -> None:
    """Log where an exception came from, but not what it says: that may be somebody's text."""
    frames = "".join(traceback.format_tb(error.__traceback__))
    logger.error("%s: %s\n%s", what, type(error).__name__, frames)


def _per_question(found: Any, questions: int) -> list[list[dict[str, Any]]]:
    """What the pipeline returns, as a list of answers for each question."""
    results = [found] if questions == 1 else found
    if len(results) != questions:
        raise RuntimeError(f"the model gave {len(results)} results to {questions} questions")
    return [[result] if isinstance(result, dict) else list(result) for result in results]
