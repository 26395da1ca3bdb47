"""Integrated gradients of a model that is made random from the top: do they show what it has learnt?

    python benchmarks/attribution_sanity.py --model outputs/squad/dense --data squad1_dev.json

The sanity check of Adebayo et al. (arXiv 1810.03292), on questions taken evenly from the data set: head, layers and
embeddings are made random one after another, and the attributions after each step are compared with those of the
trained model by Spearman's rank correlation, which must fall.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from machine import describe_run, write_result
from reduction import evenly
from runs import without_local_paths

from transformers_palbert.qa.datasets import load_qa_dataset
from transformers_palbert.reduction.sanity import randomization_check
from transformers_palbert.reduction.scorers.integrated_gradients import IntegratedGradientsScorer

NAME = "attribution_sanity"


def main() -> None:
    """Parse the command line and run."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", type=Path, required=True, help="folder of a fine-tuned question-answering model")
    parser.add_argument("--data", type=Path, required=True, help="questions to compare on")
    parser.add_argument("--questions", type=int, default=40, help="how many of them")
    parser.add_argument("--steps", type=int, default=24, help="points that gradients are taken at")
    parser.add_argument("--seed", type=int, default=0, help="of the random weights")
    args = parser.parse_args()
    chosen = evenly(load_qa_dataset(args.data), args.questions)
    scorer = IntegratedGradientsScorer.load(str(args.model), device="cpu", steps=args.steps)
    found = randomization_check(scorer, chosen["question"][:], chosen["context"][:], seed=args.seed)
    result = {
        "benchmark": "rank correlation of integrated gradients with those of the trained model",
        **describe_run(args.seed),
        "questions": len(chosen),
        "steps": args.steps,
        "parts": [vars(step) for step in found],
    }
    for step in found:
        print(f"random down to {step.part}: {step.correlation:.3f}", flush=True)
    names = {args.model: args.model.name, args.data.parent: args.data.parent.name}
    print(f"written to {write_result(NAME, without_local_paths(result, names))}")


if __name__ == "__main__":
    main()
