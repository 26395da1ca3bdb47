from __future__ import annotations

import pytest

from transformers_palbert.spelling import did_you_mean, name_options, said_by

OPTIONS = {"max_seq_length": "--max_seq_length", "warmup": "--pruning_warmup", "target_sparsity": "--target_sparsity"}


@pytest.mark.parametrize(
    ("word", "sentence"),
    [
        ("learning_rte", " Did you mean learning_rate?"),
        ("float61", " Did you mean float16?"),
        ("zebra", ""),
        ("", ""),
    ],
)
def test_a_near_word_is_offered(word: str, sentence: str) -> None:
    assert did_you_mean(word, ["learning_rate", "float16", "output_dir"]) == sentence


@pytest.mark.parametrize(
    ("message", "named"),
    [
        ("PruningConfig: warmup=2 must be below 1.", "--pruning_warmup=2 must be below 1."),
        ("Lower `max_seq_length` to 64.", "Lower --max_seq_length to 64."),
        ("max_seq_length is too small", "--max_seq_length is too small"),
        ("give target_sparsity=0.7 or less warmup", "give --target_sparsity=0.7 or less warmup"),
        ("set --max_seq_length", "set --max_seq_length"),
        ("out/max_seq_length.json is missing", "out/max_seq_length.json is missing"),
        ("a `model` and its `other_name`", "a `model` and its `other_name`"),
    ],
)
def test_settings_are_called_by_their_options(message: str, named: str) -> None:
    assert name_options(message, OPTIONS) == named


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (FileNotFoundError(2, "No such file or directory", "a.json"), "a.json: No such file or directory"),
        (OSError(28, "No space left on device"), "No space left on device"),
        (ValueError("a.txt: [Errno 13] Permission denied: 'a.txt'"), "a.txt: Permission denied: 'a.txt'"),
        (OSError(), "OSError"),
    ],
)
def test_errors_have_no_numbers(error: Exception, said: str) -> None:
    assert said_by(error) == said
