"""Answer all questions of many files on many machines with Ray Data.

    pip install 'ray[data]'
    python examples/answer_ray_data.py --model my-model --questions s3://bucket/questions --output s3://bucket/answers

THIS SCRIPT HAS NOT BEEN RUN: the tests of this project have no Ray. They call `Answerer`, which answers a batch,
without it; the rest follows Ray's documentation. Try it on a few questions before you trust it with many.

Every worker loads the model once and keeps it. `--workers` is how many there are; with GPUs, `--gpus 1` gives one to
each of them.
"""

from __future__ import annotations

import argparse
from typing import Any

ANSWER = ("answer", "score", "start", "end")


class Answerer:
    """A worker: loads the model when it starts, then answers batches.

    Args:
        model: Folder or Hub id of a question-answering model; every machine must be able to read it.
        device: Where to compute: `cpu`, `cuda`.
        batch_size: Windows that go through the model at once.
    """

    def __init__(self, model: str, device: str = "cpu", batch_size: int = 16) -> None:
        from transformers import pipeline

        import transformers_palbert  # noqa: F401  (brings back the question-answering pipeline, in every worker)

        task: Any = "question-answering"
        self.pipe, self.batch_size = pipeline(task, model=model, device=device), batch_size

    def __call__(self, batch: dict[str, Any]) -> dict[str, Any]:
        """The columns of a batch, and the best answer to every question of it."""
        columns = {name: [str(text) for text in batch[name]] for name in ("question", "context")}
        found = self.pipe(**columns, batch_size=self.batch_size)
        answers = [found] if isinstance(found, dict) else found  # for one question there is no list
        return {**batch, **{name: [answer[name] for answer in answers] for name in ANSWER}}


def main(arguments: list[str] | None = None) -> None:
    """Parse the command line and run."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", required=True, help="folder or Hub id that every machine can read")
    parser.add_argument("--questions", required=True, help="JSON Lines with id, question and context")
    parser.add_argument("--output", required=True, help="folder for JSON Lines with the answers")
    parser.add_argument("--workers", type=int, default=2, help="how many times the model is loaded")
    parser.add_argument("--cpus", type=int, default=4, help="cores of each worker")
    parser.add_argument("--gpus", type=int, default=0, help="GPUs of each worker")
    parser.add_argument("--batch-size", type=int, default=16, help="windows that go through the model at once")
    args = parser.parse_args(arguments)

    import ray

    device = "cuda" if args.gpus else "cpu"
    answered = ray.data.read_json(args.questions, lines=True).map_batches(
        Answerer,
        fn_constructor_kwargs={"model": args.model, "device": device, "batch_size": args.batch_size},
        concurrency=args.workers,
        num_cpus=args.cpus,
        num_gpus=args.gpus,
        batch_size=16 * args.batch_size,
    )
    answered.write_json(args.output)


if __name__ == "__main__":
    main()
