"""The pipeline ``question-answering``, which transformers removed in version 5.

    >>> import transformers_palbert
    >>> from transformers import pipeline
    >>> answer = pipeline("question-answering", model="path/or/hub-id")
    >>> answer(question="Where do I live?", context="My name is Wolfgang and I live in Berlin")
    {'score': 0.9191, 'start': 34, 'end': 40, 'answer': 'Berlin'}

It takes and returns what the pipeline of transformers 4 did. Inside it works on blocks of questions: a block is
tokenized in one call, its windows are sorted by length so that a batch holds little padding, and the spans of a batch
are scored by one numpy expression.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from types import GeneratorType
from typing import Any

import torch
from torch.utils.data import Dataset
from transformers.pipelines.base import Pipeline

from ..errors import TokenizerError
from ..model.tokenization_palbert import check_tokenizer
from ..qa.answering import padded_batch, prepare_model, span_logits
from ..qa.asking import Block, answer_block, checked_settings, cut_block, require_known
from ..qa.batches import BATCHES_AHEAD, window_batches
from ..qa.features import IntArray
from ..qa.inputs import Example, as_examples, blocks, checked_example, parse_inputs
from ..qa.settings import read_settings
from ..qa.window_decoding import require_positive
from ..reduction.reducer import Reducer
from ..reduction.settings import as_reducer

__all__ = ["QuestionAnsweringPipeline"]


class QuestionAnsweringPipeline(Pipeline):
    """Find the answer to a question in a context, with any ``AutoModelForQuestionAnswering`` and a fast tokenizer.

    A context too long for the model is read in windows that overlap. The score of an answer is the probability of its
    start times that of its end (softmax over the context and ``[CLS]`` of one window); answers with the same text add
    up their scores. The answer is the exact slice ``context[start:end]``.

    Where it differs from the pipeline of transformers 4:

    - Slow tokenizers are refused. ``SquadExample`` is gone; examples are mappings, whose further keys are ignored.
    - ``max_question_len`` holds for fast tokenizers too, and whitespace in front of a question is dropped.
    - Windows are padded on the right whatever the tokenizer's side. Where that is the left, the question, which then
      comes second, cannot be the answer, and the null score is read at ``[CLS]``.
    - Answers are not extended to whole words where a script has no spaces, see ``align_to_words``.
    - Improbable spans keep their order where probabilities round to zero, equal scores are ordered by position, and
      half-precision logits are read in float32.
    - A context without a single token gives the empty answer with score 0 instead of an empty list.
    - The model is put into evaluation mode, also where it comes straight from training.
    - The model's ``gelu_new`` and ``gelu_fast`` modules are replaced by torch's fused kernel, and on a CPU linear
      layers run on oneDNN where that is faster; both are equal up to rounding.
    - Examples are read ahead, 16 times ``batch_size`` at once; one at a time from a generator or ``Dataset`` with
      ``batch_size=1``. Tokenization is parallel by itself: ``num_workers`` is accepted and without effect.
    - The settings that are saved with a model are its defaults, see :meth:`__call__`.
    - Unknown arguments of a call are errors, and so are settings that cannot be met.

    Args:
        model: The model; see :class:`~transformers.Pipeline` for it and all other arguments of the constructor. Those
            of :meth:`__call__` are accepted as well and become the defaults.
        tokenizer: A fast tokenizer.

    Raises:
        TokenizerError: if the tokenizer is missing, not a fast one, or (ALBERT) knows no word of Chinese or English.
    """

    # The base class gives these the type None.
    _load_processor: Any = False
    _load_image_processor: Any = False
    _load_video_processor: Any = False
    _load_feature_extractor: Any = False
    _load_tokenizer: Any = True
    default_input_names: Any = "question,context"
    tokenizer: Any

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if not getattr(self.tokenizer, "is_fast", False):
            raise TokenizerError(
                f"The question-answering pipeline needs a fast tokenizer, got {type(self.tokenizer).__name__}. Pass"
                " `tokenizer=AutoTokenizer.from_pretrained(…)`."
            )
        if self.model.config.model_type in ("albert", "palbert"):
            check_tokenizer(self.tokenizer)  # stock AutoTokenizer makes a useless one of a WordPiece folder
        prepare_model(self.model)
        self.saved = read_settings(self.model.config)

    def __call__(self, *args: Any, num_workers: int | None = None, batch_size: int | None = None, **kwargs: Any) -> Any:
        """Answer one or many questions.

        Where the configuration of the model holds ``question_answering``, the settings that its training evaluated it
        with (:mod:`transformers_palbert.qa.settings`), these are the defaults of ``max_seq_len``, ``doc_stride``,
        ``max_question_len``, ``max_answer_len`` and ``handle_impossible_answer``. The defaults named below are those of
        other models, and as in transformers 4; a call that gives ``max_seq_len`` has its ``doc_stride`` and
        ``max_question_len`` from there too.

        Args:
            *args: Instead of ``question`` and ``context``: both as two strings; one mapping with these keys, which may
                hold lists; a list of mappings for one question each; or a generator or torch ``Dataset`` of those,
                which is read as needed.
            num_workers: Without effect.
            batch_size: Number of windows that pass through the model at once, 1 by default. Windows of different
                questions share a batch.
            **kwargs: The following.
            question (str | Sequence[str]): One or several questions.
            context (str | Sequence[str]): The context of each question, or one for all.
            top_k (int): Number of answers to return, fewer where the context holds fewer; 1 by default.
            doc_stride (int): Tokens that neighbouring windows share; by default 128, at most half of ``max_seq_len``,
                and no more than a ``max_question_len`` that is given leaves room for.
            max_answer_len (int): Longest answer in tokens, 15 by default.
            max_seq_len (int): Length of a window in tokens, question included; by default 384 or what the tokenizer
                allows.
            max_question_len (int): Longer questions lose their last tokens; 64 by default.
            handle_impossible_answer (bool): Whether ``""`` may be the answer, scored by the probability of ``[CLS]``
                (the smallest among the windows); False by default.
            align_to_words (bool | str): Extend answers to whole words, as the tokenizer splits them. By default
                ``"auto"``, which extends no end of an answer to a word with letters of a script without spaces, such
                as Chinese: what a SentencePiece tokenizer calls a word there may be a whole clause. Words of other
                letters, and numbers, are extended to in any context. True extends in all scripts.
            normalize_over (str): What the probability of an answer is a share of. ``"window"``, the default and as in
                transformers 4: of the window that it was found in, so that every window of a long text has an answer
                that looks certain. ``"document"``: of the whole context, whose windows then compete by their logits, as
                they do in evaluations. For a context of one window both are the same.
            reduce (str | Mapping | Reducer): Read of a long context the passages alone that matter for the question:
                names of scorers, as in ``"bm25"``, a mapping with further settings, or a
                :class:`~transformers_palbert.reduction.reducer.Reducer`; see
                :func:`~transformers_palbert.reduction.settings.as_reducer`. ``start`` and ``end`` are those of the
                whole context, of which an answer is an exact slice: no answer joins passages that were apart. By
                default all is read.
            padding (bool | str): ``"max_length"`` pads every window to ``max_seq_len``, for models that want one
                shape; all else pads to the longest window of a batch.

        Returns:
            A dict with ``score``, ``start`` and ``end`` (characters of the context) and ``answer``; a list of them
            where ``top_k`` gives several. The score is a probability, or the sum of those of equal texts, which
            exceeds 1 where several windows are sure of the same; the place is that of the most probable of them. For
            several questions, a list of these; for a generator or ``Dataset``, an iterator over these.

        Raises:
            ConfigurationError: if arguments cannot be understood, or a question or context is empty.
            DatasetFormatError: if a question or context holds half of a surrogate pair.
            MissingExtraError: if what ``reduce`` needs is not installed.
        """
        inputs: Any = parse_inputs(args, kwargs)
        require_known({name: value for name, value in kwargs.items() if name != "reduce"})
        if isinstance(inputs, list):
            if not inputs:
                return []
            answers = super().__call__(inputs, num_workers=num_workers, batch_size=batch_size, **kwargs)
            return answers[0] if len(answers) == 1 else answers
        if not isinstance(inputs, (Dataset, GeneratorType)):
            inputs = (example for example in inputs)  # the base class streams nothing but these two
        return super().__call__(inputs, num_workers=num_workers, batch_size=batch_size, **kwargs)

    @staticmethod
    def create_sample(question: str | Sequence[str], context: str | Sequence[str]) -> Example | list[Example]:
        """What :meth:`__call__` takes for a question and its context, or a list of that for lists of them.

        Raises:
            ConfigurationError: if these are no strings or lists, or lists of different lengths.
        """
        examples = as_examples(question, context)
        return examples[0] if isinstance(question, str) else examples

    def _sanitize_parameters(
        self, topk: int | None = None, reduce: Any = None, **kwargs: Any
    ) -> tuple[dict[str, Any], ...]:
        """Check the settings and tell apart those of :meth:`preprocess` and :meth:`postprocess`."""
        cutting, decoding = checked_settings({"topk": topk, **kwargs})
        if reduce is not None:
            cutting["reduce"] = as_reducer(reduce, self.tokenizer)
        return cutting, {}, decoding

    def run_single(self, inputs: Example, preprocess_params: Any, forward_params: Any, postprocess_params: Any) -> Any:
        """Answer one question."""
        return next(self.get_iterator([inputs], 0, 1, preprocess_params, forward_params, postprocess_params))

    def get_iterator(
        self,
        inputs: Iterable[Example],
        num_workers: int,
        batch_size: int,
        preprocess_params: dict[str, Any],
        forward_params: dict[str, Any],
        postprocess_params: dict[str, Any],
    ) -> Iterator[Any]:
        """Yield the answers to ``inputs`` in their order, reading ahead one block."""
        require_positive(batch_size=batch_size)
        ahead = BATCHES_AHEAD if batch_size > 1 or isinstance(inputs, list) else 1
        for examples in blocks(inputs, batch_size * ahead):
            block = self.preprocess(examples, **preprocess_params)
            logits = [self._logits(block, batch, forward_params) for batch in window_batches(block.lengths, batch_size)]
            yield from self.postprocess((block, logits), **postprocess_params)

    def preprocess(  # type: ignore[override]
        self, examples: Sequence[Example], reduce: Reducer | None = None, **settings: Any
    ) -> Block:
        """Tokenize a block of examples in one call."""
        if reduce is not None:
            examples = [checked_example(example) for example in examples]
            questions, contexts = ([example[name] for example in examples] for name in ("question", "context"))
            settings["texts"] = reduce.shorten(questions, contexts)
        return cut_block(self.tokenizer, examples, saved=self.saved, **settings)

    def _logits(self, block: Block, batch: IntArray, forward_params: dict[str, Any]) -> tuple[IntArray, Any]:
        """Numbers of the windows in a batch, and their start and end logits, ``(2, batch, tokens)``."""
        inputs = padded_batch(block.windows, batch, self.tokenizer, block.length)
        return batch, self.forward(inputs, **forward_params)["logits"].numpy()

    def _forward(  # type: ignore[override]
        self, input_tensors: dict[str, torch.Tensor]
    ) -> dict[str, torch.Tensor]:
        """Run the model on one batch of windows."""
        return {"logits": span_logits(self.model, input_tensors, self.device)}

    def postprocess(  # type: ignore[override]
        self, model_outputs: tuple[Block, list[tuple[IntArray, Any]]], **settings: Any
    ) -> list[Any]:
        """Answers to all examples of a block."""
        block, logits = model_outputs
        return answer_block(block, logits, self.tokenizer, saved=self.saved, **settings)
