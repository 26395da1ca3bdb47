"""Windows in batches: questions in blocks, windows sorted by length, arrays padded to one length. Numpy alone."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from .features import IntArray, Windows
from .window_decoding import require_positive

__all__ = ["BATCHES_AHEAD", "longest_first", "padded_arrays", "question_blocks", "window_batches"]

BATCHES_AHEAD = 16
"""A block of questions holds this many for each window of a batch: enough to sort windows by length."""


def question_blocks(records: Sequence[Any], batch_size: int) -> list[Sequence[Any]]:
    """Cut ``records`` into blocks of some batches, within which windows are sorted by length."""
    require_positive(batch_size=batch_size)
    size = batch_size * BATCHES_AHEAD
    return [records[at : at + size] for at in range(0, len(records), size)]


def longest_first(lengths: Any) -> IntArray:
    """An order of windows in which neighbours have nearly one length, so that a batch holds little padding.

    The longest come first: if memory runs out, it does so at once. Windows of one length keep their order.
    """
    return np.argsort(-np.asarray(lengths), kind="stable")


def window_batches(lengths: Any, batch_size: int) -> list[IntArray]:
    """Numbers of the windows in batches, the longest first."""
    order = longest_first(lengths)
    return [order[at : at + batch_size] for at in range(0, len(order), batch_size)]


def padded_arrays(windows: Windows, batch: IntArray, tokenizer: Any, length: int = 0) -> dict[str, IntArray]:
    """Model inputs of a batch, each int64 ``(batch, tokens)``, padded on the right to ``length`` at least."""
    lengths = [len(windows.inputs["input_ids"][window]) for window in batch]
    shape = len(batch), max(*lengths, length)
    padding = {"input_ids": tokenizer.pad_token_id or 0, "token_type_ids": tokenizer.pad_token_type_id}
    arrays = {"attention_mask": np.zeros(shape, dtype=np.int64)}
    for row, tokens in enumerate(lengths):
        arrays["attention_mask"][row, :tokens] = 1
    for name in windows.inputs.keys() - arrays:
        arrays[name] = np.full(shape, padding.get(name, 0), dtype=np.int64)
        for row, (tokens, window) in enumerate(zip(lengths, batch, strict=True)):
            arrays[name][row, :tokens] = windows.inputs[name][window]
    return arrays
