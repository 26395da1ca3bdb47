from __future__ import annotations

import errno
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import datasets
import pytest

from tests.reduction.helpers import ENGLISH, Places, dataset
from tests.references.small_tokenizers import wordpiece
from transformers_palbert.reduction import settings as settings_module
from transformers_palbert.reduction import shortened_datasets
from transformers_palbert.reduction.building import ScoredDataset, score_dataset
from transformers_palbert.reduction.limits import MaxTokens, Threshold
from transformers_palbert.reduction.settings import ReductionSettings
from transformers_palbert.reduction.shortened_datasets import curriculum, shorten_dataset


@pytest.fixture
def settings(monkeypatch: pytest.MonkeyPatch) -> ReductionSettings:
    """A scorer that likes the first passage best."""
    monkeypatch.setitem(settings_module.SCORERS, "places", lambda _: Places())
    return ReductionSettings(scorers=("places",))


@pytest.fixture
def scored(settings: ReductionSettings) -> ScoredDataset:
    return score_dataset(dataset(), settings, folder=Path("scores"))


def test_nothing_is_left_out_of_evaluation(scored: ScoredDataset, settings: ReductionSettings) -> None:
    rows = shorten_dataset(scored, settings, Threshold(1))
    assert rows["id"] == dataset()["id"]
    assert rows[1]["answers"] == {"text": ["1950"], "answer_start": [-1]}


def test_what_cannot_be_learnt_is_set_aside(
    scored: ScoredDataset, settings: ReductionSettings, caplog: pytest.LogCaptureFixture
) -> None:
    rows = shorten_dataset(scored, settings, Threshold(1), training=True)
    assert rows["id"] == ["en-1", "zh-1", "none"]
    assert "3 of 6 questions are set aside" in caplog.text
    kept = shorten_dataset(scored, settings, Threshold(1), training=True, keep_answer=True)
    assert kept["id"] == ["en-1", "en-2", "zh-1", "zh-2", "none"]


@pytest.mark.parametrize("caching", [True, False])
def test_equal_requests_are_equal_data_sets(scored: ScoredDataset, settings: ReductionSettings, caching: bool) -> None:
    if not caching:
        datasets.disable_caching()
    try:
        first, second = (shorten_dataset(scored, settings, Threshold(1)) for _ in range(2))
        other = shorten_dataset(scored, settings, Threshold(0))
    finally:
        datasets.enable_caching()
    assert first.to_list() == second.to_list()
    assert bool(first.cache_files) == caching
    assert first.cache_files == second.cache_files
    assert other[0]["context"] == ENGLISH


def test_tokens_of_a_tokenizer_are_others_than_words(scored: ScoredDataset, settings: ReductionSettings) -> None:
    limit = MaxTokens(9)
    words = shorten_dataset(scored, settings, limit)
    pieces = shorten_dataset(
        score_dataset(dataset(), settings, tokenizer=wordpiece(), folder=Path("scores")), settings, limit
    )
    assert words.cache_files != pieces.cache_files


def test_a_curriculum_goes_from_short_to_long(scored: ScoredDataset, settings: ReductionSettings) -> None:
    stages = [shorten_dataset(scored, settings, limit) for limit in (Threshold(1), Threshold(0.5))] + [dataset()]
    rows = curriculum(stages, seed=1)
    assert len(rows) == 18
    parts = [rows.select(range(start, start + 6)) for start in (0, 6, 12)]
    for part, stage in zip(parts, stages, strict=True):
        assert part["id"] != stage["id"]
        assert sorted(part.to_list(), key=str) == sorted(stage.to_list(), key=str)
    assert parts[0]["id"] != parts[1]["id"]
    assert curriculum(stages, seed=1).to_list() == rows.to_list()


def test_where_nothing_can_be_written_the_data_set_stays_in_memory(
    scored: ScoredDataset,
    settings: ReductionSettings,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    def full(_: object, __: object, records: Iterator[dict[str, Any]], ___: object) -> None:
        next(records)
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(shortened_datasets, "write_cached", full)
    rows = shorten_dataset(scored, settings, Threshold(0.99))
    assert rows["id"] == dataset()["id"]
    assert rows.cache_files == []
    assert "No space left" in caplog.text


def test_other_settings_make_other_data_sets(scored: ScoredDataset, settings: ReductionSettings) -> None:
    """Also where the scores are the same."""
    alone = shorten_dataset(scored, settings, Threshold(1))
    wide = shorten_dataset(scored, replace(settings, neighbours=1), Threshold(1))
    assert alone[0]["context"] == "Wolfgang lives in Berlin. "
    assert wide[0]["context"] == "Wolfgang lives in Berlin. It rains there. "
