"""Small fast tokenizers of the kinds that question-answering models have, made on the spot."""

from __future__ import annotations

from typing import Any

from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers
from transformers import BertTokenizer, DistilBertTokenizer, PreTrainedTokenizerFast

ENGLISH = "my name is wolfgang and i live in berlin , where who does what ? the answer un ##believ ##able ##s a b c ."
CHINESE = "我叫王芳住在北京，二〇一八年出生于上海。谁哪里什么时候的是？"
SPECIAL = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")


def wordpiece(cls: type = BertTokenizer, **kwargs: Any) -> Any:
    """BERT's tokenizer for a few English words and Chinese characters."""
    words = [*SPECIAL, *ENGLISH.split(), *dict.fromkeys(CHINESE)]
    return cls(vocab={word: index for index, word in enumerate(dict.fromkeys(words))}, **kwargs)


def distilbert() -> Any:
    """The same without ``token_type_ids``."""
    return wordpiece(DistilBertTokenizer, model_input_names=["input_ids", "attention_mask"])


def byte_level(padding_side: str = "right") -> Any:
    """Byte-level BPE as RoBERTa has it: a Chinese character is several tokens with the same offsets."""
    backend = Tokenizer(models.BPE())
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    backend.decoder = decoders.ByteLevel()
    special = ["<s>", "<pad>", "</s>", "<unk>"]
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(vocab_size=300, special_tokens=special, initial_alphabet=alphabet)
    backend.train_from_iterator([ENGLISH], trainer)
    backend.post_processor = processors.RobertaProcessing(("</s>", 2), ("<s>", 0))
    return PreTrainedTokenizerFast(
        tokenizer_object=backend,
        cls_token="<s>",
        bos_token="<s>",
        sep_token="</s>",
        eos_token="</s>",
        pad_token="<pad>",
        unk_token="<unk>",
        padding_side=padding_side,
        model_input_names=["input_ids", "attention_mask"],
    )


def decomposing() -> Any:
    """Unigrams of letters after NFKD, as ALBERT's tokenizer has it: a character such as ㎯ is several tokens."""
    letters = "abcdm23rs∕"
    pieces = [*SPECIAL, "▁", *letters, *(f"▁{letter}" for letter in letters)]
    backend = Tokenizer(models.Unigram([(piece, -float(len(SPECIAL) < at)) for at, piece in enumerate(pieces)], 1))
    backend.normalizer = normalizers.NFKD()
    backend.pre_tokenizer = pre_tokenizers.Metaspace()
    backend.post_processor = processors.BertProcessing(("[SEP]", 3), ("[CLS]", 2))
    names = {"pad_token": "[PAD]", "unk_token": "[UNK]", "cls_token": "[CLS]", "sep_token": "[SEP]"}
    return PreTrainedTokenizerFast(tokenizer_object=backend, **names)
