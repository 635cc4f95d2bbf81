"""Which numbers of the running daemon Prometheus sees, beside the counts of requests and commits."""

from __future__ import annotations

import gc

from prometheus_client import CollectorRegistry

from daemon.aaa.assembly import RequestPath
from daemon.aaa.leasing import Held
from daemon.aaa.session import State
from daemon.api import exchange_gauges, ipam_forecast_gauges, lease_gauges, live_gauges
from daemon.api.live_gauges import Families
from daemon.clock import Clock
from daemon.events import Events
from daemon.leases.assembly import AddressWork
from daemon.metrics import EdgeCollector, Gauges, RequestCounts, StoreCounts
from daemon.replica.index import Index
from daemon.sync.assembly import Exchange


def registry(
    requests: RequestCounts,
    store: StoreCounts,
    index: Index,
    aaa: RequestPath,
    events: Events,
    clock: Clock,
    work: AddressWork[Held],
    exchange: Exchange,
) -> CollectorRegistry:
    """Return a registry that reads the daemon's numbers when it is scraped."""
    gauges = _gauges(index, aaa, clock) | live_gauges.gauges(index, aaa, clock)
    gauges |= lease_gauges.gauges(work.addresses, work.watch)
    gauges |= ipam_forecast_gauges.gauges(work.outlooks, clock.wall)
    gauges |= exchange_gauges.gauges(exchange, clock)
    counters = _counters(aaa) | live_gauges.counters(index, aaa, events)
    counters |= lease_gauges.counters(work.addresses, requests, events)
    counters |= exchange_gauges.counters(exchange)
    out = CollectorRegistry()
    out.register(EdgeCollector(requests, store, gauges, counters))
    return out


def _gauges(index: Index, aaa: RequestPath, clock: Clock) -> Families:
    journal = aaa.journal

    def session_counts() -> Gauges:
        counts: dict[tuple[str, ...], float] = {}
        for (_, nas, state), count in aaa.sessions.counts().items():
            counts[(nas, state)] = counts.get((nas, state), 0) + count
        for known in index.nases():
            for state in (State.ACTIVE, State.SUSPECT):
                counts.setdefault((known.id, state), 0)
        return counts

    def replica_objects() -> Gauges:
        return {(kind,): count for kind, count in index.count().items()}

    def replica_age() -> Gauges:
        return {} if index.loaded_at is None else {(): max(0.0, clock.wall() - index.loaded_at)}

    return {
        "sessions": ("sessions in memory, by NAS and state", ("nas", "state"), session_counts),
        "replica_objects": ("objects in the replica", ("kind",), replica_objects),
        "replica_age_seconds": ("time since the replica last changed", (), replica_age),
        "nas_candidates": (
            "unknown sources that send RADIUS",
            (),
            lambda: {(): float(len(aaa.clients.candidates()))},
        ),
        "journal_pending_records": (
            "records that wait for the disk",
            (),
            lambda: {(): float(journal.pending)},
        ),
        "journal_last_seq": (
            "number of the last record made durable",
            (),
            lambda: {(): float(journal.last_seq)},
        ),
        "gc_objects_frozen": ("objects the garbage collector skips", (), lambda: {(): gc.get_freeze_count()}),
    }


def _counters(aaa: RequestPath) -> Families:
    def kernel_drops() -> Gauges:
        drops: dict[tuple[str, ...], float] = {}
        for endpoint in aaa.endpoints:
            drops[(endpoint.port,)] = drops.get((endpoint.port,), 0) + endpoint.socket.kernel_drops()
        return drops

    def send_failures() -> Gauges:
        failures: dict[tuple[str, ...], float] = {}
        for endpoint in aaa.endpoints:
            failures[(endpoint.port,)] = failures.get((endpoint.port,), 0) + endpoint.socket.send_failures
        return failures

    return {
        "udp_kernel_drops": ("datagrams lost because a socket buffer was full", ("port",), kernel_drops),
        "udp_send_failures": ("replies the kernel did not take", ("port",), send_failures),
    }
