"""A Hugging Face Space that asks a question-answering model and its pruned copy, and shows both side by side.

The variables DENSE_MODEL and PRUNED_MODEL say which: names on the Hub, or folders.

    DENSE_MODEL=outputs/dense PRUNED_MODEL=outputs/pruned python app.py
"""

from __future__ import annotations

import os
import statistics
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import gradio as gr
from huggingface_hub import snapshot_download
from transformers import pipeline

import transformers_palbert  # noqa: F401  (brings back the pipeline, and reads packed checkpoints)
from transformers_palbert.sizes import PruningReport, inspect_checkpoint

MAX_QUESTION, MAX_CONTEXT = 500, 20_000  # characters
ROUNDS = 3  # each model answers so often, in turns; the middle time counts
ABOUT = """# Dense beside pruned
Ask two models the same question: one as it was trained, and one that lost most of its encoder's weights while it was
fine-tuned. A pruned weight takes one bit in the file, so the file is small. Zeros alone make nothing faster: the times
differ only where whole attention heads and feed-forward units were cut out.
"""
EXAMPLES = [
    ["What is in the cellar?", "The old mill has three floors. Flour is ground on the first, the cellar holds apples."],
    ["谁写了《红楼梦》？", "《红楼梦》的作者是曹雪芹，写于清代。《三国演义》的作者是罗贯中。"],
]


@dataclass(frozen=True)
class Candidate:
    """A model that is asked."""

    name: str
    ask: Any
    sizes: PruningReport


def load(name: str) -> Candidate:
    """The model in a folder or on the Hub, with the size of its file."""
    folder = name if Path(name).is_dir() else snapshot_download(name)
    ask = pipeline("question-answering", model=folder, device="cpu")
    return Candidate(Path(name).name, ask, inspect_checkpoint(folder))


def answers_with_times(
    candidates: Sequence[Candidate], question: str, context: str
) -> list[tuple[dict[str, Any], float]]:
    """Each model's answer, and the milliseconds that it takes on this machine at this moment."""
    answers = [one.ask(question=question, context=context) for one in candidates]  # and nobody pays for the first call
    times: list[list[float]] = [[] for _ in candidates]
    for _ in range(ROUNDS):
        for one, spent in zip(candidates, times, strict=True):
            begin = time.perf_counter()
            one.ask(question=question, context=context)
            spent.append(1000 * (time.perf_counter() - begin))
    return [(answer, statistics.median(spent)) for answer, spent in zip(answers, times, strict=True)]


def marked(context: str, answer: dict[str, Any]) -> list[tuple[str, str | None]]:
    """The context in pieces, the answer among them."""
    start, end = answer["start"], answer["end"]
    pieces = [(context[:start], None), (context[start:end], "answer"), (context[end:], None)]
    return [piece for piece in pieces if piece[0]]


def facts(candidate: Candidate, answer: dict[str, Any], milliseconds: float) -> str:
    """Bytes, time, what is left of the weights, and how sure the model is; Markdown."""
    sizes = candidate.sizes
    file = "size unknown" if sizes.file_bytes is None else f"{sizes.file_bytes / 1e6:.1f} MB"
    kept = f"{sizes.encoder.density:.0%} of the encoder's weights"
    return f"**{file}** · **{milliseconds:.0f} ms** · {kept} · score {answer['score']:.2f}"


def compare(candidates: Sequence[Candidate], question: str, context: str) -> list[Any]:
    """What the page shows for a question: of each model, facts and the text with its answer marked."""
    if not question.strip() or not context.strip():
        raise gr.Error("Both a question and a text are needed.")
    if len(question) > MAX_QUESTION or len(context) > MAX_CONTEXT:  # a program that asks does not see the page's limits
        raise gr.Error(f"A question may have {MAX_QUESTION} characters, and a text {MAX_CONTEXT}.")
    found = answers_with_times(candidates, question, context)
    shown: list[Any] = []
    for one, (answer, milliseconds) in zip(candidates, found, strict=True):
        shown += [facts(one, answer, milliseconds), marked(context, answer)]
    return shown


def build(candidates: Sequence[Candidate]) -> gr.Blocks:
    """The page."""
    with gr.Blocks(title="Dense beside pruned") as page:
        gr.Markdown(ABOUT)
        question = gr.Textbox(label="Question", max_length=MAX_QUESTION)
        context = gr.Textbox(label="Text that holds the answer", lines=6, max_length=MAX_CONTEXT)
        button = gr.Button("Ask both", variant="primary")
        shown: list[Any] = []
        with gr.Row():
            for one in candidates:
                with gr.Column(min_width=300):
                    text = gr.HighlightedText(label=one.name, color_map={"answer": "green"}, render=False)
                    shown += [gr.Markdown(f"{one.name}: not asked yet"), text]
                    text.render()
        gr.Examples(EXAMPLES, [question, context])

        def ask(question: str, context: str) -> list[Any]:
            return compare(candidates, question, context)

        gr.on([button.click, question.submit], ask, [question, context], shown, api_name="ask")
    return page


def main() -> None:
    """Load the models that the variables name, and show the page."""
    names = [os.environ.get(variable, "") for variable in ("DENSE_MODEL", "PRUNED_MODEL")]
    if not all(names):
        sys.exit(
            "error: set DENSE_MODEL and PRUNED_MODEL to two question-answering models: names on the Hub, or folders."
        )
    build([load(name) for name in names]).launch()


if __name__ == "__main__":
    main()
