"""An ordinary Transformers script for extractive question answering, and the two lines that prune its model.

Nothing below is of this package but the lines marked with <--: stock model, stock tokenizer, stock Trainer.

    python examples/run_qa_stock.py --model bert-base-uncased --train train.json --output outputs/stock
"""

from __future__ import annotations

import argparse
from typing import Any

from datasets import load_dataset
from transformers import (
    AutoModelForQuestionAnswering,
    AutoTokenizer,
    DataCollatorWithPadding,
    Trainer,
    TrainingArguments,
)

import transformers_palbert as palbert  # <-- 1


def make_features(batch: dict[str, list[Any]], tokenizer: Any, max_length: int, stride: int) -> dict[str, Any]:
    """Windows of the contexts, with the first and last token of the answer as labels."""
    windows = tokenizer(
        [question.strip() for question in batch["question"]],
        batch["context"],
        truncation="only_second",
        max_length=max_length,
        stride=stride,
        return_overflowing_tokens=True,
        return_offsets_mapping=True,
    )
    starts, ends = [], []
    for window, example in enumerate(windows.pop("overflow_to_sample_mapping")):
        answers = batch["answers"][example]
        start = end = None
        if answers["answer_start"]:
            first = answers["answer_start"][0]
            start = windows.char_to_token(window, first, sequence_index=1)
            end = windows.char_to_token(window, first + len(answers["text"][0]) - 1, sequence_index=1)
        inside = start is not None and end is not None
        starts.append(start if inside else 0)
        ends.append(end if inside else 0)
    windows.pop("offset_mapping")
    return {**windows, "start_positions": starts, "end_positions": ends}


def main() -> None:
    """Parse the command line and run."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", required=True, help="folder or Hub id of a BERT-like checkpoint")
    parser.add_argument("--train", required=True, help="JSON Lines with question, context and answers")
    parser.add_argument("--output", required=True, help="folder for checkpoints and the final model")
    parser.add_argument("--epochs", type=float, default=3.0)
    parser.add_argument("--learning-rate", type=float, default=3e-5)
    parser.add_argument("--max-length", type=int, default=384)
    parser.add_argument("--stride", type=int, default=128)
    parser.add_argument("--cpu", action="store_true", help="train on the CPU even if there is a GPU")
    options = parser.parse_args()

    tokenizer = AutoTokenizer.from_pretrained(options.model)
    model = AutoModelForQuestionAnswering.from_pretrained(options.model)
    questions = load_dataset("json", data_files=options.train, split="train")
    features = questions.map(
        make_features,
        batched=True,
        remove_columns=questions.column_names,
        fn_kwargs={"tokenizer": tokenizer, "max_length": options.max_length, "stride": options.stride},
    )
    trainer = Trainer(
        model=model,
        args=TrainingArguments(
            options.output,
            num_train_epochs=options.epochs,
            learning_rate=options.learning_rate,
            use_cpu=options.cpu,
            report_to="none",
        ),
        train_dataset=features,
        processing_class=tokenizer,
        data_collator=DataCollatorWithPadding(tokenizer),
        callbacks=[palbert.MovementPruningCallback(target_sparsity=0.7)],  # <-- 2
    )
    trainer.train()
    trainer.save_model()


if __name__ == "__main__":
    main()
