"""What one thing that is slow, wrong or away must not do to the rest of the outbox."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest

from daemon.aaa.rejects import Rejects
from daemon.app.ending import end
from daemon.errors import StoreUnavailable
from daemon.events import Events
from daemon.store import outbox_pages, outbox_rows
from daemon.store.outbox_rows import NewEvent
from daemon.store.size import Room
from daemon.sync.outbox import squeeze as squeeze_module
from daemon.sync.outbox.model import Event, Stream
from daemon.sync.outbox.outbox import OutboxOptions
from daemon.sync.outbox.pressure import Level
from daemon.sync.outbox.retention import Retention
from daemon.sync.outbox.shipper import ShipOptions
from tests.daemon.outbox.conftest import PlacedStore
from tests.daemon.outbox.stage import Receiver, append, new, stage
from tests.daemon.outbox.test_pressure import LIMITS, fill, stored
from tests.daemon.stack import T0, Stack
from tests.daemon.test_accounting import running
from tests.twins.clock import ClockTwin

WEEK_S = 7 * 86_400.0
DEVICES = Stream.DEVICES


class Away:
    """The log of leases while the store that nodes share does not answer, or says that it cannot."""

    stream = Stream.LEASES

    def __init__(self, hangs: bool) -> None:
        self.hangs = hangs
        self.asked = 0

    async def last_seq(self) -> int:
        self.asked += 1
        if self.hangs:
            await asyncio.Event().wait()
        raise StoreUnavailable("OperationalError")

    async def read(self, after_seq: int, limit: int) -> list[Event]:
        await self.last_seq()
        return []


def many_refusals(count: int) -> Rejects:
    """Return what a flood of logins leaves."""
    stack = Stack()
    twin = stack.nas()
    for number in range(count):
        twin.ask(twin.login(f"name-{number}", "x"))
    return stack.access.rejects


def test_a_flood_of_refusals_is_told_in_slices_and_in_small_transactions(
    store: PlacedStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def scenario() -> None:
        rejects = many_refusals(1_200)
        assert len(rejects) == 1_001, "a thousand logins, and what is beyond together"
        rows: list[int] = []
        append_rows = outbox_rows.append

        async def counted(connection: Any, stream: str, events: list[NewEvent]) -> None:
            rows.append(len(events))
            await append_rows(connection, stream, events)

        monkeypatch.setattr(outbox_rows, "append", counted)
        taken: list[int] = []
        take = rejects.take

        def counted_take(most: int) -> list[NewEvent]:
            taken.append(most)
            return take(most)

        monkeypatch.setattr(rejects, "take", counted_take)
        async with store.running(), stage(store, rejects=rejects) as edge:
            await edge.outbox.flush()
            assert len(rejects) == 0
            assert [each for each in rows if each] == [500, 500, 1]
            assert max(taken) <= 25, "logins come in between"
            found = await outbox_pages.read(store.engine, Stream.AUTH_REJECTS, 0, 2_000)
            assert sum(json.loads(row.body)["count"] for row in found) == 1_200

    asyncio.run(scenario())


def test_events_of_devices_are_stored_once_when_two_flush_at_the_same_time(store: PlacedStore) -> None:
    async def scenario() -> None:
        async with store.running(), stage(store) as edge:
            events = Events(5_000, edge.clock.wall, lambda *_a, **_f: None, edge.clock.monotonic)
            events.listeners.append(edge.outbox.devices.heard)
            for number in range(700):
                events.add("nas-silent", tenant="demo", nas=f"n{number}")
            await asyncio.gather(edge.outbox.flush(), edge.outbox.flush(), edge.outbox.flush(rejects=False))
            found = await outbox_pages.read(store.engine, DEVICES, 0, 2_000)
            assert [json.loads(row.body)["nas"] for row in found] == [f"n{each}" for each in range(700)]

    asyncio.run(scenario())


def test_a_backlog_is_coalesced_bit_by_bit_and_the_room_is_measured_between(
    store: PlacedStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(squeeze_module, "_MOST_S", 0.02)
    monkeypatch.setattr(squeeze_module, "_MOST_LOOKED", 50)
    monkeypatch.setattr(squeeze_module, "_PAGE", 10)

    async def scenario() -> None:
        async with running(store) as edge:
            await fill(edge, edge.stack.nas(), sessions=5, interims=40)
            taken: list[bool] = []
            async with stage(
                store,
                options=OutboxOptions(pressure=LIMITS),
                applied_seq=lambda: edge.keeper.applied_seq,
                accept=taken.append,
            ) as box:
                pressure = box.outbox.pressure
                assert await box.pressed(1_001) is Level.FULL
                assert box.outbox._squeeze._reached <= 60, "it has not looked at all of it"
                first = sum(each.elided for _, each in await stored(store))
                box.room = Room(701, 1_000)  # the operator has made room, and there is still much to coalesce
                running_on = asyncio.ensure_future(pressure.run())
                for _ in range(2_000):
                    await box.clock.advance(0.1)
                    await asyncio.sleep(0.0005)
                    if len(taken) > 1 and not box.outbox._squeeze.more:
                        break
                running_on.cancel()
                assert taken[:2] == [False, True], "accounting is taken again with the next measurement"
                assert len(taken) > 5
                elided = sum(each.elided for _, each in await stored(store))
                assert first < elided == box.outbox.dropped["B"]
                assert elided > 205 - 5 * 8, "in the end all of it"

    asyncio.run(scenario())


def test_a_row_dated_in_the_future_holds_nothing_back_once_it_is_acknowledged(store: PlacedStore) -> None:
    async def scenario() -> None:
        async with store.running():
            receiver = Receiver([DEVICES])
            async with stage(store, receiver) as edge:
                far = new(0)._replace(at=T0 + 10 * 365 * 86_400.0)
                await append(store, DEVICES, far, *map(new, range(1, 5)))
                await edge.clock.advance(WEEK_S + 60)
                assert await edge.outbox.retention.turn() == 0, "nobody has acknowledged it"
                await edge.drain(DEVICES)
                assert await edge.outbox.retention.turn() == 5
                soon = new(5)._replace(at=edge.clock.wall() + 3_600)
                await append(store, DEVICES, soon)
                await edge.drain(DEVICES)
                assert await edge.outbox.retention.turn() == 0, "an hour ahead is a clock that is a bit fast"

    asyncio.run(scenario())


@pytest.mark.parametrize("hangs", [True, False])
def test_while_the_store_of_leases_is_away_the_rest_is_pruned_and_told(
    store: PlacedStore, hangs: bool
) -> None:
    async def scenario() -> None:
        async with store.running():
            receiver = Receiver([DEVICES, Stream.LEASES])
            options = OutboxOptions(ship=ShipOptions(most_events=4, hash_every=4))
            async with stage(store, receiver, options=options) as edge:
                away = Away(hangs)
                edge.outbox.logs[Stream.LEASES] = away  # type: ignore[index]
                running_on = [asyncio.ensure_future(run()) for _, run in edge.outbox.tasks()]
                edge.outbox.committed()
                for numbers in (range(5), range(5, 9)):
                    await append(store, DEVICES, *map(new, numbers))
                    edge.outbox.committed()
                    for _ in range(150):
                        await edge.clock.advance(0.1)
                        await asyncio.sleep(0.001)
                assert len(receiver.of(DEVICES)) == 9
                assert away.asked
                for _ in range(3):
                    edge.clock.jump(WEEK_S)
                    async with asyncio.timeout(5.0):
                        while await edge.outbox.retention.turn():
                            pass
                assert await edge.outbox.logs[DEVICES].read(0, 10) == []
                for each in running_on:
                    each.cancel()
                await asyncio.gather(*running_on, return_exceptions=True)

    asyncio.run(scenario())


def test_a_log_that_no_sink_carries_is_not_read_for_pruning(store: PlacedStore) -> None:
    async def scenario() -> None:
        async with store.running():
            away = Away(hangs=False)
            retention = Retention(store.writer, ClockTwin(T0), {Stream.LEASES: away}, {}, [], 60.0)
            assert await retention.turn() == 0
            assert await retention.turn_foreign() == 0
            assert not away.asked

    asyncio.run(scenario())


def test_the_outbox_opens_while_the_store_of_leases_hangs(store: PlacedStore) -> None:
    async def scenario() -> None:
        async with store.running(), stage(store) as edge:
            edge.outbox.logs[Stream.LEASES] = Away(hangs=True)  # type: ignore[index]
            async with asyncio.timeout(5.0):
                await edge.outbox.open()

    asyncio.run(scenario())


def test_a_step_of_the_end_that_fails_or_hangs_does_not_keep_the_next_from_being_done() -> None:
    async def scenario() -> None:
        done: list[str] = []
        told: list[object] = []

        async def hangs() -> None:
            await asyncio.Event().wait()

        async def fails() -> None:
            raise IndexError("pop from an empty deque")

        async def well() -> None:
            await asyncio.sleep(0)
            done.append("well")

        def tell(event: str, /, **fields: object) -> None:
            told.append((event, fields["step"]))

        steps = [("one", hangs), ("two", fails), ("three", well), ("four", lambda: done.append("at once"))]
        await end(steps, 0.0, lambda: 0.0, tell)
        assert done == ["well", "at once"]
        assert told == [("stop-step-failed", "one"), ("stop-step-failed", "two")]

    asyncio.run(scenario())
