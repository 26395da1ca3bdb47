"""``palbert serve``: a model behind HTTP, with a page to ask it."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console

from .models import DeviceOption, ReduceMaxTokensOption, ReduceOption, given_reduction, load_asker
from .reduce import DprPassageOption, DprQuestionOption, IgModelOption, SbertModelOption


def serve(
    model: Annotated[str, typer.Argument(help="Folder of a question-answering checkpoint, or its name on the Hub.")],
    host: Annotated[
        str, typer.Option("--host", help="Address to listen at; 0.0.0.0 lets other machines in.")
    ] = "127.0.0.1",
    port: Annotated[int, typer.Option("--port", "-p", min=0, max=65535, help="Port; 0 for any free one.")] = 8000,
    max_batch_size: Annotated[
        int, typer.Option("--max-batch-size", help="Questions answered together, and windows of one batch.")
    ] = 16,
    max_wait_ms: Annotated[
        float, typer.Option("--max-wait-ms", help="Milliseconds for which a question waits for others to join it.")
    ] = 5.0,
    max_queue: Annotated[
        int, typer.Option("--max-queue", help="Questions that wait at most; for more, requests get the status 429.")
    ] = 512,
    max_questions: Annotated[
        int, typer.Option("--max-questions", help="Questions in one request; for more, it gets the status 422.")
    ] = 64,
    timeout: Annotated[
        float, typer.Option("--timeout", help="Seconds until an answer; later ones become the status 504.")
    ] = 30.0,
    max_context_chars: Annotated[
        int, typer.Option("--max-context-chars", help="Characters of a text; longer ones get the status 422.")
    ] = 200_000,
    max_body_bytes: Annotated[
        int, typer.Option("--max-body-bytes", help="Bytes of a request; larger ones get the status 413.")
    ] = 2_000_000,
    max_seq_len: Annotated[
        int, typer.Option("--max-seq-len", help="Longest window, in tokens, that a request may ask for.")
    ] = 384,
    max_connections: Annotated[
        int, typer.Option("--max-connections", help="Open connections; further ones get the status 503.")
    ] = 1000,
    stop_timeout: Annotated[
        float, typer.Option("--stop-timeout", help="Seconds, when told to stop, to answer what was accepted.")
    ] = 60.0,
    threads: Annotated[
        int | None, typer.Option("--threads", min=1, help="Threads of the model on a CPU; by default all cores.")
    ] = None,
    device: DeviceOption = None,
    reduce: ReduceOption = None,
    reduce_max_tokens: ReduceMaxTokensOption = None,
    sbert_model: SbertModelOption = None,
    dpr_question_model: DprQuestionOption = None,
    dpr_passage_model: DprPassageOption = None,
    ig_model: IgModelOption = None,
) -> None:
    """Answer questions through HTTP: POST /answer, and a page at / for people.

    Concurrent requests are answered in batches. A request holds "question" and "context", or lists of them, and the
    options of the pipeline (top_k, max_answer_len, handle_impossible_answer …); /openapi.json describes everything.
    What a request leaves out is as saved with the model, else as in the pipeline. /health says whether the model
    answers, /metrics counts for Prometheus. Of long texts, --reduce reads only the passages that matter for the
    question; the places of answers are those in the whole text all the same.

    SIGTERM and Ctrl+C stop the server in order: it accepts nothing more, answers what it has accepted, and ends with
    the status 0. No question and no text is written to a log.

    The server has no passwords and no encryption: let others reach it through a proxy that has them. It needs
    pip install 'transformers-palbert[serve]'.

    Example: palbert serve ./my-model --port 8000

    Then: curl localhost:8000/answer --json '{"question": "Where do I live?", "context": "I live in Berlin."}'
    """
    from ..serving.app import create_app
    from ..serving.limits import Limits
    from ..serving.server import bind, listen
    from ..serving.server import serve as run

    limits = Limits(
        max_batch_size=max_batch_size,
        max_wait_ms=max_wait_ms,
        max_queue=max_queue,
        max_questions=max_questions,
        timeout=timeout,
        max_context_chars=max_context_chars,
        max_body_bytes=max_body_bytes,
        max_seq_len=max_seq_len,
        max_connections=max_connections,
        stop_timeout=stop_timeout,
    )
    reduction = given_reduction(
        reduce,
        reduce_max_tokens,
        sbert_model=sbert_model,
        dpr_question_model=dpr_question_model,
        dpr_passage_model=dpr_passage_model,
        ig_model=ig_model,
    )
    _require_libraries()
    name = Path(model).resolve().name if Path(model).is_dir() else model
    with bind(host, port) as listening:
        asker = load_asker(model, device=device, threads=threads, reduce=reduction)
        app = create_app(asker, model=name, limits=limits)
        logging.basicConfig(format="%(asctime)s %(levelname)s %(name)s: %(message)s")
        listen(listening)  # now, as whoever comes while the model is loaded is better refused than kept waiting
        _announce(name, listening.getsockname())
        run(app, listening, limits)


def _require_libraries() -> None:
    """Say what is missing before a model is loaded, which takes long."""
    from ..errors import require

    for library in ("fastapi", "prometheus_client", "uvicorn"):
        require(library, "serve")


def _announce(model: str, address: tuple[Any, ...]) -> None:
    host = f"[{address[0]}]" if ":" in address[0] else address[0]
    line = f"{model} answers at http://{host}:{address[1]}; Ctrl+C stops it"
    Console(stderr=True, highlight=False, markup=False).print(line, soft_wrap=True)
