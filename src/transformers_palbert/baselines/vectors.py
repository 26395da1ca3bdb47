"""Word vectors from Word2Vec and GloVe files, and the rows of them that a vocabulary needs."""

from __future__ import annotations

import logging
import os
import re
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from ..errors import ConfigurationError, VectorsError, require

__all__ = ["OOV_METHODS", "OovReport", "WordVectors", "embedding_matrix", "load_word_vectors", "save_word_vectors"]

logger = logging.getLogger(__name__)

FloatArray = npt.NDArray[np.float32]

OOV_METHODS = ("characters", "random", "zero")
"""What a word without a vector gets: the mean of its characters' vectors, a random vector, or zeros."""

_MOST_COMPRESSED = {".gz": 1032, ".bz2": 100_000}
"""Suffix -> how many bytes a compressed byte can stand for, at the very most."""

_HEADER = re.compile(rb"\s*(\d+)\s+(\d+)\s*\n")


@dataclass(frozen=True)
class WordVectors:
    """Words and their vectors.

    Attributes:
        words: The words, each once.
        vectors: One row per word, float32 of shape ``(words, dimensions)``.
    """

    words: list[str]
    vectors: FloatArray

    def __post_init__(self) -> None:
        if self.vectors.ndim != 2 or len(self.words) != len(self.vectors):
            raise VectorsError(f"{len(self.words)} words do not fit vectors of shape {self.vectors.shape}.")


@dataclass(frozen=True)
class OovReport:
    """Where the rows of an embedding matrix come from; special tokens are not counted.

    Attributes:
        words: words of the vocabulary.
        found: of these, words with a vector of their own.
        found_other_case: of these, words found in another case only, as "Berlin" for "berlin".
        characters: words that got the mean of their characters' vectors.
        random: words that got a random vector.
        zero: words that got zeros.
    """

    words: int
    found: int
    found_other_case: int
    characters: int
    random: int
    zero: int

    def __str__(self) -> str:
        return (
            f"{self.words} words: {self.found} with a vector ({self.found_other_case} in another case),"
            f" {self.characters} from their characters, {self.random} random, {self.zero} zero"
        )


def load_word_vectors(path: str | os.PathLike[str], words: Sequence[str] | None = None) -> WordVectors:
    """Read vectors in the text or binary form of Word2Vec, or in the text form of GloVe; also ``.gz`` and ``.bz2``.

    Which form it is, is seen from the file's beginning. The whole file passes through memory (gensim reads it); only
    the rows asked for are kept.

    Args:
        path: The file.
        words: Keep these alone, in whatever case they stand in the file; None keeps all.

    Raises:
        VectorsError: if the file is missing, damaged, or in another form.
        MissingExtraError: if gensim is not installed.
    """
    keyed = require("gensim.models.keyedvectors", "baselines").KeyedVectors
    file = os.fspath(path)
    try:
        options = _form(file)
        table = keyed.load_word2vec_format(file, **options)
    except (OSError, EOFError, MemoryError, ValueError, zlib.error) as error:  # UnicodeDecodeError is a ValueError
        raise VectorsError(
            f"{file!r} cannot be read as word vectors: {error}. It must be a whole file in Word2Vec's text or binary"
            " form or in GloVe's text form, compressed only if its name ends in .gz or .bz2."
        ) from error
    vectors = np.asarray(table.vectors, dtype=np.float32)
    if not np.isfinite(vectors).all():
        raise VectorsError(f"{file!r} holds numbers that are not finite: it is damaged.")
    names = list(table.index_to_key)
    if words is None:
        return WordVectors(names, vectors)
    wanted = {word.lower() for word in words}
    rows = [row for row, name in enumerate(names) if name.lower() in wanted]
    return WordVectors([names[row] for row in rows], vectors[rows])


def _form(file: str) -> dict[str, Any]:
    """Arguments for gensim's reader, by whether ``file`` begins as text or binary, and with or without a header."""
    if not Path(file).is_file():
        raise FileNotFoundError("there is no such file")  # gensim would look for addresses on the web, too
    with require("gensim.utils", "baselines").open(file, "rb") as stream:
        start = stream.read(1 << 16)
    if not start:
        raise ValueError("it is empty")
    header = _HEADER.match(start)
    if header is None:
        return {"binary": False, "no_header": True}
    if int(header[2]) == 0:
        raise ValueError("its header says that vectors have no dimensions")
    binary = not _is_text(start[header.end() :].partition(b"\n")[0], int(header[2]))
    _require_room(file, int(header[1]), int(header[2]), binary)
    return {"binary": binary}


def _require_room(file: str, count: int, dimensions: int, binary: bool) -> None:
    """Refuse a header that promises more than the file can hold, before memory for it is taken."""
    least = count * (2 + dimensions * (4 if binary else 2))  # bytes: a letter, a space or line break, and the numbers
    held = Path(file).stat().st_size * _MOST_COMPRESSED.get(Path(file).suffix.lower(), 1)
    if least > held + dimensions * 2:  # the last line may lack its end
        raise ValueError(f"its header promises {count:,} vectors of {dimensions:,} numbers, which it has no room for")


def _is_text(line: bytes, dimensions: int) -> bool:
    """Whether the part of a line that was read is a word and numbers, as in the text form."""
    numbers = line.split()[1:][: dimensions - 1]  # the last one may be cut
    try:
        return len([float(number) for number in numbers]) > 0 or dimensions == 1
    except ValueError:
        return False


def save_word_vectors(vectors: WordVectors, path: str | os.PathLike[str]) -> None:
    """Write vectors for any tool that reads Word2Vec files: the binary form for a name with ``.bin``, else text.

    A name that ends in ``.gz`` is compressed.

    Raises:
        MissingExtraError: if gensim is not installed.
    """
    target = Path(path)
    target.parent.mkdir(parents=True, exist_ok=True)
    table = require("gensim.models.keyedvectors", "baselines").KeyedVectors(vectors.vectors.shape[1])
    table.add_vectors(vectors.words, vectors.vectors)
    table.expandos["count"] = np.arange(len(vectors.words), 0, -1)  # rows are written by count, the largest first
    table.save_word2vec_format(os.fspath(target), binary=".bin" in target.suffixes)


def embedding_matrix(
    vocabulary: Sequence[str],
    vectors: WordVectors,
    *,
    dimensions: int = 300,
    oov: str = "characters",
    special: Sequence[str] = (),
    row_norm: float = 3.5,
    seed: int = 42,
) -> tuple[FloatArray, OovReport]:
    """One row per word of ``vocabulary``, each scaled to the same length.

    A word is looked up as it is, then in any other case. A word without a vector gets what ``oov`` says; where not even
    a character of it has a vector, ``"characters"`` means a random one.

    Args:
        vocabulary: Words in the order of their ids.
        vectors: What is known.
        dimensions: Width that the model expects.
        oov: One of :data:`OOV_METHODS`.
        special: Words of the vocabulary that stand for no text: random rows, not counted; the first one, padding, is
            zero.
        row_norm: Length of every row that is not zero. Training makes frequent words long or short, as it likes.
        seed: Seed of the rows that are drawn at random.

    Returns:
        Float32 of shape ``(words, dimensions)``, and where its rows come from.

    Raises:
        ConfigurationError: if ``oov`` is unknown, or the vectors have another width.
    """
    if oov not in OOV_METHODS:
        raise ConfigurationError(f"`oov` must be one of {', '.join(OOV_METHODS)}, got {oov!r}.")
    if vectors.vectors.shape[1] != dimensions:
        raise ConfigurationError(
            f"The word vectors have {vectors.vectors.shape[1]} dimensions, the model expects {dimensions}. Set"
            f" embedding_size={vectors.vectors.shape[1]} or give other vectors."
        )
    exact = {word: row for row, word in reversed(list(enumerate(vectors.words)))}
    folded = {word.lower(): row for row, word in reversed(list(enumerate(vectors.words)))}
    matrix = np.random.default_rng(seed).standard_normal((len(vocabulary), dimensions)).astype(np.float32)
    counts = dict.fromkeys(("found", "found_other_case", "characters", "random", "zero"), 0)
    for index, word in enumerate(vocabulary):
        if word in special:
            continue
        row, source = _lookup(word, exact, folded, vectors.vectors, oov)
        counts[source] += 1
        if row is not None:
            matrix[index] = row
    if special:
        matrix[vocabulary.index(special[0])] = 0.0
    norms = np.linalg.norm(matrix, axis=1, keepdims=True)
    matrix *= np.divide(row_norm, norms, out=np.zeros_like(norms), where=norms > 0)
    counts["found"] += counts["found_other_case"]
    report = OovReport(words=len(vocabulary) - sum(word in special for word in vocabulary), **counts)
    logger.info("word vectors: %s", report)
    return matrix, report


def _lookup(
    word: str, exact: dict[str, int], folded: dict[str, int], vectors: FloatArray, oov: str
) -> tuple[FloatArray | None, str]:
    """The row of a word, None for a random one, and the name of where it comes from."""
    if word in exact:
        return vectors[exact[word]], "found"
    if word.lower() in folded:
        return vectors[folded[word.lower()]], "found_other_case"
    if oov == "zero":
        return np.zeros(vectors.shape[1], np.float32), "zero"
    known = [exact[character] for character in word if character in exact] if oov == "characters" else []
    return (vectors[known].mean(0), "characters") if known else (None, "random")
