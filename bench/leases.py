"""Measure the address book: leases a second, memory and start with a million leases, durable commits.

    python bench/leases.py [--leases N] [--json FILE]

One process, one core, SQLite with synchronous=FULL in a temporary directory (`--directory`). The allocator is measured
alone, then the whole book (bundle, tenure, history event, hash), then the book with its store. Garbage collection is
as the daemon has it: what exists is frozen first. Exit status: 0 measured, 1 a check of the result failed.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import json
import resource
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

from sqlalchemy import event
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from ipam import store
from ipam.allocator import Allocator
from ipam.book import Book
from ipam.history import Party
from ipam.kinds import Cause, Kind
from ipam.lease import Bundle, Request, Wanted
from ipam.model import Pool, range_of
from ipam.register import Register
from ipam.restore import faults, restore
from ipam.schema import METADATA
from ipam.segment import Segment

AT = 1_800_000_000.0
SAMPLES = 20_000
CHANCE = 7_919  # a prime: owners are visited out of order
FREE_SHARE = 0.001

Row = tuple[str, str, str]  # what, measured, the limit seen by a prototype and the target


def percentiles(samples: list[int]) -> str:
    """Return p50, p99 and p99.9 of nanoseconds, as microseconds."""
    samples.sort()
    at = [samples[min(int(len(samples) * share), len(samples) - 1)] / 1000 for share in (0.5, 0.99, 0.999)]
    return " / ".join(f"{each:.1f}" for each in at) + " us"


def timed(calls: Sequence[Callable[[], object]]) -> list[int]:
    """Return how many nanoseconds each call took."""
    clock = time.perf_counter_ns
    samples = []
    for call in calls:
        began = clock()
        call()
        samples.append(clock() - began)
    return samples


def memory_mib() -> float:
    return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize() / 2**20


def settle() -> None:
    """Let the collector leave alone what exists, as the daemon does after its start."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(10_000, 1000, 1000)


def allocator_alone(leases: int) -> list[Row]:
    """Fill a pool, come back to it, and live at 99.9 % use."""
    owners = [f"subscriber-{number}" for number in range(leases)]
    settle()
    before = memory_mib()
    made = Allocator(sticky=True, hold_s=0.0, reuse_s=0.0, shun_s=0.0)
    made.add_segment(Segment(0, leases))
    began = time.process_time()
    for owner in owners[: -max(int(leases * FREE_SHARE), 1)]:
        made.claim(made.pick(owner), owner)
    filled_s = time.process_time() - began
    used = len(made)
    grown = memory_mib() - before
    settle()

    def come_back(owner: str) -> None:
        made.claim(made.pick(owner), owner)

    def new_owner(number: int) -> None:
        name = f"new-{number}"
        made.claim(made.pick(name), name)

    sticky = timed([lambda owner=owners[i * CHANCE % used]: come_back(owner) for i in range(SAMPLES)])
    for owner in owners[used:]:
        come_back(owner)  # nothing is left that was never used
    fresh: list[int] = []
    for number in range(SAMPLES):
        made.end(made.by_owner[owners[number * CHANCE % leases]], now=0.0)
        fresh += timed([lambda number=number: new_owner(number)])
    return [
        ("allocator: fill, never-used slots", f"{used / filled_s:,.0f} a second of CPU", "1.5-1.7 M/s"),
        ("allocator: sticky, p50 / p99 / p99.9", percentiles(sticky), "0.3 us; target 2 us"),
        ("allocator: new owner at 99.9 % use", percentiles(fresh), "2 us; target 10 us"),
        ("allocator: memory per million used slots", f"{grown / used * 1e6:.0f} MiB", "91 MB"),
    ]


def home(given: str = "10.0.0.0/8") -> Pool:
    empty = Pool(tenant="isp", vrf="", name="home", kind=Kind.V4, unit_length=32, ranges=())
    return replace(empty, ranges=(range_of(given, empty),))


def whole_book(leases: int) -> list[Row]:
    """Logins, sessions and ends with history, without a store."""
    began = time.perf_counter_ns()
    register = Register("bench", 1)
    register.add_pool(home())
    created_us = (time.perf_counter_ns() - began) / 1000
    book = Book(register)
    count = min(leases, 100_000)
    owners = [f"subscriber-{number}" for number in range(count)]
    party = Party("subscriber", "bng-1", "olt-1 pon 3 onu 7", "02:00:00:00:00:01")
    wanted = Request(tenant="isp", wanted=(Wanted(Kind.V4, ("home",)),), party=party)
    settle()
    taken: list[Bundle] = []

    def take(owner: str) -> None:
        got = book.take(owner, wanted, 0.0, AT)
        assert isinstance(got, Bundle)
        taken.append(got)

    new = timed([lambda owner=owner: take(owner) for owner in owners])
    began = time.perf_counter_ns()
    batch = register.batch()
    sealed_us = (time.perf_counter_ns() - began) / 1000 / count
    assert batch is not None
    register.ledger.confirm()
    bound = timed([lambda each=each: book.bind(each.id, "session", 1.0, AT) for each in taken])
    register.batch()
    register.ledger.confirm()
    renewed = timed([lambda each=each: book.renew(each.id, 2.0) for each in taken])
    ended = timed([lambda each=each: book.release(each.id, Cause.STOP, 3.0, AT) for each in taken])
    register.batch()
    register.ledger.confirm()
    again = timed([lambda owner=owner: take(owner) for owner in owners])
    assert faults(register) == ()
    return [
        ("book: a /8 is created in", f"{created_us:.0f} us", "7 us"),
        ("book: login, new owner", percentiles(new), ""),
        ("book: login, sticky after a Stop", percentiles(again), ""),
        ("book: Start", percentiles(bound), ""),
        ("book: interim", percentiles(renewed), ""),
        ("book: Stop", percentiles(ended), ""),
        ("book: hash and row of one event", f"{sealed_us:.1f} us", ""),
    ]


def open_engine(path: Path) -> AsyncEngine:
    engine = create_async_engine(f"sqlite+aiosqlite:///{path}")

    @event.listens_for(engine.sync_engine, "connect")
    def configure(connection: object, _record: object) -> None:
        cursor = connection.cursor()  # type: ignore[attr-defined]
        for pragma in ("journal_mode=WAL", "synchronous=FULL", "cache_size=-65536"):
            cursor.execute(f"PRAGMA {pragma}")
        cursor.close()

    return engine


def size_mib(directory: Path) -> float:
    return sum(path.stat().st_size for path in directory.iterdir()) / 2**20


async def durable(directory: Path, leases: int) -> list[Row]:
    """Leases and their history, committed in groups; then the same database is loaded by a new process' book."""
    rows: list[Row] = []
    wanted = Request(
        tenant="isp", wanted=(Wanted(Kind.V4, ("home",)),), party=Party("sub", "bng-1", "onu 7", "02:00")
    )
    engine = open_engine(directory / "ipam.db")
    async with engine.begin() as connection:
        await connection.run_sync(METADATA.create_all)
    register = Register("bench", 1)
    register.add_pool(home())
    book = Book(register)
    settle()
    number = 0
    for group, most in ((1, 500), (16, 8_000), (128, 40_000), (1024, leases)):
        began, began_cpu = time.perf_counter(), time.process_time()
        first = number
        async with engine.connect() as connection:
            while number < min(first + most, leases):
                for _ in range(group):
                    book.take(f"subscriber-{number}", wanted, 0.0, AT)
                    number += 1
                batch = register.batch()
                assert batch is not None
                async with connection.begin():
                    await store.save_batch(connection, batch)
                register.ledger.confirm()
        rate = (number - first) / (time.perf_counter() - began)
        cpu_us = (time.process_time() - began_cpu) * 1e6 / (number - first)
        shown = f"{rate:,.0f}/s, {cpu_us:.0f} us CPU"
        rows.append((f"durable: login, commits of {group}", shown, "100,000/s; target 50,000/s"))
    rows.append((f"durable: file after {number:,} leases with history", f"{size_mib(directory):.0f} MiB", ""))
    del book, register
    gc.collect()
    began = time.process_time()
    gc.disable()
    again = Register("bench", 2)
    again.add_pool(home())
    async with engine.connect() as connection:
        loaded = await store.load_rows(connection)
    read_s = time.process_time() - began
    assert restore(again, Book(again), loaded, 0.0) == 0
    restored_s = time.process_time() - began - read_s
    rows.append(
        (f"start: {len(loaded):,} leases, read + taken up", f"{read_s:.1f} + {restored_s:.1f} s CPU", "1.4 s")
    )
    gc.enable()
    assert faults(again) == ()
    await engine.dispose()
    return rows


def main() -> int:
    """Measure and print a table; the last column is the limit seen by the prototype and the target."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--leases", type=int, default=1_000_000)
    parser.add_argument("--directory", type=Path, default=None, help="where the database is kept")
    parser.add_argument("--json", type=Path, default=None)
    options = parser.parse_args()
    rows = allocator_alone(options.leases)
    rows += whole_book(options.leases)
    gc.unfreeze()
    with tempfile.TemporaryDirectory(dir=options.directory) as name:
        rows += asyncio.run(durable(Path(name), options.leases))
    for what, measured, limit in rows:
        print(f"{what:50} {measured:>24}   {limit}")
    if options.json is not None:
        options.json.write_text(json.dumps([row[:2] for row in rows], indent=1))
    return 0


if __name__ == "__main__":
    sys.exit(main())
