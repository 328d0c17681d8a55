"""What a service counts, for Prometheus."""

from collections.abc import Callable
from pathlib import Path

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.multiprocess import MultiProcessCollector

from jaxrec.serve.history_cache import CacheCounts

# Seconds of requests: from a score to a long answer.
_SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120)
_ROWS = (1, 2, 4, 8, 16, 32, 64, 128)


class Metrics:
    """The counters of one service, in a registry of its own.

    Args:
      directory: of the files in which all processes of a service count; each of them was started
        with it as PROMETHEUS_MULTIPROC_DIR, and each shows the sums. None for a single process.

    Example:
      >>> metrics = Metrics()
      >>> metrics.request("/v1/completions", 200, 0.5)
      >>> b'jaxrec_requests_total{route="/v1/completions",status="200"} 1.0' in metrics.text()
      True
    """

    def __init__(self, directory: Path | None = None) -> None:
        self.registry, self._directory = CollectorRegistry(), directory
        self._queued: Callable[[], int] = lambda: 0
        self._requests = Counter(
            "jaxrec_requests", "Requests answered", ["route", "status"], registry=self.registry
        )
        self._seconds = Histogram(
            "jaxrec_request_seconds",
            "Seconds from a request to the end of its answer",
            ["route"],
            buckets=_SECONDS,
            registry=self.registry,
        )
        self._first = Histogram(
            "jaxrec_first_token_seconds",
            "Seconds from a request to the first piece of its answer",
            buckets=_SECONDS,
            registry=self.registry,
        )
        self._tokens = Counter(
            "jaxrec_tokens", "Tokens read and written", ["kind"], registry=self.registry
        )
        self._rows = Histogram(
            "jaxrec_batch_rows", "Rows of batches", buckets=_ROWS, registry=self.registry
        )
        self._waited = Histogram(
            "jaxrec_batch_wait_seconds",
            "Seconds that the oldest row of a batch waited in the queue",
            buckets=_SECONDS,
            registry=self.registry,
        )
        self._running = Gauge(
            "jaxrec_requests_running",
            "Requests that are being answered",
            registry=self.registry,
            multiprocess_mode="livesum",
        )
        self._waiting = Gauge(
            "jaxrec_rows_waiting",
            "Rows that wait in the queue",
            registry=self.registry,
            multiprocess_mode="livesum",
        )

        self._cached = Counter(
            "jaxrec_cache_histories",
            "Histories of named users: read on from the cache, read from the start, or given up",
            ["kind"],
            registry=self.registry,
        )
        self._cache_size = Gauge(
            "jaxrec_cache_bytes",
            "Bytes of histories in the cache",
            registry=self.registry,
            multiprocess_mode="livesum",
        )
        self._cache_seen = dict.fromkeys(("hits", "misses", "evictions"), 0)

    def begin(self) -> None:
        """Note that a request has arrived."""
        self._running.inc()

    def end(self) -> None:
        """Note that a request has left, answered or not."""
        self._running.dec()

    def request(self, route: str, status: int, seconds: float) -> None:
        """Count an answered request; `route` is one of few, whatever clients send."""
        self._requests.labels(route, str(status)).inc()
        self._seconds.labels(route).observe(seconds)

    def first_token(self, seconds: float) -> None:
        """Note how long a client waited for the first piece of its answer."""
        self._first.observe(seconds)

    def tokens(self, prompt: int, completion: int) -> None:
        """Count the tokens of an answer."""
        self._tokens.labels("prompt").inc(prompt)
        self._tokens.labels("completion").inc(completion)

    def batch(self, rows: int, waited: float) -> None:
        """Count a batch; the observer of a `Batcher`."""
        self._rows.observe(rows)
        self._waiting.set(self._queued())
        self._waited.observe(waited)

    def cache(self, counts: CacheCounts) -> None:
        """Note what has happened to the cache of histories, in the thread of the device."""
        for kind, before in self._cache_seen.items():
            now = getattr(counts, kind)
            self._cached.labels(kind).inc(now - before)
            self._cache_seen[kind] = now
        self._cache_size.set(counts.bytes)

    def watch_queue(self, waiting: Callable[[], int]) -> None:
        """Read the length of a queue whenever the metrics are read, and after each batch."""
        self._queued = waiting

    def text(self) -> bytes:
        """Return all metrics in the text format of Prometheus."""
        self._waiting.set(self._queued())
        if self._directory is None:
            return generate_latest(self.registry)
        every = CollectorRegistry()
        MultiProcessCollector(every, path=str(self._directory))
        return generate_latest(every)
