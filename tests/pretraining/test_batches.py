from __future__ import annotations

import pickle
from dataclasses import replace
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader

from tests.pretraining.helpers import tokenizer, write
from transformers_palbert.pretraining.batches import ChunkDataset, EpochSampler, PreTrainingCollator, example_draws
from transformers_palbert.pretraining.preparing import prepare_corpus
from transformers_palbert.pretraining.segments import plan_chunks

TOKENIZER = tokenizer()
CLS, SEP, MASK, PAD = (getattr(TOKENIZER, f"{name}_token_id") for name in ("cls", "sep", "mask", "pad"))
LENGTH = 40


@pytest.fixture
def parts() -> tuple[ChunkDataset, PreTrainingCollator]:
    corpus = prepare_corpus("corpus", TOKENIZER, text_files=[write("a.txt", 80)], words="jieba")
    chunks = plan_chunks(corpus.sentences, corpus.documents, max_length=LENGTH)
    vocabulary = np.arange(5, len(TOKENIZER))
    return ChunkDataset(chunks, seed=7), PreTrainingCollator(corpus, LENGTH, (CLS, SEP, MASK, PAD), vocabulary)


def original(batch: dict[str, torch.Tensor]) -> torch.Tensor:
    """The tokens before any was hidden."""
    tokens = batch["input_ids"].clone()
    for row, (positions, labels) in enumerate(zip(batch["masked_positions"], batch["labels"], strict=True)):
        real = labels != -100
        tokens[row, positions[real]] = labels[real]
    return tokens


def test_a_batch_holds_two_segments_of_each_chunk_and_their_order(parts: Any) -> None:
    dataset, collate = parts
    corpus = collate.corpus
    batch = collate([dataset[item] for item in range(len(dataset))])
    tokens, swapped = original(batch), batch["sentence_order_label"].tolist()
    assert all(value.dtype == torch.int64 for value in batch.values())
    assert tokens.shape == batch["token_type_ids"].shape == batch["attention_mask"].shape
    assert tokens.shape[1] == LENGTH
    borders = set(corpus.sentences.tolist())
    for row, (first, end) in enumerate(dataset.chunks.tolist()):
        length = end - first + 3
        assert batch["attention_mask"][row].tolist() == [1] * length + [0] * (LENGTH - length)
        assert tokens[row, 0] == CLS
        assert (tokens[row, length:] == PAD).all()
        middle, last = (tokens[row] == SEP).nonzero().flatten().tolist()
        assert last == length - 1
        types = batch["token_type_ids"][row].tolist()
        assert types == [0] * (middle + 1) + [1] * (last - middle) + [0] * (LENGTH - length)
        segments = [tokens[row, 1:middle].tolist(), tokens[row, middle + 1 : last].tolist()]
        assert all(segments)
        in_order = segments[::-1] if swapped[row] else segments
        assert in_order[0] + in_order[1] == corpus.tokens[first:end].tolist()
        inner = {border for border in borders if first < border < end}
        assert not inner or first + len(in_order[0]) in inner
    assert 0.3 < np.mean(swapped) < 0.7


@pytest.mark.parametrize("length", [11, 12, 15])
def test_lengths_that_are_no_multiples_of_eight(parts: Any, length: int) -> None:
    """No batch is longer than what was asked for: a model may have no positions behind it."""
    _, collate = parts
    corpus = collate.corpus
    dataset = ChunkDataset(plan_chunks(corpus.sentences, corpus.documents, max_length=length), seed=7)
    batch = replace(collate, max_length=length)([dataset[item] for item in range(len(dataset))])
    assert batch["input_ids"].shape[1] == length
    assert (batch["attention_mask"].sum(1) <= length).all()


def test_only_text_is_hidden_fifteen_percent_of_it_and_whole_words(parts: Any) -> None:
    dataset, collate = parts
    collate = PreTrainingCollator(collate.corpus, LENGTH, collate.special_ids, collate.vocabulary, rate=0.15, longest=1)
    batch = collate([dataset[item] for item in range(len(dataset))])
    real = batch["labels"] != -100
    assert not (batch["labels"][..., None] == torch.tensor([CLS, SEP, MASK, PAD])).any()
    sizes = torch.as_tensor(dataset.chunks[:, 1] - dataset.chunks[:, 0])
    budgets = torch.round(sizes * 0.15).clamp(min=1)
    assert (real.sum(dim=1) <= budgets).all()
    assert real.sum() / sizes.sum() == pytest.approx(0.15, abs=0.02)
    assert (batch["input_ids"] != original(batch)).sum() / real.sum() == pytest.approx(0.9, abs=0.06)
    for row, (first, end) in enumerate(dataset.chunks.tolist()):
        if batch["sentence_order_label"][row]:
            continue  # places are those of the chunk only where it is in order
        middle = (original(batch)[row] == SEP).nonzero()[0].item()
        places = batch["masked_positions"][row][real[row]].tolist()
        hidden = {place - (place > middle) - 1 for place in places}
        starts = np.nonzero(collate.corpus.starts_word(np.arange(first, end)))[0].tolist()
        starts = sorted({0, middle - 1, *starts})  # each segment begins a word, even where it cuts one
        for start, stop in pairwise([*starts, end - first]):
            word = set(range(start, stop))
            assert word <= hidden or not word & hidden


def test_an_example_does_not_depend_on_its_batch(parts: Any) -> None:
    dataset, collate = parts
    together = collate([dataset[item] for item in range(20)])
    for item in range(20):
        alone = collate([dataset[item]])
        width, count = alone["input_ids"].shape[1], alone["labels"].shape[1]
        assert torch.equal(alone["input_ids"][0], together["input_ids"][item, :width])
        assert torch.equal(alone["labels"][0], together["labels"][item, :count])
        assert torch.equal(alone["sentence_order_label"][0], together["sentence_order_label"][item])


def test_every_epoch_hides_other_tokens_of_the_same_chunks(parts: Any) -> None:
    dataset, collate = parts
    first, again, second = (
        collate([dataset[item + epoch * len(dataset)] for item in range(50)]) for epoch in (0, 0, 1)
    )
    assert all(torch.equal(first[name], again[name]) for name in first)
    assert torch.equal(original(first).sort()[0], original(second).sort()[0])  # the segments may be swapped
    assert not torch.equal(first["sentence_order_label"], second["sentence_order_label"])
    hidden = [{(row, int(label)) for row in range(50) for label in batch["labels"][row]} for batch in (first, second)]
    assert len(hidden[0] & hidden[1]) < 0.5 * len(hidden[0])


def test_the_seed_decides_the_masks(parts: Any) -> None:
    dataset, collate = parts
    other = ChunkDataset(dataset.chunks, seed=8)
    one, two = (collate([each[item] for item in range(30)]) for each in (dataset, other))
    assert not torch.equal(one["input_ids"], two["input_ids"])


def test_the_sampler_goes_through_every_epoch_in_another_order(parts: Any) -> None:
    dataset, _ = parts
    sampler = EpochSampler(len(dataset), seed=1)
    first = list(sampler)
    assert list(sampler) == first
    assert sorted(first) == list(range(len(dataset))) != first
    sampler.epoch = 3
    assert sorted(sampler) == [item + 3 * len(dataset) for item in range(len(dataset))]
    assert [item - 3 * len(dataset) for item in sampler] != first
    assert {dataset[item][1] for item in sampler} == {3}
    assert list(EpochSampler(len(dataset), seed=2)) != first


def test_worker_processes_make_the_same_batches(parts: Any) -> None:
    dataset, collate = parts
    sampler = EpochSampler(len(dataset), seed=1)
    alone, shared = (
        list(DataLoader(dataset, batch_size=16, sampler=sampler, collate_fn=collate, num_workers=workers))
        for workers in (0, 2)
    )
    for one, two in zip(alone, shared, strict=True):
        assert all(torch.equal(one[name], two[name]) for name in one)
    pickled = pickle.dumps(collate)
    assert len(pickled) < 3000


def test_mean_length_counts_special_tokens() -> None:
    assert ChunkDataset(np.array([[0, 10], [10, 40]]), 0).mean_length == 23


def test_draws_are_uniform_and_independent_of_each_other() -> None:
    draws = np.stack([example_draws(0, epoch, number, 64) for epoch in range(4) for number in range(50)])
    assert draws.shape == (200, 5, 64)
    assert draws.mean(axis=(0, 2)) == pytest.approx(np.full(5, 0.5), abs=0.015)
    flat = draws.reshape(200, -1)
    correlations = np.corrcoef(flat)[np.triu_indices(200, 1)]
    assert np.abs(correlations).max() < 6 / np.sqrt(flat.shape[1])
    assert np.array_equal(example_draws(1, 2, 3, 8), example_draws(1, 2, 3, 8))
