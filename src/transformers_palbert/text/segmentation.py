"""Text into words, with the characters behind every word: by jieba for Chinese, by spaces and punctuation else."""

from __future__ import annotations

import logging
import os
import re
from collections.abc import Sequence
from contextlib import suppress
from functools import lru_cache
from pathlib import Path
from typing import Any

from tokenizers import NormalizedString, PreTokenizedString, pre_tokenizers
from tokenizers.pre_tokenizers import PreTokenizer

from ..errors import ConfigurationError

__all__ = ["SEGMENTATIONS", "JiebaSegmenter", "read_user_dictionary", "segmenter"]

SEGMENTATIONS = ("jieba", "whitespace")
"""The names that :func:`segmenter` knows."""


def segmenter(name: str, user_dictionary: Sequence[str] = ()) -> PreTokenizer:
    """What cuts texts into words, as a part of a `tokenizers` pipeline.

    Args:
        name: ``"jieba"``: the words of jieba's dictionary, and none guessed beyond it (``HMM=False``), so that a name
            is cut the same way in question and context. ``"whitespace"``: at spaces, and around every punctuation mark.
        user_dictionary: Lines ``word [frequency] [tag]`` in jieba's own form, which add to its dictionary.

    Raises:
        ConfigurationError: for another name, or a user dictionary that is not for jieba or malformed.
    """
    if name == "jieba":
        return PreTokenizer.custom(JiebaSegmenter(user_dictionary))
    if name != "whitespace":
        raise ConfigurationError(f"`segmentation` must be one of {', '.join(SEGMENTATIONS)}, got {name!r}.")
    if user_dictionary:
        raise ConfigurationError("A user dictionary needs segmentation='jieba'; whitespace has no dictionary.")
    return pre_tokenizers.BertPreTokenizer()


def read_user_dictionary(path: str | os.PathLike[str]) -> list[str]:
    """Lines of a user dictionary in jieba's form, UTF-8, without empty ones.

    Raises:
        ConfigurationError: if the file cannot be read.
    """
    try:
        text = Path(path).read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigurationError(f"The user dictionary {os.fspath(path)!r} cannot be read: {error}") from error
    return [line.strip() for line in text.splitlines() if line.strip()]


_USER_WORD = re.compile(r"\S+( \d+)?( [a-z]+)?")


class JiebaSegmenter:
    """Words of jieba, as a custom pre-tokenizer of `tokenizers`. Whitespace belongs to no word.

    The dictionary is a private one: other users of jieba in the process do not see the user dictionary, and a word
    they add is not seen here.
    """

    def __init__(self, user_dictionary: Sequence[str] = ()) -> None:
        self._jieba = _jieba_tokenizer(tuple(user_dictionary))

    def spans(self, text: str) -> list[tuple[int, int]]:
        """Characters ``[start, end)`` of every word of ``text``, in order."""
        return [(start, end) for word, start, end in self._jieba.tokenize(text, HMM=False) if not word.isspace()]

    def pre_tokenize(self, text: PreTokenizedString) -> None:
        """Called by `tokenizers`."""
        text.split(self._split)

    def _split(self, _: int, part: NormalizedString) -> list[NormalizedString]:
        # jieba knows words such as "T恤"; lower case changes the length of a few characters, and with it the offsets
        same = len(part.original) == len(part.normalized)
        words = (part[start:end] for start, end in self.spans(part.original if same else part.normalized))
        return [word for word in words if word is not None]


@lru_cache(maxsize=4)
def _jieba_tokenizer(user_dictionary: tuple[str, ...]) -> Any:
    """A dictionary in memory, some 100 MB; shared by those who want the same words, as nothing changes it."""
    for line in user_dictionary:
        if not _USER_WORD.fullmatch(line):
            raise ConfigurationError(f"{line!r} in the user dictionary is not of the form `word [frequency] [tag]`.")
    import jieba  # here, since not every program that imports this module cuts Chinese words

    tokenizer = jieba.Tokenizer()
    tokenizer.tmp_dir = str(_cache_folder(jieba.__version__))
    logger = logging.getLogger("jieba")
    level = logger.level
    logger.setLevel(logging.CRITICAL)  # it reports its start on stderr, and that it cannot write its cache
    try:
        tokenizer.initialize()
        tokenizer.load_userdict(iter(user_dictionary))
    finally:
        logger.setLevel(level)
    return tokenizer


def _cache_folder(version: str) -> Path:
    """Where jieba keeps its parsed dictionary: by default a shared folder, whose files it would load unchecked."""
    from huggingface_hub.constants import HF_HOME

    folder = Path(HF_HOME) / "transformers_palbert" / f"jieba-{version}"
    with suppress(OSError):  # without a cache it starts more slowly
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    return folder
