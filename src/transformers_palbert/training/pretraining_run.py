r"""Pre-train ALBERT on text: masked language modelling and sentence-order prediction.

Text is one paragraph a line, with a blank line between documents. Contexts of question-answering files may be added.
A small Chinese model from scratch, with whole words of jieba masked:

    palbert pretrain --train_file corpus.txt.xz --qa_train_file cmrc2018_train.json \
        --tokenizer_name vocab.txt --masked_words jieba --max_ngram 1 --max_seq_length 256 \
        --config_overrides hidden_size=384,num_hidden_layers=6,num_attention_heads=6,intermediate_size=1536 \
        --per_device_train_batch_size 32 --learning_rate 5e-4 --warmup_steps 0.05 --max_steps 20000 \
        --do_train --do_eval --output_dir outputs/pretrained

What comes out is fine-tuned like any checkpoint:

    palbert train --model_name_or_path outputs/pretrained --train_file cmrc2018_train.json …

The corpus is tokenized once. To do that elsewhere, beforehand, or with more processes:

    palbert pretrain --train_file corpus.txt.xz --tokenizer_name vocab.txt \
        --corpus_dir tokens --preprocessing_num_workers 8 --prepare

A long run in pieces: each command trains for ten minutes, saves and ends; the next one goes on from there.

    palbert pretrain pretrain_small_zh.yaml --max_seconds 600

The optimizer is Trainer's, by default AdamW. (ALBERT used LAMB, which is for batches of thousands and is not in torch.)
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from tokenizers.models import WordPiece
from transformers import AutoModelForPreTraining, PreTrainedTokenizerBase, TrainingArguments, set_seed

from ..errors import ConfigurationError
from ..model.configuration_palbert import PalBertConfig
from ..pretraining.tokens import TokenCorpus
from .arguments import ModelArguments
from .option_parser import naming_options, parse_arguments
from .pretraining import PreTrainingArguments, PreTrainingTrainer, make_collator, split_corpus
from .pushing import require_push
from .setup import load_config, load_model, load_tokenizer
from .steps import report_metrics, say_where, set_up_logging, train_and_save
from .time_limit import StopInTime

__all__ = [
    "PreTrainingCommandLine",
    "PreTrainingRun",
    "evaluate",
    "main",
    "make_corpus",
    "parse",
    "prepare",
    "publish",
    "train",
]

logger = logging.getLogger(__name__)


_TYPES = (ModelArguments, PreTrainingArguments, TrainingArguments)


class PreTrainingCommandLine(NamedTuple):
    """Everything that the command line says."""

    model: ModelArguments
    data: PreTrainingArguments
    training: TrainingArguments


@dataclass(frozen=True)
class PreTrainingRun:
    """What a run works with.

    Attributes:
        arguments: What was asked for.
        trainer: The Trainer, made ready with model, tokenizer and text.
        stop: Ends the training in time, if that was asked for.
    """

    arguments: PreTrainingCommandLine
    trainer: PreTrainingTrainer
    stop: StopInTime | None

    @property
    def stopped(self) -> bool:
        """Whether training ended because its time was over; run again, it goes on."""
        return self.stop is not None and self.stop.stopped


def main(argv: Sequence[str]) -> dict[str, float]:
    """``palbert pretrain``: every step in turn; returns the metrics of the last thing it did."""
    arguments = parse(argv, description=__doc__ or "", prog="palbert pretrain")
    if arguments.data.prepare:
        return make_corpus(arguments)
    run = prepare(arguments)
    metrics: dict[str, float] = {}
    if arguments.training.do_train:
        metrics = train(run)
    if arguments.training.do_eval and not run.stopped:
        metrics = evaluate(run)
    publish(run)
    return metrics


def parse(argv: Sequence[str], description: str = "", prog: str | None = None) -> PreTrainingCommandLine:
    """The arguments of a command line; a recipe as first argument sets the defaults.

    Args:
        argv: The command line without the program's name.
        description: The text above the options in ``--help``.
        prog: The program's name in ``--help``; by default that of the script.

    Raises:
        ConfigurationError: if an argument is not allowed, or nothing is to be done.
    """
    arguments = PreTrainingCommandLine(*parse_arguments(_TYPES, argv, description=description, prog=prog))
    if not (arguments.training.do_train or arguments.training.do_eval or arguments.data.prepare):
        raise ConfigurationError("There is nothing to do: give --do_train, --do_eval or --prepare.")
    require_push(arguments.data.push_logs, arguments.training)
    return arguments


def make_corpus(arguments: PreTrainingCommandLine) -> dict[str, float]:
    """Tokenize the text and no more; how many documents, sentences and tokens there are."""
    set_up_logging(arguments.training)
    tokenizer = load_tokenizer(arguments.model, _palbert_config(arguments.model))
    return _facts(_open_corpus(arguments, tokenizer))


@naming_options(_TYPES)
def prepare(arguments: PreTrainingCommandLine) -> PreTrainingRun:
    """Load everything that the run needs.

    Raises:
        ConfigurationError: if arguments contradict each other.
        PalBertError: if model, tokenizer or text cannot be used.
    """
    data, args = arguments.data, arguments.training
    stop = None if data.max_seconds is None else StopInTime(data.max_seconds)  # its clock counts the loading too
    set_up_logging(args)
    set_seed(args.seed)
    config = _palbert_config(arguments.model)
    _require_positions(config, data)
    tokenizer = load_tokenizer(arguments.model, config)
    corpus = _open_corpus(arguments, tokenizer)
    chunks, held_out = split_corpus(corpus, data, args.seed)
    logger.info("%d examples, %d held out, of %.1f tokens in the mean.", len(chunks), len(held_out), chunks.mean_length)
    trainer = PreTrainingTrainer(
        model=load_model(arguments.model, config, tokenizer, AutoModelForPreTraining),
        args=args,
        train_dataset=chunks,
        eval_dataset=held_out if len(held_out) else None,
        data_collator=make_collator(corpus, tokenizer, data),
        processing_class=tokenizer,
        callbacks=None if stop is None else [stop],
        push_logs=data.push_logs,
    )
    trainer.model_card.training_data = "text of {documents:,} documents, {tokens:,} tokens".format(**_facts(corpus))
    return PreTrainingRun(arguments, trainer, stop)


def _palbert_config(options: ModelArguments) -> PalBertConfig:
    config: Any = load_config(options)
    if config.model_type not in ("albert", "palbert"):
        raise ConfigurationError(f"Pre-training is for ALBERT and PAL-BERT; this is a {config.model_type}.")
    if config.model_type == "albert":
        config = PalBertConfig.from_dict(config.to_dict() | {"model_type": "palbert"})
    return config


def _require_positions(config: PalBertConfig, data: PreTrainingArguments) -> None:
    if data.max_seq_length > config.max_position_embeddings:
        raise ConfigurationError(
            f"max_seq_length={data.max_seq_length} is more than the model's {config.max_position_embeddings}"
            " positions; lower it, or set max_position_embeddings in --config_overrides."
        )


def _open_corpus(arguments: PreTrainingCommandLine, tokenizer: PreTrainedTokenizerBase) -> TokenCorpus:
    """The tokenized text; of several processes on a machine, the first makes it and the others wait."""
    with arguments.training.main_process_first(desc="tokenizing the corpus"):
        corpus = arguments.data.open_corpus(tokenizer)
    logger.info("%s holds %s", corpus.folder, _facts(corpus))
    return corpus


def _facts(corpus: TokenCorpus) -> dict[str, float]:
    return {name: corpus.facts[name] for name in ("documents", "sentences", "tokens")}


def train(run: PreTrainingRun) -> dict[str, float]:
    """Train, or go on from the last whole checkpoint, and save the model; the metrics."""
    trainer = run.trainer
    metrics = train_and_save(trainer, run.arguments)
    metrics["train_tokens_per_second"] = metrics["train_samples_per_second"] * trainer.mean_length
    if trainer.is_world_process_zero():
        _save_vocabulary(trainer.processing_class, str(run.arguments.training.output_dir))
    if run.stopped:
        step, steps = trainer.state.global_step, trainer.state.max_steps
        logger.info("Stopped in time, at step %d of %d. Run it again to go on.", step, steps)
    return report_metrics(trainer, "train", metrics)


def _save_vocabulary(tokenizer: Any, folder: str) -> None:
    """Write a ``vocab.txt`` as well, which tools other than transformers read; a WordPiece vocabulary only."""
    model = tokenizer.backend_tokenizer.model
    if isinstance(model, WordPiece):
        model.save(folder)


def evaluate(run: PreTrainingRun) -> dict[str, float]:
    """The losses and accuracies of both tasks on the held-out documents."""
    return report_metrics(run.trainer, "eval", run.trainer.evaluate())


def publish(run: PreTrainingRun) -> None:
    """Write the card of a finished model, and push it if that was asked for."""
    args = run.arguments.training
    if run.stopped:
        return
    if args.push_to_hub:
        run.trainer.push_to_hub()
    elif args.do_train:
        run.trainer.create_model_card()
    if args.do_train:
        say_where(run.trainer, "palbert train --model_name_or_path {} --train_file train.json --do_train …")
