r"""Fine-tune a question-answering model: what `palbert train` does, step by step, to be changed into a script of yours.

    python examples/run_qa.py --model_name_or_path voidful/albert_chinese_large --dataset_name hfl/cmrc2018 \
        --metric cmrc2018 --do_train --do_eval --target_sparsity 0.7 --output_dir outputs/cmrc
    python examples/run_qa.py paper_cmrc2018.yaml --learning_rate 1e-5 --output_dir outputs/mine    # a recipe, changed

Run it again with the same --output_dir and it goes on from the last checkpoint that was written to its end.

`prepare` makes config, tokenizer, model, questions and windows with the functions of
`transformers_palbert.training.setup`; put your own in their place where you do something else. What the steps use is in
`run`: `run.trainer` is a `QuestionAnsweringTrainer`, so `run.trainer.add_callback(…)` works as with any Trainer.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence

from transformers_palbert.training.option_parser import run_script
from transformers_palbert.training.question_answering import evaluate, parse, predict, prepare, publish, train


def main(argv: Sequence[str]) -> dict[str, float]:
    """Run the script; returns the metrics of the last thing it did."""
    arguments = parse(argv, description=__doc__ or "")
    run = prepare(arguments)
    metrics: dict[str, float] = {}
    if arguments.training.do_train:
        metrics = train(run)  # or goes on from the last whole checkpoint; saves model and state
    if arguments.training.do_eval:
        metrics = evaluate(run)  # answers the validation questions; writes eval_predictions.json
    if arguments.training.do_predict:
        metrics = predict(run)  # answers the test questions; writes test_predictions.json
    publish(run)  # the card, the answers as CSV, a stock copy, the push: what was asked for
    return metrics


if __name__ == "__main__":
    sys.exit(run_script(main, sys.argv[1:]))
