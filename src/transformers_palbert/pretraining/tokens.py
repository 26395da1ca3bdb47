"""A tokenized corpus on disk: flat arrays that are mapped into memory, so that any size costs no memory to open."""

from __future__ import annotations

import hashlib
import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from ..errors import ConfigurationError, DatasetFormatError
from ..json_text import parse_json

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

__all__ = ["ARRAYS", "FACTS", "FORMAT", "TokenCorpus", "tokenizer_fingerprint"]

FORMAT = 2
"""Version of the files below; raise it whenever they change for unchanged texts."""

FACTS = "corpus.json"
ARRAYS = ("tokens", "word_starts", "sentences", "documents")


@dataclass(frozen=True)
class TokenCorpus:
    """A folder of token files, as :func:`~transformers_palbert.pretraining.preparing.prepare_corpus` writes it.

    Attributes:
        folder: Where the files are.
        tokens: Token ids of all documents, one after the other, without special tokens; uint16 or, for a vocabulary
            of more than 65,536 tokens, uint32, ``[tokens]``.
        word_starts: One bit per token, 1 where a word starts, the lowest bit first; uint8, ``[ceil(tokens / 8)]``.
        sentences: Token that each sentence starts at, ascending; int64, ``[sentences]``.
        documents: Token that each document starts at, and the number of tokens; int64, ``[documents + 1]``.
        facts: What the corpus was made of: ``key``, ``tokenizer``, ``words``, ``files`` and counts.
    """

    folder: Path
    tokens: npt.NDArray[Any]
    word_starts: npt.NDArray[np.uint8]
    sentences: npt.NDArray[np.int64]
    documents: npt.NDArray[np.int64]
    facts: dict[str, Any]

    @classmethod
    def open(cls, folder: str | os.PathLike[str]) -> TokenCorpus:
        """Map the files of ``folder`` into memory.

        Raises:
            DatasetFormatError: if a file is missing, damaged, or does not fit the others.
        """
        folder = Path(folder)
        try:
            facts = parse_json((folder / FACTS).read_text(encoding="utf-8"))
            # asarray: a view without the overhead of np.memmap on every indexing
            arrays = {name: np.asarray(np.load(folder / f"{name}.npy", mmap_mode="r")) for name in ARRAYS}
            corpus = cls(folder=folder, facts=facts, **arrays)
            fits = facts["format"] == FORMAT and corpus._shapes_fit()
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise DatasetFormatError(f"{folder} holds no tokenized corpus, or a damaged one: {error}") from error
        if not fits:
            raise DatasetFormatError(
                f"The files of {folder} do not fit together, or are of another version than {FORMAT}; make them anew."
            )
        return corpus

    def _shapes_fit(self) -> bool:
        count = self.facts["tokens"]
        lengths = (len(self.tokens), len(self.word_starts), len(self.sentences), len(self.documents))
        expected = (count, -(-count // 8), self.facts["sentences"], self.facts["documents"] + 1)
        return lengths == expected and int(self.documents[-1]) == count

    def __len__(self) -> int:
        """Number of tokens."""
        return len(self.tokens)

    def starts_word(self, positions: npt.NDArray[np.int64]) -> npt.NDArray[np.bool_]:
        """Whether a word starts at each of ``positions``, any shape, in ``[0, len(self))``."""
        return (self.word_starts[positions >> 3] >> (positions & 7).astype(np.uint8) & 1).astype(bool)

    def check_tokenizer(self, tokenizer: PreTrainedTokenizerBase) -> None:
        """Raise ConfigurationError unless the corpus was made with ``tokenizer``."""
        if self.facts["tokenizer"] != tokenizer_fingerprint(tokenizer):
            raise ConfigurationError(
                f"{self.folder} was made with another tokenizer: its ids mean other tokens. Give the tokenizer that it"
                " was made with, or another folder for a new one."
            )

    def __reduce__(self) -> tuple[Any, ...]:
        """Let other processes map the files as well, where pickling the arrays would copy them."""
        return TokenCorpus.open, (self.folder,)


def tokenizer_fingerprint(tokenizer: PreTrainedTokenizerBase) -> str:
    """Digest of all that decides how ``tokenizer`` cuts text: normalizer, pre-tokenizer and vocabulary.

    Raises:
        ConfigurationError: for a tokenizer written in Python, which knows no offsets.
    """
    backend = getattr(tokenizer, "backend_tokenizer", None)
    if backend is None:
        raise ConfigurationError(f"{type(tokenizer).__name__} is not a fast tokenizer, and pre-training needs one.")
    state = json.loads(backend.to_str())
    relevant = {name: state[name] for name in ("normalizer", "pre_tokenizer", "model")}
    return hashlib.sha256(json.dumps(relevant, sort_keys=True).encode()).hexdigest()
