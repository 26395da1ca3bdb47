from __future__ import annotations

import errno
from pathlib import Path

import numpy as np
import pytest

from tests.reduction.helpers import Places, dataset
from transformers_palbert.reduction.passages import Cutting
from transformers_palbert.reduction.score_files import Chunks, load_scores, score_chunks
from transformers_palbert.reduction.scorers.bm25 import Bm25Scorer

FOLDER = Path("scores")


def chunks(**options: object) -> Chunks:
    return Chunks(dataset(3), Cutting(**options), size=5)  # type: ignore[arg-type]


def test_chunks_are_scored_once() -> None:
    scorer = Places()
    first = list(score_chunks(chunks(), scorer, FOLDER))
    assert [missing for _, missing in first] == [True] * 4
    again = list(score_chunks(chunks(), scorer, FOLDER))
    assert [missing for _, missing in again] == [False] * 4
    assert [file for file, _ in again] == [file for file, _ in first]
    assert scorer.calls == 4


def test_what_is_read_is_what_was_scored() -> None:
    ((file, _), *_) = score_chunks(chunks(), Places(), FOLDER)
    found = load_scores(file)
    assert [scores.tolist() for scores in found.scores] == [[0, -1, -2, -3]] * 5
    assert found.measured["questions"].tolist() == [5] * 5


def test_a_killed_run_goes_on_where_it_was() -> None:
    class Killed(Places):
        def __call__(self, batch):
            if self.calls == 2:
                raise KeyboardInterrupt
            return super().__call__(batch)

    with pytest.raises(KeyboardInterrupt):
        list(score_chunks(chunks(), Killed(), FOLDER))
    assert len(list(FOLDER.iterdir())) == 2  # nothing unfinished is left either
    scorer = Places()
    list(score_chunks(chunks(), scorer, FOLDER))
    assert scorer.calls == 2


def test_other_questions_passages_or_scorers_have_other_files() -> None:
    names = {file.name for file, _ in score_chunks(chunks(), Places(), FOLDER)}
    for others in ((chunks(unit=2), Places()), (chunks(), Places(name="others"))):
        assert not names & {file.name for file, _ in score_chunks(*others, FOLDER)}


def test_several_processes_write_the_same_scores() -> None:
    expected = [load_scores(file).scores for file, _ in score_chunks(chunks(), Bm25Scorer(), Path("one"))]
    made = list(score_chunks(chunks(), Bm25Scorer(), Path("two"), load=Bm25Scorer, processes=2))
    assert [missing for _, missing in made] == [True] * 4
    for (file, _), scores in zip(made, expected, strict=True):
        np.testing.assert_array_equal(np.concatenate(load_scores(file).scores), np.concatenate(scores))


def test_a_file_that_lost_its_end_is_made_again() -> None:
    files = [file for file, _ in score_chunks(chunks(), Places(), FOLDER)]
    whole = files[0].read_bytes()
    files[0].write_bytes(whole[: len(whole) // 2])
    files[1].write_bytes(b"")
    again = list(score_chunks(chunks(), Places(), FOLDER))
    assert [missing for _, missing in again] == [True, True, False, False]
    assert files[0].read_bytes() == whole


def test_a_full_disk_is_told_with_the_file(monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(np, "savez", full)
    with pytest.raises(OSError, match=r"scores of 5 questions cannot be written \(No space left.*scores/.*npz"):
        list(score_chunks(chunks(), Places(), FOLDER))
    assert list(FOLDER.iterdir()) == []
