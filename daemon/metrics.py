"""Every metric, in one place. The request path adds to plain dictionaries; Prometheus objects are made at a scrape."""

from __future__ import annotations

from bisect import bisect_left
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping

from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    Metric,
)
from prometheus_client.registry import Collector

from radius.codes import Code

_PREFIX = "dotmac_edge_"
_LATENCY_BOUNDS_S = (0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1.0)
_CODES = {int(code): code.title for code in Code}


class Histogram:
    """Counts of observations by upper bound; cheap to add to, several at a time."""

    __slots__ = ("counts", "total_s")

    def __init__(self) -> None:
        self.counts = [0] * (len(_LATENCY_BOUNDS_S) + 1)
        self.total_s = 0.0

    def observe(self, seconds: float, times: int = 1) -> None:
        """Count `times` observations of the same duration."""
        self.counts[bisect_left(_LATENCY_BOUNDS_S, seconds)] += times
        self.total_s += seconds * times

    def buckets(self) -> list[tuple[str, float]]:
        """Return the cumulative buckets as Prometheus wants them."""
        out: list[tuple[str, float]] = []
        total = 0
        for bound, count in zip((*map(str, _LATENCY_BOUNDS_S), "+Inf"), self.counts, strict=True):
            total += count
            out.append((bound, float(total)))
        return out


class RequestCounts:
    """RADIUS requests by code, NAS, outcome and reason, and how long they took.

    The time of a request is that of the batch it came in: what its sender waited, apart from the kernel.
    """

    def __init__(self) -> None:
        self.requests: defaultdict[tuple[int, str, str, str], int] = defaultdict(int)
        self.seconds: defaultdict[str, Histogram] = defaultdict(Histogram)

    def add(self, code: int, nas: str, outcome: str, reason: str) -> None:
        """Count one request; `nas` is "unknown" for a stranger."""
        self.requests[(code, nas, outcome, reason)] += 1

    def observe(self, port: str, times: int, seconds: float) -> None:
        """Count the duration of `times` requests handled together."""
        self.seconds[port].observe(seconds, times)


class StoreCounts:
    """Commits of the single writer."""

    def __init__(self) -> None:
        self.commit = Histogram()
        self.failures = 0

    def observe(self, seconds: float, durable: bool) -> None:
        """Count one commit."""
        self.commit.observe(seconds)
        self.failures += not durable


Gauges = Mapping[tuple[str, ...], float]


class EdgeCollector(Collector):
    """Makes Prometheus metrics out of the daemon's plain numbers when asked.

    `gauges` maps a metric's name to its help text, label names and a function that returns label values and
    numbers; `app` lists them.
    """

    def __init__(
        self,
        requests: RequestCounts,
        store: StoreCounts,
        gauges: Mapping[str, tuple[str, tuple[str, ...], Callable[[], Gauges]]],
        counters: Mapping[str, tuple[str, tuple[str, ...], Callable[[], Gauges]]],
    ) -> None:
        self._requests = requests
        self._store = store
        self._gauges = gauges
        self._counters = counters

    def collect(self) -> Iterable[Metric]:
        """Yield all metric families."""
        requests = CounterMetricFamily(
            _PREFIX + "radius_requests",
            "RADIUS requests by packet code, NAS, outcome and reason",
            labels=("code", "nas", "outcome", "reason"),
        )
        counts: defaultdict[tuple[str, str, str, str], int] = defaultdict(int)
        for (code, nas, outcome, reason), count in self._requests.requests.items():
            counts[(_CODES.get(code, "other"), nas, outcome, str(reason))] += count
        for key, total in sorted(counts.items()):
            requests.add_metric(key, total)
        yield requests
        seconds = HistogramMetricFamily(
            _PREFIX + "radius_request_seconds",
            "time from taking a batch of requests off the socket to its last answer",
            labels=("port",),
        )
        for port, histogram in sorted(self._requests.seconds.items()):
            seconds.add_metric((port,), histogram.buckets(), histogram.total_s)
        yield seconds
        commit = HistogramMetricFamily(
            _PREFIX + "journal_commit_seconds", "time of one group commit, disk flush included"
        )
        commit.add_metric((), self._store.commit.buckets(), self._store.commit.total_s)
        yield commit
        failures = CounterMetricFamily(
            _PREFIX + "journal_commit_failures", "commits that did not become durable"
        )
        failures.add_metric((), self._store.failures)
        yield failures
        for name, (text, labels, read) in self._gauges.items():
            gauge = GaugeMetricFamily(_PREFIX + name, text, labels=labels)
            for values, number in sorted(read().items()):
                gauge.add_metric(values, number)
            yield gauge
        for name, (text, labels, read) in self._counters.items():
            counter = CounterMetricFamily(_PREFIX + name, text, labels=labels)
            for values, number in sorted(read().items()):
                counter.add_metric(values, number)
            yield counter
