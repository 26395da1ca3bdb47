from __future__ import annotations

from tests.qa.test_features import squad, wordpiece
from transformers_palbert.compaction.questions import question_batches
from transformers_palbert.qa.settings import AnsweringSettings


def test_windows_are_those_of_the_settings() -> None:
    batches = question_batches(squad(), wordpiece(), AnsweringSettings(max_seq_length=32, doc_stride=8), batch_size=2)
    assert max(batch["input_ids"].shape[1] for batch in batches) == 32
