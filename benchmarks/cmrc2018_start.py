"""Where the CMRC 2018 benchmark starts without pretrained weights: a random ALBERT, and cloze questions to warm it up.

Both need nothing but the training file and a vocabulary. Weights start as `initialize_for_lookup` makes them; the cloze
questions (`transformers_palbert.qa.cloze`) teach looking up.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from transformers import AlbertConfig, AlbertForQuestionAnswering, BertTokenizer

import transformers_palbert as palbert
from transformers_palbert.qa.cloze import make_cloze_questions
from transformers_palbert.training.lookup_initialization import initialize_for_lookup

__all__ = ["random_albert", "write_cloze"]


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
    contexts = palbert.load_qa_dataset(train_file, training=True)["context"]
    make_cloze_questions(contexts, count, seed).to_json(output, force_ascii=False)
