"""What the pipeline ``question-answering`` does before and after its model: settings, windows, answers.

Numpy alone, so that the pipeline and the runtime without torch (:mod:`transformers_palbert.runtime`) give the same
answers: both call these functions, and bring only the logits.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from ..errors import ConfigurationError
from ..text.shortened import Shortened, visible, whole_text
from .evaluation_decoding import FloatArray
from .features import IntArray, Windows, encode_windows
from .inputs import Example, checked_example
from .settings import AnsweringSettings
from .window_decoding import DecodedWindows, decode_windows, normalized_over_documents, require_positive

if TYPE_CHECKING:
    from tokenizers import Encoding

__all__ = ["Block", "answer_block", "checked_settings", "cut_block", "require_known"]

_PADDINGS = (False, True, "do_not_pad", "longest", "max_length")
_PREPROCESS = ("padding", "doc_stride", "max_question_len", "max_seq_len")
_SIZES = ("top_k", "max_answer_len", "max_question_len", "max_seq_len")
_POSTPROCESS = ("top_k", "max_answer_len", "handle_impossible_answer", "align_to_words", "normalize_over")
_ALIGNMENTS = (True, False, "auto")
_NORMALIZED_OVER = ("window", "document")
# Letters of scripts that are written without spaces: Thai to Tibetan, Burmese, Khmer, Japanese, Chinese.
_UNSPACED = re.compile(
    r"[\u0e00-\u0fff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003ffff]"
)


@dataclass(frozen=True)
class Block:
    """Consecutive examples and their windows.

    Attributes:
        texts: What is read of the context of each.
        windows: Their windows, in the order of the examples.
        length: Tokens that every window is padded to; 0 for the longest window of a batch.
    """

    texts: Sequence[Shortened]
    windows: Windows
    length: int

    @property
    def lengths(self) -> list[int]:
        """Tokens of each window, before padding."""
        return [len(ids) for ids in self.windows.inputs["input_ids"]]


def require_known(names: Mapping[str, Any]) -> None:
    """Check that a call names only settings that exist.

    Raises:
        ConfigurationError: if it names another.
    """
    if unknown := sorted(set(names) - {*_PREPROCESS, *_POSTPROCESS, "topk"}):
        raise ConfigurationError(
            f"Unknown argument(s) {', '.join(unknown)}. The question-answering pipeline takes"
            f" {', '.join((*_PREPROCESS, *_POSTPROCESS))}."
        )


def checked_settings(settings: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """The settings of a call for :func:`cut_block` and for :func:`answer_block`, without those that are None.

    Args:
        settings: By name; ``topk`` is the old name of ``top_k``.

    Raises:
        ConfigurationError: if a value is not allowed.
    """
    given = {name: value for name, value in settings.items() if value is not None}
    if (old := given.pop("topk", None)) is not None:
        given.setdefault("top_k", old)
    if given.get("padding", False) not in _PADDINGS:
        raise ConfigurationError(f"`padding` must be one of {_PADDINGS}, got {given['padding']!r}.")
    if given.get("align_to_words", "auto") not in _ALIGNMENTS:
        raise ConfigurationError(f"`align_to_words` must be one of {_ALIGNMENTS}, got {given['align_to_words']!r}.")
    if given.get("normalize_over", "window") not in _NORMALIZED_OVER:
        raise ConfigurationError(
            f"`normalize_over` must be one of {_NORMALIZED_OVER}, got {given['normalize_over']!r}."
        )
    require_positive(**{name: given[name] for name in _SIZES if name in given})
    cutting = {name: given[name] for name in _PREPROCESS if name in given}
    return cutting, {name: given[name] for name in _POSTPROCESS if name in given}


def cut_block(
    tokenizer: Any,
    examples: Sequence[Example],
    *,
    saved: AnsweringSettings | None = None,
    texts: Sequence[Shortened] | None = None,
    padding: bool | str = False,
    doc_stride: int | None = None,
    max_question_len: int | None = None,
    max_seq_len: int | None = None,
) -> Block:
    """Cut the contexts of ``examples`` into windows, in one call of the tokenizer.

    Args:
        tokenizer: A fast tokenizer.
        examples: Mappings with ``question`` and ``context``.
        saved: The settings saved with the model: the defaults of the three below, as long as ``max_seq_len`` is not
            given. A window of another length has the defaults that follow from it.
        texts: What is read of each context; by default all of it.
        padding: ``"max_length"`` for windows that are all padded to ``max_seq_len``.
        doc_stride: Tokens that neighbouring windows share; by default 128, at most half of ``max_seq_len``, and no more
            than a ``max_question_len`` that is given leaves room for.
        max_question_len: Longer questions lose their last tokens; 64 by default, or less for which there is room.
        max_seq_len: Tokens of a window; by default 384 or what the tokenizer allows.

    Raises:
        ConfigurationError: if an example lacks something, or a window cannot hold what the settings ask for.
        DatasetFormatError: if a text holds half of a surrogate pair.
    """
    examples = [checked_example(example) for example in examples]
    if saved is not None and max_seq_len is None:
        max_seq_len = saved.max_seq_length
        doc_stride = saved.doc_stride if doc_stride is None else doc_stride
        max_question_len = saved.max_question_length if max_question_len is None else max_question_len
    length = min(tokenizer.model_max_length, 384) if max_seq_len is None else max_seq_len
    if doc_stride is None:
        room = length - tokenizer.num_special_tokens_to_add(pair=True) - 1
        doc_stride, max_question_len = _default_lengths(length, room, max_question_len)
    if texts is None:
        texts = [whole_text(example["context"]) for example in examples]
    windows = encode_windows(
        tokenizer,
        [example["question"] for example in examples],
        [text.text for text in texts],
        max_seq_length=length,
        doc_stride=doc_stride,
        max_question_length=64 if max_question_len is None else max_question_len,
    )
    return Block(texts, windows, length if padding == "max_length" else 0)


def _default_lengths(length: int, room: int, max_question_len: int | None) -> tuple[int, int]:
    """``doc_stride`` and ``max_question_len`` of windows of ``length`` tokens, ``room`` of which are for the two.

    By default it is the question that gives way, rather than the call that fails; a length that was asked for stays.
    """
    doc_stride = min(length // 2, 128)
    if max_question_len is None:
        return doc_stride, max(min(64, room - doc_stride), 1)
    if max_question_len > room:
        raise ConfigurationError(
            f"A window of max_seq_len={length} tokens cannot hold a question of max_question_len={max_question_len}"
            f" tokens and one of its context. Set `max_question_len` to {max(room, 1)} or less, or raise `max_seq_len`."
        )
    return min(doc_stride, room - max_question_len), max_question_len


def answer_block(
    block: Block,
    logits: Sequence[tuple[IntArray, FloatArray]],
    tokenizer: Any,
    *,
    saved: AnsweringSettings | None = None,
    top_k: int = 1,
    max_answer_len: int | None = None,
    handle_impossible_answer: bool | None = None,
    align_to_words: bool | str = "auto",
    normalize_over: str = "window",
) -> list[Any]:
    """Answers to all examples of a block.

    Args:
        block: What :func:`cut_block` made.
        logits: For each batch, the numbers of its windows, and their start and end logits, float32
            ``(2, batch, tokens)``.
        tokenizer: The block's tokenizer.
        saved: The settings saved with the model, which say what ``max_answer_len`` and ``handle_impossible_answer``
            are by default. A threshold for "no answer" belongs to another decoding and has no effect here.
        top_k: How many answers to give, fewer where the context holds fewer.
        max_answer_len: Longest answer, in tokens; 15 by default.
        handle_impossible_answer: Whether ``""`` may be the answer; False by default.
        align_to_words: Whether answers are extended to whole words; ``"auto"`` not in scripts without spaces.
        normalize_over: What probabilities are shares of: the ``"window"`` that an answer was found in, or the whole
            ``"document"``.

    Returns:
        For each example a dictionary with ``score``, ``start``, ``end`` and ``answer``, or a list of them. The places
        are those in the whole context; of a context that was read in part, no answer joins what was apart in it.
    """
    if max_answer_len is None:
        max_answer_len = 15 if saved is None else saved.max_answer_length
    if handle_impossible_answer is None:
        handle_impossible_answer = saved is not None and saved.version_2_with_negative
    # Aligned to words, some candidates become the same answer; and some may join what was apart in the context.
    shortened = any(len(text.pieces) > 1 for text in block.texts)
    candidates = top_k * 2 + 10 if align_to_words or shortened else top_k
    decoded = _decoded(block.windows, logits, candidates, max_answer_len)
    if normalize_over == "document":
        decoded = normalized_over_documents(decoded, block.windows.example)
    bounds = np.searchsorted(block.windows.example, np.arange(len(block.texts) + 1)).tolist()
    context_id = 1 if tokenizer.padding_side == "right" else 0
    results = []
    for text, start, stop in zip(block.texts, bounds, bounds[1:]):  # noqa: B905  (bounds has one more)
        which = range(start, stop)
        answers = _answers(block.windows, decoded, which, text, context_id, align_to_words)
        if handle_impossible_answer or not answers:
            score = float(decoded.null[start:stop].min()) if handle_impossible_answer else 0.0
            answers.append({"score": score, "start": 0, "end": 0, "answer": ""})
        answers = sorted(answers, key=lambda answer: answer["score"], reverse=True)[:top_k]
        results.append(answers[0] if len(answers) == 1 else answers)
    return results


def _answers(
    windows: Windows,
    decoded: DecodedWindows,
    which: range,
    read: Shortened,
    context_id: int,
    align_to_words: bool | str,
) -> list[dict[str, Any]]:
    """Candidate answers from the windows of one example, at their places in its context.

    Those with the same text become one, at the place of the most probable of them, with their scores added up; those
    that join what was apart in the context are none.
    """
    answers: dict[str, dict[str, Any]] = {}
    best: dict[str, float] = {}
    for window in which:
        columns = decoded.start[window], decoded.end[window], decoded.probability[window]
        for first, last, score in zip(*(column.tolist() for column in columns), strict=True):
            if first < 0:  # no more spans in this window
                break
            span = windows.encodings[window], first, last, context_id
            start, end = visible(read.text, *_characters(*span, read.text, align_to_words))
            if (place := read.to_original(start, end)) is None:
                continue
            text = read.text[start:end]
            key = text.lower()
            known = answers.setdefault(key, {"score": 0.0})
            known["score"] += score
            if score > best.get(key, -1.0):
                best[key] = score
                known |= {"start": place[0], "end": place[1], "answer": text}
    return list(answers.values())


def _characters(
    encoding: Encoding, first: int, last: int, sequence: int, context: str, align_to_words: bool | str
) -> tuple[int, int]:
    """Characters of a span of tokens, or of the words that it touches where the tokenizer knows words."""
    characters = encoding.token_to_chars(first), encoding.token_to_chars(last)
    start, end = (characters[0] or (0, 0))[0], (characters[1] or (0, 0))[1]
    words = _word(encoding, first, sequence), _word(encoding, last, sequence)
    if not align_to_words or words[0] is None or words[1] is None:
        return start, end
    if align_to_words is True or not _UNSPACED.search(context, *words[0]):
        start = words[0][0]
    if align_to_words is True or not _UNSPACED.search(context, *words[1]):
        end = words[1][1]
    return start, end


def _word(encoding: Encoding, token: int, sequence: int) -> tuple[int, int] | None:
    """Characters of the word that a token is part of, if the tokenizer knows one."""
    word = encoding.token_to_word(token)
    return None if word is None else encoding.word_to_chars(word, sequence)


def _decoded(
    windows: Windows, logits: Sequence[tuple[IntArray, FloatArray]], top_k: int, max_answer_len: int
) -> DecodedWindows:
    """The best spans of every window, back in the order of the windows."""
    parts = [
        decode_windows(
            start,
            end,
            context_start=windows.context_start[batch],
            context_length=windows.context_length[batch],
            cls_index=windows.cls_index[batch],
            top_k=top_k,
            max_answer_length=max_answer_len,
        )
        for batch, (start, end) in logits
    ]
    order = np.argsort(np.concatenate([batch for batch, _ in logits]))
    return DecodedWindows(
        start=np.concatenate([part.start for part in parts])[order],
        end=np.concatenate([part.end for part in parts])[order],
        probability=np.concatenate([part.probability for part in parts])[order],
        null=np.concatenate([part.null for part in parts])[order],
        log_norm=np.concatenate([part.log_norm for part in parts])[order],
    )
