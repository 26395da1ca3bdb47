"""A small data set with several sentences in every context, and scorers whose scores are known."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from datasets import Dataset

from transformers_palbert.qa.datasets import FEATURES
from transformers_palbert.reduction.passages import Passages
from transformers_palbert.reduction.scorers.base import Scored

ENGLISH = "Wolfgang lives in Berlin. It rains there. Anna was born in Rome in 1950. She likes cats."
CHINESE = "王芳住在北京。今天下雨。李明二〇一八年出生于上海。他喜欢猫。"


def record(key: str, context: str, question: str, *answers: str) -> dict[str, Any]:
    """A question of the SQuAD schema; an answer that is not in the context has no place."""
    starts = [context.find(answer) for answer in answers]
    row = {"id": key, "title": "People", "context": context, "question": question}
    return {**row, "answers": {"text": list(answers), "answer_start": starts}}


RECORDS = [
    record("en-1", ENGLISH, "Where does Wolfgang live?", "Berlin", "in Berlin"),
    record("en-2", ENGLISH, "When was Anna born?", "1950"),
    record("zh-1", CHINESE, "王芳住在哪里？", "北京"),
    record("zh-2", CHINESE, "李明什么时候出生？", "二〇一八年"),
    record("none", ENGLISH, "Who likes dogs?"),
    record("lost", CHINESE, "谁住在广州？", "无人"),
]


def dataset(copies: int = 1) -> Dataset:
    """The records, several times under other ids."""
    rows = [{**row, "id": f"{row['id']}-{copy}" if copy else row["id"]} for copy in range(copies) for row in RECORDS]
    return Dataset.from_list(rows, features=FEATURES)


@dataclass
class Places:
    """Scores passages by a function of their number, and counts how often it was called."""

    score: Callable[[int], float] = lambda number: -number
    name: str = "places"
    calls: int = 0

    def describe(self) -> dict[str, Any]:
        return {"scorer": self.name}

    def __call__(self, batch: Sequence[Passages]) -> Scored:
        self.calls += 1
        scores = [np.array([float(self.score(number)) for number in range(len(row))]) for row in batch]
        return Scored(scores, {"questions": np.array([float(len(batch))] * len(batch))})
