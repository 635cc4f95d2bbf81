"""Numbers of feeds and outbox for Prometheus. Labels are feeds, kinds, sinks and streams, never a subscriber."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from daemon.api.live_gauges import Families
from daemon.clock import Clock
from daemon.metrics import Gauges
from daemon.sync.assembly import Exchange
from daemon.sync.feed.model import FeedStatus, KindStatus
from daemon.sync.feed.pull_options import PullStatus
from daemon.sync.outbox.outbox import Backlog

_FEED = ("feed",)
_KIND = ("feed", "kind")
_STREAM = ("sink", "stream")


def gauges(exchange: Exchange, clock: Clock) -> Families:
    """Return the gauges by name: help, labels, and what reads them. `Exchange.look` brings them up to date."""
    return _of_feeds(exchange) | _of_sources(exchange, clock) | _of_outbox(exchange, clock)


def counters(exchange: Exchange) -> Families:
    """Return the counters by name: help, labels, and what reads them."""
    return {
        "outbox_dropped": (
            "events that gave way, by class; of class B those that a newer one replaces",
            ("class",),
            lambda: {(each,): float(count) for each, count in exchange.outbox.dropped.items()},
        )
    }


def _of_feeds(exchange: Exchange) -> Families:
    def by_kind(read: Callable[[KindStatus], int]) -> Callable[[], Gauges]:
        return lambda: {
            (feed.name, each.kind): float(read(each)) for feed in exchange.statuses for each in feed.kinds
        }

    return {
        "sync_staleness_seconds": (
            "time since the platform of a feed was last heard of for certain",
            _FEED,
            lambda: {(name,): exchange.staleness.silent_s(name) for name in exchange.ages},
        ),
        "sync_head_lag_revisions": (
            "revisions that the platform has, as last heard, and this edge has not",
            _FEED,
            lambda: {(feed.name,): float(lag) for feed, lag in _lags(exchange)},
        ),
        "sync_braked": (
            "1 while a change is held because too much would go",
            _FEED,
            lambda: {(feed.name,): float(feed.brake is not None) for feed in exchange.statuses},
        ),
        "sync_objects": ("objects of a feed that are served", _KIND, by_kind(lambda kind: kind.objects)),
        "sync_nacked": ("objects of a feed that are refused", _KIND, by_kind(lambda kind: kind.nacked)),
        "sync_pending": (
            "objects of a feed that name something which is not there yet",
            _KIND,
            by_kind(lambda kind: kind.pending),
        ),
        "sync_skew_seconds": (
            "how far the platform's clock is ahead of ours",
            _FEED,
            lambda: {(feed.name,): feed.skew_s for feed in exchange.statuses if feed.skew_s is not None},
        ),
    }


def _lags(exchange: Exchange) -> Iterator[tuple[FeedStatus, int]]:
    for feed in exchange.statuses:
        if feed.position is not None and feed.head is not None:
            yield feed, max(0, feed.head - feed.position.rev)


def _of_sources(exchange: Exchange, clock: Clock) -> Families:
    def days() -> Gauges:
        found: dict[tuple[str, ...], float] = {}
        for name, source in exchange.sources.items():
            status = getattr(source, "status", None)
            left = status.certificate_days(clock.wall()) if isinstance(status, PullStatus) else None
            if left is not None:
                found[(name,)] = left
        return found

    def failures() -> Gauges:
        stands = {name: getattr(source, "status", None) for name, source in exchange.sources.items()}
        return {(name,): float(status.failures) for name, status in stands.items() if status is not None}

    return {
        "sync_certificate_days": ("days until our certificate for a feed ends", _FEED, days),
        "sync_failures": ("tries to reach the source of a feed that failed in a row", _FEED, failures),
    }


def _of_outbox(exchange: Exchange, clock: Clock) -> Families:
    def by_stream(read: Callable[[Backlog], float]) -> Callable[[], Gauges]:
        return lambda: {(each.sink, each.stream.value): read(each) for each in exchange.outbox.backlog()}

    def age_s(each: Backlog) -> float:
        return 0.0 if each.oldest_at is None else max(0.0, clock.wall() - each.oldest_at)

    return {
        "outbox_backlog_events": (
            "events that a sink has not acknowledged",
            _STREAM,
            by_stream(lambda each: float(each.events)),
        ),
        "outbox_backlog_octets": (
            "about how many octets those are",
            _STREAM,
            by_stream(lambda each: float(each.octets)),
        ),
        "outbox_oldest_age_seconds": (
            "age of the oldest event that a sink has not acknowledged",
            _STREAM,
            by_stream(age_s),
        ),
        "outbox_failing": (
            "1 while the last delivery to a sink has failed",
            _STREAM,
            by_stream(lambda each: float(bool(each.failing))),
        ),
        "outbox_pressure_level": (
            "how full the store is: 0 easy, 1 class C is sampled, 2 the oldest of it goes, 3 accounting is not taken",
            (),
            lambda: {(): float(exchange.outbox.pressure.level)},
        ),
    }
