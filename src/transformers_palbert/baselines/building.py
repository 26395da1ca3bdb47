"""Make a new reader from training texts: its tokenizer, its word vectors, and the table of how words are spelt."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import torch

from ..errors import ConfigurationError
from .configuration import BiLstmConfig, TextCnnConfig
from .modeling import BiLstmForQuestionAnswering, TextCnnForQuestionAnswering, WordReaderForQuestionAnswering
from .tokenization import SPECIAL_TOKENS, WordTokenizer
from .vector_training import VECTOR_METHODS, train_vectors
from .vectors import OovReport, WordVectors, embedding_matrix, load_word_vectors

__all__ = ["MODEL_TYPES", "build_reader", "find_vectors", "spelling_table", "training_texts", "words_of"]

_MODELS: dict[str, Any] = {
    "bilstm": (BiLstmConfig, BiLstmForQuestionAnswering),
    "textcnn": (TextCnnConfig, TextCnnForQuestionAnswering),
}
MODEL_TYPES = tuple(_MODELS)
"""The readers that :func:`build_reader` knows."""


def training_texts(questions: Iterable[Mapping[str, Any]]) -> list[str]:
    """Every context once and every question, of records in the SQuAD schema."""
    rows = list(questions)
    return [*dict.fromkeys(row["context"] for row in rows), *(row["question"].strip() for row in rows)]


def words_of(tokenizer: WordTokenizer, texts: Sequence[str]) -> list[list[str]]:
    """Cut each text into words as the model will see them, and leave unknown words out."""
    encodings = tokenizer(list(texts), add_special_tokens=False).encodings or []
    return [[word for word in encoding.tokens if word != tokenizer.unk_token] for encoding in encodings]


def find_vectors(
    source: str | os.PathLike[str], tokenizer: WordTokenizer, texts: Sequence[str], *, dimensions: int, seed: int
) -> WordVectors:
    """Vectors for the words of ``tokenizer``: from a file, or trained on ``texts`` by the method that is named.

    Args:
        source: A file (see :func:`~.vectors.load_word_vectors`), ``"word2vec"`` or ``"glove"``.
        tokenizer: Cuts the texts.
        texts: Training texts.
        dimensions: Width of trained vectors; those of a file have their own.
        seed: Seed of the training of the vectors.
    """
    if source in VECTOR_METHODS:
        return train_vectors(str(source), words_of(tokenizer, texts), dimensions=dimensions, seed=seed)
    return load_word_vectors(source, list(tokenizer.get_vocab()))


def spelling_table(tokenizer: WordTokenizer, characters_per_word: int) -> tuple[torch.Tensor, int]:
    """The characters of every word, and how many different ones there are.

    Characters have numbers from 2, in the order of their code points; 0 stands behind a short word, 1 for an unknown
    character. Special tokens have no characters.

    Returns:
        Int32 of shape ``(vocabulary, characters_per_word)``, and the size of a table of character vectors.
    """
    words = [word for word in _vocabulary(tokenizer) if word not in SPECIAL_TOKENS]
    number = {character: index + 2 for index, character in enumerate(sorted(set("".join(words))))}
    table = torch.zeros(len(tokenizer), characters_per_word, dtype=torch.int32)
    for index, word in enumerate(_vocabulary(tokenizer)):
        if word not in SPECIAL_TOKENS:
            spelt = [number[character] for character in word[:characters_per_word]]
            table[index, : len(spelt)] = torch.tensor(spelt, dtype=torch.int32)
    table[tokenizer.unk_token_id, 0] = 1
    return table, len(number) + 2


def build_reader(
    model_type: str,
    tokenizer: WordTokenizer,
    vectors: WordVectors,
    *,
    oov: str = "characters",
    seed: int = 42,
    **settings: Any,
) -> tuple[WordReaderForQuestionAnswering, OovReport]:
    """A reader whose word vectors are set and whose other weights are random.

    Args:
        model_type: One of :data:`MODEL_TYPES`.
        tokenizer: Whose words the model reads.
        vectors: What is known about them.
        oov: What a word without a vector gets, one of :data:`~.vectors.OOV_METHODS`.
        seed: Seed of the rows that are drawn at random; the other weights come from torch's generator as it is.
        **settings: Fields of :class:`~.configuration.BiLstmConfig` or :class:`~.configuration.TextCnnConfig`.

    Returns:
        The model, in evaluation mode, and where its word vectors come from.

    Raises:
        ConfigurationError: if a setting is not allowed, or the vectors have another width than ``embedding_size``.
    """
    if model_type not in _MODELS:
        raise ConfigurationError(f"`model_type` must be one of {', '.join(MODEL_TYPES)}, got {model_type!r}.")
    config_class, model_class = _MODELS[model_type]
    settings = {"embedding_size": vectors.vectors.shape[1], **settings}
    spelling, characters = spelling_table(tokenizer, settings.get("characters_per_word", 5))
    special = {f"{name}_token_id": getattr(tokenizer, f"{name}_token_id") for name in ("pad", "unk", "cls", "sep")}
    config = config_class(vocab_size=len(tokenizer), character_vocab_size=characters, **special, **settings)
    words = _vocabulary(tokenizer)
    size = config.embedding_size
    matrix, report = embedding_matrix(words, vectors, dimensions=size, oov=oov, special=SPECIAL_TOKENS, seed=seed)
    model = model_class(config).eval()
    model.embeddings.word_vectors.weight.data.copy_(torch.from_numpy(matrix))
    model.embeddings.characters.copy_(spelling)
    return model, report


def _vocabulary(tokenizer: WordTokenizer) -> list[str]:
    """The tokenizer's words in the order of their ids."""
    return [str(word) for word in tokenizer.convert_ids_to_tokens(list(range(len(tokenizer))))]
