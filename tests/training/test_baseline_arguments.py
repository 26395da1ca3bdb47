"""From command-line options and training questions to a reader and its tokenizer."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from transformers import BertTokenizer

from tests.references.word_readers import CHINESE, ENGLISH, chinese_words, some_vectors
from transformers_palbert.baselines.modeling import BiLstmForQuestionAnswering, TextCnnForQuestionAnswering
from transformers_palbert.baselines.vectors import save_word_vectors
from transformers_palbert.errors import ConfigurationError, TokenizerError, VectorsError
from transformers_palbert.training.baseline_arguments import BaselineArguments

QUESTIONS = [{"context": text, "question": f" {text}"} for text in CHINESE]
SMALL = {"embedding_size": 6, "hidden_size": 8}


def build(settings: dict[str, Any] | None = None, **options: Any) -> Any:
    return BaselineArguments(**{"model_type": "bilstm", **options}).build(QUESTIONS, settings=settings or SMALL)


@pytest.mark.parametrize("source", ["word2vec", "glove"])
def test_vectors_trained_on_the_texts(source: str) -> None:
    model, tokenizer = build(model_type="textcnn", word_vectors=source)
    assert isinstance(model, TextCnnForQuestionAnswering)
    assert model.config.vocab_size == len(tokenizer)
    assert (model.config.embedding_size, model.config.hidden_size) == (6, 8)
    again, _ = build(model_type="textcnn", word_vectors=source)
    assert again.get_input_embeddings().weight.equal(model.get_input_embeddings().weight)


def test_vectors_from_a_file_and_words_of_a_user_dictionary(tmp_path: Path) -> None:
    save_word_vectors(some_vectors(["李明出生于", "北京"]), tmp_path / "v.txt.gz")
    (tmp_path / "words.txt").write_text("李明出生于 100000\n", encoding="utf-8")
    options = {"word_vectors": str(tmp_path / "v.txt.gz"), "user_dictionary": str(tmp_path / "words.txt")}
    model, tokenizer = build(**options, oov="zero")
    assert isinstance(model, BiLstmForQuestionAnswering)
    assert tokenizer.tokenize("李明出生于北京") == ["李明出生于", "北京"]
    nonzero = model.get_input_embeddings().weight.any(1).nonzero()[:, 0].tolist()
    words = set(tokenizer.convert_ids_to_tokens(nonzero))
    assert words == {"李明出生于", "北京", "[UNK]", "[CLS]", "[SEP]"}


def test_a_tokenizer_made_earlier(tmp_path: Path) -> None:
    chinese_words().save_pretrained(tmp_path)
    _, tokenizer = BaselineArguments(model_type="bilstm").build(QUESTIONS, tokenizer_name=str(tmp_path), settings=SMALL)
    assert tokenizer.get_vocab() == chinese_words().get_vocab()
    BertTokenizer(vocab={"[UNK]": 0, "[PAD]": 1, "[CLS]": 2, "[SEP]": 3, "a": 4}).save_pretrained(tmp_path / "bert")
    with pytest.raises(TokenizerError, match="BertTokenizer"):
        BaselineArguments(model_type="bilstm").build(QUESTIONS, tokenizer_name=str(tmp_path / "bert"))


def test_english_words() -> None:
    arguments = BaselineArguments(model_type="bilstm", segmentation="whitespace")
    rows = [{"context": text, "question": text} for text in ENGLISH]
    _, tokenizer = arguments.build(rows, settings=SMALL)
    assert tokenizer.tokenize("born in Beijing?") == ["born", "in", "beijing", "?"]


def test_what_is_refused(tmp_path: Path) -> None:
    save_word_vectors(some_vectors(["北京"]), tmp_path / "v.txt")
    with pytest.raises(ConfigurationError, match="6 dimensions"):
        build({"embedding_size": 300}, word_vectors=str(tmp_path / "v.txt"))
    with pytest.raises(VectorsError, match="fasttext"):
        build(word_vectors="fasttext")
    with pytest.raises(ConfigurationError, match="'guess'"):
        build(oov="guess")
    with pytest.raises(ConfigurationError, match="'gru'"):
        build(model_type="gru")
