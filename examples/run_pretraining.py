r"""Pre-train ALBERT on text: masked language modelling and sentence-order prediction.

Text is one paragraph a line, with a blank line between documents. Contexts of question-answering files may be added.
A small Chinese model from scratch, with whole words of jieba masked (pip install 'transformers-palbert[baselines]'):

    python examples/run_pretraining.py --train_file corpus.txt.xz --qa_train_file cmrc2018_train.json \
        --tokenizer_name vocab.txt --masked_words jieba --max_ngram 1 --max_seq_length 256 \
        --config_overrides hidden_size=384,num_hidden_layers=6,num_attention_heads=6,intermediate_size=1536 \
        --per_device_train_batch_size 32 --learning_rate 5e-4 --warmup_steps 0.05 --max_steps 20000 \
        --do_train --do_eval --output_dir outputs/pretrained

What comes out is fine-tuned like any checkpoint:

    python examples/run_qa.py --model_name_or_path outputs/pretrained --train_file cmrc2018_train.json …

The corpus is tokenized once. To do that elsewhere, beforehand, or with more processes:

    python examples/run_pretraining.py --train_file corpus.txt.xz --tokenizer_name vocab.txt \
        --corpus_dir tokens --preprocessing_num_workers 8 --prepare

A long run in pieces: each command trains for ten minutes, saves and ends; the next one goes on from there.

    python examples/run_pretraining.py examples/recipes/pretrain_small_zh.yaml --max_seconds 600

The optimizer is Trainer's, by default AdamW. (ALBERT used LAMB, which is for batches of thousands and is not in torch.)
"""

from __future__ import annotations

import logging
import sys
from pathlib import Path
from typing import Any

from run_qa import load_config, load_tokenizer
from tokenizers.models import WordPiece
from transformers import PreTrainedTokenizerBase, TrainingArguments, set_seed
from transformers.trainer_utils import get_last_checkpoint
from transformers.utils import logging as transformers_logging

import transformers_palbert as palbert
from transformers_palbert.errors import ConfigurationError
from transformers_palbert.training.arguments import ModelArguments, parse_arguments
from transformers_palbert.training.lookup_initialization import initialize_for_lookup
from transformers_palbert.training.pretraining import (
    PreTrainingArguments,
    PreTrainingTrainer,
    make_collator,
    split_corpus,
)
from transformers_palbert.training.time_limit import StopInTime

logger = logging.getLogger(__name__)


def main(argv: list[str]) -> dict[str, float]:
    """Run the script; returns the metrics of the last thing it did."""
    model_args, options, args = parse_arguments(
        (ModelArguments, PreTrainingArguments, TrainingArguments), argv, description=__doc__ or ""
    )
    stop = None if options.max_seconds is None else StopInTime(options.max_seconds)
    _set_up_logging(args)
    if not (args.do_train or args.do_eval or options.prepare):
        raise ConfigurationError("There is nothing to do: give --do_train, --do_eval or --prepare.")
    set_seed(args.seed)
    config = _palbert_config(model_args)
    tokenizer = load_tokenizer(model_args, config)
    with args.main_process_first(desc="tokenizing the corpus"):
        corpus = options.open_corpus(tokenizer)
    facts = {name: corpus.facts[name] for name in ("documents", "sentences", "tokens")}
    logger.info("%s holds %s", corpus.folder, facts)
    if options.prepare:
        return facts
    if options.max_seq_length > config.max_position_embeddings:
        raise ConfigurationError(
            f"max_seq_length={options.max_seq_length} is more than the model's {config.max_position_embeddings}"
            " positions; lower it, or set max_position_embeddings in --config_overrides."
        )

    train, held_out = split_corpus(corpus, options, args.seed)
    logger.info("%d examples, %d held out, of %.1f tokens in the mean.", len(train), len(held_out), train.mean_length)
    trainer = PreTrainingTrainer(
        model=_load_model(model_args, config, tokenizer),
        args=args,
        train_dataset=train,
        eval_dataset=held_out if len(held_out) else None,
        data_collator=make_collator(corpus, tokenizer, options),
        processing_class=tokenizer,
        callbacks=None if stop is None else [stop],
    )
    metrics: dict[str, float] = {}
    if args.do_train:
        metrics = _train(trainer, args)
    if stop is not None and stop.stopped:
        logger.info("Stopped in time, at step %d of %d. Run it again to go on.", trainer.state.global_step,
                    trainer.state.max_steps)  # fmt: skip
    elif args.do_eval:
        metrics = trainer.evaluate()
        trainer.log_metrics("eval", metrics)
        trainer.save_metrics("eval", metrics)
    return metrics


def _train(trainer: PreTrainingTrainer, args: TrainingArguments) -> dict[str, float]:
    checkpoint = args.resume_from_checkpoint
    if checkpoint is None and Path(str(args.output_dir)).is_dir():
        checkpoint = get_last_checkpoint(str(args.output_dir))
        if checkpoint:
            logger.info("Going on from %s; choose another --output_dir to start anew.", checkpoint)
    metrics = trainer.train(resume_from_checkpoint=checkpoint).metrics
    metrics["train_tokens_per_second"] = metrics["train_samples_per_second"] * trainer.mean_length
    trainer.save_model()
    if trainer.is_world_process_zero():
        _save_vocabulary(trainer.processing_class, str(args.output_dir))
    trainer.log_metrics("train", metrics)
    trainer.save_metrics("train", metrics)
    trainer.save_state()
    return metrics


def _save_vocabulary(tokenizer: Any, folder: str) -> None:
    """Write a ``vocab.txt`` as well, which tools other than transformers read; a WordPiece vocabulary only."""
    model = tokenizer.backend_tokenizer.model
    if isinstance(model, WordPiece):
        model.save(folder)


def _palbert_config(options: ModelArguments) -> palbert.PalBertConfig:
    config: Any = load_config(options)
    if config.model_type not in ("albert", "palbert"):
        raise ConfigurationError(f"Pre-training is for ALBERT and PAL-BERT; this is a {config.model_type}.")
    if config.model_type == "albert":
        config = palbert.PalBertConfig.from_dict(config.to_dict() | {"model_type": "palbert"})
    return config


def _load_model(
    options: ModelArguments, config: palbert.PalBertConfig, tokenizer: PreTrainedTokenizerBase
) -> palbert.PalBertForPreTraining:
    kernel = {"attn_implementation": options.attn_implementation} if options.attn_implementation else {}
    if options.model_name_or_path is not None:
        hub = {"cache_dir": options.cache_dir, "revision": options.model_revision, "token": options.token}
        return palbert.PalBertForPreTraining.from_pretrained(options.model_name_or_path, config=config, **kernel, **hub)
    config.vocab_size, config.pad_token_id = len(tokenizer), tokenizer.pad_token_id
    model = palbert.PalBertForPreTraining._from_config(config, **kernel)
    if options.lookup_initialization:
        initialize_for_lookup(model)
    return model


def _set_up_logging(args: TrainingArguments) -> None:
    logging.basicConfig(format="%(asctime)s %(levelname)s %(name)s: %(message)s", datefmt="%H:%M:%S")
    transformers_logging.set_verbosity(args.get_process_log_level())
    for each in (logger, logging.getLogger("transformers_palbert")):  # unless told otherwise, say what is going on
        each.setLevel(logging.INFO if args.log_level == "passive" and args.should_log else args.get_process_log_level())


if __name__ == "__main__":
    main(sys.argv[1:])
