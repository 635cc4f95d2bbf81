"""Port blocks from accounting: what is stored of them, in any order, twice, and across a restart."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from ipaddress import IPv4Address
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NamedTuple

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy.ext.asyncio import AsyncConnection

from daemon.errors import StoreUnavailable
from daemon.leases.cgnat_ingest import Ingest, PortReport
from daemon.store import cgnat_rows
from daemon.store.cgnat_rows import BlockRow
from daemon.store.writer import Writer
from ipam.cgnat_blocks import BlockLease, Ending
from radius.port_ranges import PortRange, Reading, Told
from tests.daemon.cgnat_stage import HELD, OUTSIDE, RELEASED, Feed, Said, cgnat_store, held, report, rows
from tests.daemon.conftest import Store


def stored(store: Store, *records: Said) -> list[BlockRow]:
    """Return the rows after these records."""

    async def go() -> list[BlockRow]:
        async with cgnat_store(store):
            feed = Feed()
            feed.say(*records)
            await feed.ingest.flush(store.writer)
            return await rows(store.engine)

    return asyncio.run(go())


def lives(found: list[BlockRow]) -> list[tuple[int, float, float | None, str]]:
    return [(each.session, each.since, each.until, each.ending) for each in found]


def test_a_block_is_one_row_from_beginning_to_end(store: Store) -> None:
    (row,) = stored(store, Said(1, 7, HELD, 10.0), Said(2, 7, HELD, 15.0), Said(3, 7, RELEASED, 20.0))
    assert row == BlockRow(
        1, 0, "demo", "203.0.113.1", 1_024, 1_535, 0, "100.64.0.7", "S7", 7, "bng1", 10.0, 20.0, "released", 3
    )


def test_repeats_in_interims_cost_no_row(store: Store) -> None:
    feed = Feed()
    feed.say(Said(1, 7, HELD, 10.0))
    before = feed.ingest.waiting
    feed.say(*(Said(seq, 7, HELD, 10.0 + seq) for seq in range(2, 100)))
    assert feed.ingest.waiting == before


def test_the_end_of_a_session_ends_its_blocks(store: Store) -> None:
    found = stored(store, Said(1, 7, HELD, 10.0), Said(2, 7, HELD, 10.0, 1), Said(3, 7, None, 30.0))
    assert lives(found) == [(7, 10.0, 30.0, "session-ended")] * 2


def test_a_release_in_the_stop_counts_more_than_the_stop(store: Store) -> None:
    """The session table closes the session before the blocks of the same packet are taken."""
    found = stored(store, Said(1, 7, HELD, 10.0), Said(2, 7, None, 30.0), Said(2, 7, RELEASED, 30.0))
    assert lives(found) == [(7, 10.0, 30.0, "released")]


def test_a_lost_release_ends_where_the_next_holder_begins(store: Store) -> None:
    found = stored(store, Said(1, 7, HELD, 10.0), Said(2, 8, HELD, 30.0), Said(3, 7, None, 50.0))
    assert lives(found) == [(7, 10.0, 30.0, "superseded"), (8, 30.0, None, "open")]


def test_ports_of_other_protocols_take_nothing_away(store: Store) -> None:
    found = stored(store, Said(1, 7, HELD, 10.0, transport=3), Said(2, 8, HELD, 30.0, transport=4))
    assert [each.until for each in found] == [None, None]


def test_a_late_report_of_the_former_holder_is_bounded_by_the_next(store: Store) -> None:
    found = stored(store, Said(1, 8, HELD, 30.0), Said(2, 7, HELD, 10.0), Said(3, 7, HELD, 12.0))
    assert lives(found) == [(8, 30.0, None, "open"), (7, 10.0, 30.0, "superseded")]


def test_a_late_report_is_bounded_by_what_is_only_in_the_store(store: Store) -> None:
    async def go() -> None:
        async with cgnat_store(store):
            feed = Feed()
            feed.say(Said(1, 8, HELD, 30.0), Said(2, 8, RELEASED, 40.0))
            await feed.ingest.flush(store.writer)
            anew = Feed()
            await anew.ingest.restore(store.engine, 2, 100_000.0)  # that late nothing of it is remembered
            anew.say(Said(3, 7, HELD, 10.0), Said(4, 7, HELD, 12.0), Said(5, 7, HELD, 99_000.0))
            anew.say(Said(6, 7, HELD, 99_500.0), Said(7, 7, None, 99_900.0))
            await anew.ingest.flush(store.writer)
            assert lives(await rows(store.engine)) == [
                (8, 30.0, 40.0, "released"),
                (7, 10.0, 30.0, "superseded"),
                (7, 99_000.0, 99_900.0, "session-ended"),
            ]

    asyncio.run(go())


def test_a_holder_bounded_by_one_that_is_over_holds_again_with_the_next_report(store: Store) -> None:
    found = stored(
        store,
        *(Said(1, 8, HELD, 100.0), Said(2, 8, RELEASED, 102.0)),
        *(Said(3, 7, HELD, 97.0), Said(4, 7, HELD, 102.0), Said(5, 7, HELD, 110.0)),
    )
    assert lives(found) == [
        (8, 100.0, 102.0, "released"),
        (7, 97.0, 100.0, "superseded"),
        (7, 102.0, None, "open"),
    ]


def test_a_late_repeat_from_before_another_holder_is_a_row_of_its_own(store: Store) -> None:
    found = stored(
        store,
        *(Said(1, 8, HELD, 100.0), Said(2, 8, RELEASED, 102.0)),
        *(Said(3, 7, HELD, 110.0), Said(4, 7, HELD, 97.0), Said(5, 7, HELD, 104.0)),
    )
    assert lives(found) == [
        (8, 100.0, 102.0, "released"),
        (7, 104.0, None, "open"),
        (7, 97.0, 100.0, "superseded"),
    ]


def test_a_late_start_of_a_block_that_is_over_does_not_open_it(store: Store) -> None:
    found = stored(store, Said(1, 7, HELD, 10.0), Said(2, 7, RELEASED, 20.0), Said(3, 7, HELD, 5.0))
    assert lives(found) == [(7, 5.0, 20.0, "released")]


def test_it_does_not_go_on_where_somebody_else_had_it_meanwhile(store: Store) -> None:
    async def go() -> None:
        async with cgnat_store(store):
            feed = Feed()
            feed.say(Said(1, 7, HELD, 10.0), Said(2, 7, None, 30.0))
            feed.say(Said(3, 8, HELD, 40.0), Said(4, 8, RELEASED, 50.0))
            del feed.over[7]
            feed.say(Said(5, 7, HELD, 60.0))
            await feed.ingest.flush(store.writer)
            assert lives(await rows(store.engine)) == [
                (7, 10.0, 30.0, "session-ended"),
                (8, 40.0, 50.0, "released"),
                (7, 60.0, None, "open"),
            ]

    asyncio.run(go())


def test_what_waits_for_an_earlier_record_is_not_stored_before_it(store: Store) -> None:
    """A record whose session must be looked up is taken after later ones: a crash must not lose it."""

    async def go() -> None:
        async with cgnat_store(store):
            feed = Feed(Ingest(slice_steps=1))
            feed.say(Said(1, 7, HELD, 10.0), Said(3, 8, HELD, 30.0, 1))
            await feed.ingest.flush(store.writer, through=1)
            assert [each.seq for each in await rows(store.engine)] == [1]
            again = Feed(Ingest(slice_steps=1))
            await again.ingest.restore(store.engine, 0, 100.0)
            before = len(store.commits)
            again.say(Said(1, 7, HELD, 10.0), Said(3, 8, HELD, 30.0, 1), Said(2, 9, HELD, 20.0, 2))
            await again.ingest.flush(store.writer)
            assert [each.seq for each in await rows(store.engine)] == [1, 2, 3]
            assert len(store.commits) == before + 1  # together: a mark between them would be wrong for one

    asyncio.run(go())


def test_the_release_may_come_before_the_assignment(store: Store) -> None:
    found = stored(store, Said(1, 7, RELEASED, 20.0), Said(2, 7, HELD, 10.0))
    assert lives(found) == [(7, 20.0, 20.0, "unmatched"), (7, 10.0, 20.0, "released")]


def test_a_release_counts_once_across_a_restart(store: Store) -> None:
    async def go() -> None:
        async with cgnat_store(store):
            feed = Feed()
            feed.say(Said(1, 7, RELEASED, 20.0), Said(2, 7, HELD, 10.0))
            await feed.ingest.flush(store.writer)
            again = Feed()
            await again.ingest.restore(store.engine, 2, 100.0)
            again.say(Said(3, 7, HELD, 5.0))
            await again.ingest.flush(store.writer)
            assert lives(await rows(store.engine)) == [
                (7, 20.0, 20.0, "unmatched"),
                (7, 5.0, 20.0, "released"),
            ]

    asyncio.run(go())


def test_records_that_are_in_the_rows_are_passed_over_after_a_restart(store: Store) -> None:
    first = [
        *(Record(Said(1, 7, HELD, 10.0)), Record(Said(2, 7, HELD, 30.0))),
        Record(
            Said(3, 8, HELD, 20.0)
        ),  # late: it has taken the block, and then record 2 is no repeat any more
        *(Record(Said(4, 9, HELD, 10.0, 1)), Record(Said(5, 9, None, 30.0))),
        Record(Said(6, 9, HELD, 60.0, 1), lives=True),
    ]

    async def go() -> None:
        async with cgnat_store(store):
            feed = Feed()
            tell(feed, first)
            await feed.ingest.flush(store.writer)
            before = await rows(store.engine)
            again = Feed()
            await again.ingest.restore(store.engine, 0, 100.0)
            tell(again, first)
            assert again.ingest.waiting == 0
            assert lives(before) == [
                (7, 10.0, 20.0, "superseded"),
                (8, 20.0, None, "open"),
                (9, 10.0, None, "open"),
            ]

    asyncio.run(go())


def test_the_start_may_come_after_the_interim(store: Store) -> None:
    found = stored(store, Said(1, 7, HELD, 20.0), Said(2, 7, HELD, 10.0))
    assert lives(found) == [(7, 10.0, None, "open")]


def test_a_release_that_is_overtaken_by_the_next_assignment_counts_until_the_next_report(
    store: Store,
) -> None:
    records = (
        Said(1, 7, HELD, 10.0),
        Said(2, 7, HELD, 30.0),
        Said(3, 7, RELEASED, 20.0),
        Said(4, 7, HELD, 35.0),
    )
    assert lives(stored(store, *records)) == [(7, 10.0, 20.0, "released"), (7, 35.0, None, "open")]


def test_a_late_repeat_does_not_open_a_block_again(store: Store) -> None:
    found = stored(
        store,
        *(Said(1, 7, HELD, 10.0), Said(2, 7, RELEASED, 20.0), Said(3, 7, HELD, 15.0)),
        *(Said(4, 7, HELD, 40.0), Said(5, 7, HELD, 18.0)),
    )
    assert lives(found) == [(7, 10.0, 20.0, "released"), (7, 40.0, None, "open")]


def test_a_session_that_lives_on_has_its_block_again_without_a_hole(store: Store) -> None:
    async def go() -> None:
        async with cgnat_store(store):
            feed = Feed()
            feed.say(Said(1, 7, HELD, 10.0), Said(2, 7, None, 30.0))  # concluded from silence
            await feed.ingest.flush(store.writer)
            del feed.over[7]
            feed.say(Said(3, 7, HELD, 60.0), Said(4, 7, RELEASED, 70.0))
            await feed.ingest.flush(store.writer)
            assert lives(await rows(store.engine)) == [(7, 10.0, 70.0, "released")]

    asyncio.run(go())


def test_but_not_where_somebody_else_has_it_now(store: Store) -> None:
    feed = Feed()
    feed.say(Said(1, 7, HELD, 10.0), Said(2, 7, None, 30.0), Said(3, 8, HELD, 40.0))
    del feed.over[7]
    feed.say(Said(4, 7, HELD, 60.0))
    assert list(feed.ingest.blocks(7)) == [(OUTSIDE, 1_024, 1_535)]
    assert list(feed.ingest.blocks(8)) == []


def test_all_blocks_are_given_back_at_once(store: Store) -> None:
    feed = Feed()
    feed.say(Said(1, 7, HELD, 10.0), Said(2, 7, HELD, 10.0, 1), Said(3, 8, HELD, 10.0, 2))
    everything = PortRange(Told.RELEASED_ALL, None, 0, 65_535)
    elsewhere = everything._replace(outside=IPv4Address("198.51.100.1"))
    told = report(Said(4, 7, RELEASED, 20.0))
    feed.ingest.take(_with(told, elsewhere))
    assert len(feed.ingest) == 3
    feed.ingest.take(_with(told, everything))
    assert len(feed.ingest) == 1


def test_a_new_public_address_replaces_the_old_one() -> None:
    feed = Feed()
    feed.say(Said(1, 7, HELD, 10.0))
    new = PortRange(Told.REPLACES, IPv4Address("203.0.113.9"), 2_048, 4_095)
    feed.ingest.take(_with(report(Said(2, 7, HELD, 20.0)), new))
    assert list(feed.ingest.blocks(7)) == [(IPv4Address("203.0.113.9"), 2_048, 4_095)]


def _with(told: PortReport, *ranges: PortRange) -> PortReport:
    return PortReport(told.seq, told.tenant, told.nas, told.session, "", None, told.at, Reading(ranges, 0))


def test_what_could_not_be_read_is_counted() -> None:
    ingest = Ingest()
    ingest.take(PortReport(1, "demo", "bng1", 7, "", None, 1.0, Reading((), 2)))
    assert (ingest.unreadable, len(ingest)) == (2, 0)


def test_the_store_says_who_held_a_port(store: Store) -> None:
    async def go() -> None:
        async with cgnat_store(store):
            feed = Feed()
            feed.say(
                *(Said(1, 7, HELD, 10.0), Said(2, 7, RELEASED, 20.0), Said(3, 8, HELD, 30.0)),
                Said(4, 9, HELD, 10.0, block=3),
            )
            await feed.ingest.flush(store.writer)
            async with store.engine.connect() as connection:
                assert _who(await held(connection, 9.9)) == []
                assert _who(await held(connection, 10.0)) == ["7", "9"]
                assert _who(await held(connection, 20.0)) == ["9"]
                assert _who(await held(connection, 20.0, skew_s=10.0)) == ["7", "9", "8"]
                first = (await held(connection, 10.0))[0]
                assert (first.until, first.ending, first.subscriber) == (20.0, Ending.RELEASED, "S7")
                assert (first.seq, first.ended_seq, str(first.inside)) == (1, 2, "100.64.0.7")
                found = await cgnat_rows.find_inside_leases(connection, "demo", "100.64.0.9", 50.0, 50.0)
                assert _who(found) == ["9"]
                assert await cgnat_rows.find_inside_leases(connection, "x", "100.64.0.9", 50.0, 50.0) == []

    asyncio.run(go())


def _who(found: list[BlockLease]) -> list[str]:
    return [each.session for each in found]


def test_pruning_takes_what_is_over_and_leaves_what_is_held(store: Store) -> None:
    async def go() -> None:
        async with cgnat_store(store):
            feed = Feed()
            feed.say(*(Said(1, 7, HELD, 10.0), Said(2, 7, RELEASED, 20.0), Said(3, 8, HELD, 11.0, 1)))
            await feed.ingest.flush(store.writer)
            gone: list[int] = []

            async def prune(connection: object) -> None:
                gone.append(await cgnat_rows.prune(connection, 20.1))  # type: ignore[arg-type]

            await store.writer.commit(prune)
            assert gone == [1]
            assert [each.session for each in await rows(store.engine)] == [8]

    asyncio.run(go())


class Dying(Writer):
    """A writer whose disk is gone after some transactions."""

    left = 1_000_000

    async def commit(self, execute: Callable[[AsyncConnection], Awaitable[None]]) -> None:
        if not self.left:
            raise StoreUnavailable("the disk is gone")
        self.left -= 1
        await super().commit(execute)


def _run(scene: Callable[[Store, Dying], Awaitable[None]]) -> None:
    async def go(path: Path) -> None:
        store = Store(path)
        store.writer = writer = Dying(store.engine, time.monotonic, lambda _seconds, _durable: None)
        async with cgnat_store(store):
            await scene(store, writer)

    with TemporaryDirectory() as folder:
        asyncio.run(go(Path(folder) / "edge.db"))


class Record(NamedTuple):
    """What was said; `lives` where it shows that the session is not over, as was concluded."""

    said: Said
    lives: bool = False


def tell(feed: Feed, records: list[Record]) -> None:
    for said, lives_on in records:
        if lives_on:
            feed.over.pop(said.session, None)
        feed.say(said)


def over_after(records: list[Record]) -> dict[int, float]:
    """Return the sessions that are over after these records, and since when."""
    over: dict[int, float] = {}
    for said, lives_on in records:
        if lives_on:
            over.pop(said.session, None)
        if said.told is None:
            over[said.session] = said.at
    return over


@st.composite
def histories(draw: st.DrawFn, transports: tuple[int, ...] = (0,)) -> list[Record]:
    """Records of a few sessions about a few blocks; times mostly rise, and sessions end, mostly for good."""
    out: list[Record] = []
    over: set[int] = set()
    now = 100.0
    for seq in range(1, draw(st.integers(2, 25))):
        now += draw(st.integers(0, 3))
        session = draw(st.integers(1, 3))
        told = draw(st.sampled_from([HELD, HELD, HELD, RELEASED, RELEASED, None]))
        lives_on = session in over and told is HELD and draw(st.booleans())
        if session in over and not lives_on:
            continue
        over.discard(session)
        if told is None:
            over.add(session)
        at = now - draw(st.sampled_from([0, 0, 0, 2, 5]))
        said = Said(seq, session, told, at, draw(st.integers(0, 1)), draw(st.sampled_from(transports)))
        out.append(Record(said, lives_on))
    return out


async def _run_until_crash(feed: Feed, writer: Dying, records: list[Record], data: st.DataObject) -> int:
    """Tell records and flush now and then, until the store dies; return how far the keeper's mark may be."""
    writer.left = data.draw(st.integers(0, 12), label="transactions")
    flushed = 0
    for record in records:
        tell(feed, [record])
        if data.draw(st.booleans(), label="flush"):
            try:
                await feed.ingest.flush(writer)
            except StoreUnavailable:
                break
            flushed = record.said.seq
    writer.left = 1_000_000
    return flushed


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(histories(transports=(0, 0, 3)), st.data())
def test_a_restart_anywhere_makes_the_same_rows(records: list[Record], data: st.DataObject) -> None:
    """Steps are stored in slices, then the crash: all after the mark is folded in again."""
    last_seq = records[-1].said.seq if records else 0
    whole: list[BlockRow] = []

    async def without(store: Store, writer: Dying) -> None:
        feed = Feed()
        tell(feed, records)
        await feed.ingest.flush(writer)
        whole.extend(await rows(store.engine))

    async def crashing(store: Store, writer: Dying) -> None:
        feed = Feed(Ingest(slice_steps=data.draw(st.integers(1, 4), label="steps in a slice")))
        flushed = await _run_until_crash(feed, writer, records, data)
        marks = [0] + [each.said.seq for each in records if each.said.seq <= flushed]
        mark = data.draw(st.sampled_from(marks), label="the keeper's mark")
        again = Feed(over=over_after([each for each in records if each.said.seq <= mark]))
        await again.ingest.restore(store.engine, mark, 200.0)
        tell(again, [each for each in records if each.said.seq > mark])
        again.ingest.settle(again.over.get, last_seq)
        await again.ingest.flush(writer)
        assert await rows(store.engine) == whole

    _run(without)
    _run(crashing)


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(histories())
def test_no_two_sessions_hold_a_block_at_once_but_by_reports_that_contradict(records: list[Record]) -> None:
    async def scene(store: Store, writer: Dying) -> None:
        feed = Feed()
        tell(feed, records)
        await feed.ingest.flush(writer)
        found = [row for row in await rows(store.engine) if row.ending != cgnat_rows.UNMATCHED]
        for row in found:
            assert row.until is None or row.until >= row.since
        running = [(row.first_port, row.session) for row in found if row.until is None]
        assert len({port for port, _ in running}) == len(running)

    _run(scene)


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(histories(transports=(0, 0, 3)), st.integers(1, 30))
def test_what_is_held_is_open_in_the_store_however_little_is_remembered(
    records: list[Record], remembered: int
) -> None:
    async def scene(store: Store, writer: Dying) -> None:
        feed = Feed(Ingest(most_ended=remembered))
        for record in records:
            tell(feed, [record])
            await feed.ingest.flush(writer)
        held = list(feed.ingest._lives.held)
        for seq, block in enumerate(held, 1_000):  # the next interim
            number = (block.first_port - 1_024) // 512
            feed.say(Said(seq, block.session, HELD, 300.0, number, block.transport))
        await feed.ingest.flush(writer)
        running = [_named(row) for row in await rows(store.engine) if row.until is None]
        assert sorted(running) == sorted(feed.ingest._lives.held)

    _run(scene)


def _named(row: BlockRow) -> tuple[str, str, int, int, int, int]:
    return row.tenant, row.outside, row.first_port, row.last_port, row.transport, row.session


@pytest.mark.parametrize("session", [7, 8])
def test_a_session_without_blocks_is_looked_up_and_no_more(session: int) -> None:
    feed = Feed()
    feed.say(Said(1, 7, HELD, 10.0))
    feed.ingest.ended(session, 20.0, 2)
    assert feed.ingest.waiting == (2 if session == 7 else 1)
