"""The address book measured in its own process, without a network: allocator, whole book, store, start.

    python bench/lease_book.py PART --leases N --directory DIR

Prints the figures of one part as JSON. Each part is a process of its own, so that memory is only what it made.
`start` takes up the leases that `store` has left in DIR. Garbage collection is as the daemon has it: what exists
is frozen first.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import json
import resource
import sys
import time
from array import array
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TypeVar

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from daemon.store.engine import open_engine
from ipam import allocator, store
from ipam.allocator import Allocator
from ipam.book import Book
from ipam.history import Party
from ipam.kinds import Cause, Kind
from ipam.lease import Bundle, Request, Wanted
from ipam.ledger import Batch
from ipam.loading import load
from ipam.model import Pool, Range, range_of
from ipam.register import Register
from ipam.restore import faults
from ipam.schema import METADATA
from ipam.segment import Segment

AT = 1_800_000_000.0
DATABASE = "ipam.db"
SAMPLES = 20_000
CHANCE = 7_919  # a prime: owners are visited out of order
FREE_SHARE = 0.001
SEAL = 1_000  # changes between two batches
# Logins of one commit, and how many in all; 0: all the others.
GROUPS = ((1, 500), (16, 8_000), (128, 40_000), (1024, 0))
T = TypeVar("T")
Login = tuple[str, Request]
WANTED = Wanted(Kind.V4, ("home",))


@dataclass(frozen=True, slots=True)
class Figure:
    """One thing that was measured: a name for targets, words and text for people."""

    name: str
    what: str
    value: float
    shown: str


def main() -> int:
    """Measure one part and print its figures."""
    parser = argparse.ArgumentParser(prog="bench/lease_book.py")
    parser.add_argument("part", choices=tuple(PARTS))
    parser.add_argument("--leases", type=int, default=1_000_000)
    parser.add_argument("--directory", type=Path, required=True)
    asked = parser.parse_args()
    print(json.dumps([asdict(each) for each in PARTS[asked.part](asked.leases, asked.directory)]))
    return 0


# --- the allocator alone -----------------------------------------------------------------------------


def allocator_alone(leases: int, _directory: Path) -> list[Figure]:
    """Fill a pool, come back to it, and live at 99.9 % use."""
    owners = [f"subscriber-{number}" for number in range(leases)]
    settle()
    before = memory_mib()
    made = Allocator(sticky=True, hold_s=0.0, reuse_s=0.0, shun_s=0.0)
    made.add_segment(Segment(0, leases))

    def take(owner: str) -> None:
        made.claim(made.pick(owner), owner)

    began = time.process_time()
    for owner in owners:
        take(owner)
    filled_s = time.process_time() - began
    grown = memory_mib() - before
    settle()
    sticky = timed(take, (owners[number * CHANCE % leases] for number in range(SAMPLES)))
    for number in range(int(leases * FREE_SHARE)):
        made.end(made.by_owner[owners[-1 - number]], now=0.0)
    fresh = array("q")
    for number in range(SAMPLES):
        fresh.extend(timed(take, (f"new-{number}",)))
        owner = owners[number * CHANCE % (leases // 2)]
        if owner in made.by_owner:
            made.end(made.by_owner[owner], now=0.0)
    rate = leases / filled_s
    return [
        Figure("allocations", "allocator: a slot never used", rate, f"{rate:,.0f} a second"),
        spread("allocator-sticky", "allocator: an owner who is known (sticky)", sticky),
        spread("allocator-new", "allocator: a new owner at 99.9 % use", fresh),
        Figure(
            "allocator-memory",
            "allocator: memory of a million used slots",
            grown / leases * 1e6,
            f"{grown / leases * 1e6:.0f} MiB",
        ),
    ]


# --- the whole book ----------------------------------------------------------------------------------


def whole_book(leases: int, _directory: Path) -> list[Figure]:
    """Logins, sessions and ends with history events and their hashes, without a store."""
    began = time.perf_counter_ns()
    register = Register("bench", 1)
    register.add_pool(home())
    created_us = (time.perf_counter_ns() - began) / 1000
    register = Register("bench", 1)
    register.add_pool(home(leases))
    book = Book(register)
    settle()
    before = memory_mib()

    def take(who: Login) -> None:
        got = book.take(*who, 0.0, AT)
        assert isinstance(got, Bundle), got

    new, sealing_s = array("q"), 0.0
    for first in range(0, leases, SEAL):
        new.extend(timed(take, map(login, range(first, min(first + SEAL, leases)))))
        sealing_s += seal(register)
    grown = memory_mib() - before
    settle()
    known = [login(number * CHANCE % leases) for number in range(min(leases, 5 * SAMPLES))]
    ids = [book.bundles_of("isp", owner)[0] for owner, _ in known]
    bound = timed(lambda each: book.bind(each, "session", 1.0, AT), ids)
    seal(register)
    renewed = timed(lambda each: book.renew(each, 2.0), ids)
    ended = timed(lambda each: book.release(each, Cause.STOP, 3.0, AT), ids)
    seal(register)
    again = timed(take, known)
    seal(register)
    full = at_the_end(book, known, take)
    assert faults(register) == ()
    sealed_us = sealing_s * 1e6 / leases
    return [
        Figure("pool", "book: a /8 is made a pool in", created_us, f"{created_us:.0f} us"),
        spread("book-new", "book: login, new owner", new),
        spread("book-sticky", "book: login, back after a Stop (sticky)", again),
        spread("book-full", "book: login, new owner at 99.9 % use", full),
        spread("book-start", "book: Start", bound),
        spread("book-interim", "book: interim", renewed),
        spread("book-stop", "book: Stop", ended),
        Figure("seal", "book: hash and rows of one event, in batches", sealed_us, f"{sealed_us:.1f} us"),
        Figure(
            "book-memory",
            "book: memory of a million leases",
            grown / leases * 1e6,
            f"{grown / leases * 1e6:.0f} MiB",
        ),
    ]


def at_the_end(book: Book, known: list[Login], take: Callable[[Login], None]) -> array[int]:
    """Let new owners come while one address of a thousand is free: for each a session ends elsewhere."""

    def end(who: Login) -> None:
        owner, _ = who
        book.release(book.bundles_of("isp", owner)[0], Cause.STOP, 3.0, AT)

    leaving = iter(known)
    for _ in range(int(len(book) * FREE_SHARE)):
        end(next(leaving))
    samples = array("q")
    for number in range(min(SAMPLES, len(known) // 2)):
        samples.extend(timed(take, (login(number, "new"),)))
        end(next(leaving))
        if number % SEAL == 0:
            seal(book.register)
    seal(book.register)
    return samples


# --- the store ---------------------------------------------------------------------------------------


def with_store(leases: int, directory: Path) -> list[Figure]:
    """New leases and their history, committed in groups of several sizes; who asks is made up beforehand."""
    figures = asyncio.run(_with_store(leases, directory))
    size = sum(path.stat().st_size for path in directory.glob(f"{DATABASE}*")) / 2**20
    what = f"durable: file of {leases:,} leases with their history"
    return [*figures, Figure("file", what, size, f"{size:,.0f} MiB")]


async def _with_store(leases: int, directory: Path) -> list[Figure]:
    figures: list[Figure] = []
    engine = open_engine(directory / DATABASE, busy_timeout_s=5.0, wal_checkpoint_pages=1000)
    async with engine.begin() as connection:
        await connection.run_sync(METADATA.create_all)
    register = Register("bench", 1)
    register.add_pool(home(leases))
    book = Book(register)
    settle()
    number = 0
    async with engine.connect() as reading:
        connection = await reading.execution_options(writes=True)
        for group, most in GROUPS:
            took_s = took_cpu_s = 0.0
            first, until = number, min(number + most, leases) if most else leases
            while number < until:
                asking = [login(each) for each in range(number, min(number + group, until))]
                number += len(asking)
                began, began_cpu = time.perf_counter(), time.process_time()
                for who in asking:
                    book.take(*who, 0.0, AT)
                batch = register.batch()
                assert isinstance(batch, Batch)
                async with connection.begin():
                    await store.save_batch(connection, batch)
                register.ledger.confirm()
                took_s += time.perf_counter() - began
                took_cpu_s += time.process_time() - began_cpu
            rate = (number - first) / took_s
            cpu_us = took_cpu_s * 1e6 / (number - first)
            shown = f"{rate:,.0f} leases/s, {cpu_us:.0f} us CPU each"
            what = f"durable: login, {group:,} in one commit"
            figures.append(Figure(f"durable-{group}", what, rate, shown))
    await engine.dispose()
    return figures


def start(leases: int, directory: Path) -> list[Figure]:
    """A new process takes up all leases that are stored."""
    return asyncio.run(_start(leases, directory))


async def _start(leases: int, directory: Path) -> list[Figure]:
    engine = open_engine(directory / DATABASE, busy_timeout_s=5.0, wal_checkpoint_pages=1000)
    gc.collect()
    gc.disable()
    before = memory_mib()
    began = time.perf_counter()
    register = Register("bench", 2)
    register.add_pool(home(leases))
    book = Book(register)
    async with engine.connect() as connection:
        strangers = await load(connection, register, book, 0.0)
    ready_s = time.perf_counter() - began
    count = len(book)
    assert (strangers, count) == (0, leases), "every lease that was stored is there again"
    gc.enable()
    gc.collect()
    grown = memory_mib() - before
    assert faults(register) == ()
    await engine.dispose()
    return [
        Figure(
            "start",
            f"start: {count:,} leases, until the first can be given",
            ready_s,
            f"{ready_s:.1f} s",
        ),
        Figure("start-memory", f"start: memory with {count:,} leases", grown, f"{grown:.0f} MiB"),
    ]


PARTS: dict[str, Callable[[int, Path], list[Figure]]] = {
    "allocator": allocator_alone,
    "book": whole_book,
    "store": with_store,
    "start": start,
}


# --- what the parts have in common -------------------------------------------------------------------


def home(slots: int = 0) -> Pool:
    """A pool of so many addresses, without a number a /8; an address is free at once when its lease has ended."""
    empty = Pool(
        tenant="isp",
        vrf="",
        name="home",
        kind=Kind.V4,
        unit_length=32,
        ranges=(),
        hold_s=0.0,
        quarantine_s=0.0,
        min_reuse_s=0.0,
    )
    given = Range(first=10 << 24, slots=slots, first_slot=0) if slots else range_of("10.0.0.0/8", empty)
    return replace(empty, ranges=(given,))


def login(number: int, name: str = "subscriber") -> tuple[str, Request]:
    """Return who logs in and what is wanted; line and equipment are the owner's own, as they are in the field."""
    owner = f"{name}-{number}"
    party = Party(owner, "bng-1", f"olt-{number >> 10} onu {number & 1023}", f"02:00:00:{number:06x}")
    return owner, Request(tenant="isp", wanted=(WANTED,), party=party)


def seal(register: Register) -> float:
    """Make a batch of what has changed and drop it as if it were stored; return the seconds of making it."""
    began = time.perf_counter()
    batch = register.batch()
    took_s = time.perf_counter() - began
    if batch is not None:
        register.ledger.confirm()
    return took_s


def timed(call: Callable[[T], object], arguments: Iterable[T]) -> array[int]:
    """Return how many nanoseconds each call took."""
    clock = time.perf_counter_ns
    samples = array("q")
    for argument in arguments:
        began = clock()
        call(argument)
        samples.append(clock() - began)
    return samples


def spread(name: str, what: str, samples: array[int]) -> Figure:
    """Return the median of nanoseconds as microseconds; the text has p99 and p99.9, too."""
    ordered = sorted(samples)
    at = [ordered[min(int(len(ordered) * share), len(ordered) - 1)] / 1000 for share in (0.5, 0.99, 0.999)]
    return Figure(name, what, at[0], "{:.1f} us, p99 {:.1f}, p99.9 {:.1f}".format(*at))


def memory_mib() -> float:
    """Return the resident memory of this process."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize() / 2**20


def settle() -> None:
    """Let the collector leave alone what exists, as the daemon does after its start."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(10_000, 1000, 1000)


def compiled() -> bool:
    """Tell whether the address book runs as machine code."""
    return not str(allocator.__file__).endswith(".py")


if __name__ == "__main__":
    sys.exit(main())
