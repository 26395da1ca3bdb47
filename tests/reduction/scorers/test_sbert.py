from __future__ import annotations

import sys
from typing import Any

import numpy as np
import pytest
import torch

from transformers_palbert.errors import MissingExtraError
from transformers_palbert.reduction.passages import Cutting
from transformers_palbert.reduction.scorers.sbert import SbertScorer


class Encoder(torch.nn.Module):
    """Counts letters, as an encoder of sentence-transformers would give its vectors."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = torch.nn.Parameter(torch.ones(1))
        self.seen: list[str] = []

    def encode(self, texts: list[str], **options: Any) -> np.ndarray:
        assert options == {"batch_size": 7, "normalize_embeddings": True, "show_progress_bar": False}
        self.seen += texts
        counts = np.array([[text.count(letter) + 1 for letter in "abc"] for text in texts], dtype=np.float32)
        return counts / np.linalg.norm(counts, axis=1, keepdims=True)


def test_scores_are_cosines_and_every_text_is_embedded_once() -> None:
    encoder = Encoder()
    rows = Cutting().cut(["aa", "bb"], ["Aa a. Bb b. Cc."] * 2)
    scores = SbertScorer(encoder, batch_size=7)(rows).scores
    assert encoder.seen == ["aa", "bb", "Aa a.", "Bb b.", "Cc."]
    a, b = np.array([3, 1, 1]), np.array([1, 3, 1])
    assert scores[0][0] == pytest.approx(1)
    assert scores[0][1] == pytest.approx(a @ b / 11)
    assert scores[0].argmax() == 0
    assert scores[1].argmax() == 1


def test_without_the_library(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "sentence_transformers", None)
    with pytest.raises(MissingExtraError, match=r"transformers-palbert\[reduction\]"):
        SbertScorer.load("any")


def test_a_plain_encoder_of_transformers(tmp_path) -> None:
    pytest.importorskip("sentence_transformers", reason="sentence-transformers is not installed")
    from transformers import BertConfig, BertModel

    from tests.references.small_tokenizers import wordpiece

    tokenizer = wordpiece()
    shape = {"hidden_size": 8, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 8}
    model = BertModel(BertConfig(vocab_size=len(tokenizer), **shape)).eval()
    model.save_pretrained(tmp_path)
    tokenizer.save_pretrained(tmp_path)
    (row,) = Cutting().cut(["who lives in berlin ?"], ["My name is Wolfgang. I live in Berlin."])
    scorer = SbertScorer.load(str(tmp_path), device="cpu")
    (scores,) = scorer([row]).scores
    vectors = []
    for text in [row.question, *row.texts]:
        hidden = model(**tokenizer(text, return_tensors="pt")).last_hidden_state[0].mean(dim=0)
        vectors.append((hidden / hidden.norm()).detach().numpy())
    assert scores.tolist() == pytest.approx([float(vector @ vectors[0]) for vector in vectors[1:]], abs=1e-5)
    before = scorer.describe()
    assert before["scorer"] == "sbert"
    scorer.encoder.max_seq_length = 4
    assert scorer.describe() != before
