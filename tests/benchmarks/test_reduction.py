"""The benchmarks of shortened contexts: what they ask, what they count, and that finished parts are kept."""

from __future__ import annotations

import argparse
import json
import random
from collections.abc import Callable, Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

from tests.references.small_tokenizers import wordpiece
from transformers_palbert.qa.datasets import load_qa_dataset
from transformers_palbert.reduction.fusion import Fusion
from transformers_palbert.reduction.limits import Share
from transformers_palbert.reduction.passages import Cutting, word_starts
from transformers_palbert.reduction.scorers.base import FloatArray

Load = Callable[[str], ModuleType]
PARAGRAPHS = [f"This is paragraph {number}. " * (number + 1) for number in range(9)]


def rows(*scores: list[float]) -> list[Any]:
    """Questions about two passages of 3 and 4 tokens; Bob is in the second."""
    (row,) = Cutting().cut(["Who?"], ["Ann came. Bob ate too."])
    record = {"answers": {"text": ["Bob"], "answer_start": [10]}}
    return [(record, row, {"a": np.array(values)}) for values in scores]


def test_every_question_counts_once_and_tokens_are_those_that_were_kept(script: Load) -> None:
    answers, tokens = script("reduction").kept(rows([0.0, 1.0], [1.0, 0.0]), Fusion(), Share(0.6))
    assert answers.tolist() == [1.0, 0.0]
    assert tokens == (4 + 3) / (2 * 7)


@pytest.mark.parametrize("share", [0.2, 0.55, 0.6, 0.75, 0.9, 1.0])
def test_the_threshold_is_the_least_that_keeps_a_share_of_all_tokens(script: Load, share: float) -> None:
    asked = rows([3, 1], [1, 3], [2, 1.9])

    def relevance(scores: Mapping[str, FloatArray]) -> FloatArray:
        return scores["a"] / 3  # as it is: of one question no passage has 1

    def tokens(least: float) -> int:
        return sum(
            n for _, row, scores in asked for n, at in zip(row.tokens, relevance(scores), strict=True) if at >= least
        )

    fitting = [value / 3 for value in (3, 2, 1.9, 1) if tokens(value / 3) <= share * 21]
    found = script("reduction").threshold_for(asked, relevance, share)
    assert found.value == (min(fitting) if fitting else 1.0)


@pytest.mark.parametrize(("size", "count"), [(10, 4), (10, 10), (3, 7), (5, None)])
def test_questions_are_taken_from_all_over_the_data_set(script: Load, size: int, count: int | None) -> None:
    from datasets import Dataset

    taken = script("reduction").evenly(Dataset.from_dict({"number": list(range(size))}), count)["number"]
    assert len(set(taken)) == len(taken) == min(count or size, size)
    assert taken[0] == 0
    assert taken[-1] >= size - size // len(taken) - 1


@pytest.mark.parametrize("number", range(len(PARAGRAPHS)))
@pytest.mark.parametrize("length", [1, 300, 10_000])
def test_a_long_document_holds_its_paragraph_among_its_neighbours(script: Load, number: int, length: int) -> None:
    document, start = script("long_documents").join_around(PARAGRAPHS, number, length, random.Random(number))
    assert document.startswith(PARAGRAPHS[number], start)
    assert document in "\n\n".join(PARAGRAPHS)
    assert len(document) >= min(length, len("\n\n".join(PARAGRAPHS)))


def test_answers_are_in_long_documents_at_their_places(script: Load) -> None:
    questions = [{"id": "a", "question": "Which one?", "answers": [{"text": "paragraph 4", "answer_start": 8}]}]
    asked = [{"context": text, "qas": questions if text is PARAGRAPHS[4] else []} for text in PARAGRAPHS]
    asked[0]["qas"] = [{"id": "b", "question": "And?", "answers": [{"text": "paragraph 0", "answer_start": 8}]}]
    Path("dev.json").write_text(json.dumps({"data": [{"title": "", "paragraphs": asked}]}))
    args = argparse.Namespace(data=Path("dev.json"), seed=1)
    found = list(script("long_documents").documents(args, 60, 9))
    assert [row["id"] for row in found] == ["b", "a"]
    for row in found:
        assert row["context"].startswith(row["answers"]["text"][0], row["answers"]["answer_start"][0])
    (one,) = script("long_documents").documents(args, 60, 1)
    assert one in found


def test_a_run_that_was_cut_off_measures_what_is_missing(script: Load) -> None:
    calls: list[str] = []

    def measured(record: dict[str, Any], turn: int) -> dict[str, Any]:
        calls.append(record["id"])
        return {"id": record["id"], "turn": turn}

    kept_rows, file, records = script("long_documents").kept_rows, Path("work/1.jsonl"), [{"id": "a"}, {"id": "b"}]
    first = kept_rows(file, {"length": 1}, iter(records), measured)
    lines = file.read_text().splitlines(keepends=True)
    file.write_text("".join(lines[:-1]) + lines[-1][:5])
    assert kept_rows(file, {"length": 1}, iter(records), measured) == first
    assert calls == ["a", "b", "b"]
    with pytest.raises(SystemExit, match="another --work"):
        kept_rows(file, {"length": 2}, iter(records), measured)


def test_ways_are_compared_with_reading_everything(script: Load) -> None:
    whole, part = {"seconds": 1.0, "f1": 80.0, "em": 70.0}, {"seconds": 0.25, "f1": 79.0, "em": 70.0}
    rows = [
        {"everything": whole, "5 tokens": {**part, "characters": 20, "answer_kept": kept}} for kept in (True, False)
    ]
    everything, shorter = script("long_documents").summary(rows, ["everything", "5 tokens"], seed=0)
    assert (everything["times_as_fast"], everything["questions_per_second"]) == (1.0, 1.0)
    assert (shorter["times_as_fast"], shorter["answers_kept_percent"]) == (4.0, 50.0)
    assert shorter["f1_minus_everything"]["value"] == shorter["f1_minus_everything"]["high"] == -1.0


def test_cut_off_contexts_have_so_many_tokens_and_their_answers(script: Load) -> None:
    readers = script("reduced_readers")
    assert readers.beginning("One two. Three", word_starts, 3) == "One two."
    assert readers.beginning("One two.", word_starts, 3) == "One two."
    rows = [
        {"id": str(start), "question": "?", "context": "One two. Three", "title": "", "answers": answers}
        for start, answers in (
            (4, {"text": ["two"], "answer_start": [4]}),
            (9, {"text": ["Three"], "answer_start": [9]}),
        )
    ]
    (kept,) = readers.cut_off(rows, wordpiece(), 3)
    assert (kept["id"], kept["context"]) == ("4", "One two.")


@pytest.mark.parametrize("contexts", ["whole", "cut off", "reduced"])
def test_every_kind_of_contexts_has_the_same_number_of_questions(script: Load, contexts: str) -> None:
    readers = script("reduced_readers")
    words = "The king of the hill was old . " * 3 + "His name was Otto ."
    rows = [
        {"id": str(number), "question": "Who ?", "context": words, "answers": {"text": [text], "answer_start": [start]}}
        for number, (text, start) in enumerate([("king", 4), ("Otto", words.index("Otto"))] * 40)
    ]
    Path("train.jsonl").write_text("\n".join(map(json.dumps, rows)))
    wordpiece().save_pretrained("encoder")
    args = argparse.Namespace(work=Path("work"), train=Path("train.jsonl"), encoder="encoder", steps=2, seed=1)
    readers.make_data(args, contexts, 35 + 10)
    made = load_qa_dataset(readers.data_file(args, contexts, 35 + 10), training=True)
    assert len(made) == 2 * readers.BATCH
    longest = max(len(text.split()) for text in made["context"])
    assert longest == len(words.split()) if contexts == "whole" else longest <= 10
    args.steps = 3
    if contexts == "cut off":
        with pytest.raises(SystemExit, match="take --steps 2 at most"):
            readers.make_data(args, contexts, 35 + 10)
    else:
        readers.make_data(args, contexts, 35 + 10)


def test_runs_of_readers_know_their_files_and_models(script: Load) -> None:
    readers = script("reduced_readers")
    args = argparse.Namespace(work=Path("work"), dev=Path("dev.json"), steps=300, seed=42)
    trials = {
        name: readers.with_data(args, trial) for name, trial in readers.all_trials([readers.load_grid(args)]).items()
    }
    assert len(trials) == 18
    settings = trials["2_layers_96_cut_off"].settings
    assert settings["train_file"] == "work/data/cut_off_96_300.json"
    assert (settings["model_name_or_path"], settings["max_seq_length"]) == ("work/starts/2_layers", 96)
    assert trials["6_layers_320_whole"].settings["train_file"] == "work/data/whole_300.json"
