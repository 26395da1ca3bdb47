"""Texts, tokenizers and readers of a few words, made on the spot."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from transformers_palbert.baselines.building import build_reader
from transformers_palbert.baselines.modeling import WordReaderForQuestionAnswering
from transformers_palbert.baselines.tokenization import WordTokenizer, build_word_tokenizer
from transformers_palbert.baselines.vectors import WordVectors

CHINESE = ["李明出生于北京，在北京大学学习。", "王芳住在上海。", "李明出生于哪里？", "王芳住在哪里？", "T恤 3.5 元"]
ENGLISH = ["Li Ming was born in Beijing.", "Where was Li Ming born?"]


def chinese_words(**kwargs: Any) -> WordTokenizer:
    return build_word_tokenizer(CHINESE, **{"min_count": 1, **kwargs})


def english_words(**kwargs: Any) -> WordTokenizer:
    return build_word_tokenizer(ENGLISH, **{"min_count": 1, "segmentation": "whitespace", **kwargs})


def some_vectors(words: list[str], dimensions: int = 6, seed: int = 0) -> WordVectors:
    rows = np.random.default_rng(seed).standard_normal((len(words), dimensions)).astype(np.float32)
    return WordVectors(words, rows)


def small_reader(kind: str = "bilstm", tokenizer: Any = None, **settings: Any) -> WordReaderForQuestionAnswering:
    tokenizer = tokenizer or chinese_words()
    torch.manual_seed(0)
    fields = {"hidden_size": 8, "character_embedding_size": 5, "dropout": 0.0, **settings}
    return build_reader(kind, tokenizer, some_vectors(["北京", "李", "明"]), **fields)[0]
