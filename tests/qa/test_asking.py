"""From logits to answers, for tokenizers and texts that the pipeline's tests do not have."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from tokenizers import Tokenizer, models, pre_tokenizers, processors
from transformers import PreTrainedTokenizerFast

from tests.references.small_tokenizers import wordpiece
from transformers_palbert.qa.asking import Block, answer_block, cut_block
from transformers_palbert.text.shortened import join_passages

SPECIAL = ["<unk>", "[CLS]", "[SEP]", "[PAD]"]


def word_level(words: list[str], before: Any) -> Any:
    """A tokenizer with a token for every word."""
    numbers = {word: number for number, word in enumerate([*SPECIAL, *dict.fromkeys(words)])}
    own = Tokenizer(models.WordLevel(numbers, "<unk>"))
    own.pre_tokenizer = before
    own.post_processor = processors.TemplateProcessing(
        "[CLS] $A [SEP]", "[CLS] $A [SEP] $B:1 [SEP]:1", [("[CLS]", 1), ("[SEP]", 2)]
    )
    special = {"unk_token": "<unk>", "cls_token": "[CLS]", "sep_token": "[SEP]", "pad_token": "[PAD]"}
    return PreTrainedTokenizerFast(tokenizer_object=own, model_max_length=64, **special)


def found(block: Block, tokenizer: Any, word: str, heights: list[float], **settings: Any) -> dict[str, Any]:
    """The answer of a model that sees ``word`` alone, in each window as surely as ``heights`` say."""
    logits = []
    for number, (encoding, height) in enumerate(zip(block.windows.encodings, heights, strict=True)):
        row = [height if token == word else 0.0 for token in encoding.tokens]
        logits.append((np.array([number]), np.array([[row], [row]], dtype=np.float32)))
    (answer,) = answer_block(block, logits, tokenizer, **settings)
    return answer


@pytest.mark.parametrize("read", [[True, True, True], [True, False, True]], ids=["whole", "shortened"])
def test_a_space_before_a_word_is_no_part_of_an_answer(read: list[bool]) -> None:
    """DeBERTa's tokenizer counts the space before a word as part of it, though the passage before may hold it."""
    context = "It rains. Nothing happened. Berlin is big."
    words = [f"▁{word}" for word in f"Which city {context}".split()]
    tokenizer = word_level(words, pre_tokenizers.Metaspace(prepend_scheme="always"))
    text = join_passages(context, [(0, 9), (9, 27), (27, len(context))], read)
    block = cut_block(tokenizer, [{"question": "Which city", "context": context}], texts=[text])
    answer = found(block, tokenizer, "▁Berlin", [20.0])
    assert (answer["answer"], answer["start"], answer["end"]) == ("Berlin", 28, 34)
    assert answer["score"] == pytest.approx(1, abs=1e-3)


@pytest.mark.parametrize("over", ["window", "document"])
def test_the_place_is_that_of_the_most_probable_of_equal_answers(over: str) -> None:
    context = f"Anna came . {' '.join(f'w{number}' for number in range(40))} . The winner was Anna ."
    tokenizer = word_level(["who", *context.split()], pre_tokenizers.WhitespaceSplit())
    asked = {"question": "who", "context": context}
    block = cut_block(tokenizer, [asked], max_seq_len=30, doc_stride=4, max_question_len=4)
    heights = [1.0, *[0.0] * (len(block.windows) - 2), 12.0]
    answer = found(block, tokenizer, "Anna", heights, normalize_over=over)
    assert (answer["answer"], answer["start"]) == ("Anna", context.rindex("Anna"))


def test_defaults_of_windows() -> None:
    """Those of the pipeline of transformers 4."""
    block = cut_block(wordpiece(), [{"question": "who", "context": "a " * 1500}])
    assert block.lengths[0] == 384
    assert block.windows.context_offsets(1)[0, 0] // 2 == 384 - 3 - 1 - 128
