"""A server in a process of its own, among clients that cut connections, send nonsense, too much, or too slowly.

With ``PALBERT_TEST_REQUESTS=10000`` in the environment, so many are sent, and what became of them is written into
``benchmarks/results/faults.json``.
"""

from __future__ import annotations

import json
import os
import random
import re
import signal
import socket
import struct
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

import transformers_palbert
from tests.cli.conftest import CONTEXT, QUESTIONS, saved_model  # noqa: F401
from tests.references.scripts import ROOT
from tests.serving.helpers import Client, eventually, raw_request
from transformers_palbert.machine import describe_machine

SECRET = "曹雪芹"  # is in every text, and in no log
REQUESTS = int(os.environ.get("PALBERT_TEST_REQUESTS", "300"))
RESULT = ROOT / "benchmarks" / "results" / "faults.json" if "PALBERT_TEST_REQUESTS" in os.environ else None
TIMEOUT = 8.0


@pytest.fixture(scope="module")
def process(saved_model: Path, tmp_path_factory: Any) -> Iterator[tuple[subprocess.Popen[bytes], Client, Path]]:  # noqa: F811
    """``palbert serve`` with a tiny model; its port is read off what it says."""
    log = tmp_path_factory.mktemp("server") / "log.txt"
    command = [sys.executable, "-m", "transformers_palbert", "serve", str(saved_model), "--port", "0"]
    options = ["--timeout", str(TIMEOUT), "--max-body-bytes", "200000", "--max-batch-size", "8", "--threads", "1"]
    source = str(Path(transformers_palbert.__file__).parents[1])
    with log.open("wb") as stderr:
        started = subprocess.Popen([*command, *options], stderr=stderr, env={**os.environ, "PYTHONPATH": source})
        try:
            eventually(lambda: started.poll() is not None or b"answers at" in log.read_bytes(), 180)
            address = re.search(r"http://127.0.0.1:(\d+)", log.read_text(encoding="utf-8"))
            assert address, log.read_text(encoding="utf-8")
            client = Client(int(address[1]))
            eventually(lambda: listens(client) and client.get("/health")[0].status == 200)
            yield started, client, log
        finally:
            started.kill()
            started.wait()


def listens(client: Client) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", client.port)) == 0


def body(**more: Any) -> bytes:
    return json.dumps({"question": QUESTIONS["q1"], "context": CONTEXT, **more}).encode()


def good(client: Client) -> str:
    status, said, _ = client.post(body(top_k=random.choice((1, 3))))
    assert status == 200
    assert all(CONTEXT[a["start"] : a["end"]] == a["answer"] for a in said["results"][0]["answers"])
    return "answered"


def several(client: Client) -> str:
    status, said, _ = client.post(body(question=list(QUESTIONS.values())))
    assert (status, len(said["results"])) == (200, len(QUESTIONS))
    return "answered"


def reset(connection: socket.socket) -> None:
    """Close at once, with RST instead of FIN."""
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    connection.close()


def cut_in_the_body(client: Client) -> str:
    reset(raw_request(client.port, body()[:40], length=1000))
    return "cut"


def cut_before_the_answer(client: Client) -> str:
    reset(raw_request(client.port, body()))
    return "cut"


def cut_in_the_head(client: Client) -> str:
    with socket.create_connection(("127.0.0.1", client.port), timeout=30) as connection:
        connection.sendall(b"POST /answer HTTP/1.1\r\nHo")
    return "cut"


def too_large(client: Client) -> str:
    status, _, _ = client.post(body(context=CONTEXT * 20_000))
    assert status == 413
    return "refused"


def broken(client: Client) -> str:
    sent = random.choice((body()[:-1], b"", b"[]", body(top_k="many"), body(context=""), b"\x00" * 100))
    assert client.post(sent)[0] == 422
    return "refused"


def no_http(client: Client) -> str:
    with socket.create_connection(("127.0.0.1", client.port), timeout=30) as connection:
        connection.sendall(random.randbytes(300) + b"\r\n\r\n")
        assert connection.recv(1000).startswith(b"HTTP/1.1 400")
    return "refused"


def slow(client: Client) -> str:
    sent = body()
    with raw_request(client.port, sent[:10], length=len(sent)) as connection:
        for at in range(10, len(sent), 40):
            time.sleep(0.02)
            connection.sendall(sent[at : at + 40])
        assert connection.recv(1000).startswith(b"HTTP/1.1 200")
    return "answered"


def too_slow(client: Client) -> str:
    with raw_request(client.port, body()[:10], length=1000) as connection:
        assert connection.recv(1000).startswith(b"HTTP/1.1 408")
    return "refused"


KINDS: list[tuple[Callable[[Client], str], int]] = [
    (good, 30), (several, 10), (cut_in_the_body, 12), (cut_before_the_answer, 12), (cut_in_the_head, 8),
    (too_large, 6), (broken, 10), (no_http, 5), (slow, 5), (too_slow, 2),
]  # fmt: skip


def record(**values: Any) -> None:
    """Put values into the result file, where one is asked for."""
    if RESULT is not None:
        known = json.loads(RESULT.read_text(encoding="utf-8")) if RESULT.is_file() else {}
        RESULT.write_text(json.dumps({**known, **values}, indent=2) + "\n", encoding="utf-8")


def test_every_accepted_request_is_answered_whatever_the_others_do(process):
    started, client, log = process
    random.seed(0)
    kinds = random.choices([kind for kind, _ in KINDS], [weight for _, weight in KINDS], k=REQUESTS)
    began = time.monotonic()
    with ThreadPoolExecutor(16) as pool:
        outcomes = Counter(pool.map(lambda kind: kind(client), kinds))
    record(
        benchmark="requests to a server among clients that misbehave; none that was accepted is lost",
        command=f"PALBERT_TEST_REQUESTS={REQUESTS} python -m pytest tests/serving/test_faults.py",
        date=datetime.now(UTC).date().isoformat(),
        **describe_machine(),
        requests=dict(Counter(kind.__name__ for kind in kinds)),
        outcomes=dict(outcomes),
        statuses=client.statuses(),
        seconds=round(time.monotonic() - began, 1),
    )
    assert outcomes.total() == REQUESTS
    assert min(outcomes[name] for name in ("answered", "cut", "refused")) > 20
    assert started.poll() is None
    assert client.get("/health")[0].status == 200
    eventually(lambda: client.counted("palbert_queue_length") == 0)
    assert client.counted('palbert_requests_total{status="200"}') >= outcomes["answered"]
    assert client.counted('palbert_requests_total{status="500"}') == 0
    assert SECRET not in log.read_text(encoding="utf-8")


def test_told_to_stop_it_answers_what_it_has_accepted_and_ends_with_0(process):
    started, client, log = process
    requests, questions = 24, 8
    before = client.counted("palbert_batch_questions_sum")
    sent = body(question=[QUESTIONS["q1"]] * questions, context=CONTEXT * 6)

    def taken() -> float:
        return client.counted("palbert_batch_questions_sum") - before + client.counted("palbert_queue_length")

    with ThreadPoolExecutor(requests) as pool:
        asked = [pool.submit(client.post, sent) for _ in range(requests)]
        eventually(lambda: taken() >= requests * questions - 8)  # but for the batch that the model is busy with
        started.send_signal(signal.SIGTERM)
        answers = [one.result() for one in asked]
    statuses = [status for status, _, _ in answers]
    record(told_to_stop={"requests_accepted": requests, "requests_answered": statuses.count(200)})
    assert statuses == [200] * requests
    assert all(len(said["results"]) == questions for _, said, _ in answers)
    assert started.wait(60) == 0
    assert not listens(client)
    assert "Traceback" not in log.read_text(encoding="utf-8")
    assert SECRET not in log.read_text(encoding="utf-8")
