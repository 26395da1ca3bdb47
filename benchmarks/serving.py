"""Questions per second through `palbert serve` against the same model called directly, in turns.

    python benchmarks/serving.py my-model --data cmrc2018_dev.json
    python benchmarks/serving.py my-model --data cmrc2018_dev.json --questions 40 --rounds 1 --batch-sizes 8   # a look

Both load the same model with the same number of threads, in two processes that take turns: while one answers, the
other waits, so that a machine that slows down slows down both. The model called directly gets all questions in one
call, which sorts windows by length over many of them; the server gets every question in a request of its own, from
clients that each keep one connection and send the next question when the last is answered. The clients run on the same
cores as the server: what they cost counts against it. Every answer is compared with that of the direct call.
"""

from __future__ import annotations

import argparse
import json
import os
import queue
import random
import re
import signal
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

NOISE = 1e-3
"""Scores that differ by less than this are those of the same answer: batches are padded differently."""


def read_examples(path: str, count: int, seed: int) -> list[dict[str, str]]:
    """``count`` questions drawn from a file of question-answering data."""
    from transformers_palbert import load_qa_dataset

    dataset = load_qa_dataset(path)
    chosen = random.Random(seed).sample(range(len(dataset)), min(count, len(dataset)))
    return [{name: dataset[index][name] for name in ("question", "context")} for index in sorted(chosen)]


def worker(model: str, threads: int) -> None:
    """Answer the questions of every line of standard input in one call; a line of JSON says what and how fast."""
    from transformers_palbert.cli.models import load_asker

    ask = load_asker(model, device="cpu", threads=threads)
    for line in sys.stdin:
        task = json.loads(line)
        start = time.perf_counter()
        answers = ask(**task)
        print(json.dumps({"seconds": time.perf_counter() - start, "answers": answers}), flush=True)


class Direct:
    """The model in a process of its own, without HTTP."""

    def __init__(self, model: str, threads: int) -> None:
        command = [sys.executable, __file__, "--worker", model, "--threads", str(threads)]
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def answer(self, examples: list[dict[str, str]], batch_size: int) -> tuple[float, list[dict[str, Any]]]:
        """Seconds for all questions in one call, and their answers."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        columns = {name: [example[name] for example in examples] for name in ("question", "context")}
        self.process.stdin.write(json.dumps({**columns, "batch_size": batch_size}) + "\n")
        self.process.stdin.flush()
        said = json.loads(self.process.stdout.readline())
        return said["seconds"], said["answers"]

    def stop(self) -> None:
        """End the process."""
        self.process.communicate()


class Server:
    """`palbert serve` in a process of its own."""

    def __init__(self, model: str, threads: int, batch_size: int) -> None:
        command = [sys.executable, "-m", "transformers_palbert", "serve", model, "--port", "0", "--device", "cpu"]
        options = ["--threads", str(threads), "--max-batch-size", str(batch_size), "--timeout", "600"]
        self.log = tempfile.NamedTemporaryFile("w+")  # noqa: SIM115  (lives as long as the server)
        self.process = subprocess.Popen([*command, *options], stderr=self.log)
        while not (said := re.search(r"http://[\d.]+:(\d+)", Path(self.log.name).read_text(encoding="utf-8"))):
            if self.process.poll() is not None:
                raise RuntimeError(f"the server ended:\n{Path(self.log.name).read_text(encoding='utf-8')}")
            time.sleep(0.1)
        self.port = int(said[1])
        while not self._ready():
            time.sleep(0.1)

    def answer(self, examples: list[dict[str, str]], clients: int) -> tuple[float, list[dict[str, Any]], list[float]]:
        """Seconds for all questions from so many clients, their answers, and the seconds of each request."""
        waiting: queue.SimpleQueue[int] = queue.SimpleQueue()
        for index in range(len(examples)):
            waiting.put(index)
        answers: list[Any] = [None] * len(examples)
        latencies = [0.0] * len(examples)

        def client() -> None:
            connection = HTTPConnection("127.0.0.1", self.port)
            while True:
                try:
                    index = waiting.get_nowait()
                except queue.Empty:
                    return
                body = json.dumps(examples[index]).encode()
                start = time.perf_counter()
                connection.request("POST", "/answer", body, {"Content-Type": "application/json"})
                said = json.loads(connection.getresponse().read())
                latencies[index] = time.perf_counter() - start
                answers[index] = said["results"][0]["answers"][0]

        threads = [threading.Thread(target=client) for _ in range(clients)]
        start = time.perf_counter()
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        seconds = time.perf_counter() - start
        if missing := answers.count(None):
            raise RuntimeError(f"{missing} questions were not answered")
        return seconds, answers, latencies

    def batches(self) -> dict[str, float]:
        """How many batches and questions the model has had."""
        connection = HTTPConnection("127.0.0.1", self.port)
        connection.request("GET", "/metrics")
        text = connection.getresponse().read().decode()
        found = re.findall(r"^palbert_batch_questions_(count|sum) (\S+)$", text, re.MULTILINE)
        return {name: float(value) for name, value in found}

    def stop(self) -> None:
        """Tell the server to stop, and see that it ends in order."""
        self.process.send_signal(signal.SIGTERM)
        if (status := self.process.wait()) != 0:
            raise RuntimeError(f"the server ended with the status {status}")

    def _ready(self) -> bool:
        try:
            connection = HTTPConnection("127.0.0.1", self.port)
            connection.request("GET", "/health")
            return connection.getresponse().status == 200
        except ConnectionRefusedError:
            return False


def compare(
    direct: Direct, server: Server, examples: list[dict[str, str]], batch_size: int, clients: int, rounds: int
) -> dict[str, Any]:
    """Questions per second of both, and the median of the ratios taken round by round."""
    direct.answer(examples, batch_size)  # warm-up: every length that comes, as runtimes make kernels for each
    server.answer(examples, clients)
    before = server.batches()
    own, served, latencies, differing = [], [], [], 0
    for number in range(rounds):
        seconds, answers = direct.answer(examples, batch_size)
        own.append(len(examples) / seconds)
        seconds, through, times = server.answer(examples, clients)
        served.append(len(examples) / seconds)
        latencies += times
        differing += sum(not same(one, other) for one, other in zip(answers, through, strict=True))
        print(f"batch {batch_size}, round {number}: {own[-1]:.2f} direct, {served[-1]:.2f} through HTTP", flush=True)
    after = server.batches()
    percentiles = statistics.quantiles(latencies, n=100)
    return {
        "batch_size": batch_size,
        "direct_questions_per_second": [round(value, 2) for value in own],
        "served_questions_per_second": [round(value, 2) for value in served],
        "served_to_direct_median": round(statistics.median(s / o for s, o in zip(served, own, strict=True)), 3),
        "latency_p50_ms": round(1000 * percentiles[49], 1),
        "latency_p95_ms": round(1000 * percentiles[94], 1),
        "questions_per_batch_mean": round((after["sum"] - before["sum"]) / (after["count"] - before["count"]), 2),
        "answers_compared": rounds * len(examples),
        "answers_that_differ": differing,
    }


def same(one: dict[str, Any], other: dict[str, Any]) -> bool:
    """Whether two answers are the same, or tie within rounding."""
    return one["answer"] == other["answer"] or abs(one["score"] - other["score"]) < NOISE * max(one["score"], 1e-9)


def main() -> None:
    """Parse the command line and run."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", nargs="?", help="folder of a question-answering model")
    parser.add_argument("--data", help="questions: SQuAD, CMRC 2018, DRCD, JSONL …")
    parser.add_argument("--questions", type=int, default=400)
    parser.add_argument("--clients", type=int, default=32)
    parser.add_argument("--batch-sizes", type=int, nargs="+", default=[1, 8, 16])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--seed", type=int, default=42)
    parser.add_argument("--name", default="serving", help="name of the result file")
    parser.add_argument("--worker", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.worker:
        worker(args.worker, args.threads)
        return
    from machine import describe_run, write_result
    from runs import without_local_paths

    examples = read_examples(args.data, args.questions, args.seed)
    direct = Direct(args.model, args.threads)
    results = []
    for batch_size in args.batch_sizes:
        server = Server(args.model, args.threads, batch_size)
        try:
            results.append(compare(direct, server, examples, batch_size, args.clients, args.rounds))
        finally:
            server.stop()
    direct.stop()
    fastest = max(statistics.median(result["direct_questions_per_second"]) for result in results)
    best = max(results, key=lambda result: statistics.median(result["served_questions_per_second"]))
    ratio = statistics.median(best["served_questions_per_second"]) / fastest
    settings = {"model": Path(args.model).name, "questions": len(examples), "clients": args.clients}
    result = {
        "benchmark": "a model through `palbert serve` against the same model called directly",
        **describe_run(args.seed), **settings, "threads": args.threads, "batch_sizes": results,
        "best_served_to_best_direct": round(ratio, 3),
    }  # fmt: skip
    print(write_result(args.name, without_local_paths(result, {Path(args.data).parent: "data"})))


if __name__ == "__main__":
    main()
