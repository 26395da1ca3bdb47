"""The process: a socket, uvicorn, and an orderly end."""

from __future__ import annotations

import signal
import socket
import sys
from types import FrameType
from typing import TYPE_CHECKING, Any

from ..errors import ConfigurationError, require
from .limits import Limits

if TYPE_CHECKING:
    import uvicorn

__all__ = ["listen", "make_server", "serve"]


def listen(host: str, port: int) -> socket.socket:
    """A socket that accepts connections at ``host`` and ``port``; port 0 is any free one.

    Raises:
        ConfigurationError: if the address cannot be used.
    """
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        listening = socket.socket(family, kind, protocol)
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind(address)
    except (OSError, OverflowError) as error:
        raise ConfigurationError(f"Cannot listen at {host}, port {port}: {error}. Choose another --port.") from error
    return listening


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
