"""Answer all questions of a data set with `Dataset.map`, which never holds all of it in memory.

    python examples/answer_dataset.py --model my-model --questions many.jsonl --output answers

The output is a data set with the columns of the input and `answer`, `score`, `start` and `end`. A run that is killed
begins again; `palbert answer --questions many.jsonl --out answers.jsonl` goes on where it was cut off instead.
"""

from __future__ import annotations

import argparse
from typing import Any

from datasets import load_dataset
from transformers import pipeline

import transformers_palbert  # noqa: F401  (brings back the question-answering pipeline)

ANSWER = ("answer", "score", "start", "end")


def answer_batch(batch: dict[str, list[Any]], pipe: Any, batch_size: int) -> dict[str, list[Any]]:
    """The best answer to every question of a batch, as columns."""
    found = pipe(question=batch["question"], context=batch["context"], batch_size=batch_size)
    answers = [found] if isinstance(found, dict) else found  # for one question there is no list
    return {name: [answer[name] for answer in answers] for name in ANSWER}


def main(arguments: list[str] | None = None) -> None:
    """Parse the command line and run."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", required=True, help="folder or Hub id of a question-answering model")
    parser.add_argument("--questions", required=True, help="JSON Lines with question and context")
    parser.add_argument("--output", required=True, help="folder for the data set with the answers")
    parser.add_argument("--batch-size", type=int, default=16, help="windows that go through the model at once")
    args = parser.parse_args(arguments)

    questions = load_dataset("json", data_files=args.questions, split="train")
    task: Any = "question-answering"
    pipe = pipeline(task, model=args.model)
    # Many batches at a time, so that the pipeline can put windows of nearly one length together. The model uses all
    # cores by itself: num_proc would load it once more for each process.
    answered = questions.map(
        answer_batch,
        batched=True,
        batch_size=16 * args.batch_size,
        fn_kwargs={"pipe": pipe, "batch_size": args.batch_size},
        desc="Answering",
    )
    answered.save_to_disk(args.output)
    print(f"{len(answered):,} answers in {args.output}")


if __name__ == "__main__":
    main()
