"""Fine-tune a question-answering model, pruning it on the way, with the standard script's arguments.

Fine-tune a checkpoint and remove 70 % of its encoder weights while doing so:

    python examples/run_qa.py --model_name_or_path voidful/albert_chinese_large --dataset_name hfl/cmrc2018 \
        --metric cmrc2018 --do_train --do_eval --target_sparsity 0.7 --output_dir outputs/cmrc

Everything from a recipe, one thing changed:

    python examples/run_qa.py examples/recipes/paper_cmrc2018.yaml --learning_rate 1e-5

Local files, from scratch:

    python examples/run_qa.py --tokenizer_name vocab.txt --config_overrides hidden_size=256,num_hidden_layers=6 \
        --train_file train.json --validation_file dev.json --do_train --do_eval --output_dir outputs/scratch

Run it again with the same --output_dir and it goes on from the last checkpoint.
"""

from __future__ import annotations

import logging
import sys
from pathlib import Path
from typing import Any

from datasets import Dataset
from transformers import (
    AutoConfig,
    AutoModelForQuestionAnswering,
    AutoTokenizer,
    BertTokenizer,
    DataCollatorWithPadding,
    PreTrainedConfig,
    PreTrainedModel,
    PreTrainedTokenizerBase,
    TrainingArguments,
    set_seed,
)
from transformers.trainer_utils import get_last_checkpoint
from transformers.utils import logging as transformers_logging

import transformers_palbert as palbert
from transformers_palbert.errors import ConfigurationError
from transformers_palbert.qa.features import build_features
from transformers_palbert.training.arguments import DataArguments, ModelArguments, PruningArguments, parse_arguments
from transformers_palbert.training.trainer import QuestionAnsweringTrainer

logger = logging.getLogger(__name__)


def main(argv: list[str]) -> dict[str, float]:
    """Run the script; returns the metrics of the last thing it did."""
    model_args, data_args, pruning_args, args = parse_arguments(
        (ModelArguments, DataArguments, PruningArguments, TrainingArguments), argv, description=__doc__ or ""
    )
    _set_up_logging(args)
    set_seed(args.seed)
    config = _load_config(model_args)
    tokenizer = _load_tokenizer(model_args, config)
    model = _load_model(model_args, config, tokenizer)
    if not (args.do_train or args.do_eval or args.do_predict):
        raise ConfigurationError("There is nothing to do: give --do_train, --do_eval or --do_predict.")

    questions: dict[str, Dataset] = {}
    features: dict[str, Dataset] = {}
    for part, wanted in (("train", args.do_train), ("validation", _evaluates(args)), ("test", args.do_predict)):
        if wanted:
            questions[part] = _load_questions(data_args, part)
            features[part] = _make_features(questions[part], tokenizer, data_args, args, training=part == "train")

    callback = pruning_args.callback()
    trainer = QuestionAnsweringTrainer(
        model=model,
        args=args,
        train_dataset=features.get("train"),
        eval_dataset=features.get("validation"),
        eval_examples=questions.get("validation"),
        metric=data_args.metric_name,
        decoding=_decoding(data_args),
        processing_class=tokenizer,
        data_collator=DataCollatorWithPadding(tokenizer, pad_to_multiple_of=8),
        callbacks=[callback] if callback else None,
    )
    metrics: dict[str, float] = {}
    if args.do_train:
        metrics = _train(trainer, args)
    if args.do_eval:
        metrics = trainer.evaluate()
        trainer.log_metrics("eval", metrics)
        trainer.save_metrics("eval", metrics)
    if args.do_predict:
        output = trainer.predict(features["test"], test_examples=questions["test"])
        metrics = output.metrics or {}
        trainer.log_metrics("test", metrics)
        trainer.save_metrics("test", metrics)
    if args.push_to_hub:
        trainer.push_to_hub(dataset=data_args.dataset_name, tasks="question-answering")
    return metrics


def _train(trainer: QuestionAnsweringTrainer, args: TrainingArguments) -> dict[str, float]:
    checkpoint = args.resume_from_checkpoint
    if checkpoint is None and Path(args.output_dir).is_dir():
        checkpoint = get_last_checkpoint(args.output_dir)
        if checkpoint:
            logger.info("Going on from %s; choose another --output_dir to start anew.", checkpoint)
    metrics = trainer.train(resume_from_checkpoint=checkpoint).metrics
    trainer.save_model()
    trainer.log_metrics("train", metrics)
    trainer.save_metrics("train", metrics)
    trainer.save_state()
    return metrics


def _evaluates(args: TrainingArguments) -> bool:
    return args.do_eval or args.eval_strategy != "no" or args.eval_on_start


def _load_config(options: ModelArguments) -> PreTrainedConfig:
    hub = {"cache_dir": options.cache_dir, "revision": options.model_revision, "token": options.token}
    source = options.config_name or options.model_name_or_path
    if source is None:
        config: PreTrainedConfig = palbert.PalBertConfig(**options.palbert_fields)
    elif options.palbert_fields:
        kind = AutoConfig.from_pretrained(source, **hub).model_type
        if kind not in ("albert", "palbert"):
            raise ConfigurationError(
                f"{', '.join(options.palbert_fields)} need an ALBERT or PAL-BERT checkpoint; {source} is a {kind}."
            )
        config = palbert.PalBertConfig.from_pretrained(source, **options.palbert_fields, **hub)
    else:
        config = AutoConfig.from_pretrained(source, **hub)
    if options.config_overrides:
        if options.model_name_or_path:
            raise ConfigurationError("config_overrides changes shapes, so it cannot go with model_name_or_path.")
        config = type(config).from_dict({**config.to_dict(), **_overrides(options.config_overrides)})
    return config


def _overrides(text: str) -> dict[str, Any]:
    """``a=1,b=0.5,c=mish`` as a dictionary."""
    import yaml

    pairs = [pair.partition("=") for pair in text.split(",")]
    if any(not sign for _, sign, _ in pairs):
        raise ConfigurationError(f"config_overrides={text!r} must look like hidden_size=256,num_hidden_layers=6.")
    return {name.strip(): yaml.safe_load(value) for name, _, value in pairs}


def _load_tokenizer(options: ModelArguments, config: PreTrainedConfig) -> PreTrainedTokenizerBase:
    source = options.tokenizer_name or options.model_name_or_path or options.config_name
    if source is None:
        raise ConfigurationError("Training from scratch needs --tokenizer_name: a folder, a Hub id or a vocab.txt.")
    hub = {"cache_dir": options.cache_dir, "revision": options.model_revision, "token": options.token}
    if Path(source).is_file():
        return palbert.check_tokenizer(BertTokenizer(vocab=source))
    if config.model_type in ("albert", "palbert"):
        return palbert.load_albert_tokenizer(source, **hub)
    return AutoTokenizer.from_pretrained(source, **hub)


def _load_model(
    options: ModelArguments, config: PreTrainedConfig, tokenizer: PreTrainedTokenizerBase
) -> PreTrainedModel:
    kernel = {"attn_implementation": options.attn_implementation} if options.attn_implementation else {}
    if options.model_name_or_path is None:
        logger.warning("Training from scratch: no --model_name_or_path is given.")
        config.vocab_size, config.pad_token_id = len(tokenizer), tokenizer.pad_token_id
        return AutoModelForQuestionAnswering.from_config(config, **kernel)
    hub = {"cache_dir": options.cache_dir, "revision": options.model_revision, "token": options.token}
    kind = palbert.PalBertForQuestionAnswering if config.model_type == "palbert" else AutoModelForQuestionAnswering
    return kind.from_pretrained(options.model_name_or_path, config=config, **kernel, **hub)


def _load_questions(data: DataArguments, part: str) -> Dataset:
    """The questions of one part, from its own file or from the data set on the Hub."""
    file, limit = {
        "train": (data.train_file, data.max_train_samples),
        "validation": (data.validation_file, data.max_eval_samples),
        "test": (data.test_file, data.max_predict_samples),
    }[part]
    if file is None and data.dataset_name is None:
        raise ConfigurationError(f"The {part} part needs --{part}_file or --dataset_name.")
    if file is not None:
        questions = palbert.load_qa_dataset(file, training=part == "train")
    else:
        hub = {} if data.dataset_config_name is None else {"name": data.dataset_config_name}
        questions = palbert.load_qa_dataset(data.dataset_name, split=part, training=part == "train", **hub)
    return questions if limit is None else questions.select(range(min(limit, len(questions))))


def _make_features(
    questions: Dataset, tokenizer: PreTrainedTokenizerBase, data: DataArguments, args: TrainingArguments, training: bool
) -> Dataset:
    with args.main_process_first(desc="cutting contexts into windows"):
        return build_features(
            questions,
            tokenizer,
            training=training,
            max_seq_length=data.max_seq_length,
            doc_stride=data.doc_stride,
            max_question_length=data.max_question_length,
            pad_to_max_length=data.pad_to_max_length,
            num_proc=data.preprocessing_num_workers,
        )


def _decoding(data: DataArguments) -> dict[str, Any]:
    return {
        "n_best_size": data.n_best_size,
        "max_answer_length": data.max_answer_length,
        "version_2_with_negative": data.version_2_with_negative,
        "null_score_diff_threshold": data.null_score_diff_threshold,
    }


def _set_up_logging(args: TrainingArguments) -> None:
    logging.basicConfig(
        format="%(asctime)s %(levelname)s %(name)s: %(message)s", datefmt="%H:%M:%S", handlers=[logging.StreamHandler()]
    )
    level = args.get_process_log_level()
    logging.getLogger("transformers_palbert").setLevel(level)
    logger.setLevel(level)
    transformers_logging.set_verbosity(level)
    logger.info("Parameters: %s", args)


if __name__ == "__main__":
    main(sys.argv[1:])
