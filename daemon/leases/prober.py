"""Conflict probes of the daemon: which interface leads to an address, and how many are asked a second."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network
from typing import Protocol

from daemon.clock import Clock
from daemon.leases.probe import Address, InUse, Method, NotAsked, Outcome, Query, Silent, Why
from ipam.address import Unit
from ipam.kinds import BITS, Space

_PEOPLE_PER_S = 5.0  # what people ask does not wait behind what the daemon asks, and has its own rate
_PEOPLE_WAITING = 50
_ROUNDING_S = 1e-6
_ROOM_S = 2.0
_MANY_S = 3600.0
_MOST_MACS = 4096


@dataclass(frozen=True, slots=True, kw_only=True)
class Reach:
    """Where the addresses of some prefixes can be asked. `tenant` empty: every tenant's."""

    interface: str
    prefixes: tuple[IPv4Network | IPv6Network, ...]
    tenant: str = ""
    vrf: str = ""
    method: Method = Method.AUTO


@dataclass(frozen=True, slots=True, kw_only=True)
class ProbeOptions:
    """What the settings say. `per_s` is how many addresses are asked a second, `queue` how many may wait for that.

    A slot is asked about in the last `ahead_s` of its wait. Answers of `ignore_macs` are none (routers that do proxy
    ARP); one MAC that answers for more than `most_per_mac` addresses within an hour is not believed either.
    """

    enabled: bool = False
    reaches: tuple[Reach, ...] = ()
    per_s: float = 10.0
    burst: int = 5
    queue: int = 1000
    count: int = 2
    wait_s: float = 1.0
    ahead_s: float = 60.0
    ignore_macs: frozenset[str] = frozenset()
    most_per_mac: int = 8


@dataclass(slots=True)
class ProbeCounts:
    """What came of probes since the start, for metrics. `waiting` is how many wait for their turn now."""

    silent: int = 0
    in_use: int = 0
    not_asked: Counter[Why] = field(default_factory=Counter)
    waiting: int = 0

    def note(self, outcome: Outcome) -> None:
        """Count one outcome."""
        match outcome:
            case Silent():
                self.silent += 1
            case InUse():
                self.in_use += 1
            case NotAsked(why):
                self.not_asked[why] += 1


class Wire(Protocol):
    """Asks one query; see `probe_helper.Helper`."""

    async def ask(self, query: Query) -> Outcome: ...

    async def stop(self) -> None: ...


class Turns:
    """A steady rate with a burst: each is told how long to wait, and its turn is kept for it."""

    __slots__ = ("_burst_s", "_next", "_per_s")

    def __init__(self, per_s: float, burst: int) -> None:
        self._per_s = per_s
        self._burst_s = (burst - 1) / per_s
        self._next = float("-inf")  # when all turns that were given are used up

    def take(self, now: float) -> float:
        """Return in how many seconds the turn is that is taken now."""
        at = max(self._next, now - self._burst_s)
        self._next = at + 1 / self._per_s
        return at - now if at - now > _ROUNDING_S else 0.0


class Answerers:
    """Which MACs answer for how many addresses: whoever answers for all would else empty a pool."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._by_mac: dict[str, tuple[float, set[Address]]] = {}

    def believe(self, mac: str, address: Address, now: float) -> bool:
        """Note an answer; return whether this MAC answers for few addresses."""
        since, addresses = self._by_mac.pop(mac, (now, set()))
        if now - since >= _MANY_S:
            since, addresses = now, set()
        if len(addresses) <= self._most:
            addresses.add(address)
        self._by_mac[mac] = since, addresses  # as the youngest
        if len(self._by_mac) > _MOST_MACS:
            del self._by_mac[next(iter(self._by_mac))]
        return len(addresses) <= self._most


class Prober:
    """Asks addresses through a wire, never faster than the settings say, and counts what comes of it."""

    def __init__(self, options: ProbeOptions, wire: Wire, clock: Clock) -> None:
        self.options = options
        self.counts = ProbeCounts()
        self._wire = wire
        self._clock = clock
        self._turns = Turns(options.per_s, options.burst)
        self._people = Turns(_PEOPLE_PER_S, int(_PEOPLE_PER_S))
        self._people_waiting = 0
        self._answerers = Answerers(options.most_per_mac)

    def reach(self, tenant: str, vrf: str, address: Address) -> Reach | None:
        """Return where an address can be asked: the first that fits, as they are written."""
        for each in self.options.reaches:
            if (
                each.vrf == vrf
                and each.tenant in ("", tenant)
                and any(address in net for net in each.prefixes)
            ):
                return each
        return None

    def room(self) -> int:
        """Return how many more would have their turn within two seconds: more need not wait here."""
        most = min(int(self.options.per_s * _ROOM_S) + self.options.burst, self.options.queue)
        return max(most - self.counts.waiting, 0)

    async def check(
        self, tenant: str, vrf: str, unit: Unit, wanted: Callable[[], bool] | None = None
    ) -> Outcome:
        """Ask about a unit that is to be given out, when its turn has come; `wanted` is asked then.

        Returns NotAsked at once where too many wait, and where it is no single address or no interface leads there.
        """
        outcome = await self._check(tenant, vrf, unit, wanted)
        self.counts.note(outcome)
        return outcome

    async def _check(self, tenant: str, vrf: str, unit: Unit, wanted: Callable[[], bool] | None) -> Outcome:
        options, counts = self.options, self.counts
        if not options.enabled:
            return NotAsked(Why.SWITCHED_OFF)
        address = address_of(unit)
        if address is None:
            return NotAsked(Why.NO_ADDRESS, str(unit))
        reach = self.reach(tenant, vrf, address)
        if reach is None:
            return NotAsked(Why.NOT_REACHED, str(unit))
        if counts.waiting >= options.queue:
            return NotAsked(Why.BUSY)
        counts.waiting += 1
        try:
            await self._clock.sleep(self._turns.take(self._clock.monotonic()))
        finally:
            counts.waiting -= 1
        if wanted is not None and not wanted():
            return NotAsked(Why.TOO_LATE)
        query = Query(
            address=address,
            interface=reach.interface,
            method=reach.method,
            count=options.count,
            wait_s=options.wait_s,
        )
        return self._judged(await self._wire.ask(query), address)

    def _judged(self, outcome: Outcome, address: Address) -> Outcome:
        if not isinstance(outcome, InUse) or not outcome.mac:
            return outcome
        if outcome.mac in self.options.ignore_macs:
            return Silent((outcome.method,))
        if not self._answerers.believe(outcome.mac, address, self._clock.monotonic()):
            return NotAsked(Why.MANY_ADDRESSES, outcome.mac)
        return outcome

    async def ask(self, query: Query) -> Outcome:
        """Ask for somebody who waits for the answer; the query has no `fault`. Answers are told as they come."""
        outcome = await self._ask(query)
        self.counts.note(outcome)
        return outcome

    async def _ask(self, query: Query) -> Outcome:
        if not self.options.enabled:
            return NotAsked(Why.SWITCHED_OFF)
        if self._people_waiting >= _PEOPLE_WAITING:
            return NotAsked(Why.BUSY)
        self._people_waiting += 1
        try:
            await self._clock.sleep(self._people.take(self._clock.monotonic()))
        finally:
            self._people_waiting -= 1
        return await self._wire.ask(query)

    async def stop(self) -> None:
        """End the helper process, if there is one."""
        await self._wire.stop()


def address_of(unit: Unit) -> Address | None:
    """Return the address that a unit is; None for prefixes, VLANs and port blocks."""
    if unit.space not in (Space.IPV4, Space.IPV6) or unit.length != BITS[unit.space]:
        return None
    return IPv4Address(unit.value) if unit.space is Space.IPV4 else IPv6Address(unit.value)
