"""A teacher's logits on disk: the same loss without the teacher, and never those of another teacher or other data."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest
import torch
from datasets import Dataset, load_from_disk
from torch import Tensor
from transformers import (
    AutoModelForSequenceClassification,
    AutoModelForTokenClassification,
    DataCollatorForTokenClassification,
    DataCollatorWithPadding,
    PreTrainedModel,
    Trainer,
    set_seed,
)

from tests.pruning.helpers import tiny_config, tiny_model, training_arguments
from tests.references.small_tokenizers import wordpiece
from transformers_palbert import TeacherLogitsCollator, cache_teacher, with_teacher
from transformers_palbert.errors import ConfigurationError
from transformers_palbert.training.distillation.cached_logits import COLUMNS
from transformers_palbert.training.trainer import QuestionAnsweringTrainer

LENGTHS = [9, 4, 7, 2, 6, 3]
SIZE = 80


def features(labels: str = "positions", **changes: Any) -> Dataset:
    generator = torch.Generator().manual_seed(0)
    rows = []
    for number, length in enumerate(LENGTHS):
        ids = torch.randint(5, 40, (length,), generator=generator).tolist()
        row = {"input_ids": ids, "attention_mask": [1] * length, "token_type_ids": [0] * length}
        if labels == "positions":
            row |= {"start_positions": number % length, "end_positions": number % length}
        else:
            row["labels"] = number % 3 if labels == "text" else [number % 3] * length
        rows.append({**row, **changes})
    return Dataset.from_list(rows)


def teacher(seed: int = 1, **changes: Any) -> PreTrainedModel:
    return tiny_model("bert", seed=seed, vocab_size=SIZE, **changes)


def student() -> PreTrainedModel:
    return tiny_model("albert", vocab_size=SIZE)


def batch_of(dataset: Dataset, collate: Any, rows: range) -> dict[str, Tensor]:
    return collate([dataset[row] for row in rows])


def collator(side: str = "right") -> DataCollatorWithPadding:
    return DataCollatorWithPadding(wordpiece(padding_side=side))


@pytest.mark.parametrize("side", ["right", "left"])
def test_the_loss_is_that_of_the_teacher_itself(side: str) -> None:
    collate, plain = collator(side), features()
    cached = cache_teacher(plain, teacher().train(), collate, batch_size=3)
    assert [len(row) for row in cached["teacher_start_logits"]] == LENGTHS
    for rows, exact in ((range(3), True), (range(3, 6), True), (range(1, 5), False)):
        with_it = with_teacher(student().train(), teacher())(**batch_of(plain, collate, rows))
        batch = batch_of(cached, TeacherLogitsCollator(collate), rows)
        without = with_teacher(student().train(), None)(**batch)
        if exact:
            assert torch.equal(without.loss, with_it.loss)
        if side == "left":  # where padding shifts the positions
            continue
        torch.testing.assert_close(without.loss, with_it.loss, rtol=1e-5, atol=1e-6)
        assert without.keys() == with_it.keys()


@pytest.mark.parametrize("of", ["text", "tokens"])
def test_classifiers(of: str) -> None:
    tokenizer = wordpiece()
    auto: Any = AutoModelForSequenceClassification if of == "text" else AutoModelForTokenClassification
    kind: Any = DataCollatorWithPadding if of == "text" else DataCollatorForTokenClassification
    models = []
    for seed in (0, 1):
        set_seed(seed)
        config = tiny_config("bert", vocab_size=SIZE)
        config.num_labels = 3
        models.append(auto.from_config(config))
    plain = features(of)
    cached = cache_teacher(plain, models[1], kind(tokenizer), batch_size=4)
    losses = []
    for dataset, collate, known in (
        (plain, kind(tokenizer), models[1]),
        (cached, TeacherLogitsCollator(kind(tokenizer)), None),
    ):
        model = with_teacher(copy.deepcopy(models[0]).train(), known)
        losses.append(model(**batch_of(dataset, collate, range(4))).loss)
    assert torch.equal(*losses)


def test_a_second_run_asks_nobody(tmp_path: Path) -> None:
    features().save_to_disk(tmp_path / "data")
    data = load_from_disk(tmp_path / "data")
    asked = []
    for model in (teacher(), teacher()):
        model.register_forward_hook(lambda *_: asked.append(1))
        cached = cache_teacher(data, model, collator(), folder=tmp_path / "cache", batch_size=3)
    assert len(asked) == 2
    assert len(list((tmp_path / "cache").iterdir())) == 1
    assert cached.column_names == [*data.column_names, *COLUMNS[:2]]


@pytest.mark.parametrize("change", ["weight", "setting", "dtype", "data", "batches"])
def test_whatever_changes_is_asked_anew(tmp_path: Path, change: str) -> None:
    first = cache_teacher(features(), teacher(), collator(), folder=tmp_path, batch_size=3)
    model, data, size = teacher(), features(), 3
    if change == "weight":
        with torch.no_grad():
            model.qa_outputs.bias[0] += 1
    elif change == "setting":
        model.config.layer_norm_eps = 0.5
        for module in model.modules():
            if isinstance(module, torch.nn.LayerNorm):
                module.eps = 0.5
    elif change == "dtype":
        model = model.to(torch.bfloat16)
    elif change == "data":
        data = features(token_type_ids=[1, 1])
        data = data.remove_columns("token_type_ids")
    else:
        size = 2
    second = cache_teacher(data, model, collator(), folder=tmp_path, batch_size=size)
    assert len(list(tmp_path.iterdir())) == 2
    assert second._fingerprint != first._fingerprint
    if change in ("weight", "setting", "dtype"):
        assert second["teacher_start_logits"][:] != first["teacher_start_logits"][:]


def test_a_trainer_learns_from_cached_logits(tmp_path: Path) -> None:
    ends = []
    for cached in (False, True):
        plain, collate = features(), collator()
        data = cache_teacher(plain, teacher(), collate, batch_size=2) if cached else plain
        trainer = QuestionAnsweringTrainer(
            model=with_teacher(student(), None if cached else teacher()),
            args=training_arguments(tmp_path, max_steps=6, per_device_train_batch_size=2),
            train_dataset=data,
            data_collator=TeacherLogitsCollator(collate) if cached else collate,
        )
        trainer.train()
        ends.append([entry["loss_logits"] for entry in trainer.state.log_history if "loss" in entry])
    assert ends[1] == pytest.approx(ends[0], rel=1e-4)
    assert len(ends[0]) == 6


def test_a_model_without_a_teacher_is_not_given_the_logits_of_one(tmp_path: Path) -> None:
    trainer = QuestionAnsweringTrainer(
        model=student(),
        args=training_arguments(tmp_path, per_device_train_batch_size=2),
        train_dataset=cache_teacher(features(), teacher(), collator()),
        data_collator=TeacherLogitsCollator(collator()),
    )
    assert not set(COLUMNS) & set(next(iter(trainer.get_train_dataloader())))


def test_a_stock_trainer_keeps_the_columns_if_it_is_told_to(tmp_path: Path) -> None:
    def train(**arguments: Any) -> Trainer:
        trainer = Trainer(
            model=with_teacher(student(), None),
            args=training_arguments(tmp_path, max_steps=2, **arguments),
            train_dataset=cache_teacher(features(), teacher(), collator()),
            data_collator=TeacherLogitsCollator(collator()),
        )
        trainer.train()
        return trainer

    assert train(remove_unused_columns=False).state.global_step == 2
    with pytest.raises(ConfigurationError, match="remove_unused_columns=False"):
        train()


def test_evaluation_needs_no_logits() -> None:
    batch = batch_of(features(), TeacherLogitsCollator(collator()), range(3))
    assert not set(COLUMNS) & set(batch)
    assert with_teacher(student().eval(), None)(**batch).loss.isfinite()


def test_a_collator_passes_on_its_tokenizer() -> None:
    collate = collator()
    assert TeacherLogitsCollator(collate).tokenizer is collate.tokenizer
    assert TeacherLogitsCollator(lambda rows: {"rows": rows}).tokenizer is None


def test_what_is_refused() -> None:
    data = cache_teacher(features(), teacher(), collator())
    with pytest.raises(ConfigurationError, match="holds teacher_end_logits, teacher_start_logits already"):
        cache_teacher(data, teacher(), collator())
    with pytest.raises(ConfigurationError, match="BertModel returns no logits"):
        cache_teacher(features(), teacher().bert, collator())


def test_a_teacher_in_training_is_asked_without_dropout() -> None:
    model = teacher(dropout=0.5)
    expected = cache_teacher(features(), model.eval(), collator())["teacher_start_logits"][:]
    assert cache_teacher(features(), model.train(), collator())["teacher_start_logits"][:] == expected
    assert model.training


def test_the_side_of_the_padding_is_part_of_the_key(tmp_path: Path) -> None:
    found = [
        cache_teacher(features(), teacher(), collator(side), folder=tmp_path, batch_size=6)
        for side in ("right", "left")
    ]
    assert found[0]["teacher_start_logits"][:] != found[1]["teacher_start_logits"][:]
