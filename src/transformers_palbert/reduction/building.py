"""D1 … Dn: data sets of falling length made of one, with a manifest that says what each of them cost."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import datasets
import numpy as np
import numpy.typing as npt

from ..errors import ConfigurationError
from ..json_text import parse_json
from ..qa.record_cache import whole_file
from ..qa.squad_files import SquadFile, squad_file
from ..text.shortened import join_passages
from .fusion import Fusion, fit_weights, require_scale
from .limits import Limit, choose
from .passages import Passages, describe_tokens
from .records import Tally, answer_spans, holds_answer, move_answers, passages_of_spans
from .score_files import Chunks, cache_folder, load_scores, score_chunks
from .settings import ReductionSettings, load_scorer

__all__ = ["MANIFEST", "PLOT", "Plan", "ScoredDataset", "build", "score_dataset"]

FloatArray = npt.NDArray[np.float64]
Watch = Callable[[Iterable[Any], str, int], Iterable[Any]]
"""Passes items on and shows how far it is: the items, a name, and how many there will be."""

MANIFEST = "manifest.json"
PLOT = "kept.png"
FUSED = "fusion"
"""What the fused scores are called beside those of the scorers."""


@dataclass(frozen=True)
class Plan:
    """What is to be built.

    Args:
        settings: How passages are cut, scored and fused.
        limits: How much is kept: one data set for each.
        keep_answer: Keep the passages that hold the answers, whatever their scores; for training data alone.
        fit: Fit the weights on this many questions with answers, taken evenly from the data set; 0 for the weights of
            the settings.
        tokenizer: Counts the tokens; None: they are words.
        source: What the data set is called.

    Raises:
        ConfigurationError: if nothing says how much is kept, or weights are to be fitted that are given, or that the
            fusion has no scale for.
    """

    settings: ReductionSettings
    limits: Sequence[Limit]
    keep_answer: bool = False
    fit: int = 0
    tokenizer: Any | None = None
    source: str = ""

    def __post_init__(self) -> None:
        if not self.limits:
            raise ConfigurationError("No limit says how much is to be kept: give thresholds, or numbers of tokens.")
        if self.fit and self.settings.weights:
            raise ConfigurationError("Weights are either given or fitted, not both.")
        if self.fit:
            require_scale(self.settings.fusion)

    def describe(self) -> dict[str, Any]:
        """The plan as JSON."""
        return {
            "source": self.source,
            **self.settings.describe(),
            "limits": [limit.describe() for limit in self.limits],
            "keep_answer": self.keep_answer,
            "fitted_on": self.fit,
            "tokens": describe_tokens(self.tokenizer),
        }


@dataclass(frozen=True)
class ScoredDataset:
    """A data set whose passages have scores, on disk.

    Attributes:
        chunks: The questions.
        files: Name of a scorer -> the file of each chunk.
        scorers: Name of a scorer -> all that its scores depend on.
        seconds: Name of a scorer -> how long scoring took now; near 0 where all files were there.
        found: Name of a scorer -> chunks whose files were there.
        tokens: How tokens are counted, see :func:`~transformers_palbert.reduction.passages.describe_tokens`.
    """

    chunks: Chunks
    files: dict[str, list[Path]]
    scorers: dict[str, Any]
    seconds: dict[str, float]
    found: dict[str, int]
    tokens: str

    def __iter__(self) -> Iterator[tuple[dict[str, Any], Passages, dict[str, FloatArray]]]:
        """Every question as a record of the SQuAD schema, its passages, and their scores by scorer."""
        for number, (columns, passages) in enumerate(zip(self.chunks.records(), self.chunks, strict=True)):
            scores = {name: load_scores(files[number]).scores for name, files in self.files.items()}
            for place, row in enumerate(passages):
                record = {name: values[place] for name, values in columns.items()}
                yield record, row, {name: found[place] for name, found in scores.items()}

    def __len__(self) -> int:
        return len(self.chunks.dataset)

    def measured(self) -> dict[str, dict[str, float]]:
        """Mean and largest value of what scorers measured beside their scores."""
        values: dict[str, list[FloatArray]] = {}
        for name, files in self.files.items():
            for file in files:
                for what, found in load_scores(file).measured.items():
                    values.setdefault(f"{name} {what}", []).append(found)
        joined = {what: np.concatenate(found) for what, found in values.items()}
        return {what: {"mean": float(found.mean()), "max": float(found.max())} for what, found in joined.items()}


def _unwatched(items: Iterable[Any], *_: Any) -> Iterable[Any]:
    return items


def score_dataset(
    dataset: datasets.Dataset,
    settings: ReductionSettings,
    *,
    tokenizer: Any | None = None,
    folder: Path | None = None,
    processes: int = 1,
    watch: Watch = _unwatched,
) -> ScoredDataset:
    """Score the passages of every question by every scorer, or find the scores of an earlier run.

    Args:
        dataset: Questions of the SQuAD schema.
        settings: Which scorers, and how contexts are cut.
        tokenizer: Counts the tokens; None: they are words.
        folder: Where scores are kept; by default in the cache of `datasets`.
        processes: How many score at the same time.
        watch: Shows how far it is.
    """
    chunks = Chunks(dataset, settings.cutting(tokenizer))
    result = ScoredDataset(chunks, {}, {}, {}, {}, describe_tokens(tokenizer))
    for name in settings.scorers:
        start = time.monotonic()
        load = partial(load_scorer, name, settings)
        scorer = load()
        made = score_chunks(chunks, scorer, folder or cache_folder(), load=load, processes=processes)
        done = list(watch(made, f"Scoring with {name}", len(chunks)))
        result.files[name] = [file for file, _ in done]
        result.scorers[name] = scorer.describe()
        result.found[name] = sum(not missing for _, missing in done)
        result.seconds[name] = time.monotonic() - start
    return result


def build(
    dataset: datasets.Dataset,
    out: Path,
    plan: Plan,
    *,
    folder: Path | None = None,
    processes: int = 1,
    watch: Watch = _unwatched,
) -> dict[str, Any]:
    """Write ``D1.json``, ``D2.json`` …, one for each limit in the plan's order, and the manifest, which is returned.

    Args:
        dataset: Questions of the SQuAD schema; it need not fit into memory.
        out: Folder to write into.
        plan: What to build.
        folder: Where scores are kept; by default in the cache of `datasets`.
        processes: How many processes score.
        watch: Shows how far it is.

    Raises:
        ConfigurationError: if ``out`` holds data sets that another plan has built, or weights cannot be fitted.
        MissingExtraError: if a scorer's library is not installed.
    """
    _require_same(out, plan)
    _write_manifest(out, {"plan": plan.describe()})  # so that a run after this one, should it be killed, may go on
    scored = score_dataset(
        dataset, plan.settings, tokenizer=plan.tokenizer, folder=folder, processes=processes, watch=watch
    )
    fusion = _fusion(scored, plan)
    start = time.monotonic()
    tallies, curves = _write(scored, plan, fusion, out, watch)
    manifest = {
        "plan": plan.describe(),
        "scorers": scored.scorers,
        "weights": dict(fusion.weights),
        "datasets": [
            {"file": f"D{number}.json", **limit.describe(), **tally.to_dict()}
            for number, (limit, tally) in enumerate(zip(plan.limits, tallies, strict=True), 1)
        ],
        "curves": {
            name: [limit.describe() | tally.to_dict() for limit, tally in zip(plan.limits, points, strict=True)]
            for name, points in curves.items()
        },
        "measured": scored.measured(),
        "seconds": {**scored.seconds, "writing": time.monotonic() - start},
        "chunks_found": scored.found,
    }
    _write_manifest(out, manifest)
    return manifest


def _write_manifest(out: Path, manifest: dict[str, Any]) -> None:
    out.mkdir(parents=True, exist_ok=True)
    with whole_file(out / MANIFEST) as temporary:
        Path(temporary).write_text(json.dumps(manifest, ensure_ascii=False, indent=2) + "\n", encoding="utf-8")


def _require_same(out: Path, plan: Plan) -> None:
    """Raise where a folder holds something else than a result of the same plan, finished or not, or a mere plan."""
    file = out / MANIFEST
    if file.is_file():
        content = _read_manifest(file)
        known, asked = content.get("plan"), json.loads(json.dumps(plan.describe()))
        if not isinstance(known, dict):
            known = {}
        elif len(content) == 1 and not any(out.glob("D*.json")):
            return  # a run that ended before it made anything
        if other := [name for name in asked if name not in known or known[name] != asked[name]]:
            raise ConfigurationError(
                f"{out} holds data sets that were made with other settings ({', '.join(other)}); name another folder."
            )
    elif out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise ConfigurationError(f"{out} exists and is not empty; name a new folder to write to.")


def _read_manifest(file: Path) -> dict[str, Any]:
    """What a manifest says; nothing where that is not to be read."""
    try:
        content = parse_json(file.read_text(encoding="utf-8"))
    except ValueError:
        return {}
    return content if isinstance(content, dict) else {}


def _fusion(scored: ScoredDataset, plan: Plan) -> Fusion:
    """The fusion of the plan, with the weights that it gives or has fitted."""
    fusion = Fusion(plan.settings.fusion, plan.settings.weights)
    if not plan.fit:
        return fusion
    answers = scored.chunks.dataset["answers"]
    answerable = [number for number, found in enumerate(answers) if answer_spans(found)]
    count = min(plan.fit, len(answerable))
    chosen = {answerable[place * len(answerable) // count] for place in range(count)}
    labelled = [
        (scores, holds_answer(row, record["answers"]))
        for number, (record, row, scores) in enumerate(scored)
        if number in chosen
    ]
    weights = fit_weights([scores for scores, _ in labelled], [holds for _, holds in labelled], fusion.method)
    return replace(fusion, weights=weights)


def _write(
    scored: ScoredDataset, plan: Plan, fusion: Fusion, out: Path, watch: Watch
) -> tuple[list[Tally], dict[str, list[Tally]]]:
    """Write the data sets; what was kept in each, and what each scorer alone would have kept without the answers."""
    lines = [*plan.settings.scorers, *([FUSED] if len(plan.settings.scorers) > 1 else [])]
    curves = {name: [Tally() for _ in plan.limits] for name in lines}
    tallies = [Tally() for _ in plan.limits]
    with ExitStack() as stack:
        files = [stack.enter_context(squad_file(out / f"D{number}.json")) for number in range(1, len(plan.limits) + 1)]
        for record, row, scores in watch(scored, "Writing", len(scored)):
            relevance = {name: Fusion(fusion.method)({name: scores[name]}) for name in scores}
            relevance[FUSED] = fusion(scores)
            for name, points in curves.items():
                for limit, tally in zip(plan.limits, points, strict=True):
                    kept = choose(relevance[name], row.tokens, limit, neighbours=plan.settings.neighbours)
                    tally.add(row, kept, record["answers"])
            for limit, file, tally in zip(plan.limits, files, tallies, strict=True):
                _add(file, tally, record, row, relevance[FUSED], limit, plan)
    return tallies, curves


def _add(
    file: SquadFile,
    tally: Tally,
    record: Mapping[str, Any],
    row: Passages,
    relevance: FloatArray,
    limit: Limit,
    plan: Plan,
) -> None:
    """Add one question to a data set."""
    answers = record["answers"]
    required = passages_of_spans(row, answer_spans(answers)) if plan.keep_answer else []
    kept = choose(relevance, row.tokens, limit, neighbours=plan.settings.neighbours, required=required)
    shorter = join_passages(row.context, row.spans, kept)
    tally.add(row, kept, answers, shorter)
    file.add({**record, "context": shorter.text, "answers": move_answers(answers, shorter)})
