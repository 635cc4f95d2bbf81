"""What is told of pools while they are in use: which runs low, which is nearly empty, which has recovered.

An alarm is told once. It is over only when there is clearly more than the threshold, so that a pool at the edge does
not alarm with every login.
"""

from __future__ import annotations

from collections.abc import Callable
from enum import StrEnum
from typing import Any

from daemon.leases.addresses import Addresses
from ipam.kinds import FREE, Kind, PoolState
from ipam.model import Pool

_MARGIN_PERCENT = 2.0  # of slots that must be free beyond a threshold for its alarm to be over
_BEHIND_S = 10.0


class Alarm(StrEnum):
    """How a pool stands."""

    NONE = ""
    LOW = "low"
    CRITICAL = "critical"


_ORDER = (Alarm.NONE, Alarm.LOW, Alarm.CRITICAL)
_KINDS = {Alarm.NONE: "pool-recovered", Alarm.LOW: "pool-low", Alarm.CRITICAL: "pool-critical"}


Tell = Callable[..., object]
"""Takes an event, as `Events.add` does."""


def alarm_of(pool: Pool, free_percent: float, now: Alarm) -> Alarm:
    """Return the alarm that follows when that share of the slots is free."""
    for alarm, threshold in ((Alarm.CRITICAL, pool.critical_percent), (Alarm.LOW, pool.low_percent)):
        # An alarm that is on stays on for a little longer. Without a threshold there is none.
        stays = _ORDER.index(now) >= _ORDER.index(alarm)
        limit = max(threshold, min(threshold + _MARGIN_PERCENT, 99.0)) if stays else threshold
        if threshold > 0 and free_percent <= limit:
            return alarm
    return Alarm.NONE


class Watch:
    """Looks at all pools, once a second: a sum for each, whatever its size."""

    def __init__(self, addresses: Addresses[Any], tell: Tell, monotonic: Callable[[], float]) -> None:
        self._addresses = addresses
        self._tell = tell
        self._monotonic = monotonic
        self._alarms: dict[tuple[str, str], Alarm] = {}
        self._waits_since: float | None = None

    def alarm(self, tenant: str, pool: str) -> Alarm:
        """Return how a pool stood when it was last looked at."""
        return self._alarms.get((tenant, pool), Alarm.NONE)

    def count(self, alarm: Alarm) -> int:
        """Return how many pools stand like that."""
        return sum(1 for each in self._alarms.values() if each is alarm)

    def turn(self) -> None:
        """Look at the pools, and tell of those that have crossed a threshold."""
        register = self._addresses.register
        if not register.ledger.waiting:
            self._waits_since = None
        elif self._waits_since is None:
            self._waits_since = self._monotonic()
        for key in self._alarms.keys() - register.shelves.keys():
            del self._alarms[key]
        for key, shelf in register.shelves.items():
            pool, counts = shelf.pool, shelf.allocator.counts
            usable = sum(counts) - counts[-1]
            if pool.kind is Kind.FIXED:
                continue
            before = self._alarms.get(key, Alarm.NONE)
            watched = pool.state is PoolState.ACTIVE and usable > 0
            alarm = alarm_of(pool, 100 * counts[FREE] / usable, before) if watched else Alarm.NONE
            if alarm is not before:
                self._alarms[key] = alarm
                if watched:
                    self._cross(pool, alarm, counts[FREE], usable)

    def _cross(self, pool: Pool, alarm: Alarm, free: int, usable: int) -> None:
        percent = 100 * free / usable
        why = f"{free} of {usable} free ({percent:.1f} %)"
        if pool.fallbacks:
            why += f"; logins fall back to {', '.join(pool.fallbacks)}"
        self._tell(
            _KINDS[alarm],
            tenant=pool.tenant,
            reason=alarm.value or "recovered",
            pool=pool.name,
            of_kind=pool.kind.value,
            free=free,
            size=usable,
            why=why,
        )

    def degraded(self) -> list[str]:
        """Return what is not as usual about addresses, a sentence each, for `status`."""
        addresses = self._addresses
        said = [f"address book: {each}" for each in addresses.problems]
        if addresses.strangers:
            said.append(
                f"{addresses.strangers} stored leases are of no pool here; `ipam check` names their pools"
            )
        ledger, failing = addresses.register.ledger, addresses.lessor.failing
        if failing is not None:
            said.append(f"leases cannot be stored, so no new login with an address is answered: {failing}")
        elif ledger.behind:
            said.append(
                f"{ledger.waiting} changes of leases wait to be stored: no new lease begins until they are"
            )
        elif self._waits_since is not None and self._monotonic() - self._waits_since > _BEHIND_S:
            said.append(f"changes of leases have waited to be stored for a while ({ledger.waiting} now)")
        critical = sorted(
            f"{tenant}/{name}" for (tenant, name), each in self._alarms.items() if each is Alarm.CRITICAL
        )
        if critical:
            more = f" and {len(critical) - 5} more" if len(critical) > 5 else ""
            said.append(
                f"pools with hardly an address left: {', '.join(critical[:5])}{more}; see `ipam usage`"
            )
        return said
