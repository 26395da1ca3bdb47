"""A small corpus of made-up sentences, and its tokenizer."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

from transformers import BertTokenizer

CHARACTERS = "我们今天的一是在了年出生于北京上海大学学习语言模型问题答案电脑软件"
ENGLISH = "the answer play ##ing un ##known model"


def tokenizer(cls: Any = BertTokenizer, **kwargs: Any) -> Any:
    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *dict.fromkeys("。，[]" + CHARACTERS), *ENGLISH.split()]
    return cls(vocab={word: index for index, word in enumerate(words)}, **kwargs)


def documents(count: int, seed: int = 0) -> list[list[str]]:
    """Documents of one to three paragraphs of one to four sentences."""
    rng = random.Random(seed)

    def sentence() -> str:
        words = ["".join(rng.choices(CHARACTERS, k=rng.randint(3, 12))), rng.choice(["", "playing", "，unknown"])]
        return "".join(words) + "。"

    return [
        ["".join(sentence() for _ in range(rng.randint(1, 4))) for _ in range(rng.randint(1, 3))] for _ in range(count)
    ]


def write(path: str, count: int, seed: int = 0) -> str:
    text = "\n\n".join("\n".join(document) for document in documents(count, seed))
    Path(path).write_text(text + "\n", encoding="utf-8")
    return path
