"""How leases get to the disk: batch after batch, those of logins first, and what becomes of who waits for it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from daemon.clock import Clock
from daemon.leases.addresses import Addresses, AddressOptions
from daemon.leases.lessor import Lessor
from daemon.store.engine import open_engine
from daemon.store.writer import Writer
from ipam import schema
from ipam.book import Book
from ipam.history import Chain, broken
from ipam.kinds import Cause, Kind
from ipam.lease import Bundle, Request, Wanted
from ipam.model import Pool, range_of
from ipam.register import Register
from ipam.store import events_of

AT = 1_800_000_000.0
BATCH = 500


def big() -> Pool:
    """Return a pool that is never short."""
    empty = Pool(tenant="demo", vrf="", name="v4", kind=Kind.V4, unit_length=32, ranges=())
    return replace(empty, ranges=(range_of("10.0.0.0/16", empty),))


def taken(book: Book, owner: str) -> Bundle:
    """Return the leases of a login."""
    got = book.take(owner, Request(tenant="demo", wanted=(Wanted(Kind.V4, ("v4",)),)), 0.0, AT)
    assert isinstance(got, Bundle)
    return got


class House:
    """A book, its lessor, and a store of its own; contexts of logins are names."""

    def __init__(self, directory: Path) -> None:
        self.engine = open_engine(directory / "leases.db", busy_timeout_s=1.0, wal_checkpoint_pages=1000)
        self.commits: list[bool] = []
        self.writer = Writer(self.engine, lambda: 0.0, lambda _seconds, durable: self.commits.append(durable))
        self.register = Register("edge", 1)
        self.register.add_pool(big())
        self.book = Book(self.register)
        self.answered: list[str] = []
        self.refused: list[str] = []
        self.answers: list[int] = []  # how many at once
        self.after: list[int] = []  # how many changes waited when somebody was answered
        self.lessor: Lessor[str] = Lessor(
            self.book, self.writer, self._answer, self.refused.extend, lambda _lost: None
        )

    def _answer(self, names: list[str]) -> None:
        self.answered += names
        self.answers.append(len(names))
        self.after.append(self.register.ledger.waiting)

    def login(self, owner: str, key: str | None = None) -> str | None:
        """Log in; return who is handed back no more for it."""
        return self.lessor.wait(taken(self.book, owner), owner, key)

    async def idle(self) -> None:
        """Return once nothing waits to be written."""
        await self.writer.drain()

    def fail(self) -> Callable[[], None]:
        """Let the store refuse until the returned function is called; each try counts as a commit."""
        write = self.lessor.write

        async def refuse(connection: AsyncConnection) -> None:
            raise OSError("disk full")

        self.lessor.write = refuse  # type: ignore[method-assign]

        def mend() -> None:
            self.lessor.write = write  # type: ignore[method-assign]

        return mend


def run(directory: Path, story: Callable[[House], Coroutine[Any, Any, None]]) -> None:
    """Tell a story in a house whose writer runs."""

    async def everything() -> None:
        house = House(directory)
        async with house.engine.begin() as connection:
            await connection.run_sync(schema.METADATA.create_all)
        writing = asyncio.create_task(house.writer.run())
        try:
            await story(house)
        finally:
            writing.cancel()
            await asyncio.gather(writing, return_exceptions=True)
            await house.engine.dispose()

    asyncio.run(everything())


def test_what_is_much_is_stored_in_small_batches_that_follow_each_other(tmp_path: Path) -> None:
    async def story(house: House) -> None:
        for number in range(4 * BATCH):
            last = taken(house.book, f"s{number}").serial
        house.lessor.wake()
        await house.lessor.stored(last)
        assert house.commits == [True] * 4
        async with house.engine.connect() as connection:
            events = [each async for each in events_of(connection, "edge", Chain("edge"))]
        assert len(events) == 4 * BATCH
        assert broken(events, Chain("edge")) is None

    run(tmp_path, story)


def test_a_login_does_not_wait_behind_thousands_of_leases_that_end(tmp_path: Path) -> None:
    async def story(house: House) -> None:
        bundles = [taken(house.book, f"s{number}") for number in range(6 * BATCH)]
        house.lessor.wake()
        await house.idle()
        for each in bundles:
            house.book.release(each.id, Cause.NAS_RESTART, 0.0, AT)
        house.login("alice")
        await house.idle()
        assert house.answered == ["alice"]
        assert house.after == [5 * BATCH + 1]  # it was in the first batch

    run(tmp_path, story)


def test_who_waits_is_told_only_when_all_of_its_leases_are_on_disk(tmp_path: Path) -> None:
    async def story(house: House) -> None:
        empty = Pool(tenant="demo", vrf="", name="pd", kind=Kind.PD, unit_length=56, ranges=())
        house.register.add_pool(replace(empty, ranges=(range_of("2001:db8::/40", empty),)))
        both = (Wanted(Kind.V4, ("v4",)), Wanted(Kind.PD, ("pd",)))
        taken(house.book, "s")
        for number in range(BATCH // 2):
            got = house.book.take(f"s{number}", Request(tenant="demo", wanted=both), 0.0, AT)
            assert isinstance(got, Bundle)
            house.lessor.wait(got, f"s{number}")
        await house.idle()
        assert house.answers == [BATCH // 2 - 1, 1]  # one of the last one's two was in the first batch
        assert house.after == [1, 0]

    run(tmp_path, story)


def test_while_the_store_refuses_only_time_tries_again_and_not_each_login(tmp_path: Path) -> None:
    async def story(house: House) -> None:
        mend = house.fail()
        for number in range(20):
            house.login(f"s{number}")
            await house.idle()
        assert house.commits == [False]
        assert house.refused == ["s0"]
        house.lessor.turn()
        await house.idle()
        assert house.commits == [False, False]
        assert len(house.refused) == 20  # nobody is kept for later
        mend()
        house.login("last")
        house.lessor.turn()
        await house.idle()
        assert house.answered == ["last"]

    run(tmp_path, story)


def test_of_a_caller_that_asks_again_and_again_one_request_waits(tmp_path: Path) -> None:
    async def story(house: House) -> None:
        left = [house.login("alice", "alice's box") for _ in range(3)]
        assert left == [None, "alice", "alice"]
        assert house.lessor.waiting == 1
        house.login("alice", "at another NAS")
        assert house.lessor.waiting == 2
        await house.idle()
        assert house.answered == ["alice", "alice"]

    run(tmp_path, story)


def test_when_too_many_wait_the_next_one_is_not_kept(tmp_path: Path) -> None:
    async def story(house: House) -> None:
        house.lessor.waiting_most = 2
        assert [house.login(name) for name in ("ann", "bob", "carl")] == [None, None, "carl"]
        await house.idle()
        assert house.answered == ["ann", "bob"]
        assert house.login("carl") is None

    run(tmp_path, story)


class SlowClock:
    """A clock that goes on by so much each time somebody looks at it."""

    def __init__(self, step_s: float) -> None:
        self.step_s = step_s
        self.now = 1000.0

    def monotonic(self) -> float:
        self.now += self.step_s
        return self.now

    def wall(self) -> float:
        return AT


def ended_in_a_turn(step_s: float, leases: int) -> int:
    """Return how many leases that are over end in one turn, where 100 of them take that long."""
    addresses: Addresses[str] = Addresses(
        cast("AsyncEngine", None),
        Writer(cast("AsyncEngine", None), lambda: 0.0, lambda _seconds, _durable: None),
        cast("Clock", SlowClock(step_s)),
        AddressOptions(),
    )
    addresses.open(Register("edge", 1))
    addresses.register.add_pool(big())
    for number in range(leases):
        taken(addresses.book, f"s{number}")
    addresses.turn(lambda _name: False)
    return leases - len(addresses.book)


def test_a_turn_ends_as_many_leases_as_there_is_time_for() -> None:
    assert ended_in_a_turn(0.0, 3_000) == 3_000
    assert ended_in_a_turn(0.0009, 3_000) == 300
    assert ended_in_a_turn(1.0, 3_000) == 100
