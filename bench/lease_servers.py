"""The servers that hand out addresses in the lease benchmark: ours, FreeRADIUS with sqlippool, Kea."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path

import edge
import lease_edge
import lease_kea
import lease_load
import lease_peers
import machine
import peers
from lease_kea import Exchanges
from lease_load import Logins
from lease_peers import Filled, Way
from lease_report import AGAIN, FULL, NEW, Million, Run, Stored, of_outcome
from load import Live
from report import EDGE

OUT = Path(__file__).resolve().parent / "out"
WINDOWS = (64, 256)
FREE_IN = 1_000  # one address in so many is free in a pool that is nearly full
KEA_FIRST_S = 1_000  # exchanges a second that Kea is offered first
KEA_POOL = 1_000_000  # more than all runs of a round lease
KEA_FULL_S = 50  # and when its pool is nearly full


@dataclass(frozen=True, slots=True)
class Size:
    """How much is measured. A block of users (see `lease_load`) is ten to the power of `digits`."""

    leases: int
    rounds: int
    digits: int
    logins: int  # of ours in one run
    peer_logins: int  # of FreeRADIUS
    threads: tuple[int, ...]  # of FreeRADIUS, of which the fastest is kept
    seconds: int  # of one run of perfdhcp


FULL_SIZE = Size(1_000_000, 3, 5, 50_000, 20_000, (8, 16, 32), 5)
QUICK_SIZE = Size(100_000, 1, 4, 10_000, 2_000, (16,), 2)


@dataclass(frozen=True, slots=True)
class Place:
    """Where servers are measured, how much, and what they add beside their runs."""

    size: Size
    scratch: Path
    cores: tuple[int, int]  # of the server, and of the load
    radload: Path
    millions: list[Million] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


def say(text: str) -> None:
    """Tell whoever waits what is going on; the results alone go to standard output."""
    print(text, file=sys.stderr, flush=True)


class Ours:
    """Our daemon."""

    name = EDGE

    def __init__(self, place: Place) -> None:
        """Make its data: a block of users for each window, and a fifth of one to warm up with."""
        self.place = place
        self.stored: list[Stored] = []
        users = int(10**place.size.digits * (len(WINDOWS) + 0.2))
        say(f"loading {users:,} subscribers into {EDGE}")
        prepared = edge.prepare(OUT, place.scratch)
        self.leasing = lease_edge.Leasing(prepared, place.cores[0], users)

    def round(self) -> Iterable[Run]:
        """New leases, and the same again, in a daemon that has none yet."""
        size, told = self.place.size, 0
        with self.leasing.running(size.leases) as live:
            warm = self._logins(len(WINDOWS), size.logins // 5, WINDOWS[0])
            told += _measure(self.place, live, warm, NEW).told
            for block, window in enumerate(WINDOWS):
                logins = self._logins(block, size.logins, window)
                runs = [_measure(self.place, live, logins, work) for work in (NEW, AGAIN)]
                told += runs[0].told
                yield from runs
        self.stored.append(Stored(EDGE, told, *self.leasing.stored()))

    def full(self) -> Iterable[Run]:
        """Fill a pool until one address in a thousand is free."""
        logins = self._logins(0, self.place.size.logins, WINDOWS[-1])
        with self.leasing.running(logins.requests + logins.requests // FREE_IN) as live:
            run = _measure(self.place, live, logins, FULL)
        yield run
        self.stored.append(Stored(EDGE, run.told, *self.leasing.stored()))

    def _logins(self, block: int, requests: int, window: int) -> Logins:
        return Logins(block=block, requests=requests, window=window, digits=self.place.size.digits)


class Sqlippool:
    """FreeRADIUS with a table of addresses, by the way and the number of threads that are fastest here."""

    name = lease_peers.NAME

    def __init__(self, place: Place) -> None:
        """Fill the table and find out how FreeRADIUS is at its best."""
        self.place = place
        self.stored: list[Stored] = []
        self.block = 0
        self.told = 0
        peers.install()
        with peers.postgres(place.scratch, place.cores[0]) as database:
            lease_peers.prepare(database)
            filled = lease_peers.fill(database, place.size.leases, place.size.leases // 2)
            place.millions.append(_in_table(filled))
            self.best = max(self._candidates(), key=lambda each: self._speed(each, database))
        say(f"{self.name}: {self.best[0]}, {self.best[1]} threads")
        place.notes.append(
            f"{self.name}: {self.best[0]} with SKIP LOCKED, {self.best[1]} threads, the fastest of those tried."
        )

    def _candidates(self) -> list[tuple[Way, int]]:
        return [(way, threads) for way in Way for threads in self.place.size.threads]

    def _speed(self, candidate: tuple[Way, int], database: peers.Postgres) -> float:
        way, threads = candidate
        with lease_peers.sqlippool(OUT, self.place.cores[0], threads, way, database) as live:
            short = self.place.size.peer_logins // 4
            self._measure(live, self._logins(short, WINDOWS[0]), NEW)  # to warm up
            database.ask("ANALYZE radippool")
            runs = [self._measure(live, self._logins(short, window), NEW) for window in WINDOWS]
        say(f"{self.name}, {way}, {threads} threads: {', '.join(f'{run.rate:,.0f}/s' for run in runs)}")
        return 1 / sum(1 / max(1.0, run.rate) for run in runs)

    def round(self) -> Iterable[Run]:
        """New leases, and the same again, out of a table that is half full at first."""
        size, core = self.place.size, self.place.cores[0]
        way, threads = self.best
        with (
            peers.postgres(self.place.scratch, core) as database,
            lease_peers.sqlippool(OUT, core, threads, way, database) as live,
        ):
            self._measure(live, self._logins(size.peer_logins // 4, WINDOWS[0]), NEW)  # to warm up
            database.ask("ANALYZE radippool")
            for window in WINDOWS:
                logins = self._logins(size.peer_logins, window)
                yield self._measure(live, logins, NEW)
                yield _measure(self.place, live, logins, AGAIN)
            self.stored = [Stored(self.name, self.told, *lease_peers.leased(database))]

    def full(self) -> Iterable[Run]:
        """The last addresses of a full table, but for one in a thousand."""
        size, core = self.place.size, self.place.cores[0]
        way, threads = self.best
        with peers.postgres(self.place.scratch, core) as database:
            warm = size.peer_logins // 4
            lease_peers.fill(database, size.leases, size.peer_logins + warm + size.leases // FREE_IN)
            with lease_peers.sqlippool(OUT, core, threads, way, database) as live:
                told = _measure(self.place, live, self._logins(warm, WINDOWS[0]), NEW).told
                run = _measure(self.place, live, self._logins(size.peer_logins, WINDOWS[-1]), FULL)
            yield run
            told += run.told
            self.stored.append(Stored(self.name, told, *lease_peers.leased(database)))

    def _logins(self, requests: int, window: int) -> Logins:
        self.block += 1  # users that have no lease yet
        return Logins(block=self.block, requests=requests, window=window, own_password=False)

    def _measure(self, live: Live, logins: Logins, work: str) -> Run:
        run = _measure(self.place, live, logins, work)
        self.told += run.told
        return run


class Kea:
    """Kea, at the highest rate at which it drops next to nothing."""

    name = lease_kea.NAME

    def __init__(self, place: Place) -> None:
        """Install it; raises Missing where that, or a network namespace, cannot be had."""
        self.place = place
        self.stored: list[Stored] = []
        self.first = {NEW: KEA_FIRST_S, AGAIN: KEA_FIRST_S}
        lease_kea.install()

    def round(self) -> Iterable[Run]:
        """New leases, and the same again, from a server that has none yet."""
        place, size = self.place, self.place.size
        done: list[int] = []

        def new(rate: int) -> Exchanges:
            seen = server.offer(rate, size.seconds, KEA_POOL, len(done))
            done.append(seen.done)
            return seen

        with lease_kea.serving(OUT, place.scratch, place.cores, KEA_POOL) as server:
            yield self._highest(NEW, new)
            known = done[0]
            yield self._highest(AGAIN, lambda rate: server.offer(rate, size.seconds, known, 0, known=True))
        self.stored.append(Stored(self.name, sum(done), *lease_kea.stored(place.scratch)))

    def full(self) -> Iterable[Run]:
        """New leases while one address in a thousand is free, far from each other; how it starts with leases."""
        place, size = self.place, self.place.size
        with lease_kea.serving(OUT, place.scratch, place.cores, size.leases, one_free_in=FREE_IN) as server:
            memory = machine.memory_mib([server.pid])
            ready = f"{server.ready_s:.1f} s, until it listens"
            place.millions.append(Million(self.name, "no time", ready, f"{memory:.0f} MiB"))
            rate = min(KEA_FULL_S, size.leases // FREE_IN // 4)
            yield _exchanges(server.offer(rate, 2, size.leases, 0), FULL)

    def _highest(self, work: str, offer: Callable[[int], Exchanges]) -> Run:
        """Return the fastest run that Kea kept up with; the next round begins a third below it."""
        seen = _highest(offer, self.first[work])
        self.first[work] = max(KEA_FIRST_S, seen.offered * 2 // 3)
        return _exchanges(seen, work)


def _highest(offer: Callable[[int], Exchanges], first: int) -> Exchanges:
    """Return the fastest run that was kept up with, of rates from `first` on; that one if it was too high.

    A rate is too high when it was too high twice: the machine may have been busy with something else.
    """

    def tried(rate: int) -> Exchanges:
        seen = offer(rate)
        seen = seen if seen.kept_up else offer(rate)
        say(f"{seen.done:,} of {seen.begun:,} exchanges at {rate:,}/s, p99 {seen.p99_ms:.1f} ms")
        return seen

    rate, best = first, None
    while (seen := tried(rate)).kept_up:
        best, rate = seen, rate * 3 // 2
    if best is None:
        return seen
    low, high = best.offered, rate
    for _ in range(2):
        middle = (low + high) // 2
        seen = tried(middle)
        if seen.kept_up:
            best, low = seen, middle
        else:
            high = middle
    return best


def _in_table(filled: Filled) -> Million:
    made = f"{filled.took_s:.1f} s, {filled.size_mib:.0f} MiB"
    return Million(lease_peers.NAME, made, "nothing is loaded", "in PostgreSQL")


def _exchanges(seen: Exchanges, work: str) -> Run:
    return Run(
        server=lease_kea.NAME,
        work=work,
        load="fixed rate",
        rate=seen.rate,
        cpu_us=seen.cpu_us,
        p50_ms=seen.p50_ms,
        p99_ms=seen.p99_ms,
        memory_mib=seen.memory_mib,
        asked=seen.begun,
        lost=seen.dropped,
        wrong=seen.wrong,
    )


def _measure(place: Place, live: Live, logins: Logins, work: str) -> Run:
    return of_outcome(lease_load.measure(place.radload, place.cores[1], live, logins), work)


Server = Ours | Sqlippool | Kea
SERVERS: dict[str, type[Server]] = {"edge": Ours, "sqlippool": Sqlippool, "kea": Kea}
