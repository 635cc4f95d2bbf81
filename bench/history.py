"""Measure look-ups of who had an address, on a year of lease history.

    python bench/history.py [--events N] [--queries N] [--write]

A year of dual-stack sessions is written into SQLite as the daemon keeps it: lease events with their hashes (IPv4 of an
inside pool behind a CGNAT plan, delegated prefixes), and what the sessions reported. Then addresses are asked for at
random times: with everything in memory, and with nothing of the file in memory before each question. Exit status: 0
measured, 1 an answer was wrong, 2 it could not be measured.
"""

from __future__ import annotations

import argparse
import asyncio
import heapq
import json
import os
import random
import shutil
import sqlite3
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cache
from ipaddress import IPv4Network, IPv6Address
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import machine
import report
from machine import BenchError
from sqlalchemy import insert, select
from sqlalchemy.dialects.sqlite import dialect
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine
from sqlalchemy.schema import CreateIndex, CreateTable

from daemon.leases.cgnat import Cgnat
from daemon.leases.coverage import Coverage
from daemon.leases.who_had import WhoHad
from daemon.leases.who_had_model import Answer, Question, read_target
from daemon.store import schema
from daemon.store.coverage_rows import COVERAGE
from daemon.store.engine import open_engine
from daemon.store.session_addresses import SESSION_ADDRESS, AddressRow
from daemon.store.writer import Writer
from ipam import schema as ipam_schema
from ipam.cgnat import Algorithm, DeterministicPlan
from ipam.cgnat_versions import Plans
from ipam.history import Chain, Change

HERE = Path(__file__).resolve().parent
README = HERE / "README.md"
OUT = HERE / "out"
MARKERS = "<!-- history: start -->", "<!-- history: end -->"

AT = 1_750_000_000.0
YEAR_S = 365 * 86_400.0
EVENTS = 10_000_000
SUBSCRIBERS = 100_000
EVENTS_OF_SESSION = 8  # login, start, stop, hold over: of the address and of the prefix
INSIDE = IPv4Network("100.64.0.0/15")
DELEGATED = int(IPv6Address("2001:db8::"))
SHARING = 64
LIMIT_MS = 50.0
_PAGE = 20_000
_SAMPLE = 20_000

Row = tuple[object, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Session:
    """One session that was written, to ask about it."""

    number: int
    subscriber: int
    address: int
    prefix: int
    began: float
    ended: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """How long questions of one kind took, in milliseconds."""

    kind: str
    memory: str
    questions: int
    p50_ms: float
    p99_ms: float
    worst_ms: float
    cpu_ms: float  # of the whole process, on average: steadier than the others on a busy machine


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """Everything that was measured."""

    facts: machine.Facts
    events: int
    sessions: int
    written_s: float
    file_mib: float
    tables_mib: Mapping[str, float]
    lines: tuple[Line, ...]
    wrong: int


@cache
def _line(subscriber: int) -> tuple[str, str, str, str]:
    """Return id, NAS, circuit and MAC of a subscriber."""
    circuit = f"olt{subscriber % 97} 1/{subscriber % 16}/{subscriber % 128}"
    return f"S{subscriber:06}", f"bng-{subscriber % 40}", circuit, f"02:00:00:{subscriber:06x}"


@cache
def _v4_text(address: int) -> str:
    return str(INSIDE.network_address + address)


@cache
def _pd_text(prefix: int) -> str:
    return str(IPv6Address(DELEGATED + (prefix << 72)))


class Year:
    """Makes a year of sessions, in the order of time."""

    def __init__(self, sessions: int) -> None:
        self.sessions = sessions
        self.kept: list[Session] = []
        self.random = random.Random(1)
        self.free = list(range(INSIDE.num_addresses))
        self.random.shuffle(self.free)
        self.usual: dict[int, int] = {}  # the address that a subscriber had last
        self.busy: set[int] = set()

    def events(self) -> Iterator[Change]:
        """Yield the events of all sessions as the book would make them."""
        ends: list[tuple[float, int, int, int, float]] = []
        apart = YEAR_S / self.sessions
        online: set[int] = set()
        number = 0
        while number < self.sessions:
            at = AT + number * apart
            while ends and ends[0][0] <= at:
                yield from self._end(heapq.heappop(ends), online)
            subscriber = self.random.randrange(SUBSCRIBERS)
            if subscriber in online:
                continue
            number += 1
            online.add(subscriber)
            address = self._address(subscriber)
            ended = at + self.random.expovariate(1 / 200_000) + 60
            heapq.heappush(ends, (ended, number, subscriber, address, at))
            yield from self._changes(number, subscriber, address, at, "login", "free", "tentative", "")
            yield from self._changes(
                number, subscriber, address, at + 0.5, "start", "tentative", "bound", str(number)
            )

    def _address(self, subscriber: int) -> int:
        usual = self.usual.get(subscriber)
        if usual is not None and usual not in self.busy and self.random.random() < 0.8:
            self.busy.add(usual)
            return usual
        while True:
            address = self.free[self.random.randrange(len(self.free))]
            if address not in self.busy:
                self.busy.add(address)
                self.usual[subscriber] = address
                return address

    def _end(self, due: tuple[float, int, int, int, float], online: set[int]) -> Iterator[Change]:
        ended, number, subscriber, address, began = due
        online.discard(subscriber)
        self.busy.discard(address)
        yield from self._changes(number, subscriber, address, ended, "stop", "bound", "held", str(number))
        yield from self._changes(
            number, subscriber, address, ended + 0.01, "hold-over", "held", "free", str(number)
        )
        self.kept.append(
            Session(
                number=number,
                subscriber=subscriber,
                address=address,
                prefix=subscriber,
                began=began + 0.5,
                ended=ended,
            )
        )

    @staticmethod
    def _changes(
        number: int, subscriber: int, address: int, at: float, cause: str, old: str, new: str, session: str
    ) -> Iterator[Change]:
        name, nas, circuit, mac = _line(subscriber)
        state = (old, new, cause, "")
        who = (f"sub:{name}", name, session, nas, circuit, mac)
        head = (at, 1, "synchronised", "isp", "")
        yield Change(*head, "home", "v4", _v4_text(address), 32, number * 2, *who, *state, address, 0)
        yield Change(*head, "pd", "pd", _pd_text(subscriber), 56, number * 2 + 1, *who, *state, subscriber, 0)

    def addresses(self) -> Iterator[Row]:
        """Yield what the sessions reported."""
        for each in self.kept:
            name = f"S{each.subscriber:06}"
            units = (
                ("framed-ip-address", _v4_text(each.address), 32),
                ("delegated-ipv6-prefix", _pd_text(each.prefix), 56),
            )
            for kind, address, length in units:
                yield AddressRow(
                    each.number,
                    kind,
                    address,
                    length,
                    "isp",
                    "",
                    f"bng-{each.subscriber % 40}",
                    name,
                    f"{name.lower()}@isp.example",
                    f"{each.number:08x}".encode(),
                    "",
                    "",
                    each.began,
                    each.began,
                    each.ended,
                    each.ended,
                )


def write_year(path: Path, year: Year) -> int:
    """Write everything into a new database, without waiting for the disk; return how many events."""
    connection = sqlite3.connect(path, isolation_level=None)
    for pragma in ("page_size=4096", "journal_mode=OFF", "synchronous=OFF", "cache_size=-2000000"):
        connection.execute(f"PRAGMA {pragma}")
    for metadata in (schema.METADATA, ipam_schema.METADATA):
        for table in metadata.sorted_tables:
            connection.execute(str(CreateTable(table).compile(dialect=dialect())))
            for index in table.indexes:
                connection.execute(str(CreateIndex(index).compile(dialect=dialect())))
    connection.execute("BEGIN")
    events = str(insert(ipam_schema.EVENT).compile(dialect=dialect(paramstyle="qmark")))
    names = [*Change._fields]
    assert [*ipam_schema.EVENT.c.keys()] == ["book", "seq", *names, "hash"], "the columns of the schema"
    chain = Chain("edge")
    rows: list[Row] = []
    for change in year.events():
        event = chain.append(change)
        rows.append((event.book, event.seq, *change, event.hash))
        if len(rows) == _PAGE:
            connection.executemany(events, rows)
            rows.clear()
            if chain.seq % 1_000_000 == 0:
                say(f"{chain.seq:,} events")
    connection.executemany(events, rows)
    reports = str(insert(SESSION_ADDRESS).compile(dialect=dialect(paramstyle="qmark")))
    connection.executemany(reports, year.addresses())
    run = str(insert(COVERAGE).compile(dialect=dialect(paramstyle="qmark")))
    connection.execute(run, (1, "edge", AT - 60, AT + YEAR_S))
    boot = str(insert(ipam_schema.BOOT).compile(dialect=dialect(paramstyle="qmark")))
    connection.execute(boot, (1, "edge", AT - 60))
    connection.execute("COMMIT")
    connection.close()
    return chain.seq


def plan() -> Plans:
    """Return the CGNAT plan that the inside pool stands behind."""
    return Plans(
        (
            DeterministicPlan(
                id="home",
                version=1,
                inside=(INSIDE,),
                outside=(IPv4Network("198.18.0.0/21"),),
                block_size=1000,
                sharing=SHARING,
                algorithm=Algorithm.SEQUENTIAL,
            ),
        )
    )


def outside(session: Session, kept: Plans) -> tuple[str, int]:
    (holder,) = kept.ports(INSIDE.network_address + session.address, session.began)
    return str(holder.ports.outside), holder.ports.first_port + 7


class _Nat(Cgnat):
    """One plan, which needs no row."""

    async def plans(self, _connection: AsyncConnection) -> Mapping[str, Plans]:
        return {"isp": _PLANS}


_PLANS = plan()


class Asker:
    """Asks, and sees whether the answer is right."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.plans = _PLANS
        self.wrong = 0
        self.engine: AsyncEngine | None = None
        self.open()

    def open(self) -> None:
        self.engine = open_engine(self.path, busy_timeout_s=5.0, wal_checkpoint_pages=1000)
        writer = Writer(self.engine, time.monotonic, lambda _seconds, _durable: None)
        self.who_had = WhoHad(
            self.engine, self.engine, Coverage(writer, "edge"), "edge", _Nat(self.engine, writer, "edge")
        )

    async def forget(self) -> None:
        """Let go of everything of the file that is in memory, ours and the kernel's."""
        assert self.engine is not None
        await self.engine.dispose()
        self.open()
        async with self.engine.connect() as one, self.engine.connect() as other:  # as a daemon has them open
            await one.execute(select(1))
            await other.execute(select(1))
        descriptor = os.open(self.path, os.O_RDONLY)
        try:
            os.fsync(descriptor)
            os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
        finally:
            os.close(descriptor)

    async def ask(self, target: str, at: float, right: Callable[[Answer], bool]) -> float:
        """Return how many milliseconds an answer took."""
        unit, port = read_target(target)
        question = Question(unit=unit, port=port, at=at, skew_s=0.0)
        began = time.perf_counter()
        answer = await self.who_had.ask(question)
        took_ms = (time.perf_counter() - began) * 1000
        self.wrong += not right(answer)
        return took_ms


Asking = Callable[[Asker, Session], tuple[str, float, Callable[[Answer], bool]]]


def _one(session: Session) -> Callable[[Answer], bool]:
    return lambda answer: [each.session for each in answer.holders] == [str(session.number)]


def _v4(_asker: Asker, session: Session) -> tuple[str, float, Callable[[Answer], bool]]:
    address = INSIDE.network_address + session.address
    return str(address), (session.began + session.ended) / 2, _one(session)


def _v6(_asker: Asker, session: Session) -> tuple[str, float, Callable[[Answer], bool]]:
    address = IPv6Address(DELEGATED + (session.prefix << 72) + (session.number & 0xFFFF))
    return str(address), (session.began + session.ended) / 2, _one(session)


def _nobody(_asker: Asker, session: Session) -> tuple[str, float, Callable[[Answer], bool]]:
    address = INSIDE.network_address + session.address
    return str(address), session.ended + 0.005, lambda answer: answer.holders == ()


def _port(asker: Asker, session: Session) -> tuple[str, float, Callable[[Answer], bool]]:
    address, port = outside(session, asker.plans)
    return f"{address}:{port}", (session.began + session.ended) / 2, _one(session)


def _no_port(asker: Asker, session: Session) -> tuple[str, float, Callable[[Answer], bool]]:
    address, _ = outside(session, asker.plans)
    at = (session.began + session.ended) / 2
    return (
        address,
        at,
        lambda answer: (
            answer.count == SHARING and str(session.number) in {each.session for each in answer.holders}
        ),
    )


KINDS: tuple[tuple[str, Asking, int], ...] = (  # the last: questions for one of those that are asked for
    ("IPv4 address", _v4, 1),
    ("IPv6 address in a delegated prefix", _v6, 1),
    ("address that nobody had", _nobody, 1),
    ("CGNAT, with port", _port, 1),
    (f"CGNAT, without port ({SHARING} candidates)", _no_port, 10),
)


async def measure(path: Path, kept: Sequence[Session], queries: int) -> tuple[tuple[Line, ...], int]:
    """Ask questions of each kind, from memory and from disk; return the times, and how many answers were wrong."""
    asker = Asker(path)
    chance = random.Random(2)
    lines: list[Line] = []
    for memory, share in (("cold", 20), ("hot", 1)):
        for name, asking, fewer in KINDS:
            count = max(queries // share // fewer, 10)
            asked = [asking(asker, chance.choice(kept)) for _ in range(count)]
            if memory == "hot":
                for each in asked:
                    await asker.ask(*each)
            times: list[float] = []
            cpu_s = 0.0
            for each in asked:
                if memory == "cold":
                    await asker.forget()
                before = time.process_time()
                times.append(await asker.ask(*each))
                cpu_s += time.process_time() - before
            times.sort()
            lines.append(
                Line(
                    kind=name,
                    memory=memory,
                    questions=count,
                    p50_ms=times[count // 2],
                    p99_ms=times[min(count * 99 // 100, count - 1)],
                    worst_ms=times[-1],
                    cpu_ms=cpu_s * 1000 / count,
                )
            )
            say(f"{memory} {name}: p50 {lines[-1].p50_ms:.1f} ms, p99 {lines[-1].p99_ms:.1f} ms")
    assert asker.engine is not None
    await asker.engine.dispose()
    return tuple(lines), asker.wrong


def sizes(path: Path) -> dict[str, float]:
    """Return MiB by table and index, the large ones."""
    connection = sqlite3.connect(path)
    try:
        found = connection.execute("SELECT name, SUM(pgsize) FROM dbstat GROUP BY name").fetchall()
    except sqlite3.OperationalError:  # a build without it
        return {}
    finally:
        connection.close()
    return {str(name): octets / 2**20 for name, octets in found if octets > 2**20}


def markdown(result: Result) -> Iterator[str]:
    """Yield the lines for the README."""
    facts = result.facts
    yield ""
    yield f"{facts.date}, SQLite {sqlite3.sqlite_version}. Machine: {facts.cpu}, {facts.cores} cores,"
    yield f"Linux {facts.kernel}, {facts.filesystem}. {facts.python}."
    yield f"{result.events:,} events of {result.sessions:,} sessions of a year: a file of {result.file_mib:,.0f} MiB,"
    parts = sorted(result.tables_mib.items(), key=lambda item: -item[1])
    yield "of that " + ", ".join(f"`{name}` {mib:,.0f} MiB" for name, mib in parts) + "."
    yield ""
    yield "| question | file in memory | questions | p50 ms | p99 ms | worst ms | CPU ms |"
    yield "|---|---|---|---|---|---|---|"
    for line in result.lines:
        yield (
            f"| {line.kind} | {'yes' if line.memory == 'hot' else 'no'} | {line.questions:,} "
            f"| {line.p50_ms:.1f} | {line.p99_ms:.1f} | {line.worst_ms:.1f} | {line.cpu_ms:.1f} |"
        )
    yield ""
    yield "| target | wanted | measured | met |"
    yield "|---|---|---|---|"
    for memory, said in (("hot", "in memory"), ("cold", "not in memory")):
        got = max(
            line.p99_ms for line in result.lines[:-1] if line.memory == memory and "without" not in line.kind
        )
        met = "yes" if got < LIMIT_MS else "**no**"
        yield f"| one address, file {said}: p99 | < {LIMIT_MS:.0f} ms | {got:.1f} ms | {met} |"
    yield ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Written:
    """A year that was written, and some of its sessions to ask about."""

    events: int
    sessions: int
    written_s: float
    sample: list[Session]


def _year(path: Path, notes: Path, events: int) -> Written:
    """Write a year, or take the one that is there."""
    if notes.exists():
        kept = json.loads(notes.read_text())
        return Written(**{**kept, "sample": [Session(**each) for each in kept["sample"]]})
    path.unlink(missing_ok=True)
    year = Year(events // EVENTS_OF_SESSION)
    began = time.monotonic()
    count = write_year(path, year)
    sample = random.Random(3).sample(year.kept, min(len(year.kept), _SAMPLE))
    written_s = time.monotonic() - began
    made = Written(events=count, sessions=len(year.kept), written_s=written_s, sample=sample)
    notes.write_text(json.dumps(asdict(made)))
    say(f"{count:,} events written in {written_s:.0f} s")
    return made


def say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def main(arguments: Sequence[str]) -> int:
    """Measure, write bench/out/history.json, print the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--events", type=int, default=EVENTS)
    parser.add_argument("--queries", type=int, default=2000, help="of each kind, from memory")
    parser.add_argument("--write", action="store_true", help="put the table into bench/README.md")
    parser.add_argument(
        "--keep", type=Path, help="a directory for the database; what is there is asked again"
    )
    parser.add_argument("--scratch", type=Path, default=Path("/var/tmp"), help="a real disk (%(default)s)")
    asked = parser.parse_args(arguments)
    OUT.mkdir(exist_ok=True)
    scratch = asked.keep or Path(tempfile.mkdtemp(prefix="dotmac-edge-history-", dir=asked.scratch))
    scratch.mkdir(parents=True, exist_ok=True)
    try:
        path = scratch / "history.db"
        year = _year(path, scratch / "year.json", asked.events)
        lines, wrong = asyncio.run(measure(path, year.sample, asked.queries))
        result = Result(
            facts=machine.facts(scratch),
            events=year.events,
            sessions=year.sessions,
            written_s=year.written_s,
            file_mib=path.stat().st_size / 2**20,
            tables_mib=sizes(path),
            lines=lines,
            wrong=wrong,
        )
        (OUT / "history.json").write_text(json.dumps(asdict(result), indent=2) + "\n")
        text = "\n".join(markdown(result)) + "\n"
        print(text)
        if asked.write:
            report.replace(README, text, MARKERS)
    except BenchError as problem:
        say(str(problem))
        return 2
    finally:
        if asked.keep is None:
            shutil.rmtree(scratch, ignore_errors=True)
    if wrong:
        say(f"{wrong} answers were wrong")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
