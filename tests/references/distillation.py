"""The losses of distillation, number by number, in float64 and without a mask: padding is simply not looked at."""

from __future__ import annotations

import math

import torch
from torch import Tensor

__all__ = ["naive_attention", "naive_attention_distance", "naive_divergence", "naive_state_distance"]


def softmax(values: list[Tensor]) -> list[Tensor]:
    powers = [value.exp() for value in values]
    total = sum(powers, torch.zeros((), dtype=torch.float64))
    return [power / total for power in powers]


def naive_divergence(student: Tensor, teacher: Tensor, kept: list[int], temperature: float) -> Tensor:
    """``T² Σ p log (p / q)`` over the entries ``kept`` of two vectors of logits."""
    p = softmax([teacher[place].double() / temperature for place in kept])
    q = softmax([student[place].double() / temperature for place in kept])
    return temperature**2 * sum((a * (a / b).log() for a, b in zip(p, q, strict=True)), torch.zeros(()))


def naive_state_distance(student: Tensor, teacher: Tensor, kept: list[int]) -> Tensor:
    """Of one row, ``[length, width]``: token by token, unit by unit."""
    width = student.shape[1]
    squares = [
        (student[token, unit].double() - teacher[token, unit].double()) ** 2 for token in kept for unit in range(width)
    ]
    return torch.stack(squares).sum() / (len(kept) * width)


def naive_attention(query: Tensor, key: Tensor, heads: int, kept: list[int]) -> Tensor:
    """Attention probabilities of one row between the tokens ``kept``, ``[heads, kept, kept]``, head by head."""
    width = query.shape[1] // heads
    maps = []
    for head in range(heads):
        part = slice(head * width, (head + 1) * width)
        rows = []
        for i in kept:
            scores = [(query[i, part].double() * key[j, part].double()).sum() / math.sqrt(width) for j in kept]
            rows.append(torch.stack(softmax(scores)))
        maps.append(torch.stack(rows))
    return torch.stack(maps)


def naive_attention_distance(student: Tensor, teacher: Tensor, kind: str) -> Tensor:
    """Of one row, from the probabilities between its real tokens, ``[heads, tokens, tokens]``."""
    if len(student) != len(teacher):
        student, teacher = student.mean(dim=0, keepdim=True), teacher.mean(dim=0, keepdim=True)
    heads, tokens, _ = student.shape
    if kind == "kl":
        return (teacher * (teacher / student).log()).sum() / (heads * tokens)
    return ((student - teacher) ** 2).sum() / (heads * tokens**2)
