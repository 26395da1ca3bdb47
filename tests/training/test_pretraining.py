from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch.nn.functional import cross_entropy
from transformers import EvalPrediction, PreTrainedTokenizerFast, TrainingArguments

from tests.pretraining.helpers import tokenizer, write
from transformers_palbert import PalBertConfig, PalBertForPreTraining
from transformers_palbert.errors import ConfigurationError
from transformers_palbert.training.pretraining import (
    PreTrainingArguments,
    PreTrainingTrainer,
    make_collator,
    score_batch,
    split_corpus,
    summarize,
)

TOKENIZER = tokenizer()
SHAPE: dict[str, Any] = {
    "vocab_size": len(TOKENIZER),
    "embedding_size": 8,
    "hidden_size": 16,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 32,
}


def arguments(**options: Any) -> PreTrainingArguments:
    defaults = {"corpus_dir": "corpus", "max_seq_length": 40, "eval_documents": 10}
    return PreTrainingArguments(**(defaults | options))


def make_trainer(output: str, **options: Any) -> PreTrainingTrainer:
    data = arguments(train_file=[write("a.txt", 60)])
    corpus = data.open_corpus(TOKENIZER)
    train, held_out = split_corpus(corpus, data, seed=5)
    torch.manual_seed(0)
    model = PalBertForPreTraining(PalBertConfig(**SHAPE | {"hidden_dropout_prob": 0.1}))
    args = TrainingArguments(
        output, use_cpu=True, report_to="none", disable_tqdm=True, save_strategy="no", learning_rate=1e-2, **options
    )
    return PreTrainingTrainer(model, args, train, make_collator(corpus, TOKENIZER, data), held_out)


def test_the_last_documents_are_never_trained_on() -> None:
    data = arguments(train_file=[write("a.txt", 60)])
    corpus = data.open_corpus(TOKENIZER)
    train, held_out = split_corpus(corpus, data, seed=5)
    border = corpus.documents[-11]
    assert train.chunks.max() <= border <= held_out.chunks.min()
    assert held_out.chunks.max() == corpus.documents[-1]
    assert (train.seed, held_out.seed) == (5, 0)  # figures of different seeds are of the same masks
    assert len(split_corpus(corpus, arguments(eval_documents=0), seed=5)[1]) == 0


def test_scores_are_those_of_the_definitions() -> None:
    generator = torch.Generator().manual_seed(0)
    tokens, order = torch.randn(4, 3, 7, generator=generator), torch.randn(4, 2, generator=generator)
    labels = torch.tensor([[1, 2, -100], [3, -100, -100], [0, 6, 5], [4, 4, -100]])
    swapped = torch.tensor([0, 1, 1, 0])
    scores = score_batch((tokens, order), (labels, swapped))
    assert scores.shape == (4, 5)
    got = summarize(EvalPrediction(predictions=scores.numpy(), label_ids=None))  # type: ignore[arg-type]
    real = labels != -100
    assert got == pytest.approx(
        {
            "mlm_loss": cross_entropy(tokens[real], labels[real]).item(),
            "mlm_accuracy": (tokens[real].argmax(-1) == labels[real]).float().mean().item(),
            "sop_loss": cross_entropy(order, swapped).item(),
            "sop_accuracy": (order.argmax(-1) == swapped).float().mean().item(),
        }
    )


def test_it_learns_and_says_how_fast() -> None:
    trainer = make_trainer("out", max_steps=60, per_device_train_batch_size=16, logging_steps=20)
    before = trainer.evaluate()
    trainer.train()
    after = trainer.evaluate()
    assert after["eval_mlm_loss"] < before["eval_mlm_loss"] - 0.1
    assert {"eval_mlm_accuracy", "eval_sop_loss", "eval_sop_accuracy"} <= after.keys()
    logs = [each for each in trainer.state.log_history if "loss" in each]
    assert len(logs) == 3
    assert all(each["tokens_per_second"] > 0 for each in logs)


def test_evaluation_does_not_depend_on_the_batch_size() -> None:
    trainer = make_trainer("out")
    small, large = (trainer.evaluate() for trainer.args.per_device_eval_batch_size in (1, 16))
    names = ["eval_mlm_loss", "eval_mlm_accuracy", "eval_sop_loss", "eval_sop_accuracy"]
    assert [small[name] for name in names] == pytest.approx([large[name] for name in names], rel=1e-5)


def test_every_epoch_shows_other_masks() -> None:
    trainer = make_trainer("out", num_train_epochs=3, per_device_train_batch_size=16)
    seen: list[list[int]] = []
    collate = trainer.data_collator

    def watch(examples: Any) -> Any:
        seen.extend(list(example) for example in examples)
        return collate(examples)

    trainer.data_collator = watch
    trainer.train()
    epochs, count = np.array(seen)[:, 1].reshape(3, -1), len(trainer._epochs)
    assert (epochs == np.array([[0], [1], [2]])).all()
    numbers = np.array(seen)[:, 2].reshape(3, count)
    assert (np.sort(numbers, axis=1) == np.arange(count)).all()
    assert not (numbers[0] == numbers[1]).all()


def test_the_loss_of_accumulated_batches_is_a_mean() -> None:
    trainer = make_trainer(
        "out", max_steps=2, gradient_accumulation_steps=4, logging_steps=1, per_device_train_batch_size=4
    )
    trainer.train()
    losses = [each["loss"] for each in trainer.state.log_history if "loss" in each]
    assert losses == pytest.approx([np.log(len(TOKENIZER)) + np.log(2)] * 2, rel=0.2)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"masked_words": "all"}, "masked_words='all'"),
        ({"max_ngram": 0}, "max_ngram=0"),
        ({"mask_rate": 1.0}, "mask_rate=1.0"),
        ({"short_probability": -0.1}, "short_probability=-0.1"),
        ({"eval_documents": -1}, "eval_documents=-1"),
    ],
)
def test_bad_options_are_explained(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigurationError, match=message):
        arguments(**options)


def test_a_corpus_that_cannot_be_used_is_explained() -> None:
    with pytest.raises(ConfigurationError, match="give --train_file, --qa_train_file or --corpus_dir"):
        arguments(corpus_dir=None).open_corpus(TOKENIZER)
    corpus = arguments(train_file=[write("a.txt", 10)]).open_corpus(TOKENIZER)
    with pytest.raises(ConfigurationError, match="eval_documents=10 of the 10 documents leave none"):
        split_corpus(corpus, arguments(), seed=0)
    Path("b.txt").write_text("我\n\n们\n\n是")
    short = arguments(train_file=["b.txt"], corpus_dir="short", eval_documents=1).open_corpus(TOKENIZER)
    with pytest.raises(ConfigurationError, match="too short to make an example"):
        split_corpus(short, arguments(eval_documents=1), seed=0)
    bare = PreTrainedTokenizerFast(tokenizer_object=TOKENIZER.backend_tokenizer, pad_token="[PAD]", cls_token="[CLS]")
    with pytest.raises(ConfigurationError, match="special tokens sep, mask"):
        make_collator(corpus, bare, arguments())


def test_without_a_folder_the_corpus_is_kept_in_the_cache(monkeypatch: pytest.MonkeyPatch, tmp_path: Any) -> None:
    monkeypatch.setattr("transformers_palbert.training.pretraining.HF_HOME", str(tmp_path / "home"))
    corpus = arguments(train_file=write("a.txt", 10), corpus_dir=None).open_corpus(TOKENIZER)
    assert corpus.folder.parent == tmp_path / "home" / "transformers_palbert" / "corpora"
    assert corpus.folder.name == corpus.facts["key"]
