"""A disk that really fills: accounting is not acknowledged, logins go on, and nothing acknowledged is lost."""

from __future__ import annotations

import asyncio
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from daemon.store import size
from daemon.store.size import Room
from daemon.sync.outbox.model import Later, Stream
from daemon.sync.outbox.outbox import OutboxOptions
from daemon.sync.outbox.pressure import Level, PressureOptions
from radius.codes import Code
from radius.packet import decode
from tests.daemon.outbox.conftest import PlacedStore
from tests.daemon.outbox.stage import Receiver, stage
from tests.daemon.outbox.test_pressure import INTERIM, START, fill, folded, stored
from tests.daemon.test_accounting import Running, record, running
from tests.twins.nas import NasTwin

_SIZE = 2 << 20
_LEAST = 64 << 10


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """A small file system of its own."""
    where = tmp_path / "state"
    where.mkdir(mode=0o700)
    mount = ["mount", "-t", "tmpfs", "-o", f"size={_SIZE},mode=0700", "tmpfs", str(where)]
    mounted = subprocess.run(mount, capture_output=True, text=True, check=False)
    if mounted.returncode != 0:
        pytest.skip(f"mounting is not permitted here: {mounted.stderr.strip()}")
    try:
        yield where
    finally:
        subprocess.run(["umount", "--lazy", where], check=True)


async def acknowledged(edge: Running, twin: NasTwin, name: bytes) -> bool:
    """Tell whether a Start of a session is answered."""
    return len(await edge.answers(twin, twin.account(record(START, session=name)))) == 1


def filled(disk: Path) -> Path:
    """Fill the disk to its last octet."""
    filler = disk / "filler"
    with pytest.raises(OSError, match="No space left"):
        filler.write_bytes(bytes(2 * _SIZE))
    return filler


def test_a_disk_that_fills_loses_nothing_that_was_acknowledged(disk: Path) -> None:
    async def scenario() -> None:
        store = PlacedStore(disk / "edge.db")
        receiver = Receiver([Stream.ACCOUNTING])
        async with running(store) as edge:
            twin = edge.stack.nas()
            kept = [b"a%03d" % each for each in range(20)]
            assert [await acknowledged(edge, twin, each) for each in kept] == [True] * 20
            filler = filled(disk)
            refused = []
            for number in range(400):  # pages of the log that are there already are still written
                name = b"b%03d" % number
                if await acknowledged(edge, twin, name):
                    kept.append(name)
                else:
                    refused.append(name)
                    if len(refused) == 3:
                        break
            assert len(refused) == 3
            answer = twin.ask(twin.login("alice", "wonderland"))
            assert answer is not None
            assert answer.code == Code.ACCESS_ACCEPT, "logins go on"
            filler.unlink()
            for name in refused:  # the NAS sends them again
                assert await acknowledged(edge, twin, name)
            async with stage(store, receiver, stack=edge.stack) as box:
                await box.drain(Stream.ACCOUNTING)
            told = [each.data["acct_session_id"].encode() for each in receiver.of(Stream.ACCOUNTING)]
            assert told == kept + refused, "each once, in order"

    asyncio.run(scenario())


def test_a_disk_with_little_left_stops_accounting_before_it_is_full(disk: Path) -> None:
    async def scenario() -> None:
        store = PlacedStore(disk / "edge.db")
        async with running(store) as edge:
            twin = edge.stack.nas()

            def accept(taken: bool) -> None:
                edge.journal.full = not taken

            async def measured() -> Room:
                room = size.measure(store.path)
                assert room is not None
                return room

            options = OutboxOptions(pressure=PressureOptions(disk_least_octets=_LEAST))
            receiver = Receiver([Stream.ACCOUNTING])
            async with stage(store, receiver, options=options, accept=accept) as box:
                box.outbox.pressure._measure = measured
                assert await acknowledged(edge, twin, b"before")
                assert await box.through(box.outbox.pressure.turn()) is Level.EASY
                filler = disk / "filler"
                filler.write_bytes(bytes((await measured()).free_octets - _LEAST // 2))
                assert await box.through(box.outbox.pressure.turn()) is Level.FULL
                assert not await acknowledged(edge, twin, b"during")
                answer = twin.ask(twin.login("alice", "wonderland"))
                assert answer is not None
                assert answer.code == Code.ACCESS_ACCEPT
                await box.drain(Stream.ACCOUNTING)  # what is there is still told: the mark is stored
                assert len(receiver.of(Stream.ACCOUNTING)) == 1
                filler.unlink()
                assert await box.through(box.outbox.pressure.turn()) is Level.EASY
                assert await acknowledged(edge, twin, b"during")
                await box.drain(Stream.ACCOUNTING)
                told = [each.data["acct_session_id"] for each in receiver.of(Stream.ACCOUNTING)]
                assert told == ["before", "during"]

    asyncio.run(scenario())


def test_a_receiver_that_was_away_gets_every_number_and_all_that_matters(store: PlacedStore) -> None:
    async def scenario() -> None:
        async with running(store) as edge:
            twin = edge.stack.nas()
            receiver = Receiver([Stream.ACCOUNTING])
            options = OutboxOptions(
                pressure=PressureOptions(database_most_octets=1_000, disk_least_octets=100)
            )
            async with stage(
                store, receiver, options=options, applied_seq=lambda: edge.keeper.applied_seq
            ) as box:
                await fill(edge, twin, sessions=4, interims=5)
                await box.drain(Stream.ACCOUNTING)
                heard = len(receiver.of(Stream.ACCOUNTING))
                receiver.answers = [Later("away", 60.0)] * 3
                for minute in range(6, 60):
                    some = [
                        record(INTERIM, session=b"%04d" % each, after_s=60 * minute, upload=minute * 1_000)
                        for each in range(4)
                    ]
                    edge.stack.at += 60
                    await edge.answers(twin, *map(twin.account, some))
                    await edge.keeper._work_off_late()
                await edge.keeper.flush()
                everything = await stored(store)
                await box.pressed(701)
                assert box.outbox.dropped["B"] > 150
                await box.drain(Stream.ACCOUNTING)
                told = receiver.of(Stream.ACCOUNTING)
                assert [each.seq for each in told] == list(range(1, len(everything) + 1)), (
                    "every number, once"
                )
                assert sum(not each.data for each in told) == box.outbox.dropped["B"]
                assert all(each.data for each in told[:heard])
                newest = {each.data["acct_session_id"]: each.data for each in told if each.data}
                assert {each["octets_from_subscriber"] for each in newest.values()} == {59_000}
                assert folded(await stored(store)) == folded(everything)
                for seq, each in everything[-4:]:
                    assert decode(each.octets)
                    assert told[seq - 1].data

    asyncio.run(scenario())
