"""Numbers of what acts on live sessions: deviations, CoA, ghosts, storms, allowances, staff."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from daemon.aaa.assembly import RequestPath
from daemon.clock import Clock
from daemon.events import Events
from daemon.metrics import Gauges
from daemon.replica.index import Index

Families = dict[str, tuple[str, tuple[str, ...], Callable[[], Gauges]]]
_JOB_LABELS = ("nas", "kind", "outcome", "cause")
_REQUEST_LABELS = ("nas", "kind", "answer", "cause")


def gauges(index: Index, aaa: RequestPath, clock: Clock) -> Families:
    """Return the gauges by name: help, labels, and what reads them."""
    enforcement, books = aaa.enforcement, aaa.books

    def jobs() -> Gauges:
        return _by_label(enforcement.engine.job_counts())

    return {
        "deviating_sessions": (
            "live sessions that are not what the data want",
            ("nas",),
            lambda: _deviating(index, aaa),
        ),
        "coa_jobs": ("CoA and Disconnect jobs at work, by state", ("state",), jobs),
        "reservations": (
            "accepted logins that count as sessions until their Start comes",
            (),
            lambda: _one(len(books.reservations.all_held(clock.wall()))),
        ),
        "logins_paused": (
            "logins, by user name and MAC, that are refused unseen for a while",
            (),
            lambda: _one(len(aaa.loops)),
        ),
        "usage_subscribers": ("subscribers whose use is counted", (), lambda: _one(len(books.usage))),
        "sessions_without_interims": (
            "live sessions of boxes that send no interims, which can never be told for ghosts",
            (),
            lambda: _one(enforcement.reaper.without_interims),
        ),
        "silent_boxes": (
            "boxes with live sessions of which nothing is heard",
            (),
            lambda: _one(enforcement.reaper.silent_boxes),
        ),
        "coa_relay_pending_requests": (
            "requests of the platform that wait for a NAS's answer",
            (),
            lambda: _one(enforcement.relay.pending),
        ),
        "staff_sessions": (
            "logins of staff to devices that are open",
            (),
            lambda: _one(len(aaa.staff_accounting.sessions.now(clock.wall()))),
        ),
        "interims_held": (
            "interims held back in a storm so that the newest of a session is journaled",
            (),
            lambda: _one(len(aaa.accounting.interims)),
        ),
    } | _of_storm(aaa, clock)


def _of_storm(aaa: RequestPath, clock: Clock) -> Families:
    def snapshot(field: str) -> Callable[[], Gauges]:
        return lambda: _one(getattr(aaa.storm.snapshot(clock.monotonic(), clock.wall()), field))

    return {
        "storm_active": ("1 while subscribers come back in a storm", (), snapshot("active")),
        "storm_logins_per_second": ("Access-Requests a second over the last 3", (), snapshot("access_per_s")),
        "storm_usual_logins_per_second": ("Access-Requests a second as usual", (), snapshot("usual_per_s")),
        "storm_repeats_ratio": ("share of datagrams that were seen before", (), snapshot("repeats_share")),
    }


def counters(index: Index, aaa: RequestPath, events: Events) -> Families:
    """Return the counters by name: help, labels, and what reads them."""
    engine = aaa.enforcement.engine
    return {
        "coa_outcomes": (
            "CoA and Disconnect jobs that have come to their end",
            _JOB_LABELS,
            lambda: {tuple(map(str, key)): float(count) for key, count in engine.counts.items()},
        ),
        "coa_requests": (
            "CoA- and Disconnect-Requests sent, by what the NAS answered",
            _REQUEST_LABELS,
            lambda: _requests(index, engine.requests),
        ),
        "events": ("what happened, by kind of event", ("kind",), lambda: _by_label(events.counts)),
        "usage_late_octets": (
            "octets told only when the day they belong to was over",
            (),
            lambda: _one(aaa.books.usage.late_octets),
        ),
        "interims_coalesced": (
            "interims that gave way to a newer one of their session",
            (),
            lambda: _one(aaa.accounting.interims.coalesced),
        ),
    }


def _deviating(index: Index, aaa: RequestPath) -> Gauges:
    """Return how many sessions deviate by NAS; what ended since the last sweep does not count."""
    counts: dict[tuple[str, ...], float] = {(nas.id,): 0.0 for nas in index.nases()}
    for uid in aaa.enforcement.reconciler.deviating():
        session = aaa.sessions.find_uid(uid)
        if session is not None and session.closed_at is None:
            counts[(session.nas,)] = counts.get((session.nas,), 0.0) + 1
    return counts


def _requests(index: Index, counted: Mapping[tuple[str, str, str, str], int]) -> Gauges:
    """Return the counts, with a zero for each NAS, so that its first silence is seen as a rise."""
    counts: dict[tuple[str, ...], float] = {
        (nas.id, "disconnect", answer, ""): 0.0 for nas in index.nases() for answer in ("ack", "timeout")
    }
    return counts | {tuple(map(str, key)): float(count) for key, count in counted.items()}


def _by_label(counts: Mapping[str, int]) -> Gauges:
    return {(str(name),): float(count) for name, count in counts.items()}


def _one(number: float) -> Gauges:
    return {(): float(number)}
