r"""Pre-train ALBERT on text: what `palbert pretrain` does, step by step, to be changed into a script of yours.

    python examples/run_pretraining.py --train_file corpus.txt.xz --tokenizer_name vocab.txt --masked_words jieba \
        --config_overrides hidden_size=384,num_hidden_layers=6,num_attention_heads=6,intermediate_size=1536 \
        --max_steps 20000 --do_train --do_eval --output_dir outputs/pretrained

What comes out is fine-tuned like any checkpoint:

    python examples/run_qa.py --model_name_or_path outputs/pretrained --train_file cmrc2018_train.json …

`palbert pretrain --help` says more: corpora that are tokenized beforehand, and long runs in pieces.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence

from transformers_palbert.training.option_parser import run_script
from transformers_palbert.training.pretraining_run import evaluate, make_corpus, parse, prepare, publish, train


def main(argv: Sequence[str]) -> dict[str, float]:
    """Run the script; returns the metrics of the last thing it did."""
    arguments = parse(argv, description=__doc__ or "")
    if arguments.data.prepare:
        return make_corpus(arguments)
    run = prepare(arguments)  # run.trainer is a PreTrainingTrainer
    metrics: dict[str, float] = {}
    if arguments.training.do_train:
        metrics = train(run)  # or goes on from the last whole checkpoint; saves model, vocabulary and state
    if arguments.training.do_eval and not run.stopped:
        metrics = evaluate(run)  # on the held-out documents
    publish(run)  # the card, and the push if that was asked for
    return metrics


if __name__ == "__main__":
    sys.exit(run_script(main, sys.argv[1:]))
