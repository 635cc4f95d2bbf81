"""Many probes at a time: which question is open, when it is asked again, whose answer ends it. Pure."""

from __future__ import annotations

import heapq
from collections.abc import Callable
from typing import Final, Protocol

from daemon.leases.probe import Address, InUse, Method, NotAsked, Outcome, Query, Silent

OWN: Final = 0.0  # the round trip to ourselves


class Line(Protocol):
    """One interface to ask on; see `probe_wire.Link`. Methods return a NotAsked where it cannot be asked."""

    mac: str
    own: frozenset[str]

    def ask(self, address: Address, method: Method, number: int) -> tuple[Method, ...] | NotAsked: ...

    def trouble(self) -> NotAsked | None: ...


class _Open:
    """A question without an answer yet."""

    __slots__ = ("asked", "asked_at", "line", "number", "over", "query", "rounds")

    def __init__(self, number: int, query: Query, line: Line) -> None:
        self.number = number
        self.query = query
        self.line = line
        self.asked: dict[Method, None] = {}
        self.asked_at = 0.0
        self.rounds = 0
        self.over = False


class Asker:
    """The open questions. `line_of` returns the line of an interface, `tell` gets each outcome once."""

    def __init__(
        self,
        line_of: Callable[[str, float], Line | NotAsked],
        tell: Callable[[int, Outcome], None],
    ) -> None:
        self._line_of = line_of
        self._tell = tell
        self._by_address: dict[tuple[str, Address], list[_Open]] = {}
        self._due: list[tuple[float, int, _Open]] = []
        self._turns = 0

    @property
    def open(self) -> int:
        """How many questions are open."""
        return sum(map(len, self._by_address.values()))

    def interfaces(self) -> frozenset[str]:
        """Return where something is asked."""
        return frozenset(interface for interface, _ in self._by_address)

    def ask(self, number: int, query: Query, now: float) -> None:
        """Begin with a question; it may be answered before this returns."""
        line = self._line_of(query.interface, now)
        if isinstance(line, NotAsked):
            self._tell(number, line)
            return
        if str(query.address) in line.own:
            method = Method.ARP if query.address.version == 4 else Method.ND
            self._tell(number, InUse(line.mac, method, OWN))
            return
        item = _Open(number, query, line)
        self._by_address.setdefault((query.interface, query.address), []).append(item)
        self._round(item, now)

    def _round(self, item: _Open, now: float) -> None:
        query = item.query
        # Rounds are numbered apart, as echoes have sequence numbers.
        asked = item.line.ask(query.address, query.method, item.number + item.rounds)
        if isinstance(asked, NotAsked):
            self._end(item, asked)
            return
        item.asked.update(dict.fromkeys(asked))
        item.asked_at = now
        item.rounds += 1
        self._turns += 1
        heapq.heappush(self._due, (now + query.wait_s, self._turns, item))

    def seen(self, interface: str, address: Address, mac: str, method: Method, now: float) -> None:
        """Somebody is at an address: that ends every question about it that was asked in this way."""
        for item in tuple(self._by_address.get((interface, address), ())):
            if method in item.asked:
                self._end(item, InUse(mac, method, max(now - item.asked_at, 0.0)))

    def turn(self, now: float) -> float | None:
        """Ask again, and end what has waited long enough; return when to come again, None where nothing is open."""
        while self._due and (self._due[0][2].over or self._due[0][0] <= now):
            item = heapq.heappop(self._due)[2]
            if item.over:
                continue
            if item.rounds < item.query.count:
                self._round(item, now)
            else:
                # On a cable that was pulled everybody is silent, and that says nothing.
                self._end(item, item.line.trouble() or Silent(tuple(item.asked)))
        return self._due[0][0] if self._due else None

    def _end(self, item: _Open, outcome: Outcome) -> None:
        item.over = True
        key = (item.query.interface, item.query.address)
        same = self._by_address[key]
        same.remove(item)
        if not same:
            del self._by_address[key]
        self._tell(item.number, outcome)
