from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
from datasets import Dataset, Features, List, Value

from tests.references.answers import naive_postprocess
from transformers_palbert.errors import ConfigurationError, DatasetFormatError
from transformers_palbert.qa import evaluation_decoding as spans
from transformers_palbert.qa.evaluation_decoding import QAPredictions, postprocess_predictions

CONTEXT = "一二三四五六七八九十甲乙丙丁戊己庚辛壬癸" * 3
SCHEMA = Features({"example_id": Value("string"), "offset_mapping": List(List(Value("int32"), length=2))})


def evaluation_set(
    seed: int, examples: int = 7, *, ties: bool = False
) -> tuple[list[dict[str, Any]], list[dict[str, Any]], tuple[np.ndarray, np.ndarray]]:
    """Examples of one to four overlapping windows, in shuffled order, with random logits padded to one width."""
    random = np.random.default_rng(seed)
    rows = [{"id": f"q{index}", "context": CONTEXT} for index in range(examples)]
    features = []
    for row in rows:
        for window in range(random.integers(1, 5)):
            length, begin = int(random.integers(1, 25)), 12 * window
            context = [(begin + index, begin + index + 1) for index in range(length)]
            offsets = [None] * int(random.integers(1, 9)) + context + [None]
            features.append({"example_id": row["id"], "offset_mapping": offsets})
    features = [features[index] for index in random.permutation(len(features))]
    shape = len(features), max(len(feature["offset_mapping"]) for feature in features) + 2
    start, end = (random.normal(scale=2, size=shape).astype(np.float32) for _ in range(2))
    return rows, features, (start.round(), end.round()) if ties else (start, end)


def as_dataset(features: list[dict[str, Any]]) -> Dataset:
    """The features as :func:`build_features` stores them."""
    outside = [
        {**f, "offset_mapping": [[-1, -1] if pair is None else list(pair) for pair in f["offset_mapping"]]}
        for f in features
    ]
    return Dataset.from_list(outside, features=SCHEMA)


def assert_same(result: QAPredictions, expected: tuple[Any, Any, Any]) -> None:
    predictions, nbest, odds = expected
    assert result.predictions == predictions
    assert result.null_odds == pytest.approx(odds, abs=1e-6)
    for question_id, entries in nbest.items():
        found = result.nbest[question_id]
        assert [entry["text"] for entry in found] == [text for text, _ in entries]
        assert [entry["probability"] for entry in found] == pytest.approx([p for _, p in entries], abs=1e-6)


@pytest.mark.parametrize("ties", [False, True], ids=["distinct", "ties"])
@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"n_best_size": 1},
        {"n_best_size": 3, "max_answer_length": 2},
        {"max_answer_length": 1000, "n_best_size": 200},
        {"version_2_with_negative": True},
        {"version_2_with_negative": True, "n_best_size": 2},
        {"version_2_with_negative": True, "null_score_diff_threshold": -4.0},
        {"version_2_with_negative": True, "null_score_diff_threshold": 3.0, "max_answer_length": 3},
    ],
    ids=str,
)
def test_same_answers_as_the_naive_reference(settings: dict[str, Any], ties: bool) -> None:
    empty = 0
    for seed in range(6):
        examples, features, logits = evaluation_set(seed, ties=ties)
        expected = naive_postprocess(examples, features, *logits, **settings)
        assert_same(postprocess_predictions(examples, features, logits, **settings), expected)
        empty += sum(not text for text in expected[0].values())
    assert empty < 6 * 7


def test_both_outcomes_of_the_null_threshold_occur() -> None:
    examples, features, logits = evaluation_set(0, 40)
    found = postprocess_predictions(examples, features, logits, version_2_with_negative=True, n_best_size=2)
    assert 0 < sum(not text for text in found.predictions.values()) < 40


@pytest.mark.parametrize("version_2_with_negative", [False, True])
def test_chunks_change_nothing(version_2_with_negative: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    examples, features, logits = evaluation_set(1, 12, ties=True)
    whole = postprocess_predictions(examples, features, logits, version_2_with_negative=version_2_with_negative)
    monkeypatch.setattr(spans, "_CHUNK", 3)
    assert whole == postprocess_predictions(examples, features, logits, version_2_with_negative=version_2_with_negative)


def test_datasets_give_the_same_as_lists() -> None:
    examples, features, logits = evaluation_set(2)
    expected = postprocess_predictions(examples, features, logits)
    dataset = as_dataset(features)
    assert postprocess_predictions(Dataset.from_list(examples), dataset, logits) == expected
    loose = Dataset.from_list(features)  # offsets as lists of any length, null outside the context
    assert postprocess_predictions(examples, loose, logits) == expected
    order = np.random.default_rng(0).permutation(len(features))
    shuffled = dataset.select(order)
    assert postprocess_predictions(examples, shuffled, (logits[0][order], logits[1][order])) == expected


def test_half_precision_and_lists_are_read_as_float32() -> None:
    examples, features, (start, end) = evaluation_set(3, ties=True)
    expected = postprocess_predictions(examples, features, (start, end))
    assert postprocess_predictions(examples, features, (start.astype(np.float16), end.tolist())) == expected


def test_answers_are_exact_slices_of_the_context() -> None:
    examples, features, logits = evaluation_set(4)
    found = postprocess_predictions(examples, features, logits, version_2_with_negative=True)
    for entries in found.nbest.values():
        assert sum(entry["probability"] for entry in entries) == pytest.approx(1, abs=1e-5)
        assert all(entry["text"] == CONTEXT[entry["start"] : entry["end"]] for entry in entries)
    json.dumps([found.predictions, found.nbest, found.null_odds])  # plain numbers, not numpy's


@pytest.mark.parametrize("version_2_with_negative", [False, True])
def test_question_without_a_candidate_gets_the_empty_answer(version_2_with_negative: bool) -> None:
    examples = [{"id": "a", "context": "abc"}, {"id": "no window", "context": "abc"}]
    features = [{"example_id": "a", "offset_mapping": [None, (0, 1), (1, 2)]}]
    start, end = np.array([[-5.0, 0, 9]]), np.array([[-5.0, 9, 0]])  # the only pair ends before it starts
    found = postprocess_predictions(
        examples, features, (start, end), n_best_size=1, version_2_with_negative=version_2_with_negative
    )
    assert found.predictions == {"a": "", "no window": ""}
    assert [len(entries) for entries in found.nbest.values()] == [1, 1]
    assert found.null_odds == ({"a": -10.0, "no window": 0.0} if version_2_with_negative else {})


def test_infinitely_small_logits_of_padding() -> None:
    examples, features, (start, end) = evaluation_set(5)
    for row, feature in enumerate(features):
        start[row, len(feature["offset_mapping"]) :] = end[row, len(feature["offset_mapping"]) :] = -np.inf
    found = postprocess_predictions(examples, features, (start, end), n_best_size=1000)
    assert_same(found, naive_postprocess(examples, features, start, end, n_best_size=1000))


def test_no_examples() -> None:
    assert postprocess_predictions([], [], (np.zeros((0, 4)), np.zeros((0, 4)))) == QAPredictions({}, {}, {})


EXAMPLES = [{"id": "a", "context": "abc"}]
FEATURES = [{"example_id": "a", "offset_mapping": [None, (0, 1)]}]
ZEROS = np.zeros((1, 2))


@pytest.mark.parametrize(
    ("examples", "features", "logits", "settings", "error", "message"),
    [
        (EXAMPLES, FEATURES, (ZEROS, np.zeros((2, 2))), {}, ConfigurationError, r"shape \(2, 2\) .* 1 windows"),
        (EXAMPLES, FEATURES, (ZEROS[0], ZEROS), {}, ConfigurationError, r"shape \(2,\)"),
        (EXAMPLES, FEATURES, (ZEROS[:, :1],) * 2, {}, ConfigurationError, "cover 1 tokens.* window 0 has 2"),
        (EXAMPLES, FEATURES, (ZEROS, ZEROS * np.nan), {}, ConfigurationError, "window 0 hold NaN.*bfloat16"),
        (EXAMPLES, FEATURES, (ZEROS, ZEROS), {"n_best_size": 0}, ConfigurationError, "`n_best_size`.*got 0"),
        (EXAMPLES, FEATURES, (ZEROS, ZEROS), {"max_answer_length": 0}, ConfigurationError, "`max_answer_length`"),
        (EXAMPLES * 2, FEATURES, (ZEROS, ZEROS), {}, DatasetFormatError, "'a' occurs more than once"),
        ([{"id": "b", "context": ""}], FEATURES, (ZEROS, ZEROS), {}, DatasetFormatError, "question 'a'"),
    ],
)
def test_input_that_does_not_fit(
    examples: Any, features: Any, logits: Any, settings: Any, error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        postprocess_predictions(examples, features, logits, **settings)


def test_logits_behind_a_window_change_nothing() -> None:
    """Whatever a model says to padding, and however far a batch was padded."""
    examples, features, (start, end) = evaluation_set(6)
    expected = postprocess_predictions(examples, features, (start, end), n_best_size=3)
    wide = np.full((2, len(features), start.shape[1] + 9), 1e4, dtype=np.float32)
    for row, feature in enumerate(features):
        length = len(feature["offset_mapping"])
        wide[:, row, :length] = start[row, :length], end[row, :length]
    assert postprocess_predictions(examples, features, (wide[0], wide[1]), n_best_size=3) == expected
