"""``palbert shrink``: a trained model made faster, or its embeddings smaller, without training."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ..errors import ConfigurationError
from .inputs import data_file
from .layers import draw_layers, layer_facts
from .models import PROBED, DeviceOption
from .output import JsonOption, show, write_json, written
from .progress import announced
from .shrink_embeddings import (
    CharactersOption,
    RankOption,
    VocabularyOption,
    load_to_shrink,
    require_shrinkable,
    show_embeddings,
    shrink_embeddings,
)

if TYPE_CHECKING:
    from ..compaction.shrinking import Shrunk

__all__ = ["shrink"]

_SCORES = ("f1", "em", "exact_match")
"""The figures of a metric that are shown before and after."""


def shrink(
    model: Annotated[str, typer.Argument(help="Folder of a question-answering checkpoint, or its name on the Hub.")],
    out: Annotated[Path, typer.Argument(help="New folder to write; it must not exist, or be empty.")],
    data: Annotated[
        Path | None,
        typer.Option(
            "--data",
            "-d",
            parser=data_file,
            metavar="FILE",
            help="With --speedup: questions with answers, of the kind that the model reads.",
        ),
    ] = None,
    speedup: Annotated[
        float | None,
        typer.Option("--speedup", "-s", help="How many times as fast it is to be, as in 1.5; needs --data."),
    ] = None,
    vocabulary: VocabularyOption = None,
    keep_characters: CharactersOption = True,
    embedding_rank: RankOption = None,
    test: Annotated[
        Path | None,
        typer.Option(
            "--test",
            "-t",
            parser=data_file,
            metavar="FILE",
            help="Other questions to score before and after; by default none.",
        ),
    ] = None,
    examples: Annotated[int, typer.Option(min=8, help="How many of these questions to use.")] = 384,
    batch_size: Annotated[
        int, typer.Option("--batch-size", "-b", min=1, help="How many windows the timed batch has.")
    ] = 8,
    length: Annotated[
        int | None,
        typer.Option(
            min=8, help="How many tokens each timed window has; by default the mean of the questions' windows."
        ),
    ] = None,
    multiple_of: Annotated[int, typer.Option(min=1, help="Layers keep a multiple of so many feed-forward units.")] = 8,
    uniform: Annotated[
        bool,
        typer.Option(
            "--uniform",
            help="Keep all heads and as many feed-forward units in every layer, so that the result loads without this"
            " package; it loses more at the same speed.",
        ),
    ] = False,
    remeasure: Annotated[
        bool,
        typer.Option("--remeasure", help="Measure layers again, although this machine has measured them before."),
    ] = False,
    seed: Annotated[int, typer.Option(help="Seed of the random choice of questions.")] = 42,
    device: DeviceOption = None,
    json: JsonOption = False,
) -> None:
    """Make a trained model faster, or its embeddings smaller, without training it.

    --speedup removes attention heads and feed-forward units. How long layers of all sizes take is measured on this
    machine, in float32, once for each kind of model and input. What each removal costs the answers is estimated on some
    hundred questions of --data: take questions like those to come, and none that the model will be judged by. The
    cheapest removals that make the model fast enough are made, its projections are fitted to give what they gave
    before, and the speed-up that is printed is measured: both models in turns, with --batch-size windows of --length
    tokens. That takes minutes; each stage is announced on stderr.

    Layers may lose their whole attention or feed-forward block; of an ALBERT, each application of the shared layer
    keeps heads and units of its own, which makes it a PAL-BERT. The result loads with from_pretrained after
    `import transformers_palbert`, and can be fine-tuned, packed and shrunk again. With --uniform it is a dense file of
    the same architecture. The weights are saved in the precision that they had, with the tokenizer beside them.

    What was measured is kept for the next time, in $HF_HOME/transformers_palbert/latency or in the folder that
    $PALBERT_LATENCY_CACHE names; what a busy machine measured is not. --remeasure replaces it.

    --vocabulary and --embedding-rank give embeddings fewer rows and fewer columns, which saves space and no time. They
    go together with --speedup, or without it.

    --test answers other questions with the model before and after, and prints both scores.

    Models of other tasks are shrunk from Python, by
    transformers_palbert.compaction.shrinking.shrink(model, batches, speedup=…).

    Example: palbert shrink ./my-model ./fast --data train.json --speedup 1.5 --test dev.json

    Example of a vocabulary: palbert shrink ./my-model ./small --vocabulary corpus.txt.xz --vocabulary train.json
    """
    import torch

    from ..storage.whole_saves import require_free

    require_free(out)
    if speedup is None and not vocabulary and embedding_rank is None:
        raise ConfigurationError("There is nothing to do: give --speedup, --vocabulary or --embedding-rank.")
    if (speedup is None) != (data is None):
        raise ConfigurationError("--speedup and --data belong together: removals are judged by questions.")
    smaller = partial(shrink_embeddings, corpus=vocabulary or [], keep_characters=keep_characters, rank=embedding_rank)
    reader, tokenizer = load_to_shrink(model)
    if speedup is None or data is None:
        embeddings = smaller(reader, tokenizer, out)
        show_embeddings(embeddings, model, out, _scores(model, out, test), json)
        return
    require_shrinkable(reader, tokenizer, vocabulary or [], embedding_rank)
    from ..compaction.shrinking import shrink as shrink_model

    precision, where = reader.dtype, torch.device(device or ("cuda" if torch.cuda.is_available() else "cpu"))
    with announced():
        result = shrink_model(
            reader.to(where, torch.float32),
            _batches(reader, tokenizer, data, examples, seed),
            speedup=speedup,
            batch_size=batch_size,
            length=length,
            multiple_of=multiple_of,
            uniform=uniform,
            remeasure=remeasure,
        )
    embeddings = smaller(result.model.to(precision), tokenizer, out)
    scores = _scores(model, out, test)
    if json:
        write_json({**_facts(result, scores), **embeddings.facts(model, out)})
    else:
        summary = _summary(result, scores)
        show(
            draw_layers(result.sizes), summary, *embeddings.summary(model, out), written(out, f"palbert inspect {out}")
        )


def _batches(reader: Any, tokenizer: Any, data: Path, examples: int, seed: int) -> list[dict[str, Any]]:
    """Windows of some questions of ``data``, drawn at random, on the device of the model."""
    from ..compaction.questions import question_batches
    from ..model.tokenization_palbert import check_tokenizer
    from ..qa.datasets import load_qa_dataset
    from ..qa.settings import settings_for

    settings = settings_for(reader.config, longest=tokenizer.model_max_length, fallback={}, given={})
    questions = load_qa_dataset(data, training=True).shuffle(seed=seed)
    check_tokenizer(tokenizer, probe=" ".join(questions[:PROBED]["question"]))
    chosen = questions.select(range(min(examples, len(questions))))
    return [
        {name: tensor.to(reader.device) for name, tensor in batch.items()}
        for batch in question_batches(chosen, tokenizer, settings)
    ]


def _scores(before: str, after: Path, test: Path | None) -> dict[str, dict[str, float]]:
    """Metrics of the model before and after on the questions of ``test``; nothing without any."""
    if test is None:
        return {}
    return {name: _score(of, test) for name, of in (("before", before), ("after", after))}


def _score(model: str | Path, test: Path) -> dict[str, float]:
    """Metrics of a saved model, as every other command measures them."""
    from ..qa.metrics import compute_metric
    from .models import load_questions, load_reader, probe_text

    records, metric = load_questions(test, None, None)
    reader = load_reader(str(model), probe_text(records), {}, may_be_impossible=metric == "squad_v2")
    answers = reader.answer(records, batch_size=32)
    scores = compute_metric(metric, answers.predictions, records)
    return {name.lower(): float(value) for name, value in scores.items() if name.lower() in _SCORES}


def _facts(result: Shrunk, scores: dict[str, dict[str, float]]) -> dict[str, Any]:
    timed = {"batch_size": result.batch_size, "length": result.length}
    return {
        "asked": result.asked,
        "speedup": result.speedup,
        "speedup_by_table": result.expected,
        "speedup_by_operations": result.promised,
        "timed": timed,
        "layers": layer_facts(result.sizes),
        "scores": scores,
    }


def _summary(result: Shrunk, scores: dict[str, dict[str, float]]) -> str:
    shape = f"{result.batch_size} × {result.length} tokens"
    lines = [
        f"{result.speedup:.2f} times as fast ({shape}, measured in turns); asked for {result.asked:.2f}.",
        f"By the operations that its layers no longer do, it would be {result.promised:.2f} times as fast.",
    ]
    for name in scores.get("before", {}):
        before, after = (scores[when][name] for when in ("before", "after"))
        lines.append(f"{name}: {before:.2f} before, {after:.2f} after")
    return "\n".join(lines)
