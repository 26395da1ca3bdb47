r"""Fine-tune a question-answering model, pruning it on the way, with the standard script's arguments.

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

import json
import logging
import sys
from dataclasses import fields
from pathlib import Path
from typing import Any

import torch
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
from transformers_palbert.export.stock import export_stock, require_stock
from transformers_palbert.hub import PalBertCard
from transformers_palbert.qa.cloze import make_cloze_questions
from transformers_palbert.qa.features import build_features
from transformers_palbert.qa.settings import AnsweringSettings
from transformers_palbert.qa.submission import write_predictions_csv
from transformers_palbert.training.arguments import DataArguments, ModelArguments, PruningArguments, parse_arguments
from transformers_palbert.training.baseline_arguments import BaselineArguments
from transformers_palbert.training.lookup_initialization import initialize_for_lookup
from transformers_palbert.training.trainer import QuestionAnsweringTrainer

logger = logging.getLogger(__name__)


def main(argv: list[str]) -> dict[str, float]:
    """Run the script; returns the metrics of the last thing it did."""
    model_args, baseline_args, data_args, pruning_args, args = parse_arguments(
        (ModelArguments, BaselineArguments, DataArguments, PruningArguments, TrainingArguments),
        argv,
        description=__doc__ or "",
    )
    _set_up_logging(args)
    if data_args.predictions_csv and not (args.do_eval or args.do_predict):
        raise ConfigurationError("--predictions_csv has nothing to write without --do_eval or --do_predict.")
    set_seed(args.seed)
    if baseline_args.model_type:
        model, tokenizer = _make_baseline(model_args, baseline_args, data_args, args)
    else:
        config = load_config(model_args)
        tokenizer = load_tokenizer(model_args, config)
        model = load_model(model_args, config, tokenizer)
    if not (args.do_train or args.do_eval or args.do_predict):
        raise ConfigurationError("There is nothing to do: give --do_train, --do_eval or --do_predict.")

    if pruning_args.export_stock:
        require_stock(model.config)  # now, not after the training

    questions: dict[str, Dataset] = {}
    features: dict[str, Dataset] = {}
    for part, wanted in (("train", args.do_train), ("validation", _evaluates(args)), ("test", args.do_predict)):
        if wanted:
            questions[part] = load_questions(data_args, part)
            features[part] = make_features(questions[part], tokenizer, data_args, args, training=part == "train")

    callback = pruning_args.callback()
    trainer = QuestionAnsweringTrainer(
        model=model,
        args=args,
        train_dataset=features.get("train"),
        eval_dataset=features.get("validation"),
        eval_examples=questions.get("validation"),
        metric=data_args.metric_name,
        decoding=decoding_options(data_args),
        processing_class=tokenizer,
        data_collator=DataCollatorWithPadding(tokenizer, pad_to_multiple_of=8),
        callbacks=[callback] if callback else None,
    )
    _describe_data(trainer.model_card, data_args, questions)
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
    if data_args.predictions_csv and trainer.is_world_process_zero():
        prefix, part = ("test", "test") if args.do_predict else ("eval", "validation")
        answers = json.loads(Path(args.output_dir, f"{prefix}_predictions.json").read_text(encoding="utf-8"))
        write_predictions_csv(Path(data_args.predictions_csv), answers, questions[part]["id"])
    if pruning_args.export_stock and trainer.is_world_process_zero():
        export_stock(model, pruning_args.export_stock, tokenizer)
    if args.push_to_hub:
        trainer.push_to_hub()
    elif args.do_train:
        trainer.create_model_card()
    return metrics


def _train(trainer: QuestionAnsweringTrainer, args: TrainingArguments) -> dict[str, float]:
    checkpoint = args.resume_from_checkpoint
    if checkpoint is None and Path(args.output_dir).is_dir():
        checkpoint = get_last_checkpoint(args.output_dir)
        if checkpoint:
            logger.info("Going on from %s; choose another --output_dir to start anew.", checkpoint)
    metrics = trainer.train(resume_from_checkpoint=checkpoint).metrics
    if torch.cuda.is_available():
        metrics["train_peak_gpu_gb"] = torch.cuda.max_memory_allocated() / 1e9
    trainer.save_model()
    trainer.log_metrics("train", metrics)
    trainer.save_metrics("train", metrics)
    trainer.save_state()
    return metrics


def _describe_data(card: PalBertCard, data: DataArguments, questions: dict[str, Dataset]) -> None:
    """Tell the model card what the Trainer cannot know: where the questions come from."""
    files = {"training_data": ("train", data.train_file), "evaluation_data": ("validation", data.validation_file)}
    for field, (part, file) in files.items():
        if part in questions:
            source = Path(file).name if file else f"{data.dataset_name}, {part}"
            setattr(card, field, f"{source}, {len(questions[part]):,} questions")
    if data.dataset_name and data.validation_file is None and data.max_eval_samples is None:
        card.datasets, card.dataset_config = [data.dataset_name], data.dataset_config_name
        card.dataset_split = "validation"


def _evaluates(args: TrainingArguments) -> bool:
    return args.do_eval or args.eval_strategy != "no" or args.eval_on_start


def _make_baseline(
    options: ModelArguments, baseline: BaselineArguments, data: DataArguments, args: TrainingArguments
) -> tuple[PreTrainedModel, PreTrainedTokenizerBase]:
    """A word-level reader that knows nothing yet but its words."""
    if options.model_name_or_path or not args.do_train:
        raise ConfigurationError(
            "--model_type trains a reader from scratch, so it needs --do_train and cannot go with --model_name_or_path."
            " A trained one is a checkpoint like any other: give --model_name_or_path alone."
        )
    settings = _overrides(options.config_overrides) if options.config_overrides else {}
    questions = load_questions(data, "train")
    return baseline.build(questions, tokenizer_name=options.tokenizer_name, settings=settings, seed=args.seed)


def load_config(options: ModelArguments) -> PreTrainedConfig:
    """The config of the checkpoint or of a new PAL-BERT, with what the options change."""
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


def load_tokenizer(options: ModelArguments, config: PreTrainedConfig) -> PreTrainedTokenizerBase:
    """The tokenizer of the options: a folder, a Hub id or a vocab.txt; by default the model's."""
    source = options.tokenizer_name or options.model_name_or_path or options.config_name
    if source is None:
        raise ConfigurationError("Training from scratch needs --tokenizer_name: a folder, a Hub id or a vocab.txt.")
    hub = {"cache_dir": options.cache_dir, "revision": options.model_revision, "token": options.token}
    if Path(source).is_file():
        return palbert.check_tokenizer(BertTokenizer(vocab=source))
    if config.model_type in ("albert", "palbert"):
        return palbert.load_albert_tokenizer(source, **hub)
    return AutoTokenizer.from_pretrained(source, **hub)


def load_model(
    options: ModelArguments, config: PreTrainedConfig, tokenizer: PreTrainedTokenizerBase
) -> PreTrainedModel:
    """The checkpoint, or a new model of this config."""
    kernel = {"attn_implementation": options.attn_implementation} if options.attn_implementation else {}
    if options.model_name_or_path is None:
        logger.warning("Training from scratch: no --model_name_or_path is given.")
        config.vocab_size, config.pad_token_id = len(tokenizer), tokenizer.pad_token_id
        model = AutoModelForQuestionAnswering.from_config(config, **kernel)
        palbert.disable_sparse_saving(model)  # the config may be that of a packed checkpoint
        if options.lookup_initialization:
            initialize_for_lookup(model)
        return model
    hub = {"cache_dir": options.cache_dir, "revision": options.model_revision, "token": options.token}
    kind = palbert.PalBertForQuestionAnswering if config.model_type == "palbert" else AutoModelForQuestionAnswering
    return kind.from_pretrained(options.model_name_or_path, config=config, **kernel, **hub)


def load_questions(data: DataArguments, part: str) -> Dataset:
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
    if part == "train" and data.cloze_questions is not None:
        questions = make_cloze_questions(questions["context"], data.cloze_questions)
    return questions if limit is None else questions.select(range(min(limit, len(questions))))


def make_features(
    questions: Dataset, tokenizer: PreTrainedTokenizerBase, data: DataArguments, args: TrainingArguments, training: bool
) -> Dataset:
    """The windows of ``questions``."""
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


def decoding_options(data: DataArguments) -> AnsweringSettings:
    """How windows are cut and logits become answers; saved with the model."""
    return AnsweringSettings(**{field.name: getattr(data, field.name) for field in fields(AnsweringSettings)})


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
