"""Port blocks from accounting: what is stored of them, in any order, twice, and across a restart."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from ipaddress import IPv4Address
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from daemon.leases.cgnat_ingest import Ingest, PortReport
from daemon.store import cgnat_rows
from daemon.store.cgnat_rows import BlockRow, Step
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
            anew.say(Said(3, 7, HELD, 10.0))  # nothing is remembered: this start is much later
            await anew.ingest.flush(store.writer)
            assert lives(await rows(store.engine)) == [
                (8, 30.0, 40.0, "released"),
                (7, 10.0, 30.0, "superseded"),
            ]

    asyncio.run(go())


def test_the_release_may_come_before_the_assignment(store: Store) -> None:
    found = stored(store, Said(1, 7, RELEASED, 20.0), Said(2, 7, HELD, 10.0))
    assert lives(found) == [(7, 20.0, 20.0, "unmatched"), (7, 10.0, 20.0, "released")]


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


def _run(scene: Callable[[Store], Awaitable[None]]) -> None:
    async def go(path: Path) -> None:
        async with cgnat_store(Store(path)) as store:
            await scene(store)

    with TemporaryDirectory() as folder:
        asyncio.run(go(Path(folder) / "edge.db"))


@st.composite
def histories(draw: st.DrawFn) -> list[Said]:
    """Records of a few sessions about a few blocks; times mostly rise, sessions end for good."""
    out: list[Said] = []
    over: set[int] = set()
    now = 100.0
    for seq in range(1, draw(st.integers(2, 25))):
        now += draw(st.integers(0, 3))
        session = draw(st.integers(1, 3))
        if session in over:
            continue
        told = draw(st.sampled_from([HELD, HELD, HELD, RELEASED, RELEASED, None]))
        if told is None:
            over.add(session)
        late = draw(st.sampled_from([0, 0, 0, 2, 5]))
        out.append(Said(seq, session, told, now - late, draw(st.integers(0, 1))))
    return out


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(histories(), st.data())
def test_a_restart_anywhere_makes_the_same_rows(records: list[Said], data: st.DataObject) -> None:
    """Steps are stored in order, then the crash: all after the mark is folded in again."""
    feed = Feed()
    upto: list[int] = []  # steps after each record
    for said in records:
        feed.say(said)
        upto.append(feed.ingest.waiting)
    steps: list[Step] = list(feed.ingest._steps)
    crash = data.draw(st.integers(0, len(steps)), label="steps stored")
    marks = [0] + [spot + 1 for spot, count in enumerate(upto) if count <= crash]
    marked = data.draw(st.sampled_from(marks), label="records before the mark")

    async def scene(store: Store) -> None:
        async def save(wanted: list[Step]) -> None:
            await store.writer.commit(lambda connection: cgnat_rows.save_blocks(connection, wanted))

        await save(steps[:crash])
        again = Feed()
        mark = records[marked - 1].seq if marked else 0
        await again.ingest.restore(store.engine, mark, 200.0)
        again.over = {said.session: said.at for said in records[:marked] if said.told is None}
        again.say(*records[marked:])
        again.ingest.settle(again.over.get, records[-1].seq if records else 0)
        await again.ingest.flush(store.writer)
        after = await rows(store.engine)
        await save(steps)  # what the run without a crash has stored, on top of it
        # Where a block is given back and taken in the same second, either may be named as the reason of the end.
        assert [row[:13] for row in await rows(store.engine)] == [row[:13] for row in after]
        assert {(row.seq, row.ordinal) for row in after} == {
            (step.seq, step.ordinal) for step in steps if isinstance(step, BlockRow)
        }

    _run(scene)


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(histories())
def test_no_two_sessions_hold_a_block_at_once_but_by_reports_that_contradict(records: list[Said]) -> None:
    async def scene(store: Store) -> None:
        feed = Feed()
        feed.say(*records)
        await feed.ingest.flush(store.writer)
        found = [row for row in await rows(store.engine) if row.ending != cgnat_rows.UNMATCHED]
        for row in found:
            assert row.until is None or row.until >= row.since
        running = [(row.first_port, row.session) for row in found if row.until is None]
        assert len({port for port, _ in running}) == len(running)

    _run(scene)


@pytest.mark.parametrize("session", [7, 8])
def test_a_session_without_blocks_is_looked_up_and_no_more(session: int) -> None:
    feed = Feed()
    feed.say(Said(1, 7, HELD, 10.0))
    feed.ingest.ended(session, 20.0, 2)
    assert feed.ingest.waiting == (2 if session == 7 else 1)
