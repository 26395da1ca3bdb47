"""The application: ``/answer``, ``/health``, ``/metrics``, ``/openapi.json`` and the page at ``/``.

This module does without postponed annotations: FastAPI reads those of the functions below, whose types are imported
where they are used because they are an optional dependency.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

from ..errors import PalBertError, require
from .batching import Ask, Asked, Batcher, ModelFailedError, QueueFullError, StoppedError
from .guards import GONE, BodyGuard, RequestGuard
from .limits import Limits
from .measurements import Measurements
from .messages import AnswerRequest, AnswerResponse, ErrorResponse, HealthResponse, checked_examples, complaint
from .page import PAGE_FILES, SECURITY_HEADERS, page_file

if TYPE_CHECKING:
    from fastapi import FastAPI, Request
    from fastapi.responses import Response

__all__ = ["create_app"]

_END = 5.0
"""Seconds that the model's thread gets to end by itself once all requests are over."""

_ERRORS: dict[int | str, dict[str, Any]] = {
    status: {"model": ErrorResponse, "description": description}
    for status, description in {
        400: "The body is no JSON in UTF-8.",
        408: "The body did not arrive in time.",
        413: "The body is too large.",
        422: "A field is missing, wrong or too long; `detail` names it.",
        429: "The queue is full; `Retry-After` says when to come back.",
        500: "The model failed.",
        503: "The server is stopping, or has too many connections.",
        504: "The answer took too long.",
    }.items()
}


def create_app(ask: Ask, *, model: str, limits: Limits | None = None) -> "FastAPI":
    """An application that answers questions with ``ask``.

    Args:
        ask: The question-answering pipeline, or what takes and returns the same; see
            :data:`~transformers_palbert.serving.batching.Ask`. One thread of the application calls it.
        model: Name of the model, to be shown.
        limits: What the application does not exceed.

    Raises:
        MissingExtraError: if FastAPI or prometheus-client is not installed.
    """
    require("fastapi", "serve")
    from fastapi import FastAPI

    limits = limits or Limits()
    batcher = Batcher(ask, limits)
    measurements = Measurements(lambda: batcher.waiting)
    batcher.watcher = measurements

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        batcher.start()
        yield
        # The server has waited for all requests by now; what the model is still busy with, nobody waits for.
        await asyncio.to_thread(batcher.stop, min(limits.stop_timeout, _END))

    app = FastAPI(
        title="palbert serve",
        description="Extractive question answering: an answer is a slice of the context.",
        version="1",
        lifespan=lifespan,
        docs_url=None,  # these pages load scripts from other servers
        redoc_url=None,
    )
    app.add_middleware(BodyGuard, limits=limits)
    app.add_middleware(RequestGuard, measurements=measurements)
    app.state.batcher = batcher
    _add_errors(app)
    _add_answer(app, batcher, limits)
    _add_health(app, batcher, measurements, model)
    _add_page(app)
    return app


def _add_answer(app: "FastAPI", batcher: Batcher, limits: Limits) -> None:
    from fastapi import Request
    from fastapi.responses import JSONResponse, Response

    @app.post("/answer", response_model=AnswerResponse, responses=_ERRORS, summary="Answer one or several questions")
    async def answer(asked: AnswerRequest, request: Request) -> Response:
        """Answers are exact slices of the context; equal options of concurrent requests share batches."""
        waiting = batcher.submit(checked_examples(asked, limits), asked.options)
        try:
            found = await _first_of(waiting, request, limits.timeout)
        finally:
            batcher.abandon(waiting)
        if found is None:
            return Response(status_code=GONE)
        return JSONResponse({"results": [{"answers": answers} for answers in found]})


async def _first_of(waiting: list[Asked], request: "Request", timeout: float) -> list[list[dict[str, Any]]] | None:
    """The answers, or None if the client goes away before they are there.

    Raises:
        TimeoutError: if neither happens in time.
    """
    answers: asyncio.Future[Any] = asyncio.gather(*(asyncio.wrap_future(one.answer) for one in waiting))
    gone: asyncio.Future[Any] = asyncio.ensure_future(_disconnected(request.receive))
    try:
        await asyncio.wait((answers, gone), timeout=timeout, return_when=asyncio.FIRST_COMPLETED)
        if answers.done():
            return answers.result()
        if gone.done():
            return None
        raise TimeoutError
    finally:
        gone.cancel()
        answers.cancel()


async def _disconnected(receive: Callable[[], Awaitable[Any]]) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


def _add_errors(app: "FastAPI") -> None:
    """One shape for all errors, without the texts of the request in it."""
    from fastapi import Request
    from fastapi.exceptions import RequestValidationError
    from fastapi.responses import JSONResponse

    def response(status: int, detail: str, retry_after: int | None = None) -> JSONResponse:
        headers = None if retry_after is None else {"Retry-After": str(retry_after)}
        # JSONResponse writes characters as they are, which halves of surrogate pairs do not survive.
        return JSONResponse({"detail": detail.encode("utf-8", "replace").decode()}, status, headers)

    @app.exception_handler(RequestValidationError)
    async def wrong_fields(_: Request, error: RequestValidationError) -> JSONResponse:
        return response(422, complaint(list(error.errors())))

    @app.exception_handler(PalBertError)
    async def refused(_: Request, error: PalBertError) -> JSONResponse:
        if isinstance(error, QueueFullError):
            return response(429, str(error), error.retry_after)
        if isinstance(error, StoppedError):
            return response(503, str(error), 1)
        return response(500 if isinstance(error, ModelFailedError) else 422, str(error))

    @app.exception_handler(TimeoutError)
    async def late(_: Request, __: TimeoutError) -> JSONResponse:
        return response(504, "the answer took longer than this server allows")


def _add_health(app: "FastAPI", batcher: Batcher, measurements: Measurements, model: str) -> None:
    from fastapi.responses import JSONResponse, Response

    responses: dict[int | str, dict[str, Any]] = {503: {"model": HealthResponse, "description": "It does not answer."}}

    @app.get("/health", response_model=HealthResponse, responses=responses, summary="Whether the server answers")
    async def health() -> Response:
        """The status is 200 from the model's first answer until the server stops, and 503 otherwise."""
        status = "stopping" if batcher.stopping else "ready" if batcher.ready else "starting"
        return JSONResponse({"status": status, "model": model}, 200 if status == "ready" else 503)

    @app.get("/metrics", summary="Counters for Prometheus", response_class=Response)
    async def metrics() -> Response:
        return Response(measurements.text(), media_type=measurements.content_type)


def _add_page(app: "FastAPI") -> None:
    for path, (name, media_type) in PAGE_FILES.items():
        app.add_route(path, _sender(page_file(name), media_type), methods=["GET"], include_in_schema=False)


def _sender(content: bytes, media_type: str) -> Callable[["Request"], Awaitable["Response"]]:
    from fastapi.responses import Response

    async def send(_: "Request") -> Response:
        return Response(content, media_type=media_type, headers=SECURITY_HEADERS)

    return send
