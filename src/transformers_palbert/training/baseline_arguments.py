"""Arguments of the training script that make a word-level baseline instead of loading a checkpoint."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from ..baselines.configuration import WordReaderConfig
from ..baselines.vectors import OOV_METHODS
from ..errors import TokenizerError
from ..text.segmentation import SEGMENTATIONS

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

__all__ = ["BaselineArguments"]

logger = logging.getLogger(__name__)


@dataclass
class BaselineArguments:
    """Which word-level reader is trained from scratch, over which words, and with which word vectors."""

    model_type: str | None = field(
        default=None,
        metadata={
            "help": "Train this word-level reader from scratch, on the words of the training texts.",
            "choices": ("bilstm", "textcnn"),
        },
    )
    word_vectors: str = field(
        default="word2vec",
        metadata={
            "help": "Word vectors of that reader: a file of Word2Vec or GloVe vectors; or word2vec or glove, to train"
            " them on the training texts."
        },
    )
    oov: str = field(
        default="characters",
        metadata={
            "help": "What a word without a vector gets: the mean of its characters' vectors (characters), a random"
            " vector (random), or zeros (zero).",
            "choices": OOV_METHODS,
        },
    )
    segmentation: str = field(
        default="jieba",
        metadata={"help": "How text is cut into words: by jieba, or at whitespace.", "choices": SEGMENTATIONS},
    )
    user_dictionary: str | None = field(
        default=None, metadata={"help": "File with words to add to jieba's dictionary: word [frequency] [tag]."}
    )

    def build(
        self,
        questions: Iterable[Mapping[str, Any]],
        *,
        tokenizer_name: str | None = None,
        settings: Mapping[str, Any] | None = None,
        seed: int = 42,
    ) -> tuple[PreTrainedModel, PreTrainedTokenizerBase]:
        """The reader and its tokenizer for training ``questions`` (SQuAD schema).

        Args:
            questions: Where words, and vectors where no file gives them, come from.
            tokenizer_name: Folder of a word tokenizer made earlier; by default one is made.
            settings: Fields of the configuration.
            seed: Seed of the random numbers that the vectors start from.

        Raises:
            ConfigurationError: if an argument is not allowed.
            TokenizerError: if ``tokenizer_name`` is no word tokenizer.
            VectorsError: if the file of vectors cannot be read.
        """
        from transformers import AutoTokenizer

        from ..baselines.building import build_reader, find_vectors, training_texts
        from ..baselines.tokenization import WordTokenizer, build_word_tokenizer
        from ..text.segmentation import read_user_dictionary

        settings = dict(settings or {})
        texts = training_texts(questions)
        tokenizer: Any
        if tokenizer_name is None:
            words = read_user_dictionary(self.user_dictionary) if self.user_dictionary else ()
            tokenizer = build_word_tokenizer(texts, segmentation=self.segmentation, user_dictionary=words)
        else:
            tokenizer = AutoTokenizer.from_pretrained(tokenizer_name)
        if not isinstance(tokenizer, WordTokenizer):
            raise TokenizerError(f"{tokenizer_name!r} is a {type(tokenizer).__name__}; a reader needs a WordTokenizer.")
        size = int(settings.get("embedding_size", WordReaderConfig.embedding_size))
        vectors = find_vectors(self.word_vectors, tokenizer, texts, dimensions=size, seed=seed)
        model, report = build_reader(
            str(self.model_type), tokenizer, vectors, oov=self.oov, seed=seed, **{"embedding_size": size, **settings}
        )
        logger.info("%s from scratch; word vectors: %s", type(model).__name__, report)
        return model, tokenizer
