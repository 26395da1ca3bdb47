"""Pre-training with the stock Trainer: examples new in every epoch, throughput in tokens, losses of both tasks."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from huggingface_hub.constants import HF_HOME
from torch import Tensor
from torch.nn.functional import cross_entropy
from transformers import EvalPrediction, PreTrainedTokenizerBase, Trainer, TrainerCallback, TrainingArguments

from ..errors import ConfigurationError
from ..pretraining.batches import ChunkDataset, EpochSampler, PreTrainingCollator
from ..pretraining.preparing import WORDS, corpus_key, prepare_corpus
from ..pretraining.segments import plan_chunks
from ..pretraining.tokens import TokenCorpus
from .arguments import _option
from .checkpoints import ResumingMixin
from .pushing import PushingMixin

__all__ = ["PreTrainingArguments", "PreTrainingTrainer", "make_collator", "split_corpus"]

EVAL_SEED = 0
"""Of the masks of the held-out documents: the same in all runs, so that their losses can be compared."""


@dataclass
class PreTrainingArguments:
    """Which text is read, and what is hidden in it."""

    train_file: list[str] | None = field(
        default=None,
        metadata={"help": "Text files, also .xz or .gz: one paragraph a line, a blank line between documents."},
    )
    qa_train_file: list[str] | None = field(
        default=None,
        metadata={"help": "Question-answering files whose contexts are read as documents. Give training data only."},
    )
    corpus_dir: str | None = _option(
        None,
        "Folder of the tokenized corpus. It is made there of the files, or used as it is if it is there, then without"
        " the files as well. By default a folder in the cache, named by the contents of the files.",
    )
    prepare: bool = _option(False, "Only make the tokenized corpus, and train nothing.")
    preprocessing_num_workers: int = _option(1, "How many processes tokenize the text.")
    masked_words: str | None = _option(
        None,
        "What is masked as a whole: the words of the tokenizer (of Chinese, characters), or those of jieba. By default"
        " tokenizer, or what the corpus of --corpus_dir was made for.",
    )
    max_ngram: int = _option(
        3, "Mask n-grams of up to this many words, p(n) ∝ 1/n, as ALBERT does; 1 masks single words."
    )
    mask_rate: float = _option(0.15, "Share of the tokens that are hidden and to be predicted.")
    max_seq_length: int = _option(512, "Most tokens of an input, which is two segments and three special tokens.")
    short_probability: float = _option(0.1, "Share of inputs that are cut shorter, at random.")
    eval_documents: int = _option(200, "Hold out this many documents, the last ones, and never train on them.")
    max_seconds: float | None = _option(
        None,
        "Save and stop at the first step after so many seconds since the start of the script; run it again to go on.",
    )
    push_logs: bool = _option(
        False,
        "Let --push_to_hub push TensorBoard's and Trackio's logs as well. They name the host and hold absolute paths,"
        " so they stay at home without this.",
    )

    def __post_init__(self) -> None:
        self.train_file = _as_list(self.train_file)
        self.qa_train_file = _as_list(self.qa_train_file)
        if self.masked_words not in (None, *WORDS):
            raise ConfigurationError(f"masked_words={self.masked_words!r}; allowed: {', '.join(WORDS)}.")
        if self.max_ngram < 1:
            raise ConfigurationError(f"max_ngram={self.max_ngram} is not allowed; it must be 1 or more.")
        for name in ("mask_rate", "short_probability"):
            if not 0 <= getattr(self, name) < 1:
                raise ConfigurationError(f"{name}={getattr(self, name)} is not allowed; it must be in [0, 1).")
        if self.eval_documents < 0:
            raise ConfigurationError(f"eval_documents={self.eval_documents} is not allowed; it must be 0 or more.")

    def open_corpus(self, tokenizer: PreTrainedTokenizerBase) -> TokenCorpus:
        """The corpus of these files, tokenized now if it is not yet.

        Raises:
            ConfigurationError: if there are neither files nor a folder; and see
                :func:`~transformers_palbert.pretraining.preparing.prepare_corpus`.
        """
        files = {"text_files": self.train_file or [], "qa_files": self.qa_train_file or []}
        if self.corpus_dir is not None:
            folder = Path(self.corpus_dir)
        elif any(files.values()):
            key = corpus_key(tokenizer, words=self.masked_words or "tokenizer", **files)
            folder = Path(HF_HOME) / "transformers_palbert" / "corpora" / key
        else:
            raise ConfigurationError("There is no text: give --train_file, --qa_train_file or --corpus_dir.")
        workers = self.preprocessing_num_workers
        return prepare_corpus(folder, tokenizer, words=self.masked_words, workers=workers, **files)


def _as_list(value: Any) -> Any:
    """The files as a list: a recipe may name one file without making a list of it."""
    return [value] if isinstance(value, str) else value


def split_corpus(corpus: TokenCorpus, options: PreTrainingArguments, seed: int) -> tuple[ChunkDataset, ChunkDataset]:
    """Training examples, and those of the held-out documents at the end.

    Raises:
        ConfigurationError: if nothing is left to train on.
    """
    count = len(corpus.documents) - 1
    if options.eval_documents >= count:
        raise ConfigurationError(
            f"eval_documents={options.eval_documents} of the {count} documents leave none to train on; hold out fewer."
        )
    border = count - options.eval_documents
    datasets = []
    for documents, own_seed in ((corpus.documents[: border + 1], seed), (corpus.documents[border:], EVAL_SEED)):
        chunks = plan_chunks(
            corpus.sentences, documents, max_length=options.max_seq_length,
            short_probability=options.short_probability, seed=own_seed,
        )  # fmt: skip
        datasets.append(ChunkDataset(chunks, own_seed))
    if not len(datasets[0]):
        raise ConfigurationError(f"The training documents of {corpus.folder} are all too short to make an example of.")
    return datasets[0], datasets[1]


def make_collator(
    corpus: TokenCorpus, tokenizer: PreTrainedTokenizerBase, options: PreTrainingArguments
) -> PreTrainingCollator:
    """The collator for ``corpus``.

    Raises:
        ConfigurationError: if the tokenizer lacks a special token that is needed.
    """
    special: dict[str, Any] = {name: getattr(tokenizer, f"{name}_token_id") for name in ("cls", "sep", "mask", "pad")}
    if missing := [name for name, value in special.items() if value is None]:
        raise ConfigurationError(f"Pre-training needs a tokenizer with the special tokens {', '.join(missing)}.")
    vocabulary = np.setdiff1d(np.arange(len(tokenizer)), tokenizer.all_special_ids)
    return PreTrainingCollator(
        corpus=corpus,
        max_length=options.max_seq_length,
        special_ids=tuple(special.values()),
        vocabulary=vocabulary,
        rate=options.mask_rate,
        longest=options.max_ngram,
    )


class PreTrainingTrainer(ResumingMixin, PushingMixin, Trainer):
    """``Trainer`` for :class:`~transformers_palbert.PalBertForPreTraining`.

    - Training examples are drawn by an :class:`~transformers_palbert.pretraining.batches.EpochSampler`.
    - Every log of a loss has ``tokens_per_second`` since the last: steps × batch × mean length of an example, over
      wall-clock time with everything in it.
    - Evaluation reports, over the held-out documents, ``mlm_loss`` and ``mlm_accuracy`` per masked token, ``sop_loss``
      and ``sop_accuracy`` per example (cross-entropies in nats).
    - It writes a model card of what it measured, and pushes whole, see
      :class:`~transformers_palbert.training.pushing.PushingMixin`.

    Args:
        model: The model.
        args: As for ``Trainer``; ``data_seed`` or else ``seed`` decides the order of the examples.
        train_dataset: Training examples.
        eval_dataset: Held-out examples, if any.
        data_collator: Makes batches of both.
        **kwargs: As for ``Trainer``.

    Attributes:
        mean_length: Mean number of tokens of a training example.
    """

    task = "fill-mask"

    def __init__(
        self,
        model: Any,
        args: TrainingArguments,
        train_dataset: ChunkDataset,
        data_collator: PreTrainingCollator,
        eval_dataset: ChunkDataset | None = None,
        **kwargs: Any,
    ) -> None:
        seed = args.seed if args.data_seed is None else args.data_seed
        self._epochs = EpochSampler(len(train_dataset), seed)
        self.mean_length = train_dataset.mean_length
        self._last_log = (0, 0.0)  # step and time
        super().__init__(
            model=model, args=args, train_dataset=train_dataset, eval_dataset=eval_dataset,
            data_collator=data_collator, compute_metrics=summarize, preprocess_logits_for_metrics=score_batch, **kwargs,
        )  # fmt: skip
        self.add_callback(_Clockwork(self))

    def _get_train_sampler(self, train_dataset: Any = None) -> EpochSampler:
        return self._epochs

    def log(self, logs: dict[str, float], *args: Any, **kwargs: Any) -> None:
        """As ``Trainer`` does, with the throughput beside every training loss."""
        if "loss" in logs:
            step, now = self.state.global_step, time.monotonic()
            last_step, last_time = self._last_log
            examples = (step - last_step) * self.args.train_batch_size * self.args.world_size
            tokens = examples * self.args.gradient_accumulation_steps * self.mean_length
            logs["tokens_per_second"] = round(tokens / max(now - last_time, 1e-9), 1)
            self._last_log = (step, now)
        super().log(logs, *args, **kwargs)


class _Clockwork(TrainerCallback):
    """A callback that tells the sampler which epoch begins, and starts the clock that throughput is measured by."""

    def __init__(self, trainer: PreTrainingTrainer) -> None:
        self.trainer = trainer

    def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        self.trainer._last_log = (state.global_step, time.monotonic())

    def on_epoch_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        # here, not in a `set_epoch` of the sampler: wrappers on several processes do not always hand that through
        self.trainer._epochs.epoch = int(state.epoch or 0)


# --- evaluation -------------------------------------------------------------------------------------------------------


@torch.no_grad()
def score_batch(logits: Any, labels: Any) -> Tensor:
    """Sums per example instead of logits, which would not fit in memory: float32, ``[batch, 5]``.

    Columns: cross-entropy of the masked tokens, tokens predicted right, masked tokens, cross-entropy of the order of
    the segments, order predicted right.

    Args:
        logits: Those of the tokens, ``[batch, predictions, vocabulary]``, and of the order, ``[batch, 2]``.
        labels: The tokens, ``[batch, predictions]``, -100 for none, and the order, ``[batch]``.
    """
    tokens, order = logits[:2]
    masked = labels[0] != -100
    losses = cross_entropy(tokens.float().flatten(0, 1), labels[0].flatten(), reduction="none").view_as(labels[0])
    columns = [
        losses.sum(dim=1),
        ((tokens.argmax(dim=-1) == labels[0]) & masked).sum(dim=1),
        masked.sum(dim=1),
        cross_entropy(order.float(), labels[1].flatten(), reduction="none"),
        order.argmax(dim=-1) == labels[1].flatten(),
    ]
    return torch.stack([column.float() for column in columns], dim=1)


def summarize(scores: EvalPrediction) -> dict[str, float]:
    """Means over all examples, of the sums of :func:`score_batch`."""
    sums: npt.NDArray[np.float64] = np.asarray(scores.predictions, dtype=np.float64)
    loss, right, masked, order_loss, order_right = sums.sum(axis=0)
    return {
        "mlm_loss": loss / masked,
        "mlm_accuracy": right / masked,
        "sop_loss": order_loss / len(sums),
        "sop_accuracy": order_right / len(sums),
    }
