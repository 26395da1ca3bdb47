"""``palbert reduce``: contexts shortened to the passages that matter for their questions."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.progress import track

from ..errors import MissingExtraError
from .inputs import STANDARD, data_file
from .models import DeviceOption, LimitOption
from .output import JsonOption, format_count, make_table, show, warn, write_json, written

if TYPE_CHECKING:
    from ..reduction.limits import Limit
    from ..reduction.settings import ReductionSettings

__all__ = [
    "DprPassageOption",
    "DprQuestionOption",
    "IgModelOption",
    "SbertModelOption",
    "reduce",
]

SbertModelOption = Annotated[
    str | None, typer.Option("--sbert-model", help="For sbert: folder or Hub name of a sentence encoder.")
]
DprQuestionOption = Annotated[
    str | None, typer.Option("--dpr-question-model", help="For dpr: folder or Hub name of its question encoder.")
]
DprPassageOption = Annotated[
    str | None, typer.Option("--dpr-passage-model", help="For dpr: folder or Hub name of its context encoder.")
]
IgModelOption = Annotated[
    str | None, typer.Option("--ig-model", help="For ig: folder or Hub name of a question-answering model.")
]


def reduce(
    data: Annotated[
        str,
        typer.Argument(
            help="Questions: a file (SQuAD, CMRC 2018, DRCD, JSONL, CSV, Parquet), - for standard input, or a name on"
            " the Hub."
        ),
    ],
    out: Annotated[Path, typer.Argument(help="Folder to write D1.json …, manifest.json and kept.png into.")],
    thresholds: Annotated[
        str | None,
        typer.Option(help="Keep passages of at least this relevance, as in 0,0.2,0.4 (0: all, 1: the best alone)."),
    ] = None,
    max_tokens: Annotated[
        str | None, typer.Option(help="Keep the best passages that fit into so many tokens, as in 384,256,128.")
    ] = None,
    shares: Annotated[
        str | None, typer.Option(help="Keep the best passages that fit into this share of the tokens, as in 0.75,0.5.")
    ] = None,
    scorers: Annotated[str, typer.Option(help="What passages are scored by: any of bm25,sbert,dpr,ig,lead.")] = "bm25",
    sbert_model: SbertModelOption = None,
    dpr_question_model: DprQuestionOption = None,
    dpr_passage_model: DprPassageOption = None,
    ig_model: IgModelOption = None,
    ig_steps: Annotated[
        int | None, typer.Option(min=1, help="For ig: points that gradients are taken at; by default 20.")
    ] = None,
    ig_baseline: Annotated[
        str | None, typer.Option(help="For ig: where the path begins, padding or zero; by default padding.")
    ] = None,
    fusion: Annotated[
        str, typer.Option(help="How scores become one: min-max, z or rrf (reciprocal ranks).")
    ] = "min-max",
    weights: Annotated[str | None, typer.Option(help="Weights of the scorers, as in bm25=1,sbert=2.")] = None,
    fit_weights: Annotated[
        int, typer.Option(min=0, help="Fit the weights on this many of the questions, by their answers.")
    ] = 0,
    passages: Annotated[str, typer.Option(help="What a passage is: sentence, or so many tokens.")] = "sentence",
    neighbours: Annotated[
        int, typer.Option(min=0, help="How many passages on either side of a kept one are kept with it.")
    ] = 0,
    tokenizer: Annotated[
        str | None,
        typer.Option(help="Folder or Hub name of a tokenizer that counts the tokens; by default words count."),
    ] = None,
    keep_answer: Annotated[
        bool,
        typer.Option("--keep-answer", help="Keep what holds an answer whatever its score. For training data alone."),
    ] = False,
    processes: Annotated[int, typer.Option(min=1, help="How many processes score at the same time.")] = 1,
    batch_size: Annotated[
        int, typer.Option("--batch-size", "-b", min=1, help="How many texts go through a model at once.")
    ] = 32,
    cache: Annotated[
        Path | None, typer.Option(help="Folder for scores, found again by later runs; by default datasets' cache.")
    ] = None,
    split: Annotated[
        str | None, typer.Option(help="For a Hub name, or a folder: which part, such as train or validation.")
    ] = None,
    config: Annotated[str | None, typer.Option(help="For a Hub name: its configuration, where it has several.")] = None,
    limit: LimitOption = None,
    device: DeviceOption = None,
    json: JsonOption = False,
) -> None:
    """Shorten contexts to the passages that matter for their questions (IDS-Extract).

    Writes D1.json (the longest) to Dn.json (the shortest) in the form of SQuAD, one for each threshold or number of
    tokens, with the offsets of the answers in the shorter texts. No question is left out. An answer whose passage was
    cut keeps its text, with the offset -1; how many there are is said, and --keep-answer avoids it, for data to train
    on: in data to evaluate on it would give answers away.

    A run that was interrupted goes on when it is called again.

    Example: palbert reduce train.json shorter --max-tokens 256,128 --scorers bm25 --keep-answer

    Example of a data set on the Hub: palbert reduce rajpurkar/squad shorter --split train --shares 0.5 --keep-answer

    Example with models: palbert reduce train.json shorter --shares 0.5 --scorers bm25,sbert,ig --sbert-model
    sentence-transformers/all-MiniLM-L6-v2 --ig-model ./my-model --fit-weights 200
    """
    from transformers import AutoTokenizer

    from ..qa.datasets import load_qa_dataset
    from ..reduction.building import PLOT, Plan, build
    from ..reduction.plots import plot_curves
    from ..reduction.settings import ReductionSettings, parse_unit, parse_weights, split_names

    names = split_names(scorers)
    settings = ReductionSettings(
        scorers=names,
        fusion=fusion,
        weights=parse_weights(weights or ""),
        passages=parse_unit(passages),
        neighbours=neighbours,
        sbert_model=sbert_model,
        dpr_question_model=dpr_question_model,
        dpr_passage_model=dpr_passage_model,
        ig_model=ig_model,
        device=device,
        batch_size=batch_size,
        **_for_ig(names, ig_steps=ig_steps, ig_baseline=ig_baseline),
    )
    plan = Plan(
        settings,
        _limits(thresholds, max_tokens, shares),
        keep_answer=keep_answer,
        fit=fit_weights,
        tokenizer=AutoTokenizer.from_pretrained(tokenizer) if tokenizer else None,
        source=_source(data, config=config, split=split, limit=limit),
    )
    found = str(data_file(data)) if data == STANDARD else data
    hub: dict[str, Any] = {} if config is None else {"name": config}
    dataset = load_qa_dataset(found, split=split, **hub)
    dataset = dataset.select(range(min(limit or len(dataset), len(dataset))))
    manifest = build(dataset, out, plan, folder=cache, processes=processes, watch=_watch)
    try:
        plot_curves(manifest["curves"], out / PLOT)
    except MissingExtraError as error:
        warn(f"No picture: {error}")
    if json:
        write_json(manifest)
        return
    first = out / manifest["datasets"][0]["file"]
    show(_table(manifest), *_notes(manifest, settings), written(out, f"palbert data stats {first}"))


def _for_ig(scorers: Collection[str], **options: Any) -> dict[str, Any]:
    """The options for integrated gradients that were given."""
    given = {name: value for name, value in options.items() if value is not None}
    if given and "ig" not in scorers:
        option = next(iter(given)).replace("_", "-")
        raise typer.BadParameter(f"--{option} has no effect: ig is not among the scorers")
    return given


def _source(data: str, **options: Any) -> str:
    """What was read, as the manifest says it."""
    return ", ".join([data, *(f"{name} {value}" for name, value in options.items() if value is not None)])


def _parse_numbers(text: str, kind: Callable[[str], Any], option: str) -> list[Any]:
    """The numbers of an option, separated by commas."""
    try:
        return [kind(part) for part in text.split(",") if part.strip()]
    except ValueError as error:
        raise typer.BadParameter(f"{option} {text!r} must be numbers with commas between them: {error}") from error


def _limits(thresholds: str | None, max_tokens: str | None, shares: str | None) -> list[Limit]:
    """The limits of exactly one of the options, the one that keeps most first."""
    from ..reduction.limits import MaxTokens, Share, Threshold

    if sum(option is not None for option in (thresholds, max_tokens, shares)) != 1:
        raise typer.BadParameter("say how much to keep with one of --thresholds, --max-tokens and --shares")
    if thresholds is not None:
        return [Threshold(value) for value in sorted(_parse_numbers(thresholds, float, "--thresholds"))]
    if max_tokens is not None:
        return [MaxTokens(value) for value in sorted(_parse_numbers(max_tokens, int, "--max-tokens"), reverse=True)]
    return [Share(value) for value in sorted(_parse_numbers(shares or "", float, "--shares"), reverse=True)]


def _watch(items: Iterable[Any], name: str, count: int) -> Iterable[Any]:
    """Pass ``items`` on, with a progress bar on stderr where that is a terminal."""
    console = Console(stderr=True)
    return track(items, name, total=count, console=console, transient=True, disable=not console.is_terminal)


def _table(manifest: dict[str, Any]) -> Any:
    rows = [
        (
            row["file"],
            next(
                f"{name.replace('_', ' ')} {row[name]:g}"
                for name in ("threshold", "max_tokens", "share")
                if name in row
            ),
            format_count(row["tokens_after"]),
            f"{row['tokens_share']:.1%}",
            format_count(row["answers_kept"]),
            f"{row['answers_share']:.1%}",
        )
        for row in manifest["datasets"]
    ]
    return make_table(["data set", "limit", "tokens", "kept", "answers", "kept"], rows)


def _notes(manifest: dict[str, Any], settings: ReductionSettings) -> list[str]:
    """What a reader must know beside the table."""
    notes, fitted, keep_answer = [], manifest["plan"]["fitted_on"], manifest["plan"]["keep_answer"]
    if cut := max(row["answers_cut"] for row in manifest["datasets"]):
        notes.append(
            f"Up to {format_count(cut)} questions lost all their answers. In data to train on, --keep-answer helps."
        )
    if fitted:
        notes.append("The weights know answers of these questions: for data to evaluate on, fit them on other data.")
    if keep_answer:
        notes.append("Answers were kept whatever their scores: these data sets are for training, not for evaluating.")
    if manifest["weights"]:
        notes.append("Weights: " + ", ".join(f"{name} {weight:.3f}" for name, weight in manifest["weights"].items()))
    if error := manifest["measured"].get("ig completeness error"):
        notes.append(
            f"Integrated gradients miss {error['mean']:.2%} of what they should sum up to ({settings.ig_steps} steps)."
        )
    return notes
