"""A word-level tokenizer with exact character offsets, which works with all of transformers as any tokenizer does."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any

from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors
from transformers import BatchEncoding, PreTrainedTokenizerFast

from ..errors import TokenizerError
from ..text.segmentation import segmenter

__all__ = ["SPECIAL_TOKENS", "WordTokenizer", "build_word_tokenizer"]

SPECIAL_TOKENS = ("[PAD]", "[UNK]", "[CLS]", "[SEP]")
"""The first words of every vocabulary; their ids are the defaults of the readers' configurations."""

_LOCK = threading.RLock()


class WordTokenizer(PreTrainedTokenizerFast):
    """Words as tokens; a word that is not in the vocabulary becomes the longest words that are.

    Text is lower-cased and cut into words (see :func:`~.segmentation.segmenter`). An unknown word is cut further, from
    the left, into the longest words of the vocabulary, which holds every character of its texts: so a new name stays
    comparable between question and context, and only a character never seen becomes ``[UNK]``. Offsets count
    characters of the text as it was given. A pair is ``[CLS] question [SEP] context [SEP]`` with token types 0 and 1.

    Made by :func:`build_word_tokenizer`; saved and loaded like any tokenizer, user dictionary included.

    `tokenizers` cannot write a segmenter that is Python code to a file. So it stands in the backend only while text is
    encoded; at rest, ``backend_tokenizer`` holds a placeholder and can be saved, copied and sent to other processes.
    """

    model_input_names: list[str] = ["input_ids", "token_type_ids", "attention_mask"]  # noqa: RUF012 (as in the base class)

    @property
    def segmentation(self) -> str:
        """``"jieba"`` or ``"whitespace"``."""
        return str(self.init_kwargs.get("segmentation", "jieba"))

    @property
    def user_dictionary(self) -> list[str]:
        """The lines that are added to jieba's dictionary: ``word [frequency] [tag]``."""
        return list(self.init_kwargs.get("user_dictionary") or ())

    @property
    def fingerprint(self) -> list[Any]:
        """All that decides about tokens beside the tokenizer's backend; a cache takes it into its key."""
        return [self.segmentation, self.user_dictionary]

    def _encode_plus(self, *args: Any, **kwargs: Any) -> BatchEncoding:
        if self.segmentation != "jieba":
            return super()._encode_plus(*args, **kwargs)
        backend = self.backend_tokenizer
        with _LOCK:  # the backend belongs to all threads
            resting = backend.pre_tokenizer
            backend.pre_tokenizer = segmenter(self.segmentation, self.user_dictionary)
            try:
                return super()._encode_plus(*args, **kwargs)
            finally:
                backend.pre_tokenizer = resting


def build_word_tokenizer(
    texts: Iterable[str],
    *,
    segmentation: str = "jieba",
    user_dictionary: Sequence[str] = (),
    min_count: int = 2,
) -> WordTokenizer:
    """A tokenizer with the words of ``texts``.

    The vocabulary holds the special tokens, the words that occur at least ``min_count`` times, the most frequent first
    and equals in the order of their code points, and then every other single character.

    Args:
        texts: Training texts, questions and contexts.
        segmentation: ``"jieba"`` or ``"whitespace"``.
        user_dictionary: Lines ``word [frequency] [tag]`` for jieba.
        min_count: Rarer words are cut into shorter ones.

    Raises:
        TokenizerError: if there is no word in ``texts``.
        ConfigurationError: if ``segmentation`` or ``user_dictionary`` is not allowed.
    """
    counts = _count_words(texts, segmentation, user_dictionary)
    words = sorted((word for word, count in counts.items() if count >= min_count), key=lambda w: (-counts[w], w))
    characters = sorted({character for word in counts for character in word})
    vocabulary = {word: index for index, word in enumerate(dict.fromkeys([*SPECIAL_TOKENS, *words, *characters]))}
    if len(vocabulary) == len(SPECIAL_TOKENS):
        raise TokenizerError("There is no word in the texts, so there is no vocabulary. Give training texts.")
    return WordTokenizer(
        tokenizer_object=_backend(vocabulary, segmentation),
        segmentation=segmentation,
        user_dictionary=list(user_dictionary),
        pad_token="[PAD]",
        unk_token="[UNK]",
        cls_token="[CLS]",
        sep_token="[SEP]",
    )


def _count_words(texts: Iterable[str], segmentation: str, user_dictionary: Sequence[str]) -> Counter[str]:
    cutter = segmenter(segmentation, user_dictionary)
    counts: Counter[str] = Counter()
    for text in texts:
        counts.update(text[start:end].lower() for _, (start, end) in cutter.pre_tokenize_str(text))
    return counts


def _backend(vocabulary: dict[str, int], segmentation: str) -> Tokenizer:
    # WordPiece without a prefix for inner pieces cuts a word into the longest words that it begins with.
    model = models.WordPiece(vocabulary, unk_token="[UNK]", continuing_subword_prefix="", max_input_chars_per_word=200)
    backend = Tokenizer(model)
    backend.normalizer = normalizers.Lowercase()
    backend.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    if segmentation == "jieba":
        backend.decoder = decoders.Fuse()
    backend.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]",
        pair="[CLS] $A [SEP] $B:1 [SEP]:1",
        special_tokens=[(word, vocabulary[word]) for word in ("[CLS]", "[SEP]")],
    )
    return backend
