"""What gives way when the disk fills, and that nothing else does."""

from __future__ import annotations

import asyncio
import random
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from daemon.aaa import report
from daemon.aaa.sessions import SessionTable
from daemon.store import journal, size
from daemon.store.journal import Record
from daemon.store.size import Room
from daemon.sync.outbox.coalesce import Coalescer
from daemon.sync.outbox.model import Stream
from daemon.sync.outbox.outbox import OutboxOptions
from daemon.sync.outbox.pressure import Level, PressureOptions, level_of
from radius import vendors
from radius.codes import Attr
from radius.packet import attribute, decode
from tests.daemon.outbox.conftest import PlacedStore
from tests.daemon.outbox.stage import BELIEF, Receiver, append, new, stage
from tests.daemon.stack import T0
from tests.daemon.test_accounting import Running, record, running
from tests.effort import effort
from tests.twins.clock import ClockTwin
from tests.twins.nas import NasTwin

LIMITS = PressureOptions(database_most_octets=1_000, disk_least_octets=100)
START, STOP, INTERIM = 1, 2, 3


@pytest.mark.parametrize(
    ("used", "free", "before", "level"),
    [
        (699, 1_000, Level.EASY, Level.EASY),
        (700, 1_000, Level.EASY, Level.SAMPLE),
        (690, 1_000, Level.SAMPLE, Level.SAMPLE),
        (679, 1_000, Level.SAMPLE, Level.EASY),
        (850, 1_000, Level.EASY, Level.DROP),
        (840, 1_000, Level.DROP, Level.DROP),
        (829, 1_000, Level.DROP, Level.SAMPLE),
        (1_000, 1_000, Level.DROP, Level.FULL),
        (985, 1_000, Level.FULL, Level.FULL),
        (100, 99, Level.EASY, Level.FULL),
        (100, 101, Level.FULL, Level.FULL),
        (100, 103, Level.FULL, Level.EASY),
    ],
)
def test_levels_begin_at_their_thresholds_and_are_left_a_little_below(
    used: int, free: int, before: Level, level: Level
) -> None:
    assert level_of(Room(used, free), LIMITS, before) is level


def test_without_limits_nothing_gives_way() -> None:
    assert level_of(Room(1 << 50, 0), PressureOptions(), Level.EASY) is Level.EASY


def test_pages_that_were_freed_do_not_count(tmp_path: Path) -> None:
    async def scenario() -> None:
        store = PlacedStore(tmp_path / "edge.db")
        async with store.running():
            before = size.measure(store.path)
            big = [new(each)._replace(body=b'"%s"' % (b"x" * 50_000)) for each in range(50)]
            await append(store, Stream.DEVICES, *big)
            full = size.measure(store.path)
            async with stage(store) as edge:
                await edge.clock.advance(8 * 86_400.0)
                await edge.outbox.retention.turn()
            after = size.measure(store.path)
            assert before is not None
            assert full is not None
            assert after is not None
            assert full.used_octets - before.used_octets > 2_400_000
            assert after.used_octets - before.used_octets < 100_000
            assert after.free_octets > 0

    asyncio.run(scenario())
    assert size.measure(tmp_path / "nowhere" / "edge.db") is None


def test_a_full_disk_stops_accounting_and_nothing_else(store: PlacedStore) -> None:
    async def scenario() -> None:
        async with running(store) as edge:
            twin = edge.stack.nas()

            def accept(taken: bool) -> None:
                edge.journal.full = not taken
                edge.stack.accounting.refusal = (
                    edge.stack.accounting.refusal.JOURNAL_FULL
                    if taken
                    else edge.stack.accounting.refusal.DISK_FULL
                )

            options = OutboxOptions(pressure=LIMITS)
            async with stage(store, options=options, accept=accept) as box:
                assert await box.pressed(1_001) is Level.FULL
                assert await edge.answers(twin, twin.account(record(START))) == []
                assert ("outbox-pressure", "full") in [(kind, each["reason"]) for kind, each in box.told]
                assert "accounting is not acknowledged" in box.outbox.degraded()[0]
                accept_ = twin.ask(twin.login("alice", "wonderland"))
                assert accept_ is not None
                assert accept_.code == 2
                reasons = {key[3] for key in edge.stack.counts.requests}
                assert "disk-full" in reasons
                assert await box.pressed(500) is Level.EASY
                assert len(await edge.answers(twin, twin.account(record(START)))) == 1
                assert box.outbox.degraded() == []

    asyncio.run(scenario())


def test_the_oldest_of_class_c_goes_and_its_numbers_stay(store: PlacedStore) -> None:
    async def scenario() -> None:
        async with store.running():
            receiver = Receiver([Stream.AUTH_REJECTS])
            async with stage(store, receiver, options=OutboxOptions(pressure=LIMITS)) as edge:
                rejects = [new(each, "auth.rejected", "C") for each in range(6)]
                await append(store, Stream.AUTH_REJECTS, *rejects[:2])
                await edge.drain(Stream.AUTH_REJECTS)
                await append(store, Stream.AUTH_REJECTS, *rejects[2:])
                await append(store, Stream.SESSIONS, new(1, "session.started"))
                log = edge.outbox.logs[Stream.AUTH_REJECTS]
                facts = [event.fact for event in await log.read(0, 10)]
                await edge.pressed(900)
                assert edge.outbox.dropped == {"A": 0, "B": 0, "C": 4}
                assert [event.fact for event in await log.read(0, 10)] == facts
                await edge.drain(Stream.AUTH_REJECTS)
                kinds = [event.type for event in receiver.of(Stream.AUTH_REJECTS)]
                assert kinds == ["auth.rejected"] * 2 + ["auth-rejects.dropped"] * 4
                assert (await edge.outbox.logs[Stream.SESSIONS].read(0, 5))[0].type == "session.started"

    asyncio.run(scenario())


def framed(number: int) -> bytes:
    return attribute(Attr.FRAMED_IP_ADDRESS, bytes((10, 0, 0, number)))


def folded(records: list[tuple[int, Record]]) -> dict[bytes, Any]:
    """Return what a receiver makes of records: totals and end of each session."""
    profile = vendors.find("mikrotik")
    assert profile is not None
    table = SessionTable()
    for seq, each in records:
        if not each.elided:
            table.apply(report.read(seq, each, decode(each.octets), profile, BELIEF))
    return {
        each.acct_session_id: (
            each.started_at,
            each.updated_at,
            each.closed_at,
            each.counters.totals,
            each.session_time_s,
            each.latest,
            each.username,
        )
        for each in table
    }


async def stored(store: PlacedStore) -> list[tuple[int, Record]]:
    return [(each.seq, each.record) async for rows in journal.read(store.engine) for each in rows]


async def fill(edge: Running, twin: NasTwin, sessions: int, interims: int) -> None:
    edge.stack.at = T0 + 60 * (interims + 2)
    for minute in range(interims + 1):
        some = [
            record(
                START if minute == 0 else INTERIM,
                session=b"%04d" % number,
                after_s=60 * minute,
                upload=minute * 1_000,
                extra=framed(1 if minute < interims // 2 else 2),
            )
            for number in range(sessions)
        ]
        await edge.answers(twin, *map(twin.account, some))
        await edge.keeper._work_off_late()
    await edge.keeper.flush()


def test_interims_are_coalesced_totals_and_numbers_stay_and_a_restart_passes_over_them(
    store: PlacedStore,
) -> None:
    async def scenario() -> None:
        async with running(store) as edge:
            twin = edge.stack.nas()
            await fill(edge, twin, sessions=5, interims=40)
            before = await stored(store)
            receiver = Receiver([Stream.ACCOUNTING])
            options = OutboxOptions(pressure=LIMITS)
            async with stage(
                store, receiver, options=options, applied_seq=lambda: edge.keeper.applied_seq
            ) as box:
                facts = [event.fact for event in await box.outbox.logs[Stream.ACCOUNTING].read(0, 1_000)]
                await box.pressed(701)
                after = await stored(store)
                assert [seq for seq, _ in after] == [seq for seq, _ in before]
                left = [each for _, each in after if not each.elided]
                assert len(left) < 5 * 8 < len(before)
                assert box.outbox.dropped["B"] == len(before) - len(left)
                assert folded(after) == folded(before)
                events = await box.outbox.logs[Stream.ACCOUNTING].read(0, 1_000)
                assert [event.fact for event in events] == facts, "the chain of hashes does not notice"
                assert {event.type for event in events if not event.data} == {"accounting.superseded"}
                await box.drain(Stream.ACCOUNTING)
                assert len(receiver.of(Stream.ACCOUNTING)) == len(before)
            again = Running(store)
            again.stack.at = edge.stack.at
            again.keeper._clock = ClockTwin(edge.stack.at)
            remembered: list[Record] = []
            await again.keeper.restore(again.stack.clients, remembered.append)
            assert remembered
            assert all(each.octets for each in remembered)
            assert {each.counters.totals for each in again.stack.sessions} == {
                each.counters.totals for each in edge.stack.sessions
            }

    asyncio.run(scenario())


def test_what_sessions_do_not_have_yet_is_never_coalesced(store: PlacedStore) -> None:
    async def scenario() -> None:
        async with running(store) as edge:
            twin = edge.stack.nas()
            await fill(edge, twin, sessions=2, interims=10)
            through = edge.keeper.applied_seq
            for minute in range(11, 30):
                each = record(
                    INTERIM, session=b"0000", after_s=60 * minute, upload=minute * 1_000, extra=framed(2)
                )
                await edge.answers(twin, twin.account(each))
            async with stage(
                store, options=OutboxOptions(pressure=LIMITS), applied_seq=lambda: through
            ) as box:
                await box.pressed(701)
            assert all(not each.elided for seq, each in await stored(store) if seq > through)
            assert any(each.elided for _, each in await stored(store))

    asyncio.run(scenario())


@settings(max_examples=effort(100, 400), deadline=None)
@given(seed=st.integers(0, 1 << 30))
def test_coalescing_changes_no_total_whatever_a_nas_reports(seed: int) -> None:
    """Counters that fall, wrap, come late or not at all; ids used again; addresses that change."""
    dice = random.Random(seed)
    profile = vendors.find("mikrotik")
    assert profile is not None
    made: list[tuple[int, Record]] = []
    clock = 0
    counts = dict.fromkeys((b"a", b"b"), 0)
    began = dict.fromkeys((b"a", b"b"), 0)
    for seq in range(1, dice.randrange(5, 60)):
        clock += dice.randrange(1, 90)
        name = dice.choice((b"a", b"b"))
        counts[name] += dice.randrange(1 << 20)
        deed = dice.random()
        status = INTERIM
        after = clock - began[name]
        if deed < 0.06:
            counts[name] = dice.randrange(100)
        elif deed < 0.1:
            status, began[name], counts[name], after = START, clock, 0, 0
        elif deed < 0.13:
            status = STOP
        late = dice.randrange(300) if dice.random() < 0.06 else 0
        extra = framed(dice.randrange(2)) if dice.random() < 0.1 else framed(1)
        octets = packet(status, name, clock - late, max(after - late, 0), counts[name], extra)
        made.append((seq, Record(T0 + clock, b"", "demo", "lab", "ALICE", octets)))
    coalescer = Coalescer()
    for seq, each in made:
        coalescer.feed(report.read(seq, each, decode(each.octets), profile, BELIEF))
    needless = set(coalescer.take())
    left = [(seq, each) for seq, each in made if seq not in needless]
    assert folded(left) == folded(made)


def packet(status: int, session: bytes, at: int, time_s: int, upload: int, extra: bytes) -> bytes:
    attributes = record(status, session=session, extra=extra)
    stamp = bytes((Attr.EVENT_TIMESTAMP, 6)) + (int(T0) + at).to_bytes(4, "big")
    attributes = attributes.replace(bytes((Attr.EVENT_TIMESTAMP, 6)) + int(T0).to_bytes(4, "big"), stamp)
    if status != START:
        told = bytes((Attr.ACCT_SESSION_TIME, 6))
        attributes = attributes.replace(told + bytes(4), told + time_s.to_bytes(4, "big"))
        told = bytes((Attr.ACCT_INPUT_OCTETS, 6))
        attributes = attributes.replace(told + bytes(4), told + upload.to_bytes(4, "big"))
    return bytes((4, 1)) + (20 + len(attributes)).to_bytes(2, "big") + bytes(16) + attributes


def test_the_coalescer_keeps_the_first_and_the_newest_of_a_session() -> None:
    profile = vendors.find("mikrotik")
    assert profile is not None
    coalescer = Coalescer(most_sessions=1)
    for seq in range(1, 11):
        octets = packet(START if seq == 1 else INTERIM, b"a", 60 * seq, 60 * (seq - 1), seq * 100, framed(1))
        each = Record(T0 + 60 * seq, b"", "demo", "lab", "ALICE", octets)
        coalescer.feed(report.read(seq, each, decode(octets), profile, BELIEF))
    assert coalescer.take() == list(range(3, 10)), "a Start has no counters to compare with"
    other = packet(INTERIM, b"b", 700, 600, 5, framed(3))
    read = report.read(11, Record(T0 + 700, b"", "demo", "lab", "BOB", other), decode(other), profile, BELIEF)
    coalescer.feed(read)
    assert coalescer.take() == []
