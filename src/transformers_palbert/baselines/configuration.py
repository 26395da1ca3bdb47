"""Configurations of the two word-level readers."""

# No `from __future__ import annotations` here: the strict dataclass checks fields by their types, not by strings.

from typing import Any

from huggingface_hub.dataclasses import strict
from transformers import PreTrainedConfig

from ..errors import ConfigurationError

__all__ = ["BiLstmConfig", "TextCnnConfig", "WordReaderConfig"]

_SIZES = (
    "vocab_size",
    "character_vocab_size",
    "characters_per_word",
    "embedding_size",
    "character_embedding_size",
    "hidden_size",
    "num_hidden_layers",
)


@strict
class WordReaderConfig(PreTrainedConfig):
    """What both readers have in common; see :class:`~.modeling.WordReaderForQuestionAnswering` for their parts.

    Args:
        vocab_size: Words, special tokens included.
        character_vocab_size: Characters of these words, with 0 for padding and 1 for any other character.
        characters_per_word: How many characters of a word the model looks at, counted from its beginning.
        embedding_size: Width of the word vectors.
        character_embedding_size: Width of the character vectors.
        hidden_size: Width of everything behind the embeddings; even for a BiLSTM, half for either direction.
        num_hidden_layers: Encoder layers before, and again behind the attention between question and context.
        dropout: Share of the features dropped in front of every layer while training, in [0, 1).
        train_word_vectors: Whether the word vectors learn too. Frozen ones keep words that training never showed
            comparable with those it did.
        initializer_range: Standard deviation of the embeddings that no file of vectors sets.

    Raises:
        ConfigurationError: if a size is not positive, or a probability outside its range.
    """

    model_type = "word_reader"

    vocab_size: int = 5
    character_vocab_size: int = 2
    characters_per_word: int = 5
    embedding_size: int = 300
    character_embedding_size: int = 64
    hidden_size: int = 128
    num_hidden_layers: int = 1
    dropout: float | int = 0.3
    train_word_vectors: bool = False
    initializer_range: float = 0.1
    pad_token_id: int | None = 0
    unk_token_id: int | None = 1
    cls_token_id: int | None = 2
    sep_token_id: int | None = 3

    def __post_init__(self, **kwargs: Any) -> None:
        for name in _SIZES:
            if getattr(self, name) < 1:
                raise ConfigurationError(f"`{name}` must be positive, got {getattr(self, name)}.")
        if not 0 <= self.dropout < 1:
            raise ConfigurationError(f"`dropout` must be in [0, 1), got {self.dropout}.")
        super().__post_init__(**kwargs)


@strict
class BiLstmConfig(WordReaderConfig):
    """Configuration of :class:`~.modeling.BiLstmForQuestionAnswering`; every field is of :class:`WordReaderConfig`.

    Raises:
        ConfigurationError: also if ``hidden_size`` is odd.

    Example:
        >>> BiLstmConfig(hidden_size=256, dropout=0.4).hidden_size
        256
    """

    model_type = "bilstm"

    def __post_init__(self, **kwargs: Any) -> None:
        if self.hidden_size % 2:
            raise ConfigurationError(f"`hidden_size` must be even, half for either direction, got {self.hidden_size}.")
        super().__post_init__(**kwargs)


@strict
class TextCnnConfig(WordReaderConfig):
    """Configuration of :class:`~.modeling.TextCnnForQuestionAnswering`: :class:`WordReaderConfig` and the field below.

    Args:
        kernel_sizes: Widths of the convolutions in words; odd, as a word stands in the middle of its window. Kim (2014,
            arXiv 1408.5882) has 3, 4, 5 for classification, where no position must be kept.

    Raises:
        ConfigurationError: also if a width is not odd and positive, or ``hidden_size`` is no multiple of their number.
    """

    model_type = "textcnn"

    kernel_sizes: list[int] | tuple[int, ...] = (3, 5)

    def __post_init__(self, **kwargs: Any) -> None:
        if not self.kernel_sizes or any(size < 1 or size % 2 == 0 for size in self.kernel_sizes):
            raise ConfigurationError(f"`kernel_sizes` must be odd and positive, got {self.kernel_sizes}.")
        if self.hidden_size % len(self.kernel_sizes):
            raise ConfigurationError(
                f"`hidden_size` {self.hidden_size} must be a multiple of the {len(self.kernel_sizes)} kernel sizes."
            )
        super().__post_init__(**kwargs)
