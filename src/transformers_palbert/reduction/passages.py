"""A context cut into passages: sentences, or blocks of so many tokens. No character is lost, and none is in two."""

from __future__ import annotations

import copy
import hashlib
import json
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any
from weakref import WeakKeyDictionary

import numpy as np
import numpy.typing as npt

from ..errors import ConfigurationError
from ..qa.raw_questions import encodable
from ..text.sentences import sentence_starts
from ..text.shortened import visible

__all__ = [
    "Cutting",
    "Passages",
    "TokenStarts",
    "describe_tokens",
    "token_starts",
    "tokenizer_starts",
    "visible_starts",
    "word_starts",
]

IntArray = npt.NDArray[np.int64]
TokenStarts = Callable[[str], IntArray]
"""The character that each token of a text begins at, ascending."""

_UNSPACED = "\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003ffff"  # Chinese and Japanese
_MARKS = "\u0300-\u036f\u0483-\u0489\u0591-\u05bd\u064b-\u065f\u200d\ufe00-\ufe0f\U0001f3fb-\U0001f3ff"
"""Signs that belong to the character before them: accents and vowels, and what makes one emoji of several."""
_WORD = re.compile(rf"[{_UNSPACED}][{_MARKS}]*|(?:[^\W{_UNSPACED}][{_MARKS}]*){{1,64}}|[^\w\s][{_MARKS}]*")
_copies: WeakKeyDictionary[Any, Any] = WeakKeyDictionary()
_BLANK_LINE = re.compile(r"\n\s*\n\s*")


def word_starts(text: str) -> IntArray:
    """Where the words of a text begin: runs of letters and digits, Chinese characters, and every sign.

    Accents belong to the letters before them. A run of more than 64 letters is no word, but something like encoded
    bytes, or a language without spaces: it counts as several. Without any model, this is close to what BERT's
    tokenizers make of Chinese; an English word may be several tokens.
    """
    return np.fromiter((match.start() for match in _WORD.finditer(text)), dtype=np.int64)


def tokenizer_starts(tokenizer: Any) -> TokenStarts:
    """Count in the tokens of a model's (fast) tokenizer, without special tokens.

    Its own settings of truncation and padding have no part in that, and do not change.

    Raises:
        ConfigurationError: if it is not a fast tokenizer.
    """
    if not getattr(tokenizer, "is_fast", False):
        raise ConfigurationError(
            f"{type(tokenizer).__name__} is not a fast tokenizer, and only those know the characters behind a token."
        )
    own = _untruncated(tokenizer)

    def starts(text: str) -> IntArray:
        return visible_starts(text, own.encode(text, add_special_tokens=False).offsets)

    return starts


def visible_starts(text: str, offsets: Iterable[Sequence[int]]) -> IntArray:
    """Where tokens begin, from their ``(start, end)`` in ``text``, without white space that a token begins with."""
    # few tokens begin with white space, and a long text has very many tokens
    starts = (visible(text, start, end)[0] if text[start : start + 1].isspace() else start for start, end in offsets)
    return np.fromiter(starts, dtype=np.int64)


def _untruncated(tokenizer: Any) -> Any:
    """A copy of what is behind a fast tokenizer; made once, since it takes longer than to cut a long text."""
    own = _copies.get(tokenizer)
    if own is None or own.get_vocab_size() != len(tokenizer):  # words were added
        own = copy.deepcopy(tokenizer.backend_tokenizer)
        own.no_truncation()
        own.no_padding()
        _copies[tokenizer] = own
    return own


def token_starts(tokenizer: Any | None) -> TokenStarts:
    """How tokens are counted: by a tokenizer, or by words without one."""
    return word_starts if tokenizer is None else tokenizer_starts(tokenizer)


def describe_tokens(tokenizer: Any | None) -> str:
    """What tells one way of counting tokens from another: a digest of the tokenizer, or ``"words"`` without one.

    The truncation and padding that a call leaves behind in a tokenizer are not part of it.
    """
    if tokenizer is None:
        return "words"
    backend = json.loads(tokenizer.backend_tokenizer.to_str()) | {"truncation": None, "padding": None}
    return hashlib.sha256(json.dumps(backend, sort_keys=True).encode()).hexdigest()[:16]


@dataclass(frozen=True)
class Passages:
    """A question and the passages of its context.

    Attributes:
        question: The question.
        context: The whole context.
        spans: Characters ``[start, end)`` of every passage: the first starts at 0, each other where the one before it
            ends, the last at the end of the context. White space behind a passage belongs to it.
        tokens: How many tokens every passage has.
    """

    question: str
    context: str
    spans: tuple[tuple[int, int], ...]
    tokens: tuple[int, ...]

    @property
    def texts(self) -> list[str]:
        """The passages' texts, without the white space around them."""
        return [self.context[start:end].strip() for start, end in self.spans]

    def __len__(self) -> int:
        return len(self.spans)


@dataclass(frozen=True)
class Cutting:
    """How contexts are cut.

    Args:
        unit: ``"sentence"``, or how many tokens a block has at most.
        longest: Sentences of more tokens are cut into blocks of at most this many; for lists and tables, which have no
            full stops.
        starts: How tokens are counted, see :func:`token_starts`.

    Raises:
        ConfigurationError: if a value is not allowed.
    """

    unit: str | int = "sentence"
    longest: int = 128
    starts: TokenStarts = word_starts

    def __post_init__(self) -> None:
        if self.unit != "sentence" and (isinstance(self.unit, str) or self.unit < 1):
            raise ConfigurationError(f"unit={self.unit!r} must be 'sentence' or a number of tokens from 1.")
        if self.longest < 1:
            raise ConfigurationError(f"longest={self.longest} must be 1 token at least.")

    def cut(self, questions: Sequence[str], contexts: Sequence[str]) -> list[Passages]:
        """Cut the context of each question; equal contexts are cut once.

        Raises:
            DatasetFormatError: if a text holds half of a surrogate pair, which no tokenizer takes.
        """
        for kind, texts in (("question", questions), ("context", contexts)):
            for text in dict.fromkeys(texts):
                encodable(text, f"{kind} {text!r:.100}")
        cuts = {context: self._cut(context) for context in dict.fromkeys(contexts)}
        return [
            Passages(question, context, *cuts[context]) for question, context in zip(questions, contexts, strict=True)
        ]

    def _cut(self, context: str) -> tuple[tuple[tuple[int, int], ...], tuple[int, ...]]:
        tokens = self.starts(context)
        whole = np.array([0]) if self.unit != "sentence" else _sentence_starts(context)
        size = self.longest if isinstance(self.unit, str) else self.unit
        starts = _cut_long(whole, word_starts(context), tokens, size)
        counts = np.diff(np.searchsorted(tokens, [*starts, len(context)]))
        return tuple(pairwise([*starts.tolist(), len(context)])), tuple(counts.tolist())


def _sentence_starts(text: str) -> IntArray:
    """Where sentences begin; a blank line ends one as well, a single line break does not."""
    first, last = len(text) - len(text.lstrip()), len(text.rstrip())
    starts = {*sentence_starts(text), *(match.end() for match in _BLANK_LINE.finditer(text))}
    return np.array([0, *sorted(start for start in starts if first < start < last)])


def _cut_long(starts: IntArray, words: IntArray, tokens: IntArray, size: int) -> IntArray:
    """``starts``, and further ones at words, so that no passage but one of a single word has more than ``size`` tokens.

    Args:
        starts: Where passages begin.
        words: Where words begin; a passage is never cut within one.
        tokens: Where tokens begin.
        size: Most tokens of a passage.
    """
    before = np.searchsorted(tokens, words)  # tokens in front of each word
    ends = [*np.searchsorted(words, starts[1:]).tolist(), len(words)]
    borders = []
    word = 0
    for start, end in zip(starts.tolist(), ends, strict=True):
        borders.append(start)
        last = len(tokens) if end == len(words) else int(before[end])
        while word < end and last - before[word] > size:
            word = max(int(np.searchsorted(before, before[word] + size, side="right")) - 1, word + 1)
            if word < end:
                borders.append(int(words[word]))
        word = end
    return np.array(borders)
