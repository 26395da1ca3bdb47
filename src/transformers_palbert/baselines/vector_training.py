"""Train word vectors on the texts at hand: Word2Vec by gensim, GloVe here."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from ..errors import ConfigurationError, require
from .vectors import WordVectors

__all__ = ["VECTOR_METHODS", "Cooccurrences", "count_cooccurrences", "train_glove", "train_vectors", "train_word2vec"]

logger = logging.getLogger(__name__)

VECTOR_METHODS = ("word2vec", "glove")
"""The names that :func:`train_vectors` knows."""

_NEAREST = 10  # words on either side that GloVe counts (Pennington et al. 2014, section 4.2)
_X_MAX, _ALPHA = 100.0, 0.75  # weighting function of GloVe (section 3)


def train_vectors(
    method: str, sentences: Sequence[Sequence[str]], *, dimensions: int = 300, epochs: int | None = None, seed: int = 42
) -> WordVectors:
    """Train vectors by the method's name; ``epochs`` by default as the method's function has it.

    Raises:
        ConfigurationError: if the method is unknown or there are no sentences.
    """
    trainers: dict[str, Callable[..., WordVectors]] = {"word2vec": train_word2vec, "glove": train_glove}
    if method not in trainers:
        raise ConfigurationError(f"Word vectors are trained with {' or '.join(VECTOR_METHODS)}, not {method!r}.")
    if not any(sentences):
        raise ConfigurationError("There is not a single word to train word vectors on.")
    extra = {} if epochs is None else {"epochs": epochs}
    return trainers[method](sentences, dimensions=dimensions, seed=seed, **extra)


def train_word2vec(
    sentences: Sequence[Sequence[str]], *, dimensions: int = 300, epochs: int = 10, seed: int = 42
) -> WordVectors:
    """Skip-gram with negative sampling (Mikolov et al. 2013, arXiv 1310.4546), by gensim.

    Window 5, 5 negative samples, every word. One worker, so that the same seed gives the same vectors.

    Args:
        sentences: Words of each text.
        dimensions: Width of a vector.
        epochs: Passes through the texts.
        seed: Seed of the initial vectors and of the samples that are drawn.

    Raises:
        MissingExtraError: if gensim is not installed.
    """
    gensim = require("gensim.models", "baselines")
    model = gensim.Word2Vec(
        [list(sentence) for sentence in sentences],
        vector_size=dimensions, window=5, min_count=1, sg=1, negative=5, epochs=epochs, seed=seed, workers=1,
    )  # fmt: skip
    return WordVectors(list(model.wv.index_to_key), np.array(model.wv.vectors, dtype=np.float32))


@dataclass(frozen=True)
class Cooccurrences:
    """How often words stand near each other.

    Attributes:
        words: The words.
        row, column: Indices of the two words, int64 of shape ``(pairs,)``; a pair occurs once, in either order.
        count: Sum of ``1 / distance`` over their meetings, float32, likewise.
    """

    words: list[str]
    row: npt.NDArray[np.int64]
    column: npt.NDArray[np.int64]
    count: npt.NDArray[np.float32]


def count_cooccurrences(sentences: Sequence[Sequence[str]], window: int = _NEAREST) -> Cooccurrences:
    """Count the words within ``window`` words of each other, not across the end of a sentence."""
    words = list(dict.fromkeys(word for sentence in sentences for word in sentence))
    index = {word: number for number, word in enumerate(words)}
    text = np.array([index[word] for sentence in sentences for word in sentence], dtype=np.int64)
    of = np.repeat(np.arange(len(sentences)), [len(sentence) for sentence in sentences])
    keys, weights = [], []
    for distance in range(1, min(window, max(len(text) - 1, 0)) + 1):
        near = of[:-distance] == of[distance:]
        one, other = text[:-distance][near], text[distance:][near]
        keys += [one * len(words) + other, other * len(words) + one]
        weights += [np.full(2 * len(one), 1 / distance, dtype=np.float32)]
    pairs, place = np.unique(np.concatenate([text[:0], *keys]), return_inverse=True)
    count = np.bincount(place, np.concatenate([np.zeros(0, np.float32), *weights])).astype(np.float32)
    return Cooccurrences(words, pairs // len(words), pairs % len(words), count)


class _Glove(nn.Module):
    """``w_i · c_j + b_i + d_j`` of word and context word; Pennington et al. (2014), equation 7."""

    def __init__(self, words: int, dimensions: int) -> None:
        super().__init__()
        sizes = (dimensions, dimensions, 1, 1)
        self.word, self.context, self.word_bias, self.context_bias = (
            nn.Embedding(words, size, sparse=True) for size in sizes
        )
        for table in self.parameters():
            nn.init.uniform_(table, -0.5 / dimensions, 0.5 / dimensions)

    def forward(self, row: Tensor, column: Tensor) -> Tensor:
        product = (self.word(row) * self.context(column)).sum(-1)
        return product + self.word_bias(row)[:, 0] + self.context_bias(column)[:, 0]


def train_glove(
    sentences: Sequence[Sequence[str]], *, dimensions: int = 300, epochs: int = 15, seed: int = 42
) -> WordVectors:
    """GloVe (Pennington, Socher and Manning 2014, doi 10.3115/v1/D14-1162): ``w + c`` of every word.

    Minimises ``Σ_ij f(X_ij) (w_i · c_j + b_i + d_j - log X_ij)²``, ``f(x) = min(1, (x / 100)^0.75)``, over the pairs
    that :func:`count_cooccurrences` finds, with AdaGrad at 0.05 as the paper does, in batches of pairs. gensim reads
    GloVe files but does not train them.

    Args:
        sentences: Words of each text.
        dimensions: Width of a vector.
        epochs: Passes through the pairs.
        seed: Seed of the initial vectors and of the order of the pairs.
    """
    counts = count_cooccurrences(sentences)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = _Glove(len(counts.words), dimensions)
        optimizer = torch.optim.Adagrad(model.parameters(), lr=0.05, initial_accumulator_value=1.0)
        for epoch in range(epochs):
            loss = _glove_epoch(model, optimizer, counts)
            logger.info("GloVe: epoch %d of %d, loss per pair %.4f", epoch + 1, epochs, loss)
    vectors = (model.word.weight + model.context.weight).detach().numpy()
    return WordVectors(counts.words, vectors)


def _glove_epoch(model: _Glove, optimizer: torch.optim.Optimizer, counts: Cooccurrences, batch: int = 16_384) -> float:
    """One pass through the pairs in random order; returns the mean loss."""
    total = 0.0
    count = torch.from_numpy(counts.count)
    for chosen in torch.randperm(len(count)).split(batch):
        row, column = torch.from_numpy(counts.row)[chosen], torch.from_numpy(counts.column)[chosen]
        weight = (count[chosen] / _X_MAX).pow(_ALPHA).clamp(max=1.0)
        loss = (weight * (model(row, column) - count[chosen].log()) ** 2).sum()
        optimizer.zero_grad()
        loss.backward()
        with torch.sparse.check_sparse_tensor_invariants(enable=False):  # or AdaGrad warns that it does not check
            optimizer.step()
        total += loss.item()
    return total / max(len(count), 1)
