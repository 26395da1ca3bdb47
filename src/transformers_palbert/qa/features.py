"""Cut questions and contexts into windows that a model can read.

A context longer than the model's input becomes several windows, neighbours of which share ``doc_stride`` tokens. Every
window holds the whole question. :func:`encode_windows` is the pure function behind both :func:`build_features`
(training and evaluation) and the question-answering pipeline, so that a model meets the same windows everywhere.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from ..errors import ConfigurationError, DatasetFormatError, TokenizerError
from ..text.surrogates import lone_surrogate

if TYPE_CHECKING:
    from datasets import Dataset, Features
    from tokenizers import Encoding
    from transformers import PreTrainedTokenizerBase

__all__ = ["OUTSIDE", "IntArray", "Windows", "build_features", "encode_windows", "offset_mapping"]

PROBED = 20
"""Training questions of which a tokenizer must know a token."""

IntArray = npt.NDArray[np.int64]

OUTSIDE = -1
"""Both character offsets of a token that does not belong to the context, in ``offset_mapping``."""

_TOKENIZER_LOCK = threading.Lock()  # a call changes the truncation that its tokenizer's other users rely on
_FORMAT = 3  # part of the cache key: raise it whenever the features of unchanged data change


@dataclass(frozen=True)
class Windows:
    """The windows of a batch of examples, in the order of the examples.

    Attributes:
        inputs: Model inputs by name (``input_ids``, ``attention_mask``, and ``token_type_ids`` where the tokenizer
            has them), one list of integers per window.
        encodings: The tokenizer's own record of every window; maps tokens to words and characters.
        example: Index of the example each window was cut from, shape ``(windows,)``.
        context_start: Index of the first context token, shape ``(windows,)``.
        context_length: Number of context tokens, which are contiguous, shape ``(windows,)``.
        cls_index: Index of the first ``[CLS]`` token, or -1 for a tokenizer without one, shape ``(windows,)``.
    """

    inputs: dict[str, list[list[int]]]
    encodings: list[Encoding]
    example: IntArray
    context_start: IntArray
    context_length: IntArray
    cls_index: IntArray

    def __len__(self) -> int:
        return len(self.encodings)

    def context_offsets(self, window: int) -> npt.NDArray[np.int32]:
        """Character offsets of the context tokens of one window, shape ``(context_length, 2)``."""
        start = int(self.context_start[window])
        stop = start + int(self.context_length[window])
        return np.array(self.encodings[window].offsets[start:stop], dtype=np.int32).reshape(-1, 2)


def encode_windows(
    tokenizer: PreTrainedTokenizerBase,
    questions: Sequence[str],
    contexts: Sequence[str],
    *,
    max_seq_length: int = 384,
    doc_stride: int = 128,
    max_question_length: int = 64,
    pad_to_max_length: bool = False,
) -> Windows:
    """Tokenize pairs of question and context, cutting long contexts into overlapping windows.

    Whitespace in front of a question is dropped: some data sets hold questions with kilobytes of it, which would push
    the context out of the window. The question comes first, or second for tokenizers that pad on the left.

    Args:
        tokenizer: A fast tokenizer.
        questions: The questions.
        contexts: One context per question.
        max_seq_length: Length of a window in tokens, special tokens included.
        doc_stride: Number of tokens that neighbouring windows share.
        max_question_length: Longer questions lose their last tokens.
        pad_to_max_length: Pad every window to ``max_seq_length``; otherwise no window is padded.

    Raises:
        TokenizerError: if the tokenizer is not a fast one.
        ConfigurationError: if a window cannot hold the question, the shared tokens and one token more.
        DatasetFormatError: if a text holds half of a surrogate pair.
    """
    _require_fast(tokenizer)
    _require_lengths(tokenizer, max_seq_length, doc_stride, max_question_length)
    question_first = tokenizer.padding_side == "right"
    with _TOKENIZER_LOCK, _surrogates_named(questions, contexts):
        asked, longest = _clip_questions(tokenizer, [question.lstrip() for question in questions], max_question_length)
        _require_room(tokenizer, longest, max_seq_length, doc_stride)
        batch = tokenizer(
            *((asked, list(contexts)) if question_first else (list(contexts), asked)),
            truncation="only_second" if question_first else "only_first",
            max_length=max_seq_length,
            stride=doc_stride,
            padding="max_length" if pad_to_max_length else False,
            return_overflowing_tokens=True,
        )
    example = batch.pop("overflow_to_sample_mapping")
    encodings = list(batch.encodings or ())
    # The context tokens of a window are contiguous, so that two numbers stand for a mask.
    sequences = [encoding.sequence_ids for encoding in encodings]
    context_id = 1 if question_first else 0
    return Windows(
        inputs={name: batch[name] for name in tokenizer.model_input_names if name in batch},
        encodings=encodings,
        example=np.array(example, dtype=np.int64),
        context_start=_array(ids.index(context_id) if context_id in ids else 0 for ids in sequences),
        context_length=_array(ids.count(context_id) for ids in sequences),
        cls_index=_array(_index(ids, tokenizer.cls_token_id) for ids in batch["input_ids"]),
    )


def build_features(
    dataset: Dataset,
    tokenizer: PreTrainedTokenizerBase,
    *,
    training: bool,
    max_seq_length: int = 384,
    doc_stride: int = 128,
    max_question_length: int = 64,
    pad_to_max_length: bool = False,
    num_proc: int | None = None,
) -> Dataset:
    """Turn a question-answering data set into model inputs, one row per window.

    Both kinds of features have ``input_ids``, ``attention_mask`` and, where the tokenizer has them,
    ``token_type_ids``. Training features add ``start_positions`` and ``end_positions``: the first and the last token
    that share a character with the first answer, or the ``[CLS]`` token where the question has no answer or the
    window does not hold all of it. Evaluation features add ``example_id`` and ``offset_mapping``, the characters
    ``[start, end]`` of the context behind every token, ``[-1, -1]`` (:data:`OUTSIDE`) for any other token but padding
    on the right, which has none.

    The result is cached by ``datasets``; the key depends on the data, the tokenizer and the settings alone, not on
    what the tokenizer was used for before.

    Args:
        dataset: Columns ``id``, ``question``, ``context`` and, for training, ``answers`` (SQuAD schema).
        tokenizer: A fast tokenizer.
        training: Whether to add labels, or what it takes to turn logits into answers.
        max_seq_length: Length of a window in tokens, special tokens included.
        doc_stride: Number of tokens that neighbouring windows share.
        max_question_length: Longer questions lose their last tokens.
        pad_to_max_length: Pad every window to ``max_seq_length``, rather than each batch in the collator.
        num_proc: Number of processes.

    Raises:
        TokenizerError: if the tokenizer is not a fast one, or knows no token of the training questions.
        ConfigurationError: if a window cannot hold the question, the shared tokens and one token more.
        DatasetFormatError: if a training answer does not stand in the context where its offset says.
    """
    _require_fast(tokenizer)
    if training:
        _require_known_words(dataset, tokenizer)
    settings = {
        "training": training,
        "max_seq_length": max_seq_length,
        "doc_stride": doc_stride,
        "max_question_length": max_question_length,
        "pad_to_max_length": pad_to_max_length,
    }
    return dataset.map(
        _features_of_batch,
        batched=True,
        fn_kwargs={"tokenizer": tokenizer, **settings},
        remove_columns=dataset.column_names,
        features=_schema(tokenizer, training),
        num_proc=num_proc,
        new_fingerprint=_fingerprint(dataset, tokenizer, settings),
        desc="Cutting contexts into windows",
    )


def _require_known_words(dataset: Dataset, tokenizer: PreTrainedTokenizerBase) -> None:
    """Raise a `TokenizerError` if the tokenizer knows no token of some questions from all parts of a data set."""
    from ..model.tokenization_palbert import check_tokenizer

    probe = " ".join(dataset[range(0, len(dataset), 1 + len(dataset) // PROBED)]["question"]).strip()
    if probe:
        with _TOKENIZER_LOCK:
            check_tokenizer(tokenizer, probe)


def offset_mapping(windows: Windows, window: int) -> npt.NDArray[np.int32]:
    """Offsets of the tokens of a window, shape ``(tokens, 2)``, :data:`OUTSIDE` for those that are not context.

    Padding on the right has none, so that decoding cannot tell how far a window was padded.
    """
    attended = np.flatnonzero(windows.encodings[window].attention_mask)
    mapping = np.full((int(attended[-1]) + 1 if len(attended) else 0, 2), OUTSIDE, dtype=np.int32)
    start = int(windows.context_start[window])
    mapping[start : start + int(windows.context_length[window])] = windows.context_offsets(window)
    return mapping


def _features_of_batch(
    batch: Mapping[str, list[Any]], tokenizer: PreTrainedTokenizerBase, training: bool, **settings: Any
) -> dict[str, list[Any]]:
    """Features of one batch of examples, column by column."""
    windows = encode_windows(tokenizer, batch["question"], batch["context"], **settings)
    features: dict[str, list[Any]] = dict(windows.inputs)
    if training:
        spans = [_answer_characters(*row) for row in zip(batch["id"], batch["context"], batch["answers"], strict=True)]
        labels = [_label(windows, window, spans[example]) for window, example in enumerate(windows.example)]
        features["start_positions"] = [start for start, _ in labels]
        features["end_positions"] = [end for _, end in labels]
    else:
        features["example_id"] = [batch["id"][example] for example in windows.example]
        features["offset_mapping"] = [offset_mapping(windows, window) for window in range(len(windows))]
    return features


def _answer_characters(example_id: str, context: str, answers: Mapping[str, list[Any]]) -> tuple[int, int] | None:
    """Characters of the first answer without the whitespace around it; None for an unanswerable question."""
    if not answers["answer_start"]:
        return None
    text, start = answers["text"][0], answers["answer_start"][0]
    if start < 0 or context[start : start + len(text)] != text:
        raise DatasetFormatError(
            f"Question {example_id!r}: its answer {text!r} does not stand at character {start} of the context. Read"
            " the data with `load_qa_dataset(…, training=True)`, which repairs such offsets or sets the record aside."
        )
    stripped = text.strip()
    start += len(text) - len(text.lstrip())
    return start, start + len(stripped)


def _label(windows: Windows, window: int, span: tuple[int, int] | None) -> tuple[int, int]:
    """First and last token of the answer, or the ``[CLS]`` token twice."""
    nothing = (max(int(windows.cls_index[window]), 0),) * 2
    offsets = windows.context_offsets(window)
    if span is None or not len(offsets) or offsets[0, 0] > span[0] or offsets[-1, 1] < span[1]:
        return nothing
    first = int(np.searchsorted(offsets[:, 1], span[0], side="right"))  # ends behind the answer's first character
    last = int(np.searchsorted(offsets[:, 0], span[1], side="left")) - 1  # begins before the answer's end
    if first > last:  # the tokenizer drops every character of the answer
        return nothing
    start = int(windows.context_start[window])
    return start + first, start + last


def _schema(tokenizer: PreTrainedTokenizerBase, training: bool) -> Features:
    """Compact Arrow types of the features."""
    from datasets import Features, List, Value

    inputs = {"input_ids": "int32", "token_type_ids": "int8", "attention_mask": "int8"}
    schema: dict[str, Any] = {
        name: List(Value(dtype)) for name, dtype in inputs.items() if name in tokenizer.model_input_names
    }
    if training:
        schema |= {"start_positions": Value("int64"), "end_positions": Value("int64")}
    else:
        schema |= {"example_id": Value("string"), "offset_mapping": List(List(Value("int32"), length=2))}
    return Features(schema)


def _fingerprint(dataset: Dataset, tokenizer: PreTrainedTokenizerBase, settings: Mapping[str, Any]) -> str:
    """Cache key of the features; a call leaves truncation and padding behind in a tokenizer, so they stay out."""
    import json

    from datasets.fingerprint import Hasher

    backend = json.loads(tokenizer.backend_tokenizer.to_str())
    backend |= {"truncation": None, "padding": None}
    special = [tokenizer.cls_token_id, tokenizer.pad_token_id, tokenizer.padding_side, tokenizer.truncation_side]
    special.append(getattr(tokenizer, "fingerprint", None))  # what cuts its text and is not in its backend
    parts = [_FORMAT, dataset._fingerprint, backend, special, list(tokenizer.model_input_names), dict(settings)]
    return str(Hasher.hash(json.dumps(parts, sort_keys=True)))


def _clip_questions(tokenizer: PreTrainedTokenizerBase, questions: list[str], limit: int) -> tuple[list[str], int]:
    """Cut questions to ``limit`` tokens; returns them and the tokens of the longest one."""
    if not questions:
        return questions, 0
    pairs = zip(questions, _encoded(tokenizer, questions), strict=True)
    clipped = [_clip_question(tokenizer, question, encoding, limit) for question, encoding in pairs]
    return [question for question, _ in clipped], max(length for _, length in clipped)


def _clip_question(
    tokenizer: PreTrainedTokenizerBase, question: str, encoding: Encoding, limit: int
) -> tuple[str, int]:
    """Cut a question behind its ``limit``-th token; returns it and its number of tokens.

    A character can be several tokens, and a shorter text can be cut into others. So what remains is looked at again,
    and loses its last character if it still has too many.
    """
    while question and len(encoding) > limit:
        ends = (end for _, end in encoding.offsets[:limit])
        question = question[: max((end for end in ends if end < len(question)), default=0)]
        encoding = _encoded(tokenizer, [question])[0]
    return question, len(encoding)


def _encoded(tokenizer: PreTrainedTokenizerBase, texts: list[str]) -> list[Encoding]:
    """The tokens of texts, without special ones."""
    # `verbose` would have transformers warn of a question longer than the model's input, which is about to be cut.
    return tokenizer(texts, add_special_tokens=False, verbose=False).encodings or []


@contextmanager
def _surrogates_named(questions: Sequence[str], contexts: Sequence[str]) -> Iterator[None]:
    """Say which text a tokenizer refuses because of half of a surrogate pair, which it takes for a wrong type."""
    try:
        yield
    except TypeError as error:
        for kind, texts in (("question", questions), ("context", contexts)):
            for text in texts:
                if half := lone_surrogate(text):
                    raise DatasetFormatError(
                        f"A {kind} holds {half}: {text!r:.100}. Decode the text as what it is, or replace that half."
                    ) from error
        raise


def _require_fast(tokenizer: PreTrainedTokenizerBase) -> None:
    if not getattr(tokenizer, "is_fast", False):
        raise TokenizerError(
            f"{type(tokenizer).__name__} is not a fast tokenizer, and only those know the characters behind a token."
            " Load it with `AutoTokenizer.from_pretrained(…)`, or convert it with"
            " `transformers.convert_slow_tokenizer`."
        )


def _require_lengths(
    tokenizer: PreTrainedTokenizerBase, max_seq_length: int, doc_stride: int, max_question_length: int
) -> None:
    if isinstance(doc_stride, bool) or not isinstance(doc_stride, int | np.integer) or doc_stride < 0:
        raise ConfigurationError(f"`doc_stride` must be a whole number that is not negative, got {doc_stride!r}.")
    if max_question_length < 1:
        raise ConfigurationError(f"max_question_length={max_question_length} must be 1 or more.")
    if max_seq_length > tokenizer.model_max_length:
        raise ConfigurationError(
            f"max_seq_length={max_seq_length} is more than the {tokenizer.model_max_length} tokens that"
            f" {type(tokenizer).__name__} allows. Lower `max_seq_length` to {tokenizer.model_max_length}."
        )


def _require_room(tokenizer: PreTrainedTokenizerBase, longest: int, max_seq_length: int, doc_stride: int) -> None:
    special = tokenizer.num_special_tokens_to_add(pair=True)
    room = max_seq_length - special - longest
    if room <= doc_stride:
        raise ConfigurationError(
            f"A window of max_seq_length={max_seq_length} tokens has room for {room} context tokens beside"
            f" {special} special tokens and a question of {longest} tokens, but neighbouring windows are to share"
            f" {doc_stride} tokens (`doc_stride`) and must differ. Set `doc_stride` below {max(room, 1)}, lower"
            f" `max_question_length` below {longest}, or raise `max_seq_length` above"
            f" {max_seq_length + doc_stride - room}."
        )


def _index(ids: list[int], token_id: int | None) -> int:
    return ids.index(token_id) if token_id is not None and token_id in ids else -1


def _array(values: Any) -> IntArray:
    return np.fromiter(values, dtype=np.int64)
