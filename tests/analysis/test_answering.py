from __future__ import annotations

import pytest

from tests.analysis.conftest import RECORDS, ROWS
from transformers_palbert.analysis.answering import Answering, question_blocks


def texts(found):
    return [[answer["answer"] for answer in answers] for answers in found]


@pytest.mark.parametrize("questions", [1, 3])
@pytest.mark.parametrize("top_k", [1, 2])
def test_always_lists_of_answers(pipe, questions, top_k):
    """Whatever the pipeline unpacks of single questions and single answers."""
    found = Answering(top_k=top_k).ask(pipe, RECORDS[:questions])
    expected = [[text for text, _ in answers[:top_k]] for _, _, answers in ROWS.values()]
    assert texts(found) == expected[:questions]


def test_options_reach_the_pipeline(pipe):
    Answering(batch_size=4, max_answer_length=7, max_seq_length=99, impossible=True).ask(pipe, RECORDS, batch_size=1)
    ((count, options),) = pipe.calls
    assert count == 3
    assert options == {"batch_size": 1, "max_answer_len": 7, "max_seq_len": 99, "handle_impossible_answer": True}


def test_blocks_hold_sixteen_batches():
    assert [len(block) for block in question_blocks(RECORDS * 20, 2)] == [32, 28]
