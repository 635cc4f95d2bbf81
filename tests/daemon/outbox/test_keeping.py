"""What is kept, what may go, and who is woken when something comes."""

from __future__ import annotations

import asyncio

from sqlalchemy import func, insert, select

from daemon.store import audit_rows, journal
from daemon.store.audit_rows import AUDIT, Entry
from daemon.store.outbox_rows import OUTBOX, OUTBOX_HASH
from daemon.sync.outbox.logs import without_holes
from daemon.sync.outbox.model import Event, Stream, Urgency
from daemon.sync.outbox.outbox import OutboxOptions
from daemon.sync.outbox.shipper import ShipOptions
from ipam import store as lease_store
from ipam.history import Chain, Change
from ipam.ledger import Batch
from tests.daemon.outbox.conftest import PlacedStore
from tests.daemon.outbox.stage import Receiver, append, new, stage
from tests.daemon.stack import T0
from tests.daemon.test_accounting import record, running

DEVICES = Stream.DEVICES
WEEK_S = 7 * 86_400.0
SMALL = OutboxOptions(ship=ShipOptions(most_events=4, hash_every=4))


async def count(store: PlacedStore, table: object) -> int:
    async with store.engine.connect() as connection:
        return int((await connection.execute(select(func.count()).select_from(table))).scalar() or 0)  # type: ignore[arg-type]


def test_acknowledged_rows_go_after_a_week_and_unacknowledged_ones_stay(store: PlacedStore) -> None:
    async def scenario() -> None:
        async with store.running():
            receiver = Receiver([DEVICES])
            async with stage(store, receiver, options=SMALL) as edge:
                await append(store, DEVICES, *map(new, range(9)))
                await edge.drain(DEVICES)
                await append(store, DEVICES, *map(new, range(9, 14)))
                await edge.clock.advance(WEEK_S - 60)
                assert await edge.outbox.retention.turn() == 0
                await edge.clock.advance(120)
                while await edge.outbox.retention.turn():
                    pass
                left = await edge.outbox.logs[DEVICES].read(0, 100)
                assert [event.seq for event in left] == [10, 11, 12, 13, 14]
                assert await count(store, OUTBOX_HASH) == 1, "one to replay from"
                await edge.drain(DEVICES)
                while await edge.outbox.retention.turn():
                    pass
                assert await count(store, OUTBOX) == 0
                await append(store, DEVICES, new(14))
                assert (await edge.outbox.logs[DEVICES].read(0, 1))[0].seq == 15, (
                    "numbers are never used again"
                )
                assert await edge.outbox.logs[DEVICES].last_seq() == 15

    asyncio.run(scenario())


def test_on_a_disk_that_fills_acknowledged_rows_go_after_an_hour(store: PlacedStore) -> None:
    async def scenario() -> None:
        async with store.running():
            receiver = Receiver([DEVICES])
            async with stage(store, receiver) as edge:
                await append(store, DEVICES, new(0))
                await edge.drain(DEVICES)
                await append(store, DEVICES, new(1))
                await edge.clock.advance(3_700)
                edge.outbox.retention.hurried = True
                assert await edge.outbox.retention.turn() == 1
                assert await count(store, OUTBOX) == 1

    asyncio.run(scenario())


def test_the_journal_is_not_pruned_above_what_every_sink_has_acknowledged(store: PlacedStore) -> None:
    async def scenario() -> None:
        async with running(store) as edge:
            twin = edge.stack.nas()
            for number in range(6):
                await edge.answers(twin, twin.account(record(1, session=b"%04d" % number)))
            await edge.keeper.flush()
            edge.keeper.acknowledged_through = lambda: 3
            await edge.keeper._prune()
            assert (await journal.page(store.engine, 0, 1))[0].seq == 4
            edge.keeper.acknowledged_through = lambda: None
            await edge.keeper._prune()
            assert (await journal.page(store.engine, 0, 1))[0].seq == 6, "the newest row says what is used up"

    asyncio.run(scenario())


def test_whoever_waits_is_woken_by_a_commit_and_nothing_is_read_meanwhile(store: PlacedStore) -> None:
    async def scenario() -> None:
        async with store.running():
            receiver = Receiver([DEVICES])
            async with stage(store, receiver) as edge:
                log, reads = edge.outbox.logs[DEVICES], []
                last_seq = log.last_seq

                async def counted() -> int:
                    reads.append(1)
                    return await last_seq()

                log.last_seq = counted  # type: ignore[method-assign]
                tasks = [
                    asyncio.ensure_future(run()) for name, run in edge.outbox.tasks() if "gather" not in name
                ]
                await edge.clock.advance(20.0)
                before = len(reads)
                assert not receiver.deliveries
                waiting = asyncio.ensure_future(edge.outbox.wait(DEVICES, 0, 30.0))
                await append(store, DEVICES, new(0))
                edge.outbox.committed(0.1, True)
                for _ in range(100):
                    await edge.clock.advance(0.1)
                    await asyncio.sleep(0.002)
                assert await waiting
                assert [each.last for each in receiver.deliveries] == [1]
                assert len(reads) - before <= 3
                assert not await edge.outbox.wait(DEVICES, 1, 0.01)
                for task in tasks:
                    task.cancel()

    asyncio.run(scenario())


def test_leases_and_audit_are_streams_with_the_numbers_that_they_have(store: PlacedStore) -> None:
    async def scenario() -> None:
        async with store.running():
            change = Change(
                T0, 1, "good", "demo", "default", "p", "ipv4", "10.0.0.1", 32, 5, "o", "ALICE", "7",
                "lab", "", "", "free", "bound", "start", "", 3, 0,
            )  # fmt: skip
            chain = Chain("edge")
            events = chain.extend([change, change._replace(at=T0 + 1, cause="stop", old="bound", new="free")])
            await store.writer.commit(
                lambda connection: lease_store.save_batch(
                    connection, Batch(book="edge", events=events, rows=(), fences=())
                )
            )
            entry = Entry(T0, "ops", "tenant.edit", "demo", "x", "ticket 1", "ok")
            await store.writer.commit(lambda connection: audit_rows.save(connection, entry))
            receiver = Receiver([Stream.LEASES, Stream.AUDIT])
            async with stage(store, receiver) as edge:
                await edge.drain(Stream.LEASES)
                await edge.drain(Stream.AUDIT)
                first, second = receiver.of(Stream.LEASES)
                assert (first.type, second.type) == ("lease.start", "lease.stop")
                assert (first.fact, second.seq) == (events[0].hash, 2)
                assert (first.data["address"], first.data["subscriber"], first.correlation) == (
                    "10.0.0.1",
                    "ALICE",
                    "7",
                )
                (audit,) = receiver.of(Stream.AUDIT)
                assert (audit.type, audit.data["actor"], audit.tenant) == ("audit.tenant.edit", "ops", "demo")

    asyncio.run(scenario())


def test_a_hole_in_a_log_is_told_as_one(store: PlacedStore) -> None:
    async def scenario() -> None:
        async with store.running():
            rows = [{"id": each, **Entry(T0, "a", "b", "", "", "", "")._asdict()} for each in (1, 2, 5)]

            async def save(connection: object) -> None:
                await connection.execute(insert(AUDIT), rows)  # type: ignore[attr-defined]

            await store.writer.commit(save)
            receiver = Receiver([Stream.AUDIT])
            async with stage(store, receiver) as edge:
                await edge.drain(Stream.AUDIT)
                kinds = [event.type for event in receiver.of(Stream.AUDIT)]
                assert kinds == ["audit.b", "audit.b", "audit.pruned", "audit.pruned", "audit.b"]

    asyncio.run(scenario())
    event = Event(3, T0, "t", Urgency.A, "", "", "{}", b"")
    assert without_holes([event], Stream.AUDIT) == [event]
