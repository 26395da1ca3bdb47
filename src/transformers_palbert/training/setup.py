"""From parsed arguments to what a Trainer is made of: config, tokenizer, model, questions, windows.

Each step is a function of its own, so that a script of yours may take some of them and do others in its own way::

    config = load_config(model_args)
    tokenizer = load_tokenizer(model_args, config)
    model = load_model(model_args, config, tokenizer)
    questions = load_questions(data_args, "train")                  # read, then prepare_questions
    features = make_features(questions, tokenizer, data_args, training_args, training=True)
"""

from __future__ import annotations

import logging
from dataclasses import fields
from pathlib import Path
from typing import Any

from datasets import Dataset
from transformers import (
    AutoConfig,
    AutoModelForQuestionAnswering,
    AutoTokenizer,
    BertTokenizer,
    PreTrainedConfig,
    PreTrainedModel,
    PreTrainedTokenizerBase,
    TrainingArguments,
)

from ..errors import ConfigurationError
from ..model.configuration_palbert import PalBertConfig
from ..model.removal import read_layer_sizes, resize_layers
from ..model.tokenization_palbert import check_tokenizer, load_albert_tokenizer
from ..qa.cloze import make_cloze_questions
from ..qa.datasets import load_qa_dataset
from ..qa.features import build_features
from ..qa.settings import AnsweringSettings
from ..storage.saving import disable_sparse_saving
from .arguments import DataArguments, ModelArguments
from .baseline_arguments import BaselineArguments
from .config_overrides import override_fields, parse_fields
from .lookup_initialization import initialize_for_lookup
from .reduction_arguments import shorten_questions

__all__ = [
    "answering_settings",
    "load_baseline",
    "load_config",
    "load_model",
    "load_questions",
    "load_tokenizer",
    "make_features",
    "prepare_questions",
]

logger = logging.getLogger(__name__)

ALBERTS = ("albert", "palbert")


# --- the model --------------------------------------------------------------------------------------------------------


def load_config(options: ModelArguments) -> PreTrainedConfig:
    """The config of the checkpoint or of a new PAL-BERT, with what the options change.

    Raises:
        ConfigurationError: if an option does not go with the architecture or with another option.
    """
    config = _base_config(options)
    if not options.config_overrides:
        return config
    return override_fields(config, options.config_overrides, options.model_name_or_path)


def _base_config(options: ModelArguments) -> PreTrainedConfig:
    source = options.config_name or options.model_name_or_path
    if source is None:
        return PalBertConfig(**options.palbert_fields)
    if not options.palbert_fields:
        return AutoConfig.from_pretrained(source, **options.hub_options)
    kind = AutoConfig.from_pretrained(source, **options.hub_options).model_type
    if kind not in ALBERTS:
        raise ConfigurationError(
            f"{', '.join(options.palbert_fields)} need an ALBERT or PAL-BERT checkpoint; {source} is a {kind}."
        )
    return PalBertConfig.from_pretrained(source, **options.palbert_fields, **options.hub_options)


def load_tokenizer(options: ModelArguments, config: PreTrainedConfig) -> PreTrainedTokenizerBase:
    """The tokenizer of the options: a folder, a Hub id or a vocab.txt; by default the model's.

    Raises:
        ConfigurationError: if there is none to take.
        TokenizerError: if it knows no words.
    """
    source = options.tokenizer_name or options.model_name_or_path or options.config_name
    if source is None:
        raise ConfigurationError("Training from scratch needs --tokenizer_name: a folder, a Hub id or a vocab.txt.")
    if Path(source).is_file():
        return check_tokenizer(BertTokenizer(vocab=source))
    if config.model_type in ALBERTS:
        return load_albert_tokenizer(source, **options.hub_options)
    return AutoTokenizer.from_pretrained(source, **options.hub_options)


def load_model(
    options: ModelArguments,
    config: PreTrainedConfig,
    tokenizer: PreTrainedTokenizerBase,
    auto: Any = AutoModelForQuestionAnswering,
) -> PreTrainedModel:
    """The checkpoint, or a new model of this config; ``auto`` is the Auto class of what it is to do.

    Where the config gives the layers sizes of their own, the new model has them.
    """
    kernel = {"attn_implementation": options.attn_implementation} if options.attn_implementation else {}
    if options.model_name_or_path is not None:
        return auto.from_pretrained(options.model_name_or_path, config=config, **kernel, **options.hub_options)
    logger.warning("Training from scratch: no --model_name_or_path is given.")
    config.vocab_size, config.pad_token_id = len(tokenizer), tokenizer.pad_token_id
    model = auto.from_config(config, **kernel)
    if (sizes := read_layer_sizes(config)) is not None:
        resize_layers(model, sizes)
    disable_sparse_saving(model)  # the config may be that of a packed checkpoint
    if options.lookup_initialization:
        initialize_for_lookup(model)
    return model


def load_baseline(
    options: ModelArguments, baseline: BaselineArguments, data: DataArguments, args: TrainingArguments
) -> tuple[PreTrainedModel, PreTrainedTokenizerBase]:
    """A word-level reader that knows nothing yet but the words of the training questions, and its tokenizer.

    Raises:
        ConfigurationError: if it is not to be trained, or a checkpoint is given as well.
    """
    if options.model_name_or_path or not args.do_train:
        raise ConfigurationError(
            "--model_type trains a reader from scratch, so it needs --do_train and cannot go with --model_name_or_path."
            " A trained one is a checkpoint like any other: give --model_name_or_path alone."
        )
    settings = parse_fields(options.config_overrides) if options.config_overrides else {}
    questions = load_questions(data, "train")
    return baseline.build(questions, tokenizer_name=options.tokenizer_name, settings=settings, seed=args.seed)


# --- the data ---------------------------------------------------------------------------------------------------------


def load_questions(
    data: DataArguments, part: str, tokenizer: PreTrainedTokenizerBase | None = None, seed: int = 42
) -> Dataset:
    """The questions of a part (train, validation or test), read and prepared as :func:`prepare_questions` does.

    Raises:
        ConfigurationError: if the arguments name no source for this part.
        DatasetFormatError: if its file cannot be read.
    """
    return prepare_questions(_read_questions(data, part), data, part, tokenizer, seed)


def _read_questions(data: DataArguments, part: str) -> Dataset:
    """From the part's own file, or from the data set on the Hub."""
    file = {"train": data.train_file, "validation": data.validation_file, "test": data.test_file}[part]
    training = part == "train"
    if file is not None:
        return load_qa_dataset(file, training=training)
    if data.dataset_name is None:
        raise ConfigurationError(f"The {part} part needs --{part}_file or --dataset_name.")
    hub = {} if data.dataset_config_name is None else {"name": data.dataset_config_name}
    return load_qa_dataset(data.dataset_name, split=part, training=training, **hub)


def prepare_questions(
    questions: Dataset,
    data: DataArguments,
    part: str,
    tokenizer: PreTrainedTokenizerBase | None = None,
    seed: int = 42,
) -> Dataset:
    """What is made of the questions of a part before they are cut into windows: a data set in, a data set out.

    Training questions may be replaced by cloze questions about the same contexts; then the part's limit is applied;
    then contexts may be shortened.

    Args:
        questions: The questions as they were read.
        data: What is to be made of them.
        part: train, validation or test.
        tokenizer: Counts the tokens that contexts are shortened to; without one they are words.
        seed: Seed of the order of questions in a curriculum.
    """
    if part == "train" and data.cloze_questions is not None:
        questions = make_cloze_questions(questions["context"], data.cloze_questions)
    limits = {"train": data.max_train_samples, "validation": data.max_eval_samples, "test": data.max_predict_samples}
    limit = limits[part]
    if limit is not None:
        questions = questions.select(range(min(limit, len(questions))))
    return shorten_questions(questions, data, part, tokenizer, seed)


def make_features(
    questions: Dataset, tokenizer: PreTrainedTokenizerBase, data: DataArguments, args: TrainingArguments, training: bool
) -> Dataset:
    """The windows of ``questions``; of several processes on a machine, the first makes them and the others wait."""
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


def answering_settings(data: DataArguments) -> AnsweringSettings:
    """How windows are cut and logits become answers; saved with the model."""
    return AnsweringSettings(**{field.name: getattr(data, field.name) for field in fields(AnsweringSettings)})
