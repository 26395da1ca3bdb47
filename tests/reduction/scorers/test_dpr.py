"""DPR with small random encoders: the code is exercised, no ranking means anything."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from transformers import DPRConfig, DPRContextEncoder, DPRQuestionEncoder

from tests.references.small_tokenizers import wordpiece
from transformers_palbert.reduction.passages import Cutting
from transformers_palbert.reduction.scorers.dpr import DprScorer


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    tokenizer = wordpiece()
    shape = {"hidden_size": 8, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 8}
    config = DPRConfig(vocab_size=len(tokenizer), **shape)
    torch.manual_seed(0)
    made = []
    for kind in (DPRQuestionEncoder, DPRContextEncoder):
        folder = tmp_path_factory.mktemp("dpr")
        kind(config).save_pretrained(folder)
        tokenizer.save_pretrained(folder)
        made.append(folder)
    return made[0], made[1]


def test_scores_are_dot_products_of_the_two_encoders(folders: tuple[Path, Path]) -> None:
    scorer = DprScorer.load(*map(str, folders), device="cpu", batch_size=2)
    rows = Cutting().cut(
        ["who lives ?", "谁？"], ["My name is Wolfgang. I live in Berlin. Who?", "我叫王芳。我住在北京。"]
    )
    found = scorer(rows).scores
    tokenizer = wordpiece()
    question, passage = DPRQuestionEncoder.from_pretrained(folders[0]), DPRContextEncoder.from_pretrained(folders[1])
    for row, scores in zip(rows, found, strict=True):
        asked = question(**tokenizer(row.question, return_tensors="pt")).pooler_output[0].detach()
        each = [passage(**tokenizer(text, return_tensors="pt")).pooler_output[0].detach() for text in row.texts]
        assert scores.tolist() == pytest.approx([float(vector @ asked) for vector in each], abs=1e-5)


def test_other_weights_are_another_description(folders: tuple[Path, Path]) -> None:
    scorer = DprScorer.load(*map(str, folders), device="cpu")
    before = scorer.describe()
    with torch.no_grad():
        next(scorer.passage_encoder.parameters()).add_(1)
    assert scorer.describe() != before
    before = scorer.describe()
    scorer.question_encoder.config.hidden_act = "relu"
    assert scorer.describe() != before
