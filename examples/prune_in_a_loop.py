"""Prune a model in a training loop of your own: accelerate or plain PyTorch, and no Trainer.

    python examples/prune_in_a_loop.py --model bert-base-uncased --train train.json --output outputs/loop

The loop is :func:`train`; the rest reads the arguments and the data.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterable
from typing import Any

import torch
from accelerate import Accelerator
from torch.utils.data import DataLoader
from transformers import AutoModelForQuestionAnswering, AutoTokenizer, DataCollatorWithPadding

import transformers_palbert as palbert
from transformers_palbert.qa.features import build_features


def train(model: Any, batches: Iterable[dict[str, Any]], total_steps: int, sparsity: float, rate: float) -> None:
    """One pass over ``batches``, at the end of which ``sparsity`` of the encoder's weights are zero."""
    accelerator, config = Accelerator(), palbert.PruningConfig(target_sparsity=sparsity)
    print("To be pruned:", palbert.pruning_plan(model, config))
    palbert.prepare_pruning(model, config)
    optimizer = torch.optim.AdamW(model.parameters(), lr=rate)  # only now: the scores are parameters too
    pruner = palbert.Pruner(model, optimizer, config, total_steps=total_steps)
    wrapped, optimizer, batches = accelerator.prepare(model, optimizer, batches)
    for batch in batches:
        accelerator.backward(wrapped(**batch).loss)
        optimizer.step()
        optimizer.zero_grad()
    pruner.finish()


def main(argv: list[str] | None = None) -> None:
    """Parse the command line and run."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", required=True, help="folder or Hub id of a checkpoint")
    parser.add_argument("--train", required=True, help="questions, in any format that palbert.load_qa_dataset reads")
    parser.add_argument("--output", required=True, help="folder for the pruned model")
    parser.add_argument("--sparsity", type=float, default=0.7)
    parser.add_argument("--batch-size", type=int, default=16)
    parser.add_argument("--learning-rate", type=float, default=3e-5)
    options = parser.parse_args(argv)

    tokenizer = AutoTokenizer.from_pretrained(options.model)
    model = AutoModelForQuestionAnswering.from_pretrained(options.model)
    windows = build_features(palbert.load_qa_dataset(options.train, training=True), tokenizer, training=True)
    collate = DataCollatorWithPadding(tokenizer)
    batches = DataLoader(windows, options.batch_size, shuffle=True, collate_fn=collate)
    train(model.train(), batches, len(batches), options.sparsity, options.learning_rate)

    palbert.enable_sparse_saving(model)  # the file holds what is left, and no zeros
    model.save_pretrained(options.output)
    tokenizer.save_pretrained(options.output)


if __name__ == "__main__":
    main()
