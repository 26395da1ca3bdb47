"""Invented facts that the example scripts learn from, and the script that most of them use."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.references.scripts import load_script

PEOPLE = ("李明", "王芳", "张伟", "刘洋", "陈静", "赵磊")
PLACES = ("北京", "上海", "广州", "杭州", "西安", "成都")


@pytest.fixture
def files(tmp_path: Path) -> dict[str, str]:
    """A vocabulary and facts, as JSON Lines."""
    rows = []
    for number, (person, place) in enumerate((p, q) for p in PEOPLE for q in PLACES):
        context = f"{person}出生于{place}，后来搬了家。"
        answers = {"text": [place], "answer_start": [context.index(place)]}
        rows.append({"id": str(number), "question": f"{person}出生于哪里？", "context": context, "answers": answers})
    characters = sorted({c for row in rows for c in row["context"] + row["question"]})
    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *characters]
    (tmp_path / "vocab.txt").write_text("\n".join(words) + "\n", encoding="utf-8")
    for part, chosen in (("train", rows[:24]), ("dev", rows[24:])):
        lines = "\n".join(json.dumps(row, ensure_ascii=False) for row in chosen)
        (tmp_path / f"{part}.jsonl").write_text(lines + "\n", encoding="utf-8")
    return {name: str(tmp_path / file) for name, file in
            (("vocab", "vocab.txt"), ("train", "train.jsonl"), ("dev", "dev.jsonl"))}  # fmt: skip


@pytest.fixture
def run_qa(monkeypatch: pytest.MonkeyPatch) -> Any:
    """The script's ``main``, which leaves logging to pytest."""
    leave_logging_to_pytest(monkeypatch)
    return load_script("examples/run_qa.py").main


def leave_logging_to_pytest(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pytest has handlers of its own."""
    for module in ("question_answering", "pretraining_run"):
        monkeypatch.setattr(f"transformers_palbert.training.{module}.set_up_logging", lambda _: None)
