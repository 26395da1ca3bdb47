"""From words to vectors, and from vectors to vectors that know their neighbours."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from .attention import attend
from .configuration import BiLstmConfig, TextCnnConfig, WordReaderConfig
from .inputs import MASKED

__all__ = ["AttentiveSummary", "BiLstm", "MaximumSummary", "TextCnn", "TimeDropout", "WordEmbeddings"]


class TimeDropout(nn.Module):
    """Dropout with one mask for all positions of a row (Gal and Ghahramani 2016, arXiv 1512.05287)."""

    def __init__(self, share: float) -> None:
        super().__init__()
        self.share = share

    def forward(self, states: Tensor) -> Tensor:
        """Shape ``(rows, length, width)``, in and out."""
        if not self.training:
            return states
        return states * functional.dropout(states.new_ones(len(states), 1, states.shape[2]), self.share)


class WordEmbeddings(nn.Module):
    """Word vector and characters of a word, projected to the hidden size.

    ``e(w) = ReLU(W [v(w); max_k ReLU(conv3(c(w)))_k] + b)``: the characters ``c(w)`` go through a convolution of
    width 3 and a maximum over its positions (Kim et al. 2016, arXiv 1508.06615), so that a word without a vector of its
    own is still known by its characters. Each distinct word of a batch is computed once.

    The buffer ``characters``, int32 of shape ``(vocab_size, characters_per_word)``, spells every word; it is saved with
    the weights, so that the model needs nothing but word ids.
    """

    characters: Tensor

    def __init__(self, config: WordReaderConfig) -> None:
        super().__init__()
        width = config.character_embedding_size
        self.word_vectors = nn.Embedding(config.vocab_size, config.embedding_size, padding_idx=config.pad_token_id)
        self.word_vectors.weight.requires_grad_(config.train_word_vectors)
        self.character_vectors = nn.Embedding(config.character_vocab_size, width, padding_idx=0)
        self.convolution = nn.Conv1d(width, width, 3, padding=1)
        self.projection = nn.Linear(config.embedding_size + width, config.hidden_size)
        self.dropout = nn.Dropout(config.dropout)
        spelling = torch.zeros(config.vocab_size, config.characters_per_word, dtype=torch.int32)
        self.register_buffer("characters", spelling)

    def forward(self, ids: Tensor) -> Tensor:
        """Word ids of any shape to vectors, one axis more: ``(…, hidden_size)``."""
        words, place = ids.unique(return_inverse=True)
        features = torch.cat([self.word_vectors(words), self._spell(self.characters[words].long())], dim=-1)
        return functional.relu(self.projection(self.dropout(features)))[place]

    def _spell(self, characters: Tensor) -> Tensor:
        """Characters (words, characters per word) to one vector per word."""
        states = self.dropout(self.character_vectors(characters))
        states = functional.relu(self.convolution(states.transpose(1, 2)))
        return (states * (characters > 0)[:, None]).amax(2)


class BiLstm(nn.Module):
    """Bidirectional LSTM layers; ``hidden_size / 2`` for either direction, concatenated.

    The backward direction reads every row from its own last word, by an index that reverses the words and leaves the
    padding where it is: the result of a row does not depend on the rows beside it, and no sequence needs packing, which
    on a CPU costs several times what the padding does.
    """

    def __init__(self, config: BiLstmConfig) -> None:
        super().__init__()
        size, layers = config.hidden_size, config.num_hidden_layers
        self.ahead = nn.ModuleList(nn.LSTM(size, size // 2, batch_first=True) for _ in range(layers))
        self.back = nn.ModuleList(nn.LSTM(size, size // 2, batch_first=True) for _ in range(layers))
        self.dropout = TimeDropout(config.dropout)

    def forward(self, states: Tensor, mask: Tensor) -> Tensor:
        """States (rows, length, hidden_size) and the mask of words (rows, length) to states of the same shape."""
        reverse = _reversal(mask)[..., None]
        for ahead, back in zip(self.ahead, self.back, strict=True):
            states = self.dropout(states)
            left = ahead(states)[0]
            right = back(states.gather(1, reverse.expand_as(states)))[0]
            right = right.gather(1, reverse.expand_as(right))
            states = torch.cat([left, right], dim=-1) * mask[..., None]
        return states


def _reversal(mask: Tensor) -> Tensor:
    """Index that reverses the words of every row and is its own inverse, int64 of the shape of ``mask``."""
    place = torch.arange(mask.shape[1], device=mask.device)
    reversed_place = mask.sum(1, keepdim=True) - 1 - place
    return torch.where(reversed_place >= 0, reversed_place, place)


class TextCnn(nn.Module):
    """Convolutions of several widths side by side, concatenated (Kim 2014, arXiv 1408.5882), at every position.

    ``h_i = [ReLU(W_k x_{i-k/2 … i+k/2} + b_k) for every width k] + x_i``. Kim takes the maximum over all positions, as
    a class has none; an answer is a place, so each position keeps its own vector here, and the maximum over the
    question is taken where the question is summed up. The sum with ``x_i`` lets several layers learn at once.
    """

    def __init__(self, config: TextCnnConfig) -> None:
        super().__init__()
        size, share = config.hidden_size, config.hidden_size // len(config.kernel_sizes)
        self.layers = nn.ModuleList(
            nn.ModuleList(nn.Conv1d(size, share, width, padding=width // 2) for width in config.kernel_sizes)
            for _ in range(config.num_hidden_layers)
        )
        self.dropout = TimeDropout(config.dropout)

    def forward(self, states: Tensor, mask: Tensor) -> Tensor:
        """States (rows, length, hidden_size) and the mask of words (rows, length) to states of the same shape."""
        states = states * mask[..., None]
        for layer in self.layers:
            window = self.dropout(states).transpose(1, 2)
            found = torch.cat([functional.relu(convolution(window)) for convolution in layer.children()], dim=1)
            states = (states + found.transpose(1, 2)) * mask[..., None]
        return states


class AttentiveSummary(nn.Module):
    """One vector per row, ``Σ_j softmax_j(w · h_j) h_j``: what it learns to look at (Chen et al. 2017, section 3.3)."""

    def __init__(self, config: WordReaderConfig) -> None:
        super().__init__()
        self.score = nn.Linear(config.hidden_size, 1, bias=False)

    def forward(self, states: Tensor, mask: Tensor) -> Tensor:
        """States (rows, length, hidden_size) and the mask of words (rows, length) to ``(rows, 1, hidden_size)``."""
        return attend(self.score(states).transpose(1, 2), states, mask)


class MaximumSummary(nn.Module):
    """The maximum of every feature over the words of a row (Kim 2014, "max-over-time"); 0 for a row without words."""

    def __init__(self, _: WordReaderConfig) -> None:
        super().__init__()

    def forward(self, states: Tensor, mask: Tensor) -> Tensor:
        """States (rows, length, hidden_size) and the mask of words (rows, length) to ``(rows, 1, hidden_size)``."""
        best = states.masked_fill(~mask[..., None], MASKED).amax(1, keepdim=True)
        return best * mask.any(1)[:, None, None]
