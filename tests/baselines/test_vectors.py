"""Files of vectors in every form, rows for a vocabulary, and what training gives."""

from __future__ import annotations

import bz2
import gzip
import math
import struct
from itertools import product
from pathlib import Path

import numpy as np
import pytest
import torch

from transformers_palbert.baselines.vector_training import (
    _Glove,
    count_cooccurrences,
    train_glove,
    train_vectors,
    train_word2vec,
)
from transformers_palbert.baselines.vectors import (
    WordVectors,
    embedding_matrix,
    load_word_vectors,
    save_word_vectors,
)
from transformers_palbert.errors import ConfigurationError, MissingExtraError, VectorsError

WORDS = ["北京", "Berlin", "。", "0.5"]
ROWS = np.array([[0.25, -1.5, 3.0], [1e-7, 2.0, -0.1], [0.0, 0.0, 1.0], [1 / 3, 7e5, -2.0]], dtype=np.float32)


def write_by_hand(file: Path, form: str) -> Path:
    """The formats as their definitions say, not as this package writes them."""
    lines = [f"{word} {' '.join(repr(float(value)) for value in row)}\n" for word, row in zip(WORDS, ROWS, strict=True)]
    content = "".join(lines).encode()
    if form == "word2vec":
        content = b"4 3\n" + content
    if form == "binary":
        rows = zip(WORDS, ROWS, strict=True)
        content = b"4 3\n" + b"".join(word.encode() + b" " + struct.pack("<3f", *row) + b"\n" for word, row in rows)
    compress = {".gz": gzip.compress, ".bz2": bz2.compress}.get(file.suffix.lower(), bytes)
    file.write_bytes(compress(content))
    return file


@pytest.mark.parametrize(
    ("form", "suffix"), list(product(["glove", "word2vec", "binary"], [".txt", ".bin", ".vec.gz", ".GZ", ".bz2"]))
)
def test_every_form_is_recognised_by_its_content(tmp_path: Path, form: str, suffix: str) -> None:
    vectors = load_word_vectors(write_by_hand(tmp_path / f"v{suffix}", form))
    assert vectors.words == WORDS
    np.testing.assert_array_equal(vectors.vectors, ROWS)


@pytest.mark.parametrize("name", ["v.txt", "v.txt.gz", "v.bin", "v.bin.gz", "new/folder/v.txt"])
def test_written_and_read_again(tmp_path: Path, name: str) -> None:
    save_word_vectors(WordVectors(WORDS, ROWS), tmp_path / name)
    again = load_word_vectors(tmp_path / name)
    assert again.words == WORDS
    np.testing.assert_array_equal(again.vectors, ROWS)
    head = (gzip.open if name.endswith("gz") else open)(tmp_path / name, "rb").read(4)
    assert head == b"4 3\n"


def test_only_the_rows_asked_for_are_kept(tmp_path: Path) -> None:
    vectors = load_word_vectors(write_by_hand(tmp_path / "v.txt", "glove"), ["berlin", "。", "nowhere"])
    assert vectors.words == ["Berlin", "。"]
    np.testing.assert_array_equal(vectors.vectors, ROWS[1:3])


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"4 3\nword 0.1 0.2 0.3\n",
        b"2 3\na 0.1 0.2 0.3\nb 0.1 0.2\n",
        b"a 0.1 0.2 0.3\nb 0.1 x 0.3\n",
        b"1 3\na 0.1 nan 0.3\n",
        b"1 0\na\n",
        b"9 300\n\x00\x01\xff\xfe",
        b"900000000 2\nword 0.1 0.2\n",  # whose table alone would take 7 GB
        b"\x1f\x8b\x08 half of a gzip file",
    ],
)
def test_damaged_files_are_named(tmp_path: Path, content: bytes) -> None:
    for name in ("v.txt", "v.gz"):
        (tmp_path / name).write_bytes(content)
        with pytest.raises(VectorsError, match=name.replace(".", r"\.")):
            load_word_vectors(tmp_path / name)


def test_a_cut_gzip_file_is_named(tmp_path: Path) -> None:
    whole = write_by_hand(tmp_path / "v.gz", "word2vec").read_bytes()
    (tmp_path / "v.gz").write_bytes(whole[:-12])
    with pytest.raises(VectorsError, match=r"v\.gz"):
        load_word_vectors(tmp_path / "v.gz")


def test_a_missing_file_and_a_missing_library(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(VectorsError, match="nowhere"):
        load_word_vectors(tmp_path / "nowhere.txt")
    monkeypatch.setitem(__import__("sys").modules, "gensim.models.keyedvectors", None)
    with pytest.raises(MissingExtraError, match=r"\[baselines\]"):
        load_word_vectors(tmp_path / "nowhere.txt")


VOCABULARY = ["[PAD]", "[CLS]", "北京", "berlin", "京北", "北", "龘"]
KNOWN = WordVectors(["北京", "Berlin", "京", "北"], np.eye(4, dtype=np.float32))


@pytest.mark.parametrize(
    ("oov", "counts"),
    [("characters", (4, 3, 1, 1, 1, 0)), ("random", (4, 3, 1, 0, 2, 0)), ("zero", (4, 3, 1, 0, 0, 2))],
)
def test_words_without_a_vector_are_counted(oov: str, counts: tuple[int, ...]) -> None:
    matrix, report = embedding_matrix(
        VOCABULARY, KNOWN, dimensions=4, oov=oov, special=("[PAD]", "[CLS]"), row_norm=2.0
    )
    words, found, other_case, characters, random, zero = 5, *counts[1:]
    assert (report.words, report.found, report.found_other_case) == (words, found, other_case)
    assert (report.characters, report.random, report.zero) == (characters, random, zero)
    assert report.found + report.characters + report.random + report.zero == report.words
    np.testing.assert_allclose(matrix[2:4], 2 * np.eye(4)[:2], rtol=1e-6)
    assert not matrix[0].any()
    norms = np.linalg.norm(matrix[1:], axis=1)
    np.testing.assert_allclose(norms[norms > 0], 2.0, rtol=1e-6)
    assert np.count_nonzero(norms == 0) == zero
    if oov == "characters":
        np.testing.assert_allclose(matrix[4], [0, 0, math.sqrt(2), math.sqrt(2)], rtol=1e-6)


def test_random_rows_depend_on_the_seed_alone() -> None:
    one, other, third = (embedding_matrix(VOCABULARY, KNOWN, dimensions=4, seed=seed)[0] for seed in (1, 1, 2))
    np.testing.assert_array_equal(one, other)
    assert (one[6] != third[6]).all()


def test_what_is_refused() -> None:
    with pytest.raises(ConfigurationError, match=r"4 dimensions.*embedding_size=4"):
        embedding_matrix(VOCABULARY, KNOWN, dimensions=300)
    with pytest.raises(ConfigurationError, match="'guess'"):
        embedding_matrix(VOCABULARY, KNOWN, dimensions=4, oov="guess")
    with pytest.raises(VectorsError, match="3 words"):
        WordVectors(["a", "b", "c"], np.eye(4, dtype=np.float32))


TEXTS = [
    ["猫", "吃", "鱼"],
    ["狗", "吃", "肉"],
    ["猫", "吃", "肉"],
    ["车", "在", "路", "上"],
    ["人", "在", "路", "上"],
] * 8


def naive_cooccurrences(sentences: list[list[str]], window: int) -> dict[tuple[str, str], float]:
    counts: dict[tuple[str, str], float] = {}
    for sentence in sentences:
        for i, word in enumerate(sentence):
            for j, other in enumerate(sentence):
                if i != j and abs(i - j) <= window:
                    counts[word, other] = counts.get((word, other), 0.0) + 1 / abs(i - j)
    return counts


@pytest.mark.parametrize("sentences", [TEXTS, [["a", "a", "b"], [], ["b"]], [["a"]], [[]]])
@pytest.mark.parametrize("window", [1, 2, 10])
def test_cooccurrences_are_those_of_two_loops(sentences: list[list[str]], window: int) -> None:
    counted = count_cooccurrences(sentences, window)
    found = {
        (counted.words[row], counted.words[column]): count
        for row, column, count in zip(counted.row, counted.column, counted.count, strict=True)
    }
    assert found == pytest.approx(naive_cooccurrences(sentences, window))


def test_glove_predicts_the_logarithm_of_counts() -> None:
    """The loss as the paper writes it, pair by pair, falls to near zero: the model can explain so few counts."""
    counts = count_cooccurrences(TEXTS)
    torch.manual_seed(0)
    model = _Glove(len(counts.words), 20)

    def naive_loss() -> float:
        total = 0.0
        tables = [table.detach().numpy().astype(float) for table in model.parameters()]
        for i, j, x in zip(counts.row, counts.column, counts.count.astype(float), strict=True):
            guess = tables[0][i] @ tables[1][j] + tables[2][i, 0] + tables[3][j, 0]
            total += min(1.0, (x / 100) ** 0.75) * (guess - math.log(x)) ** 2
        return total / len(counts.count)

    from transformers_palbert.baselines.vector_training import _glove_epoch

    optimizer = torch.optim.Adagrad(model.parameters(), lr=0.05, initial_accumulator_value=1.0)
    first = naive_loss()
    reported = _glove_epoch(model, optimizer, counts, batch=len(counts.count))
    assert reported == pytest.approx(first, rel=1e-4)
    for _ in range(300):
        _glove_epoch(model, optimizer, counts)
    assert naive_loss() < 0.01 * first


@pytest.mark.parametrize("train", [train_word2vec, train_glove])
def test_the_same_seed_gives_the_same_vectors(train: object) -> None:
    state = torch.get_rng_state()
    one, again, other = (train(TEXTS, dimensions=12, epochs=3, seed=seed) for seed in (5, 5, 6))  # type: ignore[operator]
    assert set(one.words) == {word for sentence in TEXTS for word in sentence}
    assert one.words == again.words
    np.testing.assert_array_equal(one.vectors, again.vectors)
    assert one.vectors.shape == (len(one.words), 12)
    assert (one.vectors != other.vectors).any()
    assert torch.equal(torch.get_rng_state(), state)


@pytest.mark.parametrize(("method", "epochs"), [("word2vec", 60), ("glove", 60)])
def test_words_in_the_same_places_come_near_each_other(method: str, epochs: int) -> None:
    vectors = train_vectors(method, TEXTS, dimensions=10, epochs=epochs)
    rows = dict(zip(vectors.words, vectors.vectors / np.linalg.norm(vectors.vectors, axis=1)[:, None], strict=True))
    assert rows["猫"] @ rows["狗"] > rows["猫"] @ rows["路"]


def test_training_that_cannot_be() -> None:
    with pytest.raises(ConfigurationError, match="'fasttext'"):
        train_vectors("fasttext", TEXTS)
    with pytest.raises(ConfigurationError, match="not a single word"):
        train_vectors("word2vec", [[]])
