"""The examples that answer many questions: with `datasets`, and, as far as it goes without a cluster, with Ray Data."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from datasets import load_from_disk
from transformers import BertTokenizer

from tests.pruning.helpers import tiny_model
from tests.references.scripts import load_script


@pytest.fixture
def model(files: dict[str, str], tmp_path: Path) -> str:
    tokenizer = BertTokenizer(vocab=files["vocab"])
    for part in (tokenizer, tiny_model("bert", vocab_size=len(tokenizer), max_position_embeddings=512)):
        part.save_pretrained(tmp_path / "model")
    return str(tmp_path / "model")


def test_a_data_set_gets_answers_that_are_slices_of_its_contexts(files: dict[str, str], model: str, tmp_path: Path):
    script = load_script("examples/answer_dataset.py")
    script.main(["--model", model, "--questions", files["dev"], "--output", str(tmp_path / "out"), "--batch-size", "2"])
    answered = load_from_disk(str(tmp_path / "out"))
    assert len(answered) == 12
    for row in answered:
        assert row["answer"] == row["context"][row["start"] : row["end"]]
        assert 0 < row["score"] <= 1


@pytest.mark.parametrize("count", [1, 5])
def test_what_a_worker_of_ray_does_with_a_batch(files: dict[str, str], model: str, count: int):
    rows: list[dict[str, Any]] = [json.loads(line) for line in Path(files["dev"]).read_text().splitlines()[:count]]
    batch = {name: np.array([row[name] for row in rows]) for name in ("id", "question", "context")}
    answered = load_script("examples/answer_ray_data.py").Answerer(model)(batch)
    assert answered["id"].tolist() == [row["id"] for row in rows]
    assert [
        row["context"][start:end] for row, start, end in zip(rows, answered["start"], answered["end"], strict=True)
    ] == answered["answer"]
