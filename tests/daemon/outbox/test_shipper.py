"""Delivering a stream: once each, in order, whatever is lost, restored or set back."""

from __future__ import annotations

import asyncio
import random
import shutil
import sqlite3
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from daemon.store import audit_rows
from daemon.store.audit_rows import AuditSearch
from daemon.sync.outbox.model import Diverged, Expected, Later, Stream
from daemon.sync.outbox.outbox import OutboxOptions
from daemon.sync.outbox.shipper import ShipOptions
from tests.daemon.outbox.conftest import PlacedStore
from tests.daemon.outbox.stage import Receiver, append, new, stage
from tests.effort import effort

DEVICES = Stream.DEVICES
SMALL = OutboxOptions(ship=ShipOptions(most_events=4, hash_every=4))


def numbers(receiver: Receiver) -> list[int]:
    return [event.data["n"] for event in receiver.of(DEVICES)]


async def actions(store: PlacedStore) -> list[str]:
    rows, _ = await audit_rows.search(store.engine, AuditSearch())
    return [row.action for row in reversed(rows)]


def test_events_are_delivered_in_order_with_dense_numbers_and_a_chain(store: PlacedStore) -> None:
    async def scenario() -> None:
        async with store.running():
            receiver = Receiver([DEVICES])
            async with stage(store, receiver, options=SMALL) as edge:
                await append(store, DEVICES, *map(new, range(10)))
                await edge.drain(DEVICES)
                assert numbers(receiver) == list(range(10))
                assert [(each.first, each.last) for each in receiver.deliveries] == [(1, 4), (5, 8), (9, 10)]
                (mark,) = edge.outbox.marks()
                assert (mark.acked_seq, mark.base_seq) == (10, 0)
                assert mark.hash == receiver.deliveries[-1].hash
                (backlog,) = edge.outbox.backlog()
                assert (backlog.events, backlog.oldest_at, backlog.failing) == (0, None, "")

    asyncio.run(scenario())


def test_a_lost_answer_and_a_restart_deliver_nothing_twice(store: PlacedStore) -> None:
    async def scenario() -> None:
        async with store.running():
            receiver = Receiver([DEVICES])
            receiver.lose_answers = 1
            async with stage(store, receiver, options=SMALL) as edge:
                await append(store, DEVICES, *map(new, range(6)))
                await edge.drain(DEVICES)
            async with stage(store, receiver, options=SMALL) as again:
                await append(store, DEVICES, new(6))
                await again.drain(DEVICES)
                assert numbers(receiver) == list(range(7))
                assert len({each.incarnation for each in receiver.deliveries}) == 1

    asyncio.run(scenario())


def test_a_receiver_restored_from_an_old_dump_gets_again_what_it_lost(store: PlacedStore) -> None:
    async def scenario() -> None:
        async with store.running():
            receiver = Receiver([DEVICES])
            async with stage(store, receiver, options=SMALL) as edge:
                await append(store, DEVICES, *map(new, range(6)))
                await edge.drain(DEVICES)
                image = receiver.image()
                await append(store, DEVICES, *map(new, range(6, 19)))
                await edge.drain(DEVICES)
                receiver.restore(image)
                await append(store, DEVICES, new(19))
                await edge.drain(DEVICES)
                assert numbers(receiver) == list(range(20))
                assert len({each.incarnation for each in receiver.deliveries}) == 1
                assert "outbox.replay" in await actions(store)
                assert [kind for kind, _ in edge.told] == ["outbox-replay"]

    asyncio.run(scenario())


def back_up(store: PlacedStore, image: Path) -> None:
    with sqlite3.connect(store.path) as source, sqlite3.connect(image) as target:
        source.backup(target)


@pytest.mark.parametrize("later", [0, 2, 5, 9])
def test_an_edge_that_was_set_back_begins_another_incarnation_and_loses_nothing_new(
    tmp_path: Path, later: int
) -> None:
    """`later` events came after the image was taken back: fewer than were lost, as many, or more."""

    async def first() -> None:
        store = PlacedStore(tmp_path / "edge.db")
        async with store.running(), stage(store, receiver, options=SMALL) as edge:
            await append(store, DEVICES, *map(new, range(6)))
            await edge.drain(DEVICES)
            back_up(store, tmp_path / "image.db")
            await append(store, DEVICES, *map(new, range(6, 11)))
            await edge.drain(DEVICES)

    async def second() -> None:
        for name in ("edge.db", "edge.db-wal", "edge.db-shm"):
            (tmp_path / name).unlink(missing_ok=True)
        shutil.copy(tmp_path / "image.db", tmp_path / "edge.db")
        store = PlacedStore(tmp_path / "edge.db")
        async with store.running(), stage(store, receiver, options=SMALL) as edge:
            await append(store, DEVICES, *map(new, range(100, 100 + later)))
            await edge.drain(DEVICES)
            await append(store, DEVICES, *map(new, range(200, 206)))
            await edge.drain(DEVICES)
            assert "outbox.incarnation" in await actions(store)
            assert "outbox-incarnation" in [kind for kind, _ in edge.told]
            (mark,) = edge.outbox.marks()
            assert edge.outbox.incarnation(DEVICES).name == mark.incarnation
            assert mark.base_seq == 6

    receiver = Receiver([DEVICES])
    asyncio.run(first())
    asyncio.run(second())
    found = [event.data["n"] for event in receiver.events.values()]
    assert sorted(found) == [*range(11), *range(100, 100 + later), *range(200, 206)]


def test_a_receiver_that_has_more_than_it_told_is_believed_once_the_hash_fits(store: PlacedStore) -> None:
    async def scenario() -> None:
        async with store.running():
            receiver = Receiver([DEVICES])
            async with stage(store, receiver, options=SMALL) as edge:
                await append(store, DEVICES, *map(new, range(4)))
                await edge.drain(DEVICES)
                before = edge.outbox._marks.rows["platform", DEVICES]
                await append(store, DEVICES, *map(new, range(4, 12)))
                await edge.drain(DEVICES)
                await edge.outbox._marks.acked(before, keep=False)  # as a crash leaves it
            async with stage(store, receiver, options=SMALL) as again:
                await append(store, DEVICES, new(12))
                await again.drain(DEVICES)
                assert numbers(receiver) == list(range(13))
                assert again.outbox.marks()[0].acked_seq == 13
                assert "outbox.skip" in await actions(store)
                assert again.told == []

    asyncio.run(scenario())


def test_pauses_are_random_grow_and_honour_what_the_receiver_asks(store: PlacedStore) -> None:
    async def scenario() -> None:
        async with store.running():
            receiver = Receiver([DEVICES])
            async with stage(store, receiver, options=SMALL) as edge:
                await append(store, DEVICES, new(0))
                await edge.outbox._heads.look()
                task = asyncio.ensure_future(edge.outbox._shippers["platform", DEVICES].run())
                receiver.answers = [Later("busy", after_s=100.0)]
                while not edge.clock.sleepers:
                    await asyncio.sleep(0.001)
                await edge.clock.advance(99.0)
                assert len(receiver.deliveries) == 1
                assert edge.outbox.degraded() == ["devices does not reach platform: busy"]
                receiver.answers = [Later("busy")] * 12
                pauses = []
                for count in range(2, 14):
                    began = edge.clock.monotonic()
                    while len(receiver.deliveries) < count or (receiver.answers and not edge.clock.sleepers):
                        await edge.clock.advance(0.05)
                        await asyncio.sleep(0.0005)
                    pauses.append(edge.clock.monotonic() - began)
                assert max(pauses[1:]) <= 61.0
                assert max(pauses) > 8.0, "they grow"
                task.cancel()

    asyncio.run(scenario())


def test_a_sink_that_contradicts_itself_is_not_asked_at_full_speed(store: PlacedStore) -> None:
    async def scenario() -> None:
        async with store.running():
            receiver = Receiver([DEVICES])
            async with stage(store, receiver, options=SMALL) as edge:
                await append(store, DEVICES, *map(new, range(8)))
                receiver.answers = [Expected(1), Expected(1), *[Diverged("no")] * 20]
                await edge.outbox._heads.look()
                task = asyncio.ensure_future(edge.outbox._shippers["platform", DEVICES].run())
                for _ in range(200):
                    await asyncio.sleep(0.001)
                assert len(receiver.deliveries) <= 3
                task.cancel()

    asyncio.run(scenario())


def test_what_was_pruned_before_a_sink_came_begins_a_numbering_of_its_own(store: PlacedStore) -> None:
    async def scenario() -> None:
        async with store.running():
            async with stage(store) as nobody:
                await append(store, DEVICES, *map(new, range(10)))
                await nobody.clock.advance(8 * 86_400.0)
                await nobody.outbox.retention.turn()
                await append(store, DEVICES, *map(new, range(10, 13)))
            receiver = Receiver([DEVICES])
            async with stage(store, receiver) as edge:
                await edge.drain(DEVICES)
                assert numbers(receiver) == [10, 11, 12]
                assert receiver.deliveries[0].first == 1
                assert edge.told == [], "nobody has lost anything"

    asyncio.run(scenario())


def test_two_sinks_go_their_own_ways(store: PlacedStore) -> None:
    async def scenario() -> None:
        async with store.running():
            one, other = Receiver([DEVICES], "one"), Receiver([DEVICES], "other")
            async with stage(store, one, other, options=SMALL) as edge:
                await append(store, DEVICES, *map(new, range(9)))
                await edge.drain(DEVICES, "one")
                assert edge.outbox.retention.acknowledged(DEVICES) == 0
                one.answers = [Diverged("restored from elsewhere")]
                await append(store, DEVICES, new(9))
                await edge.drain(DEVICES, "one")
                await edge.drain(DEVICES, "other")
                assert numbers(one) == numbers(other) == list(range(10))
                assert len({each.incarnation for each in one.deliveries}) == 2
                assert len({each.incarnation for each in other.deliveries}) == 1
                assert edge.outbox.retention.acknowledged(DEVICES) == 10

    asyncio.run(scenario())


def test_an_operator_lets_a_sink_have_something_again(store: PlacedStore) -> None:
    async def scenario() -> None:
        async with store.running():
            receiver = Receiver([DEVICES])
            async with stage(store, receiver, options=SMALL) as edge:
                await append(store, DEVICES, *map(new, range(9)))
                await edge.drain(DEVICES)
                with pytest.raises(ValueError, match="1 to 9"):
                    await edge.outbox.replay("platform", DEVICES, 10, "tester")
                with pytest.raises(KeyError):
                    await edge.outbox.replay("nobody", DEVICES, 1, "tester")
                assert await edge.outbox.replay("platform", DEVICES, 3, "tester") == 3
                receiver.deliveries.clear()
                await edge.drain(DEVICES)
                assert receiver.deliveries[0].first == 3
                assert numbers(receiver) == list(range(9))
                rows, _ = await audit_rows.search(store.engine, AuditSearch(action="outbox.replay"))
                assert [row.actor for row in rows] == ["tester"]

    asyncio.run(scenario())


def test_a_delivery_is_no_larger_than_it_may_be(store: PlacedStore) -> None:
    async def scenario() -> None:
        async with store.running():
            receiver = Receiver([DEVICES])
            options = OutboxOptions(ship=ShipOptions(most_octets=4_000))
            async with stage(store, receiver, options=options) as edge:
                big = [
                    new(each)._replace(body=b'{"n":%d,"t":"%s"}' % (each, b"x" * 900)) for each in range(9)
                ]
                await append(store, DEVICES, *big)
                await edge.drain(DEVICES)
                assert [len(each.events) for each in receiver.deliveries] == [3, 3, 3]

    asyncio.run(scenario())


@settings(
    max_examples=effort(6, 30), deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(seed=st.integers(0, 1 << 30))
def test_whatever_is_lost_or_restored_every_event_has_its_effect(tmp_path: Path, seed: int) -> None:
    """Random appends, lost answers, receivers restored from dumps, restarts of the edge."""
    dice = random.Random(seed)
    path = tmp_path / f"{seed}.db"
    path.unlink(missing_ok=True)

    async def scenario() -> None:
        store = PlacedStore(path)
        receiver = Receiver([DEVICES])
        images = [receiver.image()]
        count = 0
        async with store.running():
            for _ in range(6):
                async with stage(store, receiver, options=SMALL) as edge:
                    for _ in range(4):
                        some = dice.randrange(6)
                        await append(store, DEVICES, *map(new, range(count, count + some)))
                        count += some
                        receiver.lose_answers = dice.randrange(2)
                        await edge.drain(DEVICES)
                        images.append(receiver.image())
                        if dice.random() < 0.3:
                            receiver.restore(dice.choice(images))
            receiver.lose_answers = 0
            async with stage(store, receiver, options=SMALL) as edge:
                await append(store, DEVICES, new(count))
                await edge.drain(DEVICES)
            assert numbers(receiver) == list(range(count + 1))
            assert len({each.incarnation for each in receiver.deliveries}) == 1

    asyncio.run(scenario())
