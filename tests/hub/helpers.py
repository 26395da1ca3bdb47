"""A tiny question-answering run whose parts the tests of the Hub share."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from datasets import Dataset
from transformers import BertTokenizer, DataCollatorWithPadding, PreTrainedModel, Trainer

from tests.pruning.helpers import make_trainer as make_stock_trainer
from tests.pruning.helpers import qa_batch, tiny_config, tiny_model, training_arguments
from transformers_palbert import MovementPruningCallback, PalBertForQuestionAnswering
from transformers_palbert.hub import ModelCardCallback
from transformers_palbert.qa.features import build_features
from transformers_palbert.training.trainer import QuestionAnsweringTrainer

PEOPLE = ("李明", "王芳", "张伟", "刘洋")
PLACES = ("北京", "上海", "广州", "成都")
CONTEXT = "，".join(f"{person}住在{place}" for person, place in zip(PEOPLE, PLACES, strict=True)) + "。"


def questions() -> Dataset:
    """One question per person."""
    return Dataset.from_list(
        [
            {
                "id": f"q{number}",
                "title": "",
                "context": CONTEXT,
                "question": f"{person}住在哪里？",
                "answers": {"text": [place], "answer_start": [CONTEXT.index(place)]},
            }
            for number, (person, place) in enumerate(zip(PEOPLE, PLACES, strict=True))
        ]
    )


def make_tokenizer(folder: Path) -> BertTokenizer:
    """A tokenizer of single characters."""
    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *sorted(set(CONTEXT + "哪里？"))]
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "vocab.txt").write_text("\n".join(words) + "\n", encoding="utf-8")
    return BertTokenizer(vocab=str(folder / "vocab.txt"))


def qa_trainer(folder: Path, **options: Any) -> QuestionAnsweringTrainer:
    """A PAL-BERT that is pruned to half its weights in six steps, evaluated before and on the way."""
    torch.manual_seed(0)
    tokenizer = make_tokenizer(folder.parent / "vocabulary")
    sizes = {"vocab_size": len(tokenizer), "max_position_embeddings": 64}
    model = PalBertForQuestionAnswering(tiny_config("palbert", layers=2, **sizes))
    windows = {"max_seq_length": 40, "doc_stride": 8}
    values: dict[str, Any] = {"max_steps": 6, "eval_strategy": "steps", "eval_steps": 3, "eval_on_start": True}
    return QuestionAnsweringTrainer(
        model=model,
        args=training_arguments(folder, **{**values, **options}),
        train_dataset=build_features(questions(), tokenizer, training=True, **windows),
        eval_dataset=build_features(questions(), tokenizer, training=False, **windows),
        eval_examples=questions(),
        metric="cmrc2018",
        processing_class=tokenizer,
        data_collator=DataCollatorWithPadding(tokenizer),
        callbacks=[MovementPruningCallback(0.5)],
    )


def stock_trainer(folder: Path, *, card: bool = True, kind: str = "bert", **options: Any) -> Trainer:
    """An unmodified Trainer with the two callbacks."""
    trainer = make_stock_trainer(
        folder, model=tiny_model(kind), callback=MovementPruningCallback(0.5), max_steps=4, **options
    )
    trainer.processing_class = make_tokenizer(folder.parent / "vocabulary")
    if card:
        trainer.add_callback(ModelCardCallback(trainer, language="zh"))
    return trainer


@torch.no_grad()
def logits(model: PreTrainedModel) -> torch.Tensor:
    """What ``model`` says to a fixed batch."""
    output = model.eval()(input_ids=qa_batch()["input_ids"] % model.config.vocab_size)
    return torch.stack([output.start_logits, output.end_logits])
