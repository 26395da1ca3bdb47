from __future__ import annotations

import json

import pytest

from tests.references.word_readers import chinese_words
from transformers_palbert.baselines.vectors import load_word_vectors


@pytest.mark.parametrize(("method", "name"), [("word2vec", "v.txt"), ("glove", "v.bin"), ("word2vec", "v.txt.gz")])
def test_trained_vectors_are_written(palbert, references, tmp_path, method, name):
    result = palbert(
        "vectors", "train", references, references, "-o", tmp_path / name, "--method", method,
        "--dimensions", 5, "--epochs", 2, "--json",
    )  # fmt: skip
    assert result.exit_code == 0, result.output
    summary = json.loads(result.stdout)
    vectors = load_word_vectors(tmp_path / name)
    assert vectors.vectors.shape == (summary["words"], 5)
    assert "红楼梦" in vectors.words
    assert summary["bytes"] == (tmp_path / name).stat().st_size
    assert (summary["texts"], summary["method"]) == (8, method)


def test_words_are_those_of_a_tokenizer(palbert, references, tmp_path, terminal):
    terminal(100)
    chinese_words().save_pretrained(tmp_path / "words")
    options = ("--tokenizer", tmp_path / "words", "--dimensions", 5)
    result = palbert("vectors", "train", references, "-o", tmp_path / "v.txt", *options)
    assert result.exit_code == 0, result.output
    assert "tokens" in result.stdout
    assert set(load_word_vectors(tmp_path / "v.txt").words) <= set(chinese_words().get_vocab())


@pytest.mark.parametrize(
    ("options", "choices"),
    [(["--method", "fasttext"], "'word2vec', 'glove'"), (["--segmentation", "letters"], "'jieba', 'whitespace'")],
)
def test_choices_are_listed(palbert, references, tmp_path, options, choices):
    result = palbert("vectors", "train", references, "-o", tmp_path / "v.txt", *options)
    assert result.exit_code == 2
    assert choices in result.stderr
    assert choices.split(", ")[0].strip("'") in palbert("vectors", "train", "--help").stdout
    assert not (tmp_path / "v.txt").exists()
