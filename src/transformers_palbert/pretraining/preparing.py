"""Tokenize a corpus once, in parallel, block by block; an interrupted run goes on with the blocks that are missing."""

from __future__ import annotations

import hashlib
import json
import logging
import multiprocessing
import os
import shutil
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from dataclasses import dataclass
from functools import cache
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
from tokenizers import Encoding, Tokenizer

from ..errors import ConfigurationError, DatasetFormatError, require
from ..text.segmentation import JiebaSegmenter
from ..text.sentences import sentence_starts
from .corpus import read_contexts, read_documents
from .tokens import ARRAYS, FACTS, FORMAT, TokenCorpus, tokenizer_fingerprint

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

__all__ = ["WORDS", "corpus_key", "prepare_corpus", "tokenize_documents"]

logger = logging.getLogger(__name__)

WORDS = ("tokenizer", "jieba")
"""What counts as a word when whole words are masked; see :func:`prepare_corpus`."""

BLOCK_CHARACTERS = 1_000_000  # of text per block: some seconds of work, which is what an interruption costs
_PATH = str | os.PathLike[str]


def prepare_corpus(
    folder: _PATH,
    tokenizer: PreTrainedTokenizerBase,
    *,
    text_files: Sequence[_PATH] = (),
    qa_files: Sequence[_PATH] = (),
    words: str | None = None,
    workers: int = 1,
) -> TokenCorpus:
    """Open the tokenized corpus in ``folder``, after making it where it is not there yet.

    The documents are the contexts of ``qa_files``, then those of ``text_files``, in the order of the files. Blocks that
    an interrupted call has finished are kept beside ``folder``, in ``folder.partial``. One process at a time may make a
    corpus.

    Args:
        folder: Where the corpus is, or will be. With no files given, it must be there.
        tokenizer: A fast tokenizer. Special tokens that are spelled out in a text are text.
        text_files: See :func:`~transformers_palbert.pretraining.corpus.read_documents`.
        qa_files: See :func:`~transformers_palbert.pretraining.corpus.read_contexts`.
        words: ``"tokenizer"``: the words that the tokenizer cuts into pieces; a Chinese character is one of its own.
            ``"jieba"``: these, and Chinese characters joined to the words of jieba's dictionary. None: as the corpus
            has it where no files are given, else ``"tokenizer"``.
        workers: Processes that tokenize, at least 1.

    Raises:
        ConfigurationError: if ``folder`` was made of other files, with another tokenizer or other words.
        DatasetFormatError: if a file cannot be read, or none of them holds any text.
    """
    folder = Path(folder)
    files = [(read_contexts, Path(file)) for file in qa_files] + [(read_documents, Path(file)) for file in text_files]
    if not files:
        corpus = TokenCorpus.open(folder)
        corpus.check_tokenizer(tokenizer)
        if words is not None and words != corpus.facts["words"].partition(" ")[0]:
            raise ConfigurationError(f"{folder} has the words of {corpus.facts['words']}, and not of {words}.")
        return corpus
    words = words or "tokenizer"
    facts = _describe(files, tokenizer, words)
    if (folder / FACTS).is_file():
        return _open_checked(folder, facts)
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise ConfigurationError(f"{folder} is there and holds no corpus; name a new folder for it.")
    partial = folder.with_name(folder.name + ".partial") / facts["key"]
    partial.mkdir(parents=True, exist_ok=True)
    documents = (document for read, file in files for document in read(file))
    count = _tokenize_blocks(_blocks(documents), partial, tokenizer, words, workers)
    _merge([partial / f"{index}.npz" for index in range(count)], folder, facts)
    shutil.rmtree(partial.parent, ignore_errors=True)
    return TokenCorpus.open(folder)


def corpus_key(
    tokenizer: PreTrainedTokenizerBase, text_files: Sequence[_PATH], qa_files: Sequence[_PATH], words: str
) -> str:
    """Name of the corpus that :func:`prepare_corpus` makes of these: it changes with any content, 64 hex digits."""
    files = [(read_contexts, Path(file)) for file in qa_files] + [(read_documents, Path(file)) for file in text_files]
    return str(_describe(files, tokenizer, words)["key"])


def tokenize_documents(
    documents: Sequence[Sequence[str]], tokenizer: Tokenizer, cut: Callable[[str], list[tuple[int, int]]] | None = None
) -> dict[str, npt.NDArray[Any]]:
    """Tokenize documents, each a list of paragraphs, and find their words and sentences.

    Args:
        documents: As :func:`~transformers_palbert.pretraining.corpus.read_documents` yields them.
        tokenizer: The backend of a fast tokenizer.
        cut: Gives the words of a paragraph, as characters ``[start, end)``; None leaves it to the tokenizer.

    Returns:
        ``tokens``, ``word_starts`` (bool, ``[tokens]``), ``sentences`` and ``documents``, as in
        :class:`~transformers_palbert.pretraining.tokens.TokenCorpus`. Documents without a token are left out.
    """
    paragraphs = [paragraph for document in documents for paragraph in document]
    encodings = iter(tokenizer.encode_batch(paragraphs, add_special_tokens=False))
    tokens: list[npt.NDArray[Any]] = []
    words: list[npt.NDArray[np.bool_]] = []
    sentences: list[npt.NDArray[np.int64]] = []
    borders, position = [0], 0
    for document in documents:
        for paragraph in document:
            encoding = next(encodings)
            if not encoding.ids:
                continue
            starts = np.array(encoding.offsets, dtype=np.int64)[:, 0]
            tokens.append(np.array(encoding.ids, dtype=np.uint32))
            words.append(_word_starts(encoding, starts, None if cut is None else cut(paragraph)))
            sentences.append(position + _tokens_at(starts, sentence_starts(paragraph)))
            position += len(starts)
        if position > borders[-1]:
            borders.append(position)
    everything = np.concatenate(sentences) if sentences else np.zeros(0, np.int64)
    begins = np.concatenate(words) if words else np.zeros(0, bool)
    begins[everything] = True
    return {
        "tokens": np.concatenate(tokens) if tokens else np.zeros(0, np.uint32),
        "word_starts": begins,
        "sentences": everything,
        "documents": np.array(borders, dtype=np.int64),
    }


def _word_starts(
    encoding: Encoding, starts: npt.NDArray[np.int64], cut: list[tuple[int, int]] | None
) -> npt.NDArray[np.bool_]:
    """Which tokens start a word of the tokenizer, and of ``cut`` where it is given."""
    words = np.array(encoding.word_ids)
    begins = np.append(True, words[1:] != words[:-1])
    if cut is not None:
        joined = np.searchsorted([start for start, _ in cut], starts, side="right")
        begins[1:] &= joined[1:] != joined[:-1]
    return begins


def _tokens_at(starts: npt.NDArray[np.int64], characters: Sequence[int]) -> npt.NDArray[np.int64]:
    """The first token at or behind each character, each token once."""
    found = np.unique(np.searchsorted(starts, characters))
    return found[found < len(starts)]


# --- blocks -----------------------------------------------------------------------------------------------------------


def _blocks(documents: Iterable[list[str]]) -> Iterator[list[list[str]]]:
    block: list[list[str]] = []
    size = 0
    for document in documents:
        block.append(document)
        size += sum(map(len, document))
        if size >= BLOCK_CHARACTERS:
            yield block
            block, size = [], 0
    if block:
        yield block


def _tokenize_blocks(
    blocks: Iterable[list[list[str]]], folder: Path, tokenizer: PreTrainedTokenizerBase, words: str, workers: int
) -> int:
    """Write the blocks that ``folder`` lacks; returns the number of all blocks."""
    backend: Any = tokenizer.backend_tokenizer
    job = _Job(backend.to_str(), words, folder)
    count = 0
    if workers <= 1:
        for count, block in enumerate(blocks, 1):
            job.run(count - 1, block)
            logger.info("Block %d is tokenized.", count)
        return count
    pending: set[Future[None]] = set()
    # spawn: forking a process whose tokenizer has started threads may hang
    with ProcessPoolExecutor(workers, mp_context=multiprocessing.get_context("spawn")) as pool:
        for count, block in enumerate(blocks, 1):
            if len(pending) >= 2 * workers:  # so that a large corpus is never in memory as a whole
                done, pending = wait(pending, return_when=FIRST_COMPLETED)
                _check(done)
                logger.info("Block %d is read.", count)
            if not job.file(count - 1).is_file():
                pending.add(pool.submit(job.run, count - 1, block))
        _check(pending)
    return count


def _check(futures: Iterable[Future[None]]) -> None:
    """Wait for all processes, and raise in this one what was raised in one of them."""
    for future in futures:
        future.result()


@dataclass(frozen=True)
class _Job:
    """What a process needs to tokenize a block."""

    tokenizer: str
    words: str
    folder: Path

    def file(self, index: int) -> Path:
        return self.folder / f"{index}.npz"

    def run(self, index: int, documents: list[list[str]]) -> None:
        file = self.file(index)
        if file.is_file():
            return
        cut = _jieba().spans if self.words == "jieba" else None
        arrays: dict[str, Any] = tokenize_documents(documents, _backend(self.tokenizer), cut)
        unfinished = file.with_suffix(f".{os.getpid()}.tmp")
        with open(unfinished, "wb") as stream:
            np.savez(stream, **arrays)
        unfinished.replace(file)


@cache
def _backend(text: str) -> Tokenizer:
    tokenizer = Tokenizer.from_str(text)
    tokenizer.no_truncation()
    tokenizer.no_padding()
    tokenizer.encode_special_tokens = True  # "[MASK]" in a text about BERT is no mask
    return tokenizer


@cache
def _jieba() -> JiebaSegmenter:
    return JiebaSegmenter()


# --- the corpus -------------------------------------------------------------------------------------------------------


def _describe(
    files: Sequence[tuple[Callable[..., Any], Path]], tokenizer: PreTrainedTokenizerBase, words: str
) -> dict[str, Any]:
    if words not in WORDS:
        raise ConfigurationError(f"words={words!r} is not allowed; allowed: {', '.join(map(repr, WORDS))}.")
    version = words
    if words == "jieba":
        require("jieba", "baselines")
        version = f"jieba {metadata.version('jieba')}"  # its dictionary
    listed = [[read.__name__, _digest(file)] for read, file in files]
    identity = {"format": FORMAT, "tokenizer": tokenizer_fingerprint(tokenizer), "words": version, "files": listed}
    key = hashlib.sha256(json.dumps(identity, sort_keys=True).encode()).hexdigest()
    return {**identity, "key": key, "names": [file.name for _, file in files], "vocabulary": len(tokenizer)}


def _digest(file: Path) -> str:
    try:
        with open(file, "rb") as stream:
            return hashlib.file_digest(stream, "sha256").hexdigest()
    except OSError as error:
        raise DatasetFormatError(f"{file} cannot be read: {error}") from error


def _open_checked(folder: Path, facts: dict[str, Any]) -> TokenCorpus:
    corpus = TokenCorpus.open(folder)
    different = [name for name in ("files", "tokenizer", "words") if corpus.facts.get(name) != facts[name]]
    if different:
        raise ConfigurationError(
            f"{folder} holds a corpus with other {' and '.join(different)} than asked for (it was made of"
            f" {', '.join(corpus.facts['names'])}, words: {corpus.facts['words']}). Delete it, or name another folder."
        )
    return corpus


def _merge(blocks: Sequence[Path], folder: Path, facts: dict[str, Any]) -> None:
    """Write the arrays of ``folder`` from those of its blocks, each block in memory by itself."""
    sizes = []
    for block in blocks:
        with np.load(block) as arrays:
            sizes.append([len(arrays["tokens"]), len(arrays["sentences"]), len(arrays["documents"]) - 1])
    tokens, sentences, documents = np.sum(sizes, axis=0, dtype=int) if sizes else (0, 0, 0)
    if not tokens:
        raise DatasetFormatError(f"There is no text in {', '.join(facts['names'])}.")
    unfinished = folder.with_name(folder.name + ".partial") / "merged"
    unfinished.mkdir(exist_ok=True)
    shapes = {
        "tokens": (np.uint16 if facts["vocabulary"] <= 1 << 16 else np.uint32, tokens),
        "word_starts": (np.uint8, -(-tokens // 8)),
        "sentences": (np.int64, sentences),
        "documents": (np.int64, documents + 1),
    }
    written = {
        name: np.lib.format.open_memmap(unfinished / f"{name}.npy", mode="w+", dtype=shapes[name][0],
                                        shape=(int(shapes[name][1]),))
        for name in ARRAYS
    }  # fmt: skip
    _fill(written, blocks)
    counts = {"tokens": int(tokens), "sentences": int(sentences), "documents": int(documents)}
    (unfinished / FACTS).write_text(json.dumps(facts | counts, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    folder.parent.mkdir(parents=True, exist_ok=True)
    unfinished.replace(folder)  # all or nothing; an empty folder may be there


def _fill(written: dict[str, Any], blocks: Sequence[Path]) -> None:
    token = sentence = document = 0
    bits = np.zeros(0, bool)  # of the last byte, while it is not full
    for file in blocks:
        with np.load(file) as block:
            ends = (token + len(block["tokens"]), sentence + len(block["sentences"]))
            written["tokens"][token : ends[0]] = block["tokens"]
            written["sentences"][sentence : ends[1]] = block["sentences"] + token
            borders = block["documents"][1:] + token
            written["documents"][document + 1 : document + 1 + len(borders)] = borders
            first = token // 8
            bits = np.append(bits, block["word_starts"])
            packed = np.packbits(bits, bitorder="little")
            written["word_starts"][first : first + len(packed)] = packed
            bits = bits[len(bits) // 8 * 8 :]
            (token, sentence), document = ends, document + len(borders)
    for array in written.values():
        array.flush()
