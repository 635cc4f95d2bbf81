"""Which numbers of the running daemon Prometheus sees, beside the counts of requests and commits."""

from __future__ import annotations

import gc
from collections.abc import Callable, Sequence

from prometheus_client import CollectorRegistry

from daemon.aaa.accounting import Pending
from daemon.aaa.endpoint import Endpoint
from daemon.aaa.nas import Clients
from daemon.aaa.session import State
from daemon.aaa.sessions import SessionTable
from daemon.clock import Clock
from daemon.metrics import EdgeCollector, Gauges, RequestCounts, StoreCounts
from daemon.replica.index import Index
from daemon.store.journal import Journal


def registry(
    requests: RequestCounts,
    store: StoreCounts,
    index: Index,
    sessions: SessionTable,
    clients: Clients,
    journal: Journal[Pending],
    endpoints: Sequence[Endpoint],
    clock: Clock,
) -> CollectorRegistry:
    """Return a registry that reads the daemon's numbers when it is scraped."""

    def session_counts() -> Gauges:
        counts: dict[tuple[str, ...], float] = {}
        for (_, nas, state), count in sessions.counts().items():
            counts[(nas, state)] = counts.get((nas, state), 0) + count
        for known in index.nases():
            counts.setdefault((known.id, State.ACTIVE), 0)
        return counts

    def replica_objects() -> Gauges:
        return {(kind,): count for kind, count in index.count().items()}

    def replica_age() -> Gauges:
        return {} if index.loaded_at is None else {(): max(0.0, clock.wall() - index.loaded_at)}

    def kernel_drops() -> Gauges:
        drops: dict[tuple[str, ...], float] = {}
        for endpoint in endpoints:
            drops[(endpoint.port,)] = drops.get((endpoint.port,), 0) + endpoint.socket.kernel_drops()
        return drops

    def send_failures() -> Gauges:
        failures: dict[tuple[str, ...], float] = {}
        for endpoint in endpoints:
            failures[(endpoint.port,)] = failures.get((endpoint.port,), 0) + endpoint.socket.send_failures
        return failures

    gauges: dict[str, tuple[str, tuple[str, ...], Callable[[], Gauges]]] = {
        "sessions": ("sessions in memory, by NAS and state", ("nas", "state"), session_counts),
        "replica_objects": ("objects in the replica", ("kind",), replica_objects),
        "replica_age_seconds": ("time since the replica last changed", (), replica_age),
        "nas_candidates": (
            "unknown sources that send RADIUS",
            (),
            lambda: {(): float(len(clients.candidates()))},
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
    counters: dict[str, tuple[str, tuple[str, ...], Callable[[], Gauges]]] = {
        "udp_kernel_drops": ("datagrams lost because a socket buffer was full", ("port",), kernel_drops),
        "udp_send_failures": ("replies the kernel did not take", ("port",), send_failures),
    }
    out = CollectorRegistry()
    out.register(EdgeCollector(requests, store, gauges, counters))
    return out
