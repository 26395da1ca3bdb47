"""What a word-level reader takes from its inputs: question, context, and the words and characters they share."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

__all__ = ["MASKED", "NUM_MATCH_FEATURES", "Part", "match_features", "split_inputs", "spread_logits"]

MASKED = -1e4
"""Logit of a position that must not be chosen; float16 holds it, and the sum of two."""

NUM_MATCH_FEATURES = 4
_NEAR, _AROUND = 9, 31  # words over which matches are averaged


@dataclass(frozen=True)
class Part:
    """The question or the context of every row, moved to the left.

    Attributes:
        ids: Words, int64 of shape ``(rows, length)``.
        positions: Where each of them stands in the input, likewise.
        mask: Which of them are words and not padding, bool, likewise. Padding is on the right.
    """

    ids: Tensor
    positions: Tensor
    mask: Tensor

    def take(self, states: Tensor) -> Tensor:
        """The rows of ``states`` (rows, input length, width) that belong to this part; zero for padding."""
        index = self.positions[..., None].expand(-1, -1, states.shape[2])
        return states.gather(1, index) * self.mask[..., None]


def split_inputs(
    input_ids: Tensor, attention_mask: Tensor, token_type_ids: Tensor, *, cls_token_id: int, sep_token_id: int
) -> tuple[Part, Part]:
    """Question (token type 0) and context (token type 1) of every row, without ``[SEP]``.

    The context begins with the row's ``[CLS]``: where an answer is missing, that is what start and end point to.
    """
    words = attention_mask.bool() & (input_ids != sep_token_id)
    second = token_type_ids.bool()
    special = input_ids == cls_token_id
    first_cls = special & (special.cumsum(1) == 1)
    return _part(input_ids, words & ~second & ~special), _part(input_ids, words & (second | first_cls))


def _part(input_ids: Tensor, mask: Tensor) -> Part:
    length = max(int(mask.sum(1).max()), 1)
    positions = torch.argsort(~mask, dim=1, stable=True)[:, :length]
    return Part(input_ids.gather(1, positions), positions, mask.gather(1, positions))


def spread_logits(logits: Tensor, part: Part, length: int) -> Tensor:
    """Logits (rows, part's length) at their places in the input, shape ``(rows, length)``; elsewhere :data:`MASKED`."""
    logits = logits.masked_fill(~part.mask, MASKED)
    return logits.new_full((len(logits), length), MASKED).scatter(1, part.positions, logits)


def match_features(part: Part, other: Part, characters: Tensor, count: int) -> Tensor:
    """How the words of ``part`` reappear in ``other``: float32 of shape ``(rows, length, 4)``, values in [0, 1].

    1. whether the word occurs there (exact match; Chen et al. 2017, arXiv 1704.00051, section 3.2);
    2. the share of its characters that occur there, which sees through a different cut into words;
    3. the mean of 2 over the 9 words around it;
    4. the mean of 1 over the 31 words around it.

    Args:
        part: The words that get features.
        other: The words they are looked up in.
        characters: Characters of every word, int64 of shape ``(vocabulary, characters per word)``, 0 where there is
            none.
        count: How many different characters there are; all numbers in ``characters`` are below it.
    """
    same = ((part.ids[:, :, None] == other.ids[:, None]) & other.mask[:, None]).any(2)
    word = (same & part.mask).float()
    character = _share_of_characters(part, other, characters, count)
    near = functional.avg_pool1d(character[:, None], _NEAR, 1, _NEAR // 2)[:, 0]
    around = functional.avg_pool1d(word[:, None], _AROUND, 1, _AROUND // 2)[:, 0]
    return torch.stack([word, character, near, around], dim=-1)


def _share_of_characters(part: Part, other: Part, characters: Tensor, count: int) -> Tensor:
    """Share of the characters of each word of ``part`` that any word of ``other`` has, shape ``(rows, length)``."""
    rows, length = part.ids.shape
    present = torch.zeros(rows, count, device=characters.device)
    there = (characters[other.ids] * other.mask[..., None]).flatten(1)
    present = present.scatter(1, there, 1.0)
    present[:, 0] = 0.0
    here = characters[part.ids] * part.mask[..., None]
    found = present.gather(1, here.flatten(1)).view(rows, length, -1).sum(-1)
    return found / (here > 0).sum(-1).clamp(min=1)
