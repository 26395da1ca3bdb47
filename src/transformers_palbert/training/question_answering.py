r"""Fine-tune a question-answering model, pruning it on the way, with the standard script's arguments.

Fine-tune a checkpoint and remove 70 % of its encoder weights while doing so:

    palbert train --model_name_or_path voidful/albert_chinese_large --dataset_name hfl/cmrc2018 \
        --metric cmrc2018 --do_train --do_eval --target_sparsity 0.7 --output_dir outputs/cmrc

Everything from a recipe, a file of yours or one of the package by its name, one thing changed:

    palbert train paper_cmrc2018.yaml --learning_rate 1e-5 --output_dir outputs/mine

Local files, from scratch:

    palbert train --tokenizer_name vocab.txt --config_overrides hidden_size=256,num_hidden_layers=6 \
        --train_file train.json --validation_file dev.json --do_train --do_eval --output_dir outputs/scratch

Contexts shortened to the sentences that matter for their questions, the shortest first:

    palbert train paper_cmrc2018.yaml --reduce bm25 --reduce_curriculum 64,128,256 --output_dir outputs/shorter

Several processes:

    accelerate launch --num_processes 2 -m transformers_palbert train paper_cmrc2018.yaml

Run it again with the same --output_dir and it goes on from the last checkpoint that was written to its end, also with
other settings: give these an --output_dir of their own.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple, get_type_hints

import torch
from datasets import Dataset
from transformers import (
    DataCollatorWithPadding,
    PreTrainedModel,
    PreTrainedTokenizerBase,
    TrainingArguments,
    set_seed,
)

from ..errors import ConfigurationError
from ..export.stock import export_stock, require_stock
from ..qa.submission import write_predictions_csv
from .arguments import DataArguments, DistillationArguments, ModelArguments, PruningArguments
from .baseline_arguments import BaselineArguments
from .described_data import describe_data
from .memory_limit import limit_memory
from .null_threshold import require_threshold_options, threshold_scores
from .option_parser import naming_options, parse_arguments
from .pushing import require_push
from .run_arguments import RunArguments, further_scores, require_scorable
from .setup import (
    answering_settings,
    load_baseline,
    load_config,
    load_model,
    load_questions,
    load_tokenizer,
    make_features,
)
from .steps import report_metrics, say_where, set_up_logging, train_and_save
from .teachers import load_teacher, teach
from .trainer import QuestionAnsweringTrainer

__all__ = [
    "QuestionAnsweringArguments",
    "QuestionAnsweringRun",
    "evaluate",
    "learn_in_order",
    "main",
    "parse",
    "predict",
    "prepare",
    "publish",
    "train",
]


class QuestionAnsweringArguments(NamedTuple):
    """Everything that the command line says."""

    model: ModelArguments
    baseline: BaselineArguments
    data: DataArguments
    pruning: PruningArguments
    distillation: DistillationArguments
    training: TrainingArguments
    run: RunArguments = RunArguments()  # nothing changes it


_TYPES = tuple(get_type_hints(QuestionAnsweringArguments).values())


@dataclass(frozen=True)
class QuestionAnsweringRun:
    """What a run works with.

    Attributes:
        arguments: What was asked for.
        model: The model.
        tokenizer: Its tokenizer.
        trainer: The Trainer, made ready with all of these.
        questions: Part (train, validation, test) -> its questions; only the parts that the run needs.
        features: Part -> the windows of its questions.
    """

    arguments: QuestionAnsweringArguments
    model: PreTrainedModel
    tokenizer: PreTrainedTokenizerBase
    trainer: QuestionAnsweringTrainer
    questions: dict[str, Dataset]
    features: dict[str, Dataset]


def main(argv: Sequence[str]) -> dict[str, float]:
    """``palbert train``: every step in turn; returns the metrics of the last thing it did."""
    arguments = parse(argv, description=__doc__ or "", prog="palbert train")
    run = prepare(arguments)
    metrics: dict[str, float] = {}
    if arguments.training.do_train:
        metrics = train(run)
    if arguments.training.do_eval:
        metrics = evaluate(run)
    if arguments.training.do_predict:
        metrics = predict(run)
    publish(run)
    return metrics


def parse(argv: Sequence[str], description: str = "", prog: str | None = None) -> QuestionAnsweringArguments:
    """The arguments of a command line; a recipe as first argument sets the defaults.

    Args:
        argv: The command line without the program's name.
        description: The text above the options in ``--help``.
        prog: The program's name in ``--help``; by default that of the script.

    Raises:
        ConfigurationError: see :func:`~transformers_palbert.training.option_parser.parse_arguments`.
    """
    return QuestionAnsweringArguments(*parse_arguments(_TYPES, argv, description=description, prog=prog))


@naming_options(_TYPES)
def prepare(arguments: QuestionAnsweringArguments) -> QuestionAnsweringRun:
    """Load everything that the run needs, and find out now what would fail after the training.

    Raises:
        ConfigurationError: if arguments contradict each other, or nothing is to be done.
        PalBertError: if model, tokenizer or data cannot be used.
    """
    data, args = arguments.data, arguments.training
    set_up_logging(args)
    if data.predictions_csv and not (args.do_eval or args.do_predict):
        raise ConfigurationError("--predictions_csv has nothing to write without --do_eval or --do_predict.")
    if data.predictions_csv:
        _require_place(Path(data.predictions_csv), Path(str(args.output_dir)))
    if data.escape_formulas and not data.predictions_csv:
        raise ConfigurationError("--escape_formulas has nothing to escape without --predictions_csv.")
    require_push(arguments.run.push_logs, args)
    if arguments.run.memory_limit_gb is not None:
        limit_memory(arguments.run.memory_limit_gb, args.device)
    set_seed(args.seed)
    model, tokenizer = _load_reader(arguments)
    if not (args.do_train or args.do_eval or args.do_predict):
        raise ConfigurationError("There is nothing to do: give --do_train, --do_eval or --do_predict.")
    if arguments.pruning.export_stock:
        require_stock(model.config)
    if data.curriculum_stages:
        learn_in_order(args)
    counting = None if arguments.baseline.model_type else tokenizer  # a word-level reader counts words anyway
    with args.main_process_first(desc="reading questions"):
        questions = {part: load_questions(data, part, counting, args.seed) for part in _parts(args)}
    require_threshold_options(data, args, questions.get("validation"))
    for part in questions.keys() & {"validation", "test"}:
        require_scorable(part, questions[part], data.metric_name, arguments.run.metrics)
    features = {
        part: make_features(dataset, tokenizer, data, args, training=part == "train")
        for part, dataset in questions.items()
    }
    collate: Any = DataCollatorWithPadding(tokenizer, pad_to_multiple_of=8)
    teacher = load_teacher(arguments.distillation, arguments.model, tokenizer)
    collate = teach(model, teacher, arguments.distillation, features, collate, args)
    callback = arguments.pruning.callback()
    trainer = QuestionAnsweringTrainer(
        model=model,
        args=args,
        train_dataset=features.get("train"),
        eval_dataset=features.get("validation"),
        eval_examples=questions.get("validation"),
        metric=data.metric_name,
        decoding=answering_settings(data),
        processing_class=tokenizer,
        data_collator=collate,
        callbacks=[callback] if callback else None,
        push_logs=arguments.run.push_logs,
    )
    describe_data(trainer.model_card, data, questions)
    return QuestionAnsweringRun(arguments, model, tokenizer, trainer, questions, features)


def _load_reader(arguments: QuestionAnsweringArguments) -> tuple[PreTrainedModel, PreTrainedTokenizerBase]:
    """The model and its tokenizer: a checkpoint, a new one, or a word-level baseline."""
    options = arguments.model
    if arguments.baseline.model_type:
        return load_baseline(options, arguments.baseline, arguments.data, arguments.training)
    config = load_config(options)
    tokenizer = load_tokenizer(options, config)
    return load_model(options, config, tokenizer), tokenizer


def learn_in_order(args: TrainingArguments) -> None:
    """Let the Trainer keep the order of a curriculum, which its random sampler would mix up.

    Raises:
        ConfigurationError: if another order was asked for.
    """
    if args.train_sampling_strategy not in ("random", "sequential"):
        raise ConfigurationError(
            f"--reduce_curriculum sets the order of the questions, so --train_sampling_strategy"
            f" {args.train_sampling_strategy} cannot be used with it."
        )
    args.train_sampling_strategy = "sequential"


def _parts(args: TrainingArguments) -> list[str]:
    """The parts of the data that the run needs."""
    evaluates = args.do_eval or args.eval_strategy != "no" or args.eval_on_start
    wanted = {"train": args.do_train, "validation": evaluates, "test": args.do_predict}
    return [part for part, needed in wanted.items() if needed]


def train(run: QuestionAnsweringRun) -> dict[str, float]:
    """Train, or go on from the last whole checkpoint, and save the model; the metrics."""
    metrics = train_and_save(run.trainer, run.arguments[:-1])
    if torch.cuda.is_available():
        metrics["train_peak_gpu_gb"] = torch.cuda.max_memory_allocated() / 1e9
    return report_metrics(run.trainer, "train", metrics)


def evaluate(run: QuestionAnsweringRun) -> dict[str, float]:
    """Answer the validation questions and score them; the metrics."""
    metrics = run.trainer.evaluate() | _further_scores(run, "eval", "validation")
    if run.trainer.is_world_process_zero():
        metrics |= threshold_scores(run.arguments.data, run.arguments.training, run.questions["validation"])
    return report_metrics(run.trainer, "eval", metrics)


def predict(run: QuestionAnsweringRun) -> dict[str, float]:
    """Answer the test questions, and score them where their answers are known; the metrics."""
    output = run.trainer.predict(run.features["test"], test_examples=run.questions["test"])
    metrics = output.metrics or {}
    if any(row["text"] for row in run.questions["test"]["answers"]):
        metrics |= _further_scores(run, "test", "test")
    return report_metrics(run.trainer, "test", metrics)


def _further_scores(run: QuestionAnsweringRun, prefix: str, part: str) -> dict[str, float]:
    """The metrics that were asked for beside the main one, of the answers that the first process wrote."""
    if not run.arguments.run.metrics or not run.trainer.is_world_process_zero():
        return {}
    return further_scores(run.arguments.run.metrics, _answers(run, prefix), run.questions[part], prefix)


def _answers(run: QuestionAnsweringRun, prefix: str) -> dict[str, str]:
    """Id of a question -> the answer that was written."""
    file = Path(str(run.arguments.training.output_dir), f"{prefix}_predictions.json")
    answers: dict[str, str] = json.loads(file.read_text(encoding="utf-8"))
    return answers


def publish(run: QuestionAnsweringRun) -> None:
    """Write what was asked for beside the model (answers as CSV, a stock model, the card), and push if asked to."""
    data, pruning, args = run.arguments.data, run.arguments.pruning, run.arguments.training
    if run.trainer.is_world_process_zero():
        if data.predictions_csv:
            _write_csv(run, Path(data.predictions_csv))
        if pruning.export_stock:
            export_stock(run.model, pruning.export_stock, run.tokenizer)
    if args.push_to_hub:
        run.trainer.push_to_hub()
    elif args.do_train:
        run.trainer.create_model_card()
    if args.do_train:
        say_where(run.trainer, "palbert inspect {}", f"palbert report {{}} --data {data.validation_file or 'dev.json'}")


def _require_place(file: Path, output: Path) -> None:
    """Refuse a file to be written whose folder is missing, unless it is in the output folder, which the run makes."""
    if not file.parent.is_dir() and not file.resolve().is_relative_to(output.resolve()):
        raise ConfigurationError(f"--predictions_csv {file}: {file.parent} is not a folder.")


def _write_csv(run: QuestionAnsweringRun, file: Path) -> None:
    """The answers of the last part that was answered, as ID,Answer."""
    prefix, part = ("test", "test") if run.arguments.training.do_predict else ("eval", "validation")
    escape = run.arguments.data.escape_formulas
    file.parent.mkdir(parents=True, exist_ok=True)
    write_predictions_csv(file, _answers(run, prefix), run.questions[part]["id"], escape_formulas=escape)
