"""Where the CMRC 2018 benchmark starts without pretrained weights: a random ALBERT, and cloze questions to warm it up.

Both need nothing but the training file and a vocabulary.

Weights start as `initialize_for_lookup` makes them. The cloze questions teach looking up: a passage of a training
context is the context, a fragment of it with a gap is the question, what stood in the gap is the answer (as in the
recurring spans of Ram et al., "Splinter", arXiv 2101.00438).
"""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

import torch
from transformers import AlbertConfig, AlbertForQuestionAnswering, BertTokenizer

import transformers_palbert as palbert
from transformers_palbert.training.initialization import initialize_for_lookup

__all__ = ["random_albert", "write_cloze"]

GAP = "[MASK]"


def random_albert(folder: Path, vocab: Path, seed: int, **shape: Any) -> None:
    """Save a random ALBERT for question answering, and its tokenizer, to ``folder``."""
    torch.manual_seed(seed)
    tokenizer = BertTokenizer(vocab=str(vocab))
    config = AlbertConfig(vocab_size=len(tokenizer), pad_token_id=tokenizer.pad_token_id, **shape)
    model = AlbertForQuestionAnswering(config)
    initialize_for_lookup(model)
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)


def write_cloze(train_file: Path, output: Path, count: int, seed: int) -> None:
    """Write ``count`` cloze questions about passages of the training contexts, as JSON Lines in the SQuAD schema."""
    contexts = sorted({row for row in palbert.load_qa_dataset(train_file, training=True)["context"] if len(row) > 80})
    rng = random.Random(seed)
    with output.open("w", encoding="utf-8") as stream:
        for number in range(count):
            row = {"id": f"cloze-{number}", **_cloze(rng.choice(contexts), rng)}
            stream.write(json.dumps(row, ensure_ascii=False) + "\n")


def _cloze(context: str, rng: random.Random) -> dict[str, Any]:
    """One question: up to 10 characters on either side of a gap of 1 to 6, at least 4 in all.

    Passages have 60 to 120 characters: looking up is learnt sooner in short ones.
    """
    length = min(len(context), rng.randint(60, 120))
    first = rng.randint(0, len(context) - length)
    passage = context[first : first + length]
    size = rng.randint(1, 6)
    start = rng.randint(8, length - size - 8)
    before = rng.randint(0, 10)
    after = rng.randint(4 if before < 4 else 0, 10)
    question = passage[start - min(before, start) : start] + GAP + passage[start + size : start + size + after]
    return {
        "question": question,
        "context": passage,
        "answers": {"text": [passage[start : start + size]], "answer_start": [start]},
    }
