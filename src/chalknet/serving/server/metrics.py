"""Counters of a model server in the format of Prometheus."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache

from chalknet.version import __version__

SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)
ROWS = (1, 2, 4, 8, 16, 32, 64, 128, 256)


class Metrics:
    """What a server counts.

    Args:
        n_waiting: returns the number of requests that wait for a prediction.
    """

    def __init__(self, n_waiting: Callable[[], int]) -> None:
        """Create counters that are zero."""
        import prometheus_client as prometheus

        self._registry = prometheus.CollectorRegistry()
        more = {"registry": self._registry}
        self._requests = prometheus.Counter(
            "chalknet_requests", "Requests for predictions, by model and HTTP status.", ["model", "status"], **more
        )
        self._seconds = prometheus.Histogram(
            "chalknet_request_seconds",
            "Time from the headers of a request for predictions to its answer, in seconds.",
            ["model"],
            buckets=SECONDS,
            **more,
        )
        self._predictions = prometheus.Counter(
            "chalknet_predictions", "Samples that were predicted.", ["model"], **more
        )
        self._batches = prometheus.Histogram(
            "chalknet_batch_rows", "Single rows that were predicted together.", buckets=ROWS, **more
        )
        self._reloads = prometheus.Counter(
            "chalknet_model_reloads", "Changed model files, by result: loaded or failed.", ["model", "result"], **more
        )
        self._is_current = prometheus.Gauge(
            "chalknet_model_current",
            "1 if the model is that of its file, 0 if the file cannot be read.",
            ["model"],
            **more,
        )
        waiting = prometheus.Gauge("chalknet_waiting", "Requests that wait for a prediction.", **more)
        waiting.set_function(n_waiting)
        prometheus.Gauge("chalknet_info", "The version of chalknet.", ["version"], **more).labels(__version__).set(1)
        prometheus.ProcessCollector(**more)
        self._render = prometheus.generate_latest
        self._requests_of = lru_cache(maxsize=4_096)(self._requests.labels)
        self._seconds_of = lru_cache(maxsize=1_024)(self._seconds.labels)
        self._predictions_of = lru_cache(maxsize=1_024)(self._predictions.labels)

    def count_request(self, model: str, status: int, seconds: float, n: int) -> None:
        """Count an answer.

        Args:
            model: the name of the model.
            status: the HTTP status.
            seconds: the time that it took.
            n: how many samples were predicted.
        """
        self._requests_of(model, status).inc()
        self._seconds_of(model).observe(seconds)
        if n:
            self._predictions_of(model).inc(n)

    def count_batch(self, n_rows: int) -> None:
        """Count a batch of single rows."""
        self._batches.observe(n_rows)

    def set_current(self, model: str, is_current: bool) -> None:
        """Say whether a model is that of its file."""
        self._is_current.labels(model).set(is_current)

    def count_reload(self, model: str, is_loaded: bool) -> None:
        """Count a file that has changed."""
        self._reloads.labels(model, "loaded" if is_loaded else "failed").inc()
        self.set_current(model, is_loaded)

    def text(self) -> bytes:
        """Return all counters in the text format of Prometheus."""
        content: bytes = self._render(self._registry)
        return content


CONTENT_TYPE = b"text/plain; version=0.0.4; charset=utf-8"
