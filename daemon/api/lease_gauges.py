"""Numbers of the address book for Prometheus. Labels are pools and reasons, never a subscriber or an address."""

from __future__ import annotations

from typing import Any

from daemon.aaa.reasons import Deny
from daemon.api.live_gauges import Families
from daemon.events import Events
from daemon.leases.addresses import Addresses
from daemon.leases.watch import Alarm, Watch
from daemon.metrics import Gauges, RequestCounts
from ipam.kinds import STATE_NAMES, Shortage

_REASONS = (*(Deny(each.value) for each in Shortage), Deny.ADDRESS_CONFLICT)


def gauges(addresses: Addresses[Any], watch: Watch) -> Families:
    """Return the gauges by name: help, labels, and what reads them."""

    def slots() -> Gauges:
        return {
            (pool.tenant, pool.name, pool.kind.value, state): float(count)
            for shelf in list(addresses.register.shelves.values())
            for pool in (shelf.pool,)
            for state, count in zip(STATE_NAMES, shelf.allocator.counts, strict=True)
        }

    def sizes() -> Gauges:
        return {
            (shelf.pool.tenant, shelf.pool.name, shelf.pool.kind.value): float(sum(shelf.allocator.counts))
            for shelf in list(addresses.register.shelves.values())
        }

    return {
        "pool_slots": (
            "addresses, prefixes and the like of a pool, by the state they are in",
            ("tenant", "pool", "kind", "state"),
            slots,
        ),
        "pools_in_alarm": (
            "pools with fewer free addresses than their thresholds say",
            ("alarm",),
            lambda: {(each.value,): float(watch.count(each)) for each in (Alarm.LOW, Alarm.CRITICAL)},
        ),
        "pool_size": ("addresses, prefixes and the like of a pool", ("tenant", "pool", "kind"), sizes),
        "leases_waiting": (
            "changes of leases that are not on disk yet",
            (),
            lambda: {(): float(addresses.register.ledger.waiting)},
        ),
        "lease_logins_waiting": (
            "logins that wait for their leases to be stored",
            (),
            lambda: {(): float(addresses.lessor.waiting)},
        ),
        "lease_store_failing": (
            "1 while the store refuses leases",
            (),
            lambda: {(): float(addresses.lessor.failing is not None)},
        ),
        "lease_bundles": (
            "logins and sessions that have leases",
            (),
            lambda: {(): float(len(addresses.book))},
        ),
    }


def counters(addresses: Addresses[Any], requests: RequestCounts, events: Events) -> Families:
    """Return the counters by name: help, labels, and what reads them."""

    def refusals() -> Gauges:
        counts: dict[tuple[str, ...], float] = {(each.value,): 0.0 for each in _REASONS}
        for (_, _, outcome, reason), count in list(requests.requests.items()):
            if outcome == "reject" and (str(reason),) in counts:
                counts[str(reason),] += count
        return counts

    return {
        "lease_refusals": ("logins that were refused for want of an address", ("reason",), refusals),
        "address_conflicts": (
            "addresses that were reported by somebody whose they are not",
            (),
            lambda: {(): float(events.counts["address-conflict"])},
        ),
        "lease_history_events": (
            "number of the last event in the history of leases",
            (),
            lambda: {(): float(addresses.register.ledger.stored_seq)},
        ),
    }
