from __future__ import annotations

import numpy as np
import pytest

from tests.analysis.conftest import RECORDS, record
from transformers_palbert.analysis.breakdown import break_down, breakdowns, range_label
from transformers_palbert.qa.statistics import question_type


def groups_of(part):
    return [(group.label, group.count) for group in part.groups]


def test_groups_keep_their_order_and_lose_what_is_empty():
    scores = np.array([[0, 10], [100, 100], [0, 30.0]])
    part = break_down("key", "title", ["a", "b", "c"], [2, 0, 2], scores)
    assert groups_of(part) == [("a", 1), ("c", 2)]
    assert part.of == [1, 0, 1]
    assert [group.f1.value for group in part.groups] == [100, 20]
    assert [group.em.value for group in part.groups] == [100, 0]
    assert part.groups[1].f1.low == 10
    assert part.groups[1].f1.high == 30


def test_the_four_breakdowns():
    records = [*RECORDS, record("none", "Is it so?", "x" * 301)]
    parts = {p.key: p for p in breakdowns(records, [0.9, 0.05, 0.02, 1.2], np.zeros((4, 2)))}
    assert groups_of(parts["type"]) == [("when", 1), ("who", 1), ("why", 1), ("other", 1)]
    kinds = [parts["type"].groups[group].label for group in parts["type"].of]
    assert kinds == [question_type(row["question"]).replace("_", " ") for row in records]
    assert groups_of(parts["answer"]) == [("no answer", 1), ("1 – 2", 1), ("3 – 4", 2)]
    assert groups_of(parts["context"]) == [("1 – 300", 3), ("301 – 400", 1)]
    assert groups_of(parts["confidence"]) == [("0 – 2 %", 1), ("2 – 5 %", 1), ("80 – 100 %", 2)]


@pytest.mark.parametrize(
    ("length", "label"), [(1, "1 – 2"), (2, "1 – 2"), (3, "3 – 4"), (32, "17 – 32"), (33, "33 and more")]
)
def test_bounds_are_inclusive(length, label):
    answer = "x" * length
    (part,) = (p for p in breakdowns([record("q", "?", answer, answer)], [0], np.zeros((1, 2))) if p.key == "answer")
    assert groups_of(part) == [(label, 1)]


def test_the_shortest_reference_counts():
    row = record("q", "?", "abcdefgh", "abcdef", "abc")
    (part,) = (p for p in breakdowns([row], [0], np.zeros((1, 2))) if p.key == "answer")
    assert groups_of(part) == [("3 – 4", 1)]


def test_range_label():
    assert (range_label(701, 1000), range_label(1001, None)) == ("701 – 1,000", "1,001 and more")
