"""The process: a socket, uvicorn, and an orderly end."""

from __future__ import annotations

import signal
import socket
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from types import FrameType
from typing import TYPE_CHECKING, Any

from ..errors import ConfigurationError, require
from .limits import Limits

if TYPE_CHECKING:
    import uvicorn

__all__ = ["bind", "listen", "make_server", "serve"]

_BACKLOG = 2048


def bind(host: str, port: int) -> socket.socket:
    """A socket at ``host`` and ``port``, which refuses connections until :func:`listen`; port 0 is any free one.

    Raises:
        ConfigurationError: if the address cannot be used.
    """
    with _named(host, port), ExitStack() as opened:
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        bound = opened.enter_context(socket.socket(family, kind, protocol))
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        bound.bind(address)
        opened.pop_all()
    return bound


def listen(bound: socket.socket) -> None:
    """Let connections in.

    Raises:
        ConfigurationError: if another process listens there by now: two may bind one address as long as neither does.
    """
    with _named(*bound.getsockname()[:2]):
        bound.listen(_BACKLOG)


@contextmanager
def _named(host: str, port: int) -> Iterator[None]:
    """Say of an address that cannot be used which one it is."""
    try:
        yield
    except (OSError, OverflowError) as error:
        raise ConfigurationError(f"Cannot listen at {host}, port {port}: {error}. Choose another --port.") from error


def make_server(app: Any, limits: Limits) -> uvicorn.Server:
    """A server for ``app``, whose log holds neither questions nor texts.

    Raises:
        MissingExtraError: if uvicorn is not installed.
    """
    require("uvicorn", "serve")
    import uvicorn

    return uvicorn.Server(
        uvicorn.Config(
            app,
            log_config=None,
            log_level="warning",
            access_log=False,  # a path may hold a question: /answer?question=…
            server_header=False,
            limit_concurrency=limits.max_connections,
            timeout_graceful_shutdown=max(round(limits.stop_timeout), 1),
        )
    )


def serve(app: Any, listening: socket.socket, limits: Limits) -> None:
    """Serve until a signal (SIGTERM or SIGINT) comes; then accept nothing more and answer what was accepted.

    The process ends with the status 0 after such a signal.

    Raises:
        MissingExtraError: if uvicorn is not installed.
    """
    # uvicorn handles the signals while it serves, and raises them again when all is done.
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, _leave)
    make_server(app, limits).run(sockets=[listening])


def _leave(_: int, __: FrameType | None) -> None:
    sys.exit(0)
