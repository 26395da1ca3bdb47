from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from datasets import Dataset
from transformers import AutoConfig, BertTokenizer, DataCollatorWithPadding, PreTrainedTokenizerBase

from tests.pruning.helpers import tiny_config, training_arguments
from transformers_palbert import (
    DistillationCallback,
    MovementPruningCallback,
    PalBertForQuestionAnswering,
    with_teacher,
)
from transformers_palbert.errors import ConfigurationError
from transformers_palbert.qa.features import build_features
from transformers_palbert.qa.metrics import compute_metric
from transformers_palbert.qa.settings import AnsweringSettings, read_settings
from transformers_palbert.training.trainer import QuestionAnsweringTrainer

PEOPLE = ["李明", "王芳", "张伟", "刘洋", "陈静", "杨帆"]
PLACES = ["北京", "上海", "广州", "成都", "西安", "大连"]


@pytest.fixture
def tokenizer(tmp_path: Path) -> PreTrainedTokenizerBase:
    characters = sorted(set("".join(PEOPLE + PLACES) + "住在哪里？。，，没有人"))
    vocabulary = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *characters]
    (tmp_path / "vocab.txt").write_text("\n".join(vocabulary) + "\n", encoding="utf-8")
    return BertTokenizer(vocab=str(tmp_path / "vocab.txt"))


def questions(answerable: bool = True) -> Dataset:
    context = "，".join(f"{person}住在{place}" for person, place in zip(PEOPLE, PLACES, strict=True)) + "。"
    rows = []
    for number, (person, place) in enumerate(zip(PEOPLE, PLACES, strict=True)):
        answers: dict[str, list[Any]] = {"text": [place], "answer_start": [context.index(place)]}
        if not answerable and number % 2:
            answers = {"text": [], "answer_start": []}
        row = {
            "id": f"q{number}",
            "title": "",
            "context": context,
            "question": f"{person}住在哪里？",
            "answers": answers,
        }
        rows.append(row)
    return Dataset.from_list(rows)


def make_trainer(
    folder: Path, tokenizer: PreTrainedTokenizerBase, examples: Dataset, **options: Any
) -> QuestionAnsweringTrainer:
    torch.manual_seed(0)
    sizes = {"vocab_size": len(tokenizer), "max_position_embeddings": 64}
    model = PalBertForQuestionAnswering(tiny_config("palbert", layers=2, **sizes, **options.pop("config", {})))
    windows = {"max_seq_length": 32, "doc_stride": 8}
    extra = {key: options.pop(key) for key in ("metric", "decoding", "callbacks") if key in options}
    return QuestionAnsweringTrainer(
        model=model,
        args=training_arguments(folder, **options),
        train_dataset=build_features(examples, tokenizer, training=True, **windows),
        eval_dataset=build_features(examples, tokenizer, training=False, **windows),
        eval_examples=examples,
        data_collator=DataCollatorWithPadding(tokenizer),
        **extra,
    )


def read(file: Path) -> Any:
    return json.loads(file.read_text(encoding="utf-8"))


def test_windows_are_batched_by_length_and_answered_in_order(
    tmp_path: Path, tokenizer: PreTrainedTokenizerBase, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = questions().to_list()
    for number, row in enumerate(rows):
        row["context"] = row["context"][: 16 + 8 * number]
        row["answers"] = {"text": [row["context"][3:5]], "answer_start": [3]}
    examples = Dataset.from_list(rows)
    options = {"per_device_eval_batch_size": 2, "metric": "cmrc2018"}
    trainer = make_trainer(tmp_path / "sorted", tokenizer, examples, **options)
    lengths: list[int] = []
    monkeypatch.setattr(trainer, "data_collator", _measure(trainer.data_collator, lengths))
    metrics = trainer.evaluate()
    assert lengths == sorted(lengths, reverse=True)
    assert len(set(lengths)) > 1
    unsorted = make_trainer(tmp_path / "unsorted", tokenizer, examples, **options)
    monkeypatch.setattr("transformers_palbert.training.trainer._lengths", lambda _: None)
    assert metrics["eval_f1"] == unsorted.evaluate()["eval_f1"]
    assert read(tmp_path / "sorted" / "eval_predictions.json") == read(tmp_path / "unsorted" / "eval_predictions.json")


def _measure(collate: Any, lengths: list[int]) -> Any:
    """``collate``, which tells the width of every batch."""

    def measured(rows: list[Any]) -> Any:
        batch = collate(rows)
        lengths.append(batch["input_ids"].shape[1])
        return batch

    return measured


def test_evaluation_scores_exactly_what_it_writes(tmp_path: Path, tokenizer: PreTrainedTokenizerBase) -> None:
    examples = questions()
    trainer = make_trainer(tmp_path / "out", tokenizer, examples, metric="cmrc2018")
    metrics = trainer.evaluate()
    predictions = read(tmp_path / "out" / "eval_predictions.json")
    assert list(predictions) == examples["id"][:]
    assert all(text in examples[0]["context"] for text in predictions.values())
    for name, value in compute_metric("cmrc2018", predictions, examples).items():
        assert metrics[f"eval_{name.lower()}"] == pytest.approx(value)
    nbest = read(tmp_path / "out" / "eval_nbest_predictions.json")
    assert [rows[0]["text"] for rows in nbest.values()] == list(predictions.values())
    assert len(trainer.eval_dataset) > len(examples)  # several windows each
    assert trainer.state.log_history[-1]["eval_f1"] == metrics["eval_f1"]
    assert metrics["eval_samples_per_second"] > 0


def test_training_with_pruning_improves_and_ends_exactly(tmp_path: Path, tokenizer: PreTrainedTokenizerBase) -> None:
    trainer = make_trainer(
        tmp_path / "out",
        tokenizer,
        questions(),
        callbacks=[MovementPruningCallback(0.5)],
        metric="cmrc2018",
        max_steps=30,
        eval_strategy="steps",
        eval_steps=15,
        learning_rate=1e-2,
    )
    trainer.train()
    history = [entry for entry in trainer.state.log_history if "eval_f1" in entry]
    assert [entry["step"] for entry in history] == [15, 30]
    assert history[-1]["eval_density_encoder"] == pytest.approx(0.5, abs=1e-3)
    losses = [entry["loss"] for entry in trainer.state.log_history if "loss" in entry]
    assert sum(losses[-5:]) < 0.8 * sum(losses[:5])


def test_unanswerable_questions(tmp_path: Path, tokenizer: PreTrainedTokenizerBase) -> None:
    examples = questions(answerable=False)
    # always answer nothing
    decoding = AnsweringSettings(version_2_with_negative=True, null_score_diff_threshold=-1e9)
    trainer = make_trainer(tmp_path / "out", tokenizer, examples, metric="squad_v2", decoding=decoding)
    metrics = trainer.evaluate()
    assert set(read(tmp_path / "out" / "eval_predictions.json").values()) == {""}
    odds = read(tmp_path / "out" / "eval_null_odds.json")
    assert list(odds) == examples["id"][:]
    assert metrics["eval_noans_f1"] == 100
    assert metrics["eval_hasans_f1"] == 0


def test_prediction_writes_its_own_files_and_scores_where_it_can(
    tmp_path: Path, tokenizer: PreTrainedTokenizerBase
) -> None:
    examples = questions()
    trainer = make_trainer(tmp_path / "out", tokenizer, examples, metric="cmrc2018")
    output = trainer.predict(trainer.eval_dataset, test_examples=examples)
    assert output.predictions.predictions == read(tmp_path / "out" / "test_predictions.json")
    assert "test_f1" in output.metrics
    unknown = examples.map(lambda row: {"answers": {"text": [], "answer_start": []}})  # noqa: ARG005
    output = trainer.predict(trainer.eval_dataset, test_examples=unknown)
    assert "test_f1" not in output.metrics
    assert not (tmp_path / "out" / "eval_predictions.json").exists()


def test_any_prefix_evaluates_and_writes_its_own_files(
    tmp_path: Path, tokenizer: PreTrainedTokenizerBase, monkeypatch: pytest.MonkeyPatch
) -> None:
    examples = questions()
    trainer = make_trainer(tmp_path / "out", tokenizer, examples, metric="cmrc2018")
    expected = trainer.evaluate()
    monkeypatch.setattr(trainer, "get_test_dataloader", None)  # would fail if it were used
    found = trainer.evaluate(metric_key_prefix="dev")
    assert found["dev_f1"] == expected["eval_f1"]
    assert read(tmp_path / "out" / "dev_predictions.json") == read(tmp_path / "out" / "eval_predictions.json")


def test_the_settings_are_saved_with_every_checkpoint(tmp_path: Path, tokenizer: PreTrainedTokenizerBase) -> None:
    decoding = AnsweringSettings(max_seq_length=32, doc_stride=8, max_answer_length=3)
    options = {"decoding": decoding, "max_steps": 2, "save_strategy": "steps", "save_steps": 1}
    trainer = make_trainer(tmp_path / "out", tokenizer, questions(), **options)
    trainer.train()
    for folder in ("checkpoint-1", "checkpoint-2"):
        assert read_settings(AutoConfig.from_pretrained(tmp_path / "out" / folder)) == decoding


def test_what_the_model_says_holds_where_nothing_is_given(tmp_path: Path, tokenizer: PreTrainedTokenizerBase) -> None:
    trainer = make_trainer(tmp_path, tokenizer, questions())
    assert trainer.decoding == AnsweringSettings()
    assert read_settings(trainer.model.config) is None  # how the windows were cut is not known
    trainer.model.config.question_answering = {"max_answer_length": 1}
    assert trainer.decoding.max_answer_length == 1
    trainer.evaluate()
    assert {len(text) for text in read(tmp_path / "eval_predictions.json").values()} == {1}


def test_windows_of_other_settings_are_refused(tmp_path: Path, tokenizer: PreTrainedTokenizerBase) -> None:
    trainer = make_trainer(tmp_path, tokenizer, questions(), decoding=AnsweringSettings(max_seq_length=24))
    with pytest.raises(ConfigurationError, match="holds 32 tokens, but decoding says max_seq_length=24"):
        trainer.evaluate()


def test_decoding_is_settings_and_no_dictionary(tmp_path: Path, tokenizer: PreTrainedTokenizerBase) -> None:
    with pytest.raises(ConfigurationError, match=r"decoding={'n_best_size': 3} must be settings"):
        make_trainer(tmp_path, tokenizer, questions(), decoding={"n_best_size": 3})


def test_a_metric_that_does_not_exist(tmp_path: Path, tokenizer: PreTrainedTokenizerBase) -> None:
    trainer = make_trainer(tmp_path, tokenizer, questions(), metric="accuracy")
    with pytest.raises(ConfigurationError, match="accuracy"):
        trainer.evaluate()


def test_evaluation_without_questions_names_the_cure(tmp_path: Path, tokenizer: PreTrainedTokenizerBase) -> None:
    trainer = make_trainer(tmp_path, tokenizer, questions())
    trainer.eval_examples = None
    with pytest.raises(ConfigurationError, match="eval_examples=questions"):
        trainer.evaluate()


def test_layer_wise_rates_reach_the_optimizer(tmp_path: Path, tokenizer: PreTrainedTokenizerBase) -> None:
    trainer = make_trainer(
        tmp_path,
        tokenizer,
        questions(),
        config={"layer_lr_decay": 0.5},
        callbacks=[MovementPruningCallback(0.5)],
        weight_decay=0.1,
        learning_rate=1e-3,
    )
    optimizer = trainer.create_optimizer()
    names = {id(parameter): name for name, parameter in trainer.model.named_parameters()}
    assert sum(len(group["params"]) for group in optimizer.param_groups) == len(names)
    for group in optimizer.param_groups:
        for parameter in group["params"]:
            name = names[id(parameter)]
            assert group["lr"] == pytest.approx(1e-3 * (0.25 if "embed" in name else 1))
            if name.endswith(("bias", "scores")) or "norm" in name.lower():
                assert group["weight_decay"] == 0


def test_an_optimizer_that_is_given_gets_layer_wise_rates(tmp_path: Path, tokenizer: PreTrainedTokenizerBase) -> None:
    trainer = make_trainer(tmp_path, tokenizer, questions(), config={"layer_lr_decay": 0.5})
    trainer.optimizer_cls_and_kwargs = (torch.optim.SGD, {"lr": 0.4, "momentum": 0.9})
    optimizer = trainer.create_optimizer()
    assert isinstance(optimizer, torch.optim.SGD)
    assert {group["lr"] for group in optimizer.param_groups} == {0.4, 0.1}
    other = make_trainer(tmp_path, tokenizer, questions(), config={"layer_lr_decay": 0.5})
    other.optimizer_cls_and_kwargs = (torch.optim.SGD, {"lr": 0.4, "params": []})
    with pytest.raises(ConfigurationError, match=r"SGD makes its own groups of parameters \(params\)"):
        other.create_optimizer()


@pytest.mark.parametrize(
    "options",
    [{"dataloader_drop_last": True}, {"eval_do_concat_batches": False}, {"batch_eval_metrics": True}],
    ids=str,
)
def test_an_evaluation_reads_all_windows(
    options: dict[str, Any], tmp_path: Path, tokenizer: PreTrainedTokenizerBase
) -> None:
    if "batch_eval_metrics" in options:
        options = {**options, "include_for_metrics": []}
    common = {"per_device_eval_batch_size": 5}
    trainer = make_trainer(tmp_path, tokenizer, questions(), **common, **options)
    assert len(trainer.eval_dataset) % 5
    expected = make_trainer(tmp_path / "plain", tokenizer, questions(), **common).evaluate()
    assert trainer.evaluate()["eval_f1"] == expected["eval_f1"]
    assert trainer.args.dataloader_drop_last is options.get("dataloader_drop_last", False)


def test_without_layer_wise_rates_the_optimizer_is_the_stock_one(
    tmp_path: Path, tokenizer: PreTrainedTokenizerBase
) -> None:
    trainer = make_trainer(tmp_path, tokenizer, questions(), weight_decay=0.1, learning_rate=1e-3)
    optimizer = trainer.create_optimizer()
    assert [(group["lr"], group["weight_decay"]) for group in optimizer.param_groups] == [(1e-3, 0.1), (1e-3, 0.0)]


def test_resuming_with_layer_wise_rates_is_bit_identical(tmp_path: Path, tokenizer: PreTrainedTokenizerBase) -> None:
    options = {
        "config": {"layer_lr_decay": 0.5},
        "max_steps": 6,
        "save_strategy": "steps",
        "save_steps": 3,
        "weight_decay": 0.1,
    }

    def make(folder: str) -> QuestionAnsweringTrainer:
        callbacks = [MovementPruningCallback(0.5)]
        return make_trainer(
            tmp_path / folder, tokenizer, questions(), callbacks=callbacks, **json.loads(json.dumps(options))
        )

    whole = make("whole")
    whole.train()
    resumed = make("resumed")
    resumed.train(resume_from_checkpoint=str(tmp_path / "whole" / "checkpoint-3"))
    state = whole.model.state_dict()
    assert all(torch.equal(tensor, state[name]) for name, tensor in resumed.model.state_dict().items())


def test_grouping_by_length_does_not_shuffle_the_evaluation(tmp_path: Path, tokenizer: PreTrainedTokenizerBase) -> None:
    """Trainer's own sampler would, and every answer would come from another question's logits."""
    examples = questions().map(lambda row, index: {"question": row["question"][index:]}, with_indices=True)
    plain = make_trainer(tmp_path / "a", tokenizer, examples)
    grouped = make_trainer(tmp_path / "b", tokenizer, examples, train_sampling_strategy="group_by_length")
    assert plain.evaluate()["eval_f1"] == grouped.evaluate()["eval_f1"]
    answers = [json.loads((tmp_path / name / "eval_predictions.json").read_text(encoding="utf-8")) for name in "ab"]
    assert answers[0] == answers[1]


@pytest.mark.parametrize("through_init", [False, True])
def test_a_teacher_joins_in_the_loss(through_init: bool, tmp_path: Path, tokenizer: PreTrainedTokenizerBase) -> None:
    config = tiny_config("palbert", layers=2, vocab_size=len(tokenizer), max_position_embeddings=64)
    asked = []
    teacher = PalBertForQuestionAnswering(config)
    teacher.register_forward_hook(lambda *_: asked.append(1))
    features = build_features(questions(), tokenizer, training=True, max_seq_length=32, doc_stride=8)
    source = {"model_init": lambda: PalBertForQuestionAnswering(config)}
    trainer = QuestionAnsweringTrainer(
        **source if through_init else {"model": PalBertForQuestionAnswering(config)},
        args=training_arguments(tmp_path, max_steps=3),
        train_dataset=features,
        data_collator=DataCollatorWithPadding(tokenizer),
        teacher=teacher,
    )
    trainer.train()
    assert len(asked) == 3
    trainer.save_model()
    kept = PalBertForQuestionAnswering.from_pretrained(tmp_path)
    assert sum(p.numel() for p in kept.parameters()) == sum(p.numel() for p in teacher.parameters())


def test_a_student_with_a_projection_goes_on_from_a_checkpoint_anywhere(
    tmp_path: Path, tokenizer: PreTrainedTokenizerBase
) -> None:
    def make(folder: str) -> QuestionAnsweringTrainer:
        torch.manual_seed(0)
        sizes = {"layers": 2, "vocab_size": len(tokenizer), "max_position_embeddings": 64}
        teacher = PalBertForQuestionAnswering(tiny_config("palbert", **sizes, hidden_size=24, num_attention_heads=3))
        student = PalBertForQuestionAnswering(tiny_config("palbert", **sizes))
        return QuestionAnsweringTrainer(
            model=with_teacher(student, teacher, hidden_states=1.0),
            args=training_arguments(tmp_path / folder, max_steps=4, save_strategy="steps", save_steps=2),
            train_dataset=build_features(questions(), tokenizer, training=True, max_seq_length=32, doc_stride=8),
            data_collator=DataCollatorWithPadding(tokenizer),
        )

    whole, resumed = make("whole"), make("resumed")
    whole.train()
    resumed.train(resume_from_checkpoint=str(tmp_path / "whole" / "checkpoint-2"))
    state = dict(whole.model.named_parameters())
    assert all(torch.equal(tensor, state[name]) for name, tensor in resumed.model.named_parameters())
    assert [log["loss_hidden"] for log in resumed.state.log_history if "loss" in log][-2:] == [
        log["loss_hidden"] for log in whole.state.log_history if "loss" in log
    ][-2:]


def test_a_callback_for_distillation_is_not_doubled(tmp_path: Path, tokenizer: PreTrainedTokenizerBase) -> None:
    for given in ([], [DistillationCallback()]):
        trainer = make_trainer(tmp_path, tokenizer, questions(), callbacks=given)
        assert sum(isinstance(one, DistillationCallback) for one in trainer.callback_handler.callbacks) == 1
