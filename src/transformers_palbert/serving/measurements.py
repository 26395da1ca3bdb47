"""What a server counts, in the format of Prometheus."""

from __future__ import annotations

from collections.abc import Callable

from ..errors import require

__all__ = ["Measurements"]

_SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)
_QUESTIONS = (1, 2, 4, 8, 16, 32, 64, 128, 256)


class Measurements:
    """The counters of one server; two servers in one process count apart.

    Args:
        queue_length: Says how many questions wait.

    Raises:
        MissingExtraError: if prometheus-client is not installed.
    """

    def __init__(self, queue_length: Callable[[], int]) -> None:
        prometheus = require("prometheus_client", "serve")
        self._registry = prometheus.CollectorRegistry()
        prometheus.ProcessCollector(registry=self._registry)
        self._requests = prometheus.Counter(
            "palbert_requests",
            "Requests to /answer, by the status of the response; 499 stands for a client that went away.",
            ["status"],
            registry=self._registry,
        )
        self._latency = prometheus.Histogram(
            "palbert_request_seconds",
            "Seconds from the first byte of a request to /answer to the last byte of the response.",
            buckets=_SECONDS,
            registry=self._registry,
        )
        self._batch = prometheus.Histogram(
            "palbert_batch_questions", "Questions answered together.", buckets=_QUESTIONS, registry=self._registry
        )
        self._model = prometheus.Histogram(
            "palbert_batch_seconds", "Seconds of the model for a batch.", buckets=_SECONDS, registry=self._registry
        )
        queue = prometheus.Gauge("palbert_queue_length", "Questions that wait for the model.", registry=self._registry)
        queue.set_function(queue_length)
        self._latest = prometheus.generate_latest
        self.content_type: str = prometheus.CONTENT_TYPE_LATEST
        """Media type of :meth:`text`."""

    def request_answered(self, status: int, seconds: float) -> None:
        """A request to ``/answer`` got this status after so many seconds."""
        self._requests.labels(status=str(status)).inc()
        self._latency.observe(seconds)

    def batch_answered(self, questions: int, seconds: float) -> None:
        """A batch of so many questions took the model so many seconds."""
        self._batch.observe(questions)
        self._model.observe(seconds)

    def text(self) -> bytes:
        """All counters as Prometheus reads them."""
        latest: bytes = self._latest(self._registry)
        return latest
