"""Shorten contexts of SQuAD 1.1 or CMRC 2018 dev: answers kept against tokens kept, by scorer.

    python benchmarks/reduction.py --data squad1_dev.json --fit-on train.json --sbert-model DIR --ig-model DIR

Every scorer alone, and their fusions, keep the best passages that fit into a share of each context's tokens. An answer
is kept if all of one of the reference answers is in passages that are kept. The weights of the fitted fusion come from
other questions, with answers. Fusions are compared with every scorer by the paired bootstrap over questions. Scores are
kept in `--work`, so that an interrupted run goes on when the command is repeated.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from machine import describe_run, write_result

from transformers_palbert.analysis.bootstrap import bootstrap_means, difference_of, estimate_of
from transformers_palbert.qa.datasets import load_qa_dataset
from transformers_palbert.reduction.building import ScoredDataset, score_dataset
from transformers_palbert.reduction.fusion import Fusion, fit_weights
from transformers_palbert.reduction.limits import Share, choose
from transformers_palbert.reduction.passages import Passages
from transformers_palbert.reduction.records import answer_spans, holds_answer, keeps_answer
from transformers_palbert.reduction.settings import ReductionSettings

FloatArray = npt.NDArray[np.float64]
Row = tuple[dict[str, Any], Passages, dict[str, FloatArray]]


def kept(rows: list[Row], fusion: Fusion, share: float) -> tuple[FloatArray, float]:
    """Whether each question with an answer keeps one, 0 or 1; and the share of the tokens that is kept."""
    answers, before, after = [], 0, 0
    for record, row, scores in rows:
        spans = answer_spans(record["answers"])
        if not spans:
            continue
        chosen = choose(fusion(scores), row.tokens, Share(share))
        answers.append(float(keeps_answer(row, chosen, spans)))
        before += sum(row.tokens)
        after += int(np.asarray(row.tokens)[chosen].sum())
    return np.array(answers), after / before


def fusions(settings: ReductionSettings, fitted_on: ScoredDataset | None) -> dict[str, Fusion]:
    """Every scorer alone, and what becomes of all of them together; the beginning of the text has no part in that."""
    ways = {name: Fusion(weights={name: 1.0}) for name in settings.scorers}
    fused = [name for name in settings.scorers if name != "lead"]
    if len(fused) == 1:
        return ways
    equal = dict.fromkeys(fused, 1.0)
    ways |= {"fusion, equal weights": Fusion(weights=equal), "fusion, reciprocal ranks": Fusion("rrf", equal)}
    if fitted_on is not None:
        labelled = [(scores, holds_answer(row, record["answers"])) for record, row, scores in fitted_on]
        parts = [{name: scores[name] for name in fused} for scores, _ in labelled]
        weights = fit_weights(parts, [holds for _, holds in labelled])
        ways["fusion, fitted weights"] = Fusion(weights=weights)
    return ways


def compared(answers: dict[str, FloatArray], seed: int) -> dict[str, Any]:
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


def part(file: Path, count: int | None, training: bool = False) -> Any:
    """Questions taken evenly from a file."""
    dataset = load_qa_dataset(file, training=training)
    step = max(len(dataset) // (count or len(dataset)), 1)
    return dataset.select(range(0, len(dataset), step)[:count])


def main() -> None:
    """Parse the command line and run."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--name", default="reduction", help="of the file in benchmarks/results")
    parser.add_argument("--data", type=Path, required=True, help="questions to measure on")
    parser.add_argument("--questions", type=int, help="only so many of them, taken evenly")
    parser.add_argument("--fit-on", type=Path, help="other questions, to fit the weights on")
    parser.add_argument("--fit-questions", type=int, default=200, help="how many of these")
    parser.add_argument("--sbert-model", help="folder of a sentence encoder")
    parser.add_argument("--ig-model", help="folder of a fine-tuned question-answering model")
    parser.add_argument("--ig-steps", type=int, default=16)
    parser.add_argument("--shares", type=float, nargs="+", default=[0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8])
    parser.add_argument("--processes", type=int, default=1)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--batch-size", type=int, default=32, help="texts that pass through a model at once")
    parser.add_argument("--work", type=Path, default=Path("outputs/reduction"), help="folder for scores")
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    scorers = ["lead", "bm25", *(["sbert"] if args.sbert_model else []), *(["ig"] if args.ig_model else [])]
    settings = ReductionSettings(
        scorers=tuple(scorers),
        sbert_model=args.sbert_model,
        ig_model=args.ig_model,
        ig_steps=args.ig_steps,
        device=args.device,
        batch_size=args.batch_size,
    )
    options = {"folder": args.work, "processes": args.processes}
    scored = score_dataset(part(args.data, args.questions), settings, **options)
    fitted_on = None
    if args.fit_on:
        fitted_on = score_dataset(part(args.fit_on, args.fit_questions, training=True), settings, **options)
    ways = fusions(settings, fitted_on)
    points, rows = [], list(scored)
    for share in args.shares:
        found = {name: kept(rows, fusion, share) for name, fusion in ways.items()}
        tokens = {name: 100 * after for name, (_, after) in found.items()}
        result = compared({name: answers for name, (answers, _) in found.items()}, args.seed)
        points.append({"share": share, "tokens_percent": tokens, **result})
        shown = ", ".join(f"{name} {row['value']:.1f}" for name, row in result["answers"].items())
        print(f"{share:.0%} of the tokens: answers kept, %: {shown}", flush=True)
    file = write_result(
        args.name,
        {
            "benchmark": f"answers kept in shortened contexts, {args.data.name}",
            **describe_run(args.seed),
            "questions": len(scored),
            "fitted_on": None if fitted_on is None else len(fitted_on),
            "weights": {name: dict(fusion.weights) for name, fusion in ways.items() if "fitted" in name},
            "scorers": scored.scorers,
            "measured": scored.measured(),
            "seconds": scored.seconds,
            "points": points,
        },
    )
    print(f"written to {file}")


if __name__ == "__main__":
    main()
