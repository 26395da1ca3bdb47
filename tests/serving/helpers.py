"""A server in this process with a model that is no model, and clients that behave well and badly."""

from __future__ import annotations

import json
import re
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.client import HTTPConnection, HTTPResponse
from typing import Any

from transformers_palbert.serving.app import create_app
from transformers_palbert.serving.limits import Limits
from transformers_palbert.serving.server import bind, make_server

__all__ = ["Client", "FakeModel", "eventually", "raw_request", "running"]

TEXT = "My name is Wolfgang and I live in Berlin."


class FakeModel:
    """Takes and returns what the pipeline does: the last words of a context, one more for every candidate.

    Attributes:
        calls: Questions, options and batch size of every call but the warm-up.
        open: The model answers only while this is set.
    """

    def __init__(self) -> None:
        self.calls: list[tuple[list[str], dict[str, Any]]] = []
        self.open = threading.Event()
        self.open.set()
        self.error: Callable[[str], BaseException | None] = lambda _: None
        self.threads: set[int] = set()

    def __call__(self, *, question: list[str], context: list[str], **options: Any) -> Any:
        self.threads.add(threading.get_ident())
        if question != ["谁 who?"]:
            self.calls.append((question, options))
            assert self.open.wait(20)
        for one in question:
            if error := self.error(one):
                raise error
        found = [self.answers(text, options.get("top_k", 1)) for text in context]
        return found[0] if len(found) == 1 else found

    @staticmethod
    def answers(text: str, top_k: int) -> Any:
        starts = [0, *(at + 1 for at, character in enumerate(text) if character == " ")]
        answers = [
            {"score": 0.5 / (rank + 1), "start": start, "end": len(text), "answer": text[start:]}
            for rank, start in enumerate(reversed(starts[-top_k:]))
        ]
        return answers[0] if len(answers) == 1 else answers


class Client:
    """A client of the server at a port."""

    def __init__(self, port: int, app: Any = None) -> None:
        self.port, self.app = port, app

    def request(self, method: str, path: str, body: bytes | None = None, **headers: str) -> tuple[HTTPResponse, bytes]:
        connection = HTTPConnection("127.0.0.1", self.port, timeout=30)
        try:
            connection.request(method, path, body, headers)
            response = connection.getresponse()
            return response, response.read()
        finally:
            connection.close()

    def get(self, path: str) -> tuple[HTTPResponse, bytes]:
        return self.request("GET", path)

    def post(self, body: Any) -> tuple[int, Any, HTTPResponse]:
        """Status, what the body says as JSON, and the response, to a body that is bytes or becomes JSON."""
        sent = body if isinstance(body, bytes) else json.dumps(body).encode()
        response, content = self.request("POST", "/answer", sent, **{"Content-Type": "application/json"})
        return response.status, json.loads(content), response

    def ask(self, question: str, context: str = TEXT, **options: Any) -> tuple[int, Any, HTTPResponse]:
        return self.post({"question": question, "context": context, **options})

    def asking(self, *questions: str, **options: Any) -> list[Asking]:
        """Ask at the same time, each in a thread of its own."""
        return [Asking(self, question, options) for question in questions]

    def counted(self, name: str) -> float:
        """The value of a counter; 0 if nothing was counted."""
        lines = self.get("/metrics")[1].decode().splitlines()
        return next((float(line.rpartition(" ")[2]) for line in lines if line.rpartition(" ")[0] == name), 0.0)

    def statuses(self) -> dict[str, int]:
        """How many requests to ``/answer`` got which status, as the server counts."""
        found = re.findall(r'^palbert_requests_total\{status="(\d+)"\} (\S+)$', self.get("/metrics")[1].decode(), re.M)
        return {status: int(float(count)) for status, count in found}


class Asking(threading.Thread):
    """A request under way."""

    def __init__(self, client: Client, question: str, options: dict[str, Any]) -> None:
        super().__init__(daemon=True)
        self.client, self.question, self.options, self.result = client, question, options, None
        self.start()

    def run(self) -> None:
        self.result = self.client.ask(self.question, **self.options)

    def status(self) -> int:
        self.join(30)
        assert self.result is not None
        return self.result[0]


@contextmanager
def running(model: Any, *, ready: bool = True, **limits: Any) -> Iterator[Client]:
    """A server in a thread of this process; with ``ready``, after its model has answered a first question."""
    chosen = Limits(**limits)
    with bind("127.0.0.1", 0) as listening:
        app = create_app(model, model="fake", limits=chosen)
        server = make_server(app, chosen)
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]}, daemon=True)
        thread.start()
        client = Client(listening.getsockname()[1], app)
        eventually(lambda: server.started)
        eventually(lambda: not ready or client.get("/health")[0].status == 200)
        try:
            yield client
        finally:
            if isinstance(model, FakeModel):
                model.open.set()
            server.should_exit = True
            thread.join(30)
            assert not thread.is_alive()


def eventually(condition: Callable[[], Any], seconds: float = 20.0) -> None:
    """Wait until a condition holds."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.005)


def raw_request(port: int, body: bytes, *, length: int | None = None) -> socket.socket:
    """A connection over which a request went, with a length of its body that may be wrong; nothing is read yet."""
    connection = socket.create_connection(("127.0.0.1", port), timeout=30)
    head = (
        f"POST /answer HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: {length or len(body)}"
    )
    connection.sendall(head.encode() + b"\r\n\r\n" + body)
    return connection
