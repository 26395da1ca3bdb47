"""How the benchmark of the baselines divides the training questions."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest

import transformers_palbert as palbert


@pytest.fixture
def baselines(script: Callable[[str], ModuleType]) -> ModuleType:
    return script("baselines")


def test_held_out_questions_are_about_other_contexts(
    baselines: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = [
        {"id": str(number), "question": "谁？", "context": f"李明{number // 3}号。", "answers": answers}
        for number, answers in enumerate([{"text": ["李明"], "answer_start": [0]}] * 12)
    ]
    (tmp_path / "train.jsonl").write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
    monkeypatch.setattr(baselines, "HELD_OUT_CONTEXTS", 1)
    files = baselines.split_training(tmp_path / "train.jsonl", tmp_path / "work")
    kept, held_out = (palbert.load_qa_dataset(files[name]) for name in ("train_file", "validation_file"))
    assert [*kept["id"], *held_out["id"]] == [str(number) for number in range(12)]
    assert set(held_out["context"]) == {"李明3号。"}


def test_every_reader_has_a_run(baselines: ModuleType) -> None:
    grid = baselines.load_benchmark(baselines.NAME, {}, seed=42)
    assert sorted(baselines.READERS.values()) == sorted(grid.axes["reader"])
