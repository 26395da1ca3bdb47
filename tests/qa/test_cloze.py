from __future__ import annotations

import random

import pytest

from transformers_palbert.errors import ConfigurationError
from transformers_palbert.qa.cloze import GAP, make_cloze_questions
from transformers_palbert.qa.datasets import FEATURES

LETTERS = [chr(code) for code in range(0x4E00, 0x4E00 + 2000)]
CONTEXTS = ["".join(random.Random(number).sample(LETTERS, 81 + 40 * number)) for number in range(6)]


def test_filling_the_gap_gives_a_piece_of_the_passage() -> None:
    questions = make_cloze_questions(CONTEXTS, 400)
    assert questions.features == FEATURES
    assert len(set(questions["id"])) == 400
    for row in questions:
        answer, start = row["answers"]["text"][0], row["answers"]["answer_start"][0]
        assert row["context"][start : start + len(answer)] == answer
        assert 1 <= len(answer) <= 6
        assert row["question"].replace(GAP, answer) in row["context"]
        assert 4 <= len(row["question"]) - len(GAP) <= 20
        assert any(row["context"] in context for context in CONTEXTS)
        assert 60 <= len(row["context"]) <= 120


def test_seed_and_contexts_decide_not_their_order() -> None:
    first = make_cloze_questions(CONTEXTS, 20, seed=1)
    assert first.to_list() == make_cloze_questions([*reversed(CONTEXTS), CONTEXTS[0]], 20, seed=1).to_list()
    assert first.to_list() != make_cloze_questions(CONTEXTS, 20, seed=2).to_list()


def test_what_cannot_be_made_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="count=0"):
        make_cloze_questions(CONTEXTS, 0)
    with pytest.raises(ConfigurationError, match="80 characters"):
        make_cloze_questions(["too short"], 5)
