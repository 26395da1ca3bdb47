"""What callers hand to the question-answering pipeline, turned into examples."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence, Sized
from itertools import islice
from typing import Any

from ..errors import ConfigurationError

__all__ = ["Example", "as_examples", "blocks", "checked_example", "parse_inputs"]

Example = Mapping[str, Any]
"""A question and its context, under these keys; further keys are ignored."""

_USAGE = "Call the pipeline as `pipe(question=…, context=…)` or `pipe([{'question': …, 'context': …}, …])`."


def parse_inputs(args: tuple[Any, ...], named: dict[str, Any]) -> list[Example] | Iterable[Example]:
    """Turn the arguments of a call into examples; takes those it understands out of ``named``.

    Accepted are ``question`` and ``context`` (two strings, two sequences, or several questions about one context), or
    as the only argument (also called ``data`` or ``X``) one mapping with these keys, which may hold lists as well, an
    iterable of such mappings for one question each, or an iterator or torch ``Dataset`` that is to be read as needed.

    Returns:
        A list of checked examples, or the iterator or ``Dataset`` itself.

    Raises:
        ConfigurationError: if the arguments cannot be understood, or a question or context is missing or empty.
    """
    given: dict[str, Any] = {name: named.pop(name) for name in ("question", "context", "X", "data") if name in named}
    if args:
        inputs = _positional(args)
    elif "data" in given or "X" in given:
        inputs = given["data"] if "data" in given else given["X"]
    elif "question" in given and "context" in given:
        inputs = as_examples(given["question"], given["context"])
    else:
        missing = "`context`" if "question" in given else "`question`"
        raise ConfigurationError(f"The call has no {missing}. {_USAGE}")
    if isinstance(inputs, Mapping):
        several = any(_is_list(inputs.get(name)) for name in ("question", "context"))
        inputs = as_examples(inputs.get("question"), inputs.get("context")) if several else [inputs]
    if _is_stream(inputs):
        return inputs
    if isinstance(inputs, str) or not isinstance(inputs, Iterable):
        raise ConfigurationError(f"Cannot read examples from {inputs!r}. {_USAGE}")
    return [checked_example(example) for example in inputs]


def checked_example(example: Any) -> Example:
    """Return ``example``, or raise where its question or context is missing, empty or not a string.

    Raises:
        ConfigurationError: naming what is wrong with the example.
    """
    if not isinstance(example, Mapping):
        raise ConfigurationError(f"An example must be a mapping, got {type(example).__name__}. {_USAGE}")
    for key in ("question", "context"):
        if key not in example:
            raise ConfigurationError(f"An example has no `{key}`, only {sorted(example)}. {_USAGE}")
        if not isinstance(example[key], str):
            raise ConfigurationError(f"`{key}` must be a string, got {example[key]!r}. {_USAGE}")
        if not example[key] or (key == "question" and not example[key].strip()):
            raise ConfigurationError(f"`{key}` cannot be empty. Leave out such examples. {_USAGE}")
    return example


def blocks(examples: Iterable[Example], size: int) -> Iterator[list[Example]]:
    """Read examples in lists of at most ``size``, never further ahead than one list."""
    if isinstance(examples, Sized) and hasattr(examples, "__getitem__"):  # a torch Dataset need not be iterable
        stream: Iterator[Example] = (examples[index] for index in range(len(examples)))
    else:
        stream = iter(examples)
    while block := list(islice(stream, size)):
        yield block


def _positional(args: tuple[Any, ...]) -> Any:
    if len(args) == 1:
        return args[0]
    if len(args) == 2 and all(isinstance(arg, str) for arg in args):
        return {"question": args[0], "context": args[1]}
    return list(args)


def as_examples(questions: Any, contexts: Any) -> list[Example]:
    """Examples from one or several questions about one or several contexts.

    Raises:
        ConfigurationError: if these are no strings or lists, or lists of different lengths.
    """
    if isinstance(questions, str) and isinstance(contexts, str):
        return [{"question": questions, "context": contexts}]
    if not _is_list(questions) or not isinstance(contexts, Sequence):
        raise ConfigurationError(
            "`question` and `context` must be two strings, two lists, or a list of questions about one context; got"
            f" {type(questions).__name__} and {type(contexts).__name__}."
        )
    if isinstance(contexts, str):
        contexts = [contexts] * len(questions)
    if len(questions) != len(contexts):
        raise ConfigurationError(
            f"Questions and contexts do not have the same lengths: {len(questions)} and {len(contexts)}. Pass one"
            " context per question, or a single one as a string."
        )
    return [{"question": question, "context": context} for question, context in zip(questions, contexts, strict=True)]


def _is_list(value: Any) -> bool:
    return isinstance(value, Sequence) and not isinstance(value, str)


def _is_stream(inputs: Any) -> bool:
    """Whether to read the inputs as needed, rather than to make a list of them first."""
    torch_data = sys.modules.get("torch.utils.data")  # without torch, nobody has made a `Dataset` of it
    return isinstance(inputs, Iterator) or (torch_data is not None and isinstance(inputs, torch_data.Dataset))
