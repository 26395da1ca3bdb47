"""Shorten contexts of SQuAD 1.1 or CMRC 2018 dev: answers kept against tokens kept, by scorer.

    python benchmarks/reduction.py --data squad1_dev.json --fit-on train.json --sbert-model DIR --ig-model DIR
    python benchmarks/reduction.py --data cmrc2018_dev.json --name reduction_cmrc2018

Every scorer alone, and their fusions, keep a share of the tokens in two ways:

- of each context: the best of its passages that fit, what `palbert reduce --shares` does
- of the data set: all passages of at least one relevance, as with `palbert reduce --thresholds`, whose value is the one
  that leaves this share of all tokens; so a context keeps more where no passage stands out

An answer is kept if all of one of the reference answers is in passages that are kept. The weights of the fitted fusion
come from other questions, with answers. Fusions are compared with each scorer by the paired bootstrap over questions.

Scorers that take little time see the whole data set. Integrated gradients take seconds for a question, so that they,
and all fusions with them, are measured on `--ig-questions` of it, beside the other scorers on the same questions.
Scores are kept in `--work`, so that an interrupted run goes on when the command is repeated.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import datasets
import numpy as np
import numpy.typing as npt
from machine import RESULTS, describe_run, write_result
from runs import without_local_paths

from transformers_palbert.analysis.bootstrap import bootstrap_means, difference_of, estimate_of
from transformers_palbert.qa.datasets import load_qa_dataset
from transformers_palbert.qa.splitting import split_by_article
from transformers_palbert.reduction.building import ScoredDataset, score_dataset
from transformers_palbert.reduction.fusion import Fusion, fit_weights
from transformers_palbert.reduction.limits import Limit, Share, Threshold, choose
from transformers_palbert.reduction.passages import Passages
from transformers_palbert.reduction.plots import plot_curves
from transformers_palbert.reduction.records import Tally, answer_spans, holds_answer, keeps_answer
from transformers_palbert.reduction.settings import ReductionSettings

FloatArray = npt.NDArray[np.float64]
Row = tuple[dict[str, Any], Passages, dict[str, FloatArray]]


def kept(rows: Sequence[Row], fusion: Fusion, limit: Limit) -> tuple[FloatArray, float]:
    """Whether each question keeps an answer, 0 or 1; and the share of all tokens that is kept."""
    tally, answers = Tally(), []
    for record, row, scores in rows:
        chosen = choose(fusion(scores), row.tokens, limit)
        answers.append(float(keeps_answer(row, chosen, answer_spans(record["answers"]))))
        tally.add(row, chosen, record["answers"])
    return np.array(answers), tally.tokens_after / tally.tokens_before


def threshold_for(rows: Sequence[Row], fusion: Fusion, share: float) -> Threshold:
    """The least relevance that keeps no more than a share of all tokens; what answers there are has no part in it."""
    relevance = np.concatenate([fusion(scores) for _, _, scores in rows])
    falling = np.argsort(-relevance, kind="stable")
    tokens = np.cumsum(np.concatenate([row.tokens for _, row, _ in rows])[falling])
    values = relevance[falling]
    last = np.append(values[1:] < values[:-1], True)  # of several passages of one relevance
    fitting = values[last & (tokens <= share * tokens[-1])]
    return Threshold(float(fitting[-1]) if len(fitting) else 1.0)


CONTEXT, DATASET = "each context", "the data set"
"""What a share of the tokens is a share of."""


def limit_for(of: str, rows: Sequence[Row], fusion: Fusion, share: float) -> Limit:
    """The limit that keeps a share of the tokens of each context, or of the data set."""
    return Share(share) if of == CONTEXT else threshold_for(rows, fusion, share)


def fusions(scorers: Sequence[str], labelled: Sequence[Row]) -> dict[str, Fusion]:
    """Every scorer alone, and what becomes of all of them together; the beginning of the text has no part in that."""
    ways = {name: Fusion(weights={name: 1.0}) for name in scorers}
    fused = [name for name in scorers if name != "lead"]
    if len(fused) == 1:
        return ways
    equal = dict.fromkeys(fused, 1.0)
    ways |= {"fusion, equal weights": Fusion(weights=equal), "fusion, reciprocal ranks": Fusion("rrf", equal)}
    if labelled:
        parts = [{name: scores[name] for name in fused} for _, _, scores in labelled]
        weights = fit_weights(parts, [holds_answer(row, record["answers"]) for record, row, _ in labelled])
        ways["fusion, fitted weights"] = Fusion(weights=weights)
    return ways


def compared(answers: Mapping[str, FloatArray], seed: int) -> dict[str, Any]:
    """The share of answers that each way keeps, with its interval, and fusions minus scorers, paired."""
    names = list(answers)
    table = 100 * np.column_stack([answers[name] for name in names])
    drawn = bootstrap_means(table, seed=seed)
    means = dict(zip(names, table.mean(axis=0).tolist(), strict=True))
    column = {name: drawn[:, number] for number, name in enumerate(names)}
    result: dict[str, Any] = {"answers": {name: vars(estimate_of(means[name], column[name])) for name in names}}
    result["differences"] = {
        f"{fusion} minus {scorer}": vars(difference_of(means[fusion] - means[scorer], column[fusion] - column[scorer]))
        for fusion in names
        if fusion.startswith("fusion")
        for scorer in names
        if not scorer.startswith("fusion")
    }
    return result


def evenly(dataset: datasets.Dataset, count: int | None) -> datasets.Dataset:
    """So many questions taken evenly from a data set; all of them without a number."""
    count = min(count or len(dataset), len(dataset))
    return dataset.select([number * len(dataset) // count for number in range(count)])


def measure(
    args: argparse.Namespace, settings: ReductionSettings, questions: datasets.Dataset, fit_on: datasets.Dataset | None
) -> dict[str, Any]:
    """Tokens and answers kept by each way, on the questions."""
    print(f"{len(questions)} questions, {', '.join(settings.scorers)}", flush=True)
    scored = score(args, settings, questions)
    labelled = [] if fit_on is None else list(score(args, settings, fit_on))
    ways = fusions(settings.scorers, labelled)
    rows = [row for row in scored if answer_spans(row[0]["answers"])]
    points = []
    for of in (CONTEXT, DATASET):
        for share in args.shares:
            found = {name: kept(rows, fusion, limit_for(of, rows, fusion, share)) for name, fusion in ways.items()}
            tokens = {name: 100 * after for name, (_, after) in found.items()}
            result = compared({name: answers for name, (answers, _) in found.items()}, args.seed)
            points.append({"of": of, "share": share, "tokens_percent": tokens, **result})
            shown = (f"{name} {row['value']:.1f} ({tokens[name]:.1f})" for name, row in result["answers"].items())
            print(f"{share:.0%} of the tokens of {of}: answers kept, %: {', '.join(shown)}", flush=True)
    return {
        "questions": len(rows),
        "fitted_on": len(labelled) or None,
        "weights": {name: dict(fusion.weights) for name, fusion in ways.items() if "fitted" in name},
        "scorers": scored.scorers,
        "measured": scored.measured(),
        "seconds": scored.seconds,
        "points": points,
    }


def score(args: argparse.Namespace, settings: ReductionSettings, questions: datasets.Dataset) -> ScoredDataset:
    """Score the questions, or find what an earlier run left in the folder for scores."""
    return score_dataset(questions, settings, folder=args.work, processes=args.processes)


def curves(part: Mapping[str, Any]) -> dict[str, list[dict[str, float]]]:
    """The points of a part, as shares of the data set, as lines of a picture."""
    return {
        way: [
            {"tokens_share": point["tokens_percent"][way] / 100, "answers_share": point["answers"][way]["value"] / 100}
            for point in part["points"]
            if point["of"] == DATASET
        ]
        for way in part["points"][0]["answers"]
    }


def parse() -> argparse.Namespace:
    """Parse the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--name", default="reduction", help="of the files in benchmarks/results")
    parser.add_argument("--data", type=Path, required=True, help="questions to measure on")
    parser.add_argument("--questions", type=int, help="only so many of them, taken evenly")
    parser.add_argument("--fit-on", type=Path, help="other questions, to fit the weights on")
    parser.add_argument("--fit-questions", type=int, default=1000, help="how many of these")
    parser.add_argument("--sbert-model", help="folder of a sentence encoder")
    parser.add_argument("--ig-model", help="folder of a fine-tuned question-answering model")
    parser.add_argument("--ig-questions", type=int, default=300, help="questions that integrated gradients see")
    parser.add_argument("--ig-fit-questions", type=int, default=200, help="others of the same file, for the weights")
    parser.add_argument("--ig-steps", type=int, default=16)
    parser.add_argument("--shares", type=float, nargs="+", default=[0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8])
    parser.add_argument("--processes", type=int, default=1)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--batch-size", type=int, default=32, help="texts that pass through a model at once")
    parser.add_argument("--work", type=Path, default=Path("outputs/reduction"), help="folder for scores")
    parser.add_argument("--seed", type=int, default=0)
    return parser.parse_args()


def main() -> None:
    """Run."""
    args = parse()
    cheap = ReductionSettings(
        scorers=("lead", "bm25", *(["sbert"] if args.sbert_model else [])),
        sbert_model=args.sbert_model,
        device=args.device,
        batch_size=args.batch_size,
    )
    dataset = load_qa_dataset(args.data)
    training = None if args.fit_on is None else load_qa_dataset(args.fit_on, training=True)
    parts = [measure(args, cheap, evenly(dataset, args.questions), training and evenly(training, args.fit_questions))]
    plot_curves(curves(parts[0]), RESULTS / f"{args.name}.png")
    if args.ig_model:
        costly = replace(cheap, scorers=(*cheap.scorers, "ig"), ig_model=args.ig_model, ig_steps=args.ig_steps)
        # Its model knows the training questions: weights that were fitted on them would trust it too much.
        fit, rest = (dataset.select(part) for part in split_by_article(dataset.to_list(), (0.4, 0.6)))
        parts.append(measure(args, costly, evenly(rest, args.ig_questions), evenly(fit, args.ig_fit_questions)))
        plot_curves(curves(parts[1]), RESULTS / f"{args.name}_ig.png")
    result = {
        "benchmark": f"answers kept in shortened contexts, {args.data.name}",
        **describe_run(args.seed),
        "parts": parts,
    }
    folders = [args.data.parent, args.fit_on and args.fit_on.parent, args.sbert_model, args.ig_model]
    names = {Path(folder): Path(folder).name for folder in folders if folder}
    print(f"written to {write_result(args.name, without_local_paths(result, names))}")


if __name__ == "__main__":
    main()
