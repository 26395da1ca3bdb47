"""What stands between the network and the application: limits on bodies, counting, and errors without texts in logs.

Both are plain ASGI applications around another one.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable, MutableMapping
from time import monotonic
from typing import Any

from .batching import log_failure
from .limits import Limits
from .measurements import Measurements

__all__ = ["GONE", "BodyGuard", "RequestGuard"]

GONE = 499
"""Status, in the counts alone, of a request whose client went away before it was answered."""

_DISCARDED = 8  # times the limit: what of a body that is too large is read, so that its client hears why
_SECONDS_TO_DISCARD = 5.0

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[MutableMapping[str, Any], Receive, Send], Awaitable[None]]


class BodyGuard:
    """Reads the whole body of a request before it passes the request on, within a size and a time.

    Larger bodies get the status 413, slower ones 408.

    Args:
        app: The application behind.
        limits: The size and the time.
    """

    def __init__(self, app: App, limits: Limits) -> None:
        self.app, self.limits = app, limits

    async def __call__(self, scope: MutableMapping[str, Any], receive: Receive, send: Send) -> None:
        """Handle one connection as ASGI wants it."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        limit = self.limits.max_body_bytes
        try:
            async with asyncio.timeout(self.limits.timeout):
                body, whole = await _read_body(receive, limit)
        except TimeoutError:
            await _refuse(send, 408, f"the body of the request did not arrive within {self.limits.timeout:g} s")
            return
        if body is None:
            return  # the client has gone
        if len(body) > limit:
            if not whole:
                await _discard(receive, limit)
            await _refuse(send, 413, f"the body of the request has more than the {limit:,} bytes allowed")
            return
        pending: list[Message] = [{"type": "http.request", "body": body, "more_body": False}]

        async def receive_again() -> Message:
            return pending.pop() if pending else await receive()

        await self.app(scope, receive_again, send)


class RequestGuard:
    """Counts the requests to ``/answer``, and turns exceptions that come out of the application into the status 500.

    Args:
        app: The application behind.
        measurements: What counts.
    """

    def __init__(self, app: App, measurements: Measurements) -> None:
        self.app, self.measurements = app, measurements

    async def __call__(self, scope: MutableMapping[str, Any], receive: Receive, send: Send) -> None:
        """Handle one connection as ASGI wants it."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        started, status = monotonic(), GONE

        async def send_and_look(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        try:
            await self.app(scope, receive, send_and_look)
        except Exception as error:
            log_failure("A request failed", error)
            if status == GONE:
                status = 500
                await _refuse(send, status, "the server failed; its log says where")
        finally:
            if scope["path"] == "/answer":
                self.measurements.request_answered(status, monotonic() - started)


async def _read_body(receive: Receive, limit: int) -> tuple[bytes | None, bool]:
    """The body, or a little more than ``limit`` bytes of it, and whether that is all; None if the client goes away."""
    parts, size, whole = [], 0, False
    while size <= limit and not whole:
        message = await receive()
        if message["type"] == "http.disconnect":
            return None, True
        parts.append(message.get("body", b""))
        size += len(parts[-1])
        whole = not message.get("more_body", False)
    return b"".join(parts), whole


async def _discard(receive: Receive, limit: int) -> None:
    """Read on for a while: a client that is still sending when the connection closes never sees the response."""
    size = 0
    try:
        async with asyncio.timeout(_SECONDS_TO_DISCARD):
            while size < _DISCARDED * limit:
                message = await receive()
                size += len(message.get("body", b""))
                if not message.get("more_body", False):
                    return
    except TimeoutError:
        return


async def _refuse(send: Send, status: int, detail: str) -> None:
    body = json.dumps({"detail": detail}).encode()
    headers = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": status, "headers": [*headers, (b"connection", b"close")]})
    await send({"type": "http.response.body", "body": body})
