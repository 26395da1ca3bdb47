"""Learn to read, prune, compare, ask: the whole package in about two minutes, offline, on a CPU.

    python examples/demo.py                      # or: make demo

1. Write a small Chinese question-answering set about invented people: only reading finds the answers.
2. Train a small ALBERT on it, from random weights.
3. Prune it to 70 % sparsity while it trains on.
4. Compare both on facts that neither has seen, and ask the pruned one three questions.
5. Ask the English model of model_cards, which was made of a real encoder and is smaller and faster than that.
"""

from __future__ import annotations

import argparse
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from datasets import Dataset, disable_progress_bars
from rich.console import Console
from rich.table import Table
from transformers import (
    AutoModelForQuestionAnswering,
    BertTokenizer,
    DataCollatorWithPadding,
    PreTrainedModel,
    PreTrainedTokenizerBase,
    TrainingArguments,
    pipeline,
    set_seed,
)
from transformers.utils import logging as transformers_logging

import transformers_palbert as palbert
from transformers_palbert.qa.features import build_features
from transformers_palbert.qa.invented_facts import make_cloze, make_questions, write_squad
from transformers_palbert.qa.settings import AnsweringSettings
from transformers_palbert.sizes import inspect_checkpoint
from transformers_palbert.training.lookup_initialization import initialize_for_lookup
from transformers_palbert.training.trainer import QuestionAnsweringTrainer

MIN_F1 = 80.0  # what the dense model must reach on unseen facts,
MAX_LOSS = 3.0  # and what the pruned one may lose against it, both in points of F1

HELD = Path(__file__).resolve().parents[1] / "model_cards" / "minilm-squad-fast"
RIVER = (
    "The Danube rises in the Black Forest and flows for about 2,850 kilometres before it reaches the Black Sea. It"
    " passes through ten countries, more than any other river, and through four capitals: Vienna, Bratislava, Budapest"
    " and Belgrade. A canal, opened in 1992, joins it to the Main and the Rhine."
)
ABOUT_THE_RIVER = {
    "Where does the Danube rise?": "Black Forest",
    "How many countries does the Danube pass through?": "ten",
    "When was the canal opened?": "1992",
}
"""Question -> answer."""


@dataclass(frozen=True)
class Size:
    """How much is made and trained; the tests use a tiny one."""

    passages: int = 3600
    test_passages: int = 100
    hidden: int = 128
    cloze_steps: int = 450
    question_steps: int = 450
    pruning_steps: int = 550


def main(argv: list[str], size: Size = Size()) -> bool:
    """Run the demo; returns whether both models are as good as promised."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output-dir", type=Path, default=Path("demo"), help="folder for data and models")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--sparsity", type=float, default=0.7, help="share of the encoder's weights to remove")
    args = parser.parse_args(argv)
    console = Console()
    transformers_logging.set_verbosity_error()
    transformers_logging.disable_progress_bar()  # of files; the training keeps its own
    disable_progress_bars()
    set_seed(args.seed)

    console.rule("1. Invented facts")
    train, test, cloze = write_data(args.output_dir, size, args.seed)
    console.print(f"{len(train)} questions to learn from, {len(test)} about other people to test; for example:")
    console.print(f"  [cyan]{test[0]['context']}[/]\n  {test[0]['question']} → {test[0]['answers']['text'][0]}")

    console.rule("2. Train from random weights: first gaps in the passages, then the questions")
    tokenizer = character_tokenizer(train)
    model = random_model(tokenizer, size)
    fit(model, tokenizer, cloze, args, "cloze", size.cloze_steps)
    dense = fit(model, tokenizer, train, args, "dense", size.question_steps, test)

    console.rule(f"3. Prune to {args.sparsity:.0%} sparsity while training on")
    callback = palbert.MovementPruningCallback(target_sparsity=args.sparsity, warmup=0.05, cooldown=0.4)
    pruned = fit(model, tokenizer, train, args, "pruned", size.pruning_steps, test, callback)

    console.rule("4. Compare, and ask")
    console.print(comparison(args.output_dir, {"dense": dense, "pruned": pruned}))
    ask(
        console, args.output_dir / "pruned", test.select(range(0, len(test), len(test) // 3)).select(range(3)).to_list()
    )

    console.rule(f"5. Ask {HELD.parent.name}/{HELD.name}, made of a real encoder")
    ask(console, HELD, [record(question, RIVER, answer) for question, answer in ABOUT_THE_RIVER.items()])
    return judge(console, dense["eval_f1"], pruned["eval_f1"])


def write_data(folder: Path, size: Size, seed: int) -> tuple[Dataset, Dataset, Dataset]:
    """Write ``train.json``, ``test.json`` and ``cloze.json``, and read them as any other data set."""
    folder.mkdir(parents=True, exist_ok=True)
    train = make_questions(size.passages, f"train-{seed}")
    parts = {
        "train": train,
        "test": make_questions(size.test_passages, f"test-{seed}"),
        "cloze": make_cloze(train, f"cloze-{seed}"),
    }
    for name, records in parts.items():
        write_squad(records, folder / f"{name}.json")
    load = palbert.load_qa_dataset
    return (
        load(folder / "train.json", training=True),
        load(folder / "test.json"),
        load(folder / "cloze.json", training=True),
    )


def character_tokenizer(train: Dataset) -> PreTrainedTokenizerBase:
    """A tokenizer that knows the characters of the training data, and their continuations in numbers."""
    characters = sorted({character for text in (*train["context"], *train["question"]) for character in text})
    digits = [f"##{digit}" for digit in "0123456789"]
    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *characters, *digits]
    return BertTokenizer(vocab={word: index for index, word in enumerate(words)}, model_max_length=160)


def random_model(tokenizer: PreTrainedTokenizerBase, size: Size) -> PreTrainedModel:
    """A small ALBERT: one layer, applied three times."""
    config = palbert.PalBertConfig(
        vocab_size=len(tokenizer),
        embedding_size=size.hidden,
        hidden_size=size.hidden,
        intermediate_size=2 * size.hidden,
        num_hidden_layers=3,
        num_attention_heads=4,
        hidden_act="gelu",
        initializer_range=0.08,
        max_position_embeddings=160,
    )
    # on a CPU, and for passages as short as these, plain attention trains faster than the fused kernel
    model = AutoModelForQuestionAnswering.from_config(config, attn_implementation="eager")
    initialize_for_lookup(model)
    return model


def fit(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    questions: Dataset,
    args: argparse.Namespace,
    name: str,
    steps: int,
    test: Dataset | None = None,
    callback: palbert.MovementPruningCallback | None = None,
) -> dict[str, float]:
    """Train ``model`` on ``questions``, save it as ``name``, and return its scores on ``test``."""
    decoding = AnsweringSettings(max_seq_length=160, doc_stride=32)
    windows = {"tokenizer": tokenizer, **decoding.windows}
    trainer = QuestionAnsweringTrainer(
        model=model,
        args=TrainingArguments(
            str(args.output_dir / name),
            max_steps=steps,
            per_device_train_batch_size=32,
            per_device_eval_batch_size=64,
            learning_rate=1e-3,
            warmup_steps=0.1,
            lr_scheduler_type="linear" if test is not None else "constant_with_warmup",
            bf16=bool(getattr(torch.cpu, "get_capabilities", dict)().get("avx512_bf16")),  # torch 2.11 and newer say it
            use_cpu=True,
            seed=args.seed,
            logging_strategy="no",
            save_strategy="no",
            report_to="none",
        ),
        train_dataset=build_features(questions, training=True, **windows),
        eval_dataset=None if test is None else build_features(test, training=False, **windows),
        eval_examples=test,
        metric="cmrc2018",
        decoding=decoding,
        processing_class=tokenizer,
        data_collator=DataCollatorWithPadding(tokenizer),
        callbacks=[callback] if callback else None,
    )
    trainer.train()
    trainer.save_model()
    return {} if test is None else trainer.evaluate()


def comparison(folder: Path, scores: dict[str, dict[str, float]]) -> Table:
    """One row per model; density and sizes are read from the saved files."""
    table = Table("model", "EM", "F1", "density", "parameters", "of them not zero", "bytes on disk")
    for name, metrics in scores.items():
        sizes = inspect_checkpoint(folder / name)
        table.add_row(
            name,
            f"{metrics['eval_em']:.1f}",
            f"{metrics['eval_f1']:.1f}",
            f"{sizes.encoder.density:.0%}",
            f"{sizes.total.numel:,}",
            f"{sizes.total.nonzero:,}",
            f"{sizes.file_bytes:,}",
        )
    table.caption = "density: of the encoder's matrices. The pruned file is packed: a zero takes a bit."
    return table


def record(question: str, context: str, answer: str) -> dict[str, Any]:
    """A question as data sets have them."""
    return {"question": question, "context": context, "answers": {"text": [answer]}}


def ask(console: Console, folder: Path, records: list[dict[str, Any]]) -> None:
    """Answer questions through the pipeline; marked right or wrong."""
    answer = pipeline("question-answering", model=str(folder), device="cpu")
    shown = ""
    for asked in records:
        found: dict[str, Any] = answer(question=asked["question"], context=asked["context"])
        right = found["answer"] in asked["answers"]["text"]
        mark = "[green]✓ right[/]" if right else f"[red]✗ wrong[/], it is {asked['answers']['text'][0]}"
        if asked["context"] != shown:
            console.print(f"[cyan]{asked['context']}[/]")
        shown = asked["context"]
        console.print(f"  {asked['question']} → [bold]{found['answer']}[/] ({found['score']:.2f}) {mark}")


def judge(console: Console, dense: float, pruned: float) -> bool:
    """Whether the dense model has learnt to read, and the pruned one still can."""
    if dense <= MIN_F1:
        console.print(f"[red]The dense model reaches F1 {dense:.1f}, not above {MIN_F1}.[/]")
    if pruned < dense - MAX_LOSS:
        console.print(f"[red]The pruned model loses {dense - pruned:.1f} points of F1, more than {MAX_LOSS}.[/]")
    return dense > MIN_F1 and pruned >= dense - MAX_LOSS


if __name__ == "__main__":
    sys.exit(0 if main(sys.argv[1:]) else 1)
