"""Batches for masked language modelling and sentence-order prediction, made of a token corpus while training.

An example is five integers, and its masks, its segments and their order follow from them alone: they are new in every
epoch, the same in every run, and do not depend on batches, worker processes or devices.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.utils.data import Dataset, Sampler

from .masking import choose_masked, mask_budgets, ngram_lengths, replace_tokens
from .segments import SPECIAL_TOKENS, split_chunks
from .tokens import TokenCorpus

__all__ = ["ChunkDataset", "EpochSampler", "PreTrainingCollator", "example_draws"]

Example = tuple[int, int, int, int, int]
Floats = npt.NDArray[np.float32]
Ints = npt.NDArray[np.int64]

IGNORED = -100  # label that the loss leaves out


class ChunkDataset(Dataset[Example]):
    """The chunks of a corpus as examples, for any number of epochs.

    Item ``i`` is the chunk ``i % len(self)`` as it looks in epoch ``i // len(self)``:
    ``(seed, epoch, number of the chunk, first token, end)``.

    Args:
        chunks: First token and end of every chunk, ``[chunks, 2]``.
        seed: Decides masks and segments; at least 0.
    """

    def __init__(self, chunks: Ints, seed: int) -> None:
        self.chunks, self.seed = chunks, seed

    def __len__(self) -> int:
        return len(self.chunks)

    def __getitem__(self, item: int) -> Example:
        epoch, number = divmod(item, len(self))
        first, end = self.chunks[number].tolist()
        return self.seed, epoch, number, first, end

    @property
    def mean_length(self) -> float:
        """Mean number of tokens of an example, special tokens included."""
        return float((self.chunks[:, 1] - self.chunks[:, 0]).mean()) + SPECIAL_TOKENS


class EpochSampler(Sampler[int]):
    """All items of one epoch of a :class:`ChunkDataset`, in an order that seed and epoch decide.

    The epoch travels in the item, so that worker processes which started earlier need not be told.

    Attributes:
        epoch: The epoch that the next iteration is of.
    """

    def __init__(self, size: int, seed: int) -> None:
        self.size, self.seed, self.epoch = size, seed, 0

    def __len__(self) -> int:
        return self.size

    def __iter__(self) -> Iterator[int]:
        order = np.random.default_rng((self.seed, self.epoch)).permutation(self.size)
        return iter((order + self.epoch * self.size).tolist())


@dataclass(frozen=True)
class PreTrainingCollator:
    """Makes a batch of the examples of a :class:`ChunkDataset`.

    The result holds int64 tensors: ``input_ids``, ``token_type_ids`` and ``attention_mask``, ``[batch, length]``, the
    length being that of the longest example, rounded up to a multiple of 8; ``masked_positions`` and ``labels``,
    ``[batch, masked]``, padded with position 0 and label -100; ``sentence_order_label``, ``[batch]``, 1 where the
    second segment comes first.

    Attributes:
        corpus: Where the tokens are.
        max_length: Length of the longest possible example, special tokens included.
        special_ids: Ids of ``[CLS]``, ``[SEP]``, ``[MASK]`` and ``[PAD]``.
        vocabulary: Ids that a random token is drawn from.
        rate: Share of tokens to mask, in (0, 1).
        longest: N of the n-grams of words that are masked; 1 masks single words.
    """

    corpus: TokenCorpus
    max_length: int
    special_ids: tuple[int, int, int, int]
    vocabulary: Ints
    rate: float = 0.15
    longest: int = 3

    def __call__(self, examples: Sequence[Example]) -> dict[str, Tensor]:
        """Make a batch of examples: hide tokens, and swap the segments of half of the examples."""
        first, separator, mask, padding = self.special_ids
        rows = np.array(examples, dtype=np.int64)
        draws = np.stack(
            [example_draws(seed, epoch, number, self.max_length) for seed, epoch, number, _, _ in examples]
        )
        swapped = draws[:, 0, 1] < 0.5
        longest = int((rows[:, 4] - rows[:, 3]).max()) + SPECIAL_TOKENS
        width = min(-(-longest // 8) * 8, self.max_length)  # a multiple of 8 where that is allowed
        source, types, text, ends = self._lay_out(rows[:, 3:], draws[:, 0, 0], swapped, width)
        tokens = np.where(text, self.corpus.tokens[source], np.where(ends, separator, padding)).astype(np.int64)
        tokens[:, 0] = first
        masked = self._choose(source, text, draws[:, 1:3, :width])
        positions, labels = _gather(tokens, masked)
        hidden = replace_tokens(tokens, masked, draws[:, 3:5, :width].swapaxes(0, 1), mask, self.vocabulary)
        lengths = (rows[:, 4] - rows[:, 3] + SPECIAL_TOKENS)[:, None]
        batch = {
            "input_ids": hidden,
            "token_type_ids": types,
            "attention_mask": np.arange(width) < lengths,
            "masked_positions": positions,
            "labels": labels,
            "sentence_order_label": swapped,
        }
        return {name: torch.from_numpy(value.astype(np.int64)) for name, value in batch.items()}

    def _lay_out(
        self, chunks: Ints, draws: Floats, swapped: npt.NDArray[np.bool_], width: int
    ) -> tuple[Ints, Ints, npt.NDArray[np.bool_], npt.NDArray[np.bool_]]:
        """Token of the corpus at each place, its segment, whether there is one, and where ``[SEP]`` is."""
        start, end = chunks.T
        split = split_chunks(chunks, self.corpus.sentences, draws)
        first = np.where(swapped, split, start)[:, None]
        second = np.where(swapped, start, split)[:, None]
        size = np.where(swapped, end - split, split - start)[:, None]  # tokens of the first segment
        last = (end - start)[:, None] + 2  # place of the last [SEP]
        place = np.arange(width)
        types = (place > size + 1) & (place <= last)
        ends = (place == size + 1) | (place == last)
        text = (place > 0) & (place < last) & ~ends
        source = np.where(types, second + place - size - 2, first + place - 1)
        return np.where(text, source, 0), types.astype(np.int64), text, ends

    def _choose(self, source: Ints, text: npt.NDArray[np.bool_], draws: Floats) -> npt.NDArray[np.bool_]:
        """The tokens to hide, ``[batch, width]``, by the draws ``[batch, 2, width]`` of order and n-gram."""
        starts = self.corpus.starts_word(source) & text
        starts[:, 1:] |= text[:, 1:] & ~text[:, :-1]  # a chunk may begin within a word
        lengths = ngram_lengths(draws[:, 1], self.longest)
        return choose_masked(
            starts, text, mask_budgets(text.sum(axis=1), self.rate), draws[:, 0], lengths, self.longest
        )


def example_draws(seed: int, epoch: int, number: int, length: int) -> Floats:
    """The uniform draws in [0, 1) that decide an example, ``[5, length]``.

    Row 0 holds, at 0 and 1, where the chunk is cut and whether it is swapped; rows 1 to 4 are for the tokens: order,
    n-gram, kind of replacement, random token. Philox gives every key a stream of its own (Salmon et al. 2011).
    """
    key = np.array([seed, epoch << 40 | number], dtype=np.uint64)
    return np.random.Generator(np.random.Philox(key=key)).random((5, length), dtype=np.float32)


def _gather(tokens: Ints, masked: npt.NDArray[np.bool_]) -> tuple[Ints, Ints]:
    """Positions and tokens of the masked places, each ``[batch, most masked]``."""
    counts = masked.sum(axis=1)
    rows, columns = np.nonzero(masked)
    slot = np.arange(len(rows)) - np.repeat(np.cumsum(counts) - counts, counts)
    positions = np.zeros((len(masked), int(counts.max())), dtype=np.int64)
    labels = np.full_like(positions, IGNORED)
    positions[rows, slot] = columns
    labels[rows, slot] = tokens[rows, columns]
    return positions, labels
