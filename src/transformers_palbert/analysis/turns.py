"""Processes that take turns: each does the same tasks as the others, one at a time, while the others wait.

What else the machine does in the meantime hits all of them alike, and memory and threads of each are its own.
"""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from multiprocessing.connection import Connection
from typing import Any, Protocol, TypeVar

__all__ = ["WARM_UP", "Turn", "Watch", "Worker", "serve_tasks", "take_turns"]

WARM_UP = 2
"""Rounds that do not count: in the first ones, models compile, allocate and fill caches."""

Key = TypeVar("Key", bound=Hashable)
Task = TypeVar("Task", bound=Hashable)

Watch = Callable[[Iterable[Any], str], Iterable[Any]]


class Turn(Protocol):
    """Whoever takes turns; text stands for a failure, after which it is not asked again."""

    def receive(self) -> Any:
        """Wait until it is ready; anything but text means that it is."""

    def ask(self, task: Any) -> Any:
        """What it says to a task."""


class Worker:
    """A function in a process of its own, with a connection to it; use it as a context manager.

    Args:
        target: Called in the process with its end of the connection and ``arguments``; :func:`serve_tasks` is what it
            usually comes down to. It must be importable by its name.
        *arguments: What else it gets.
    """

    def __init__(self, target: Callable[..., None], *arguments: Any) -> None:
        context = multiprocessing.get_context("spawn")  # a fork would share what torch has started
        self._connection: Connection
        self._connection, theirs = context.Pipe()
        self._process = context.Process(target=target, args=(theirs, *arguments), daemon=True)
        self._theirs = theirs

    def __enter__(self) -> Worker:
        self._process.start()
        self._theirs.close()  # else the end of the process would not be seen
        return self

    def __exit__(self, *_: object) -> None:
        self._connection.close()
        self._process.join(timeout=5)
        if self._process.is_alive():
            self._process.terminate()

    def ask(self, task: Any) -> Any:
        """Send a task, and return what comes back; text where the process failed."""
        try:
            self._connection.send(task)
        except OSError:
            return "the process has ended"
        return self.receive()

    def receive(self) -> Any:
        """What comes next; text where the process failed."""
        try:
            return self._connection.recv()
        except (EOFError, OSError):
            return "the process has ended; it may have had too little memory"


def serve_tasks(connection: Connection, load: Callable[[], Any], work: Callable[[Any, Any], Any]) -> Any:
    """The other end of a :class:`Worker`: load something, then do what it is asked with it until None comes.

    Args:
        connection: Gets None once all is loaded, and what comes of each task; or what went wrong, as text, after
            which nothing more is done.
        load: Returns what ``work`` needs.
        work: Called with that and a task; returns anything but text.

    Returns:
        What ``load`` gave, once None has come; None where something went wrong.
    """
    try:
        loaded = load()
        connection.send(None)
        while (task := connection.recv()) is not None:
            connection.send(work(loaded, task))
    except EOFError:  # whoever asked has gone
        return None
    except Exception as error:
        connection.send(f"{type(error).__name__}: {error}")
        return None
    return loaded


def take_turns(
    turns: Mapping[Key, Turn],
    tasks: Sequence[Task],
    rounds: int,
    failed: dict[Key, str],
    watch: Watch = lambda items, _: items,
    *,
    warm_up: int = WARM_UP,
) -> dict[tuple[Key, Task], list[Any]]:
    """Let all do every task once in each round, one after the other; who begins changes from round to round.

    Args:
        turns: Who takes part, by name.
        tasks: What each is asked.
        rounds: How many answers to each task are kept.
        failed: Gets the names of those that failed, and why; they leave.
        watch: Wraps the rounds, for a progress bar.
        warm_up: Rounds before those that are kept.

    Returns:
        What was said to each task, by name and task, round by round.
    """
    failed.update({name: error for name, turn in turns.items() if isinstance(error := turn.receive(), str)})
    said: dict[tuple[Key, Task], list[Any]] = {}
    order = list(turns)
    for number in watch(range(warm_up + rounds), "rounds"):
        first = number % len(order)
        for task in tasks:
            for name in order[first:] + order[:first]:
                if name in failed:
                    continue
                found = turns[name].ask(task)
                if isinstance(found, str):
                    failed[name] = found
                elif number >= warm_up:
                    said.setdefault((name, task), []).append(found)
    return said
