"""What the stream of accounting says of a record, and what no stream ever says."""

from __future__ import annotations

import asyncio
import json
import re
import resource
import time

import pytest
from sqlalchemy import insert
from sqlalchemy.ext.asyncio import AsyncConnection

from daemon.aaa.reasons import Deny
from daemon.store import audit_rows, journal
from daemon.store.audit_rows import Entry
from daemon.store.journal import Record
from daemon.store.schema import JOURNAL
from daemon.sync.outbox.envelope import encode
from daemon.sync.outbox.model import Incarnation, Stream
from radius.codes import Attr
from radius.packet import attribute, vendor_attribute
from tests.daemon.outbox.conftest import PlacedStore
from tests.daemon.outbox.stage import Receiver, append, new, stage
from tests.daemon.outbox.test_pressure import packet
from tests.daemon.stack import T0
from tests.daemon.test_accounting import record, running

CANARY = b"canary-password"


def test_a_record_is_told_with_its_counters_addresses_and_what_nobody_knows(store: PlacedStore) -> None:
    async def scenario() -> None:
        async with running(store) as edge:
            twin = edge.stack.nas()
            edge.stack.at = T0 + 700
            extra = attribute(Attr.FRAMED_IP_ADDRESS, bytes((10, 0, 0, 7)))
            extra += attribute(Attr.DELEGATED_IPV6_PREFIX, b"\x00\x38\x20\x01\x0d\xb8\x00\x01\x02")
            extra += attribute(Attr.NAS_PORT, (77).to_bytes(4, "big")) + attribute(200, b"\x01\x02")
            extra += vendor_attribute(14988, 99, b"odd") + attribute(Attr.CLASS, b"c1")
            await edge.answers(twin, twin.account(record(1)))
            await edge.answers(twin, twin.account(record(2, after_s=600, upload=(1 << 32) + 5, extra=extra)))
            await edge.keeper._work_off_late()
            async with stage(store, stack=edge.stack) as box:
                start, stop = await box.outbox.logs[Stream.ACCOUNTING].read(0, 10)
                assert (start.type, stop.type) == ("accounting.start", "accounting.stop")
                assert (stop.seq, stop.at, stop.tenant, stop.urgency) == (2, T0 + 600, "demo", "A")
                data = dict(stop.data)
                assert data.pop("received_at") == "2023-11-14T22:25:00.000Z"
                assert data == {
                    "nas": "lab",
                    "nas_address": "127.0.0.1",
                    "box": "bras1",
                    "username": "alice",
                    "subscriber_id": "ALICE",
                    "session_id": stop.correlation,
                    "acct_session_id": "0001",
                    "status_type": 2,
                    "session_time_s": 600,
                    "framed_ip_address": "10.0.0.7",
                    "delegated_ipv6_prefix": "2001:db8:1:200::/56",
                    "nas_port": 77,
                    "class": b"c1".hex(),
                    "octets_from_subscriber": (1 << 32) + 5,
                    "octets_to_subscriber": 10,
                    "attributes": [
                        {"type": 200, "value": "0102"},
                        {"type": 26, "vendor": 14988, "value": (b"\x63\x05odd").hex()},
                    ],
                }
                assert start.correlation == stop.correlation == "1"

    asyncio.run(scenario())


def test_an_envelope_has_every_field_and_numbers_of_its_incarnation(store: PlacedStore) -> None:
    async def scenario() -> None:
        async with store.running(), stage(store) as edge:
            await append(store, Stream.DEVICES, new(0), new(1))
            event = (await edge.outbox.logs[Stream.DEVICES].read(1, 1))[0]
            found = json.loads(encode("pop7", Stream.DEVICES, Incarnation("i1", 1), event))
            assert found == {
                "id": "pop7/devices/i1/1",
                "type": "device.nas-silent",
                "schema_version": 1,
                "stream": "devices",
                "seq": 1,
                "tenant_id": "demo",
                "occurred_at": "2023-11-14T22:13:21.000Z",
                "class": "A",
                "source": "pop7",
                "correlation_id": "c1",
                "data": {"n": 1},
            }

    asyncio.run(scenario())


def test_no_envelope_of_any_stream_has_a_secret(store: PlacedStore) -> None:
    async def scenario() -> None:
        async with running(store) as edge:
            twin = edge.stack.nas()
            edge.stack.at = T0 + 60
            secrets = b"".join(
                attribute(kind, CANARY)
                for kind in (
                    Attr.USER_PASSWORD,
                    Attr.CHAP_PASSWORD,
                    Attr.CHAP_CHALLENGE,
                    Attr.EAP_MESSAGE,
                    17,
                    69,
                )
            )
            secrets += vendor_attribute(311, 1, CANARY) + attribute(Attr.STATE, CANARY)
            await edge.answers(twin, twin.account(record(1, extra=secrets)))
            await edge.answers(twin, twin.account(record(2, after_s=50, extra=secrets)))
            await edge.keeper._work_off_late()
            await edge.keeper.flush()
            twin.ask(twin.login("alice", CANARY.decode()))
            twin.ask(twin.login("nobody-we-know", CANARY.decode()))
            async with stage(store, rejects=edge.stack.access.rejects, stack=edge.stack) as box:
                entry = Entry(T0, "ops", "tenant.edit", "demo", "x", "ticket 1", "ok")
                await store.writer.commit(lambda connection: audit_rows.save(connection, entry))
                await box.outbox.flush()
                told = ""
                for stream, log in box.outbox.logs.items():
                    for event in await log.read(0, 100):
                        told += encode("pop7", stream, box.outbox.incarnation(stream), event) + "\n"
                assert {json.loads(line)["stream"] for line in told.splitlines()} == {
                    "accounting",
                    "sessions",
                    "auth-rejects",
                    "audit",
                }
                assert Deny.WRONG_PASSWORD in told
                for secret in (CANARY, b"wonderland", b"testing123"):
                    assert secret.decode() not in told
                    assert secret.hex() not in told
                assert not re.search(r'"octets_(in|out)', told)

    asyncio.run(scenario())


async def backlog(store: PlacedStore, records: int, a_row: int) -> None:
    """Fill the journal as a month without a link would."""
    octets = packet(3, b"0001", 60, 60, 1_000, b"")
    row = b"".join(
        [journal.pack(Record(T0, b"\x02\x00" + bytes(14), "demo", "lab", "ALICE", octets))] * a_row
    )
    rows = [
        {"first_seq": first, "last_seq": first + a_row - 1, "written_at": T0, "records": row}
        for first in range(1, records + 1, a_row)
    ]

    async def save(connection: AsyncConnection) -> None:
        await connection.execute(insert(JOURNAL), rows)

    await store.writer.commit(save)


def test_a_start_with_a_million_records_waiting_is_quick_and_takes_no_memory(store: PlacedStore) -> None:
    async def scenario() -> None:
        async with store.running():
            await backlog(store, 1_000_000, 500)
        store_again = PlacedStore(store.path)
        async with store_again.running():
            used = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
            receiver = Receiver([Stream.ACCOUNTING])
            began = time.process_time()
            async with stage(store_again, receiver) as edge:
                shipper = edge.outbox._shippers["platform", Stream.ACCOUNTING]
                assert await shipper.turn()
                assert time.process_time() - began < 2.0
                (first,) = receiver.deliveries
                assert (first.first, len(first.events)) == (1, first.last)
                assert first.last >= 300
                for _ in range(9):
                    receiver.deliveries.clear()
                    receiver.events.clear()
                    assert await shipper.turn()
                assert edge.outbox.backlog()[0].events > 990_000
            grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - used
            assert grown < 40_000, "kilobytes"

    asyncio.run(scenario())


@pytest.mark.parametrize("after", [0, 1, 499, 500, 501, 1_250])
def test_a_page_begins_anywhere_and_has_no_hole(store: PlacedStore, after: int) -> None:
    async def scenario() -> None:
        async with store.running():
            await backlog(store, 2_000, 500)
            found = await journal.page(store.engine, after, 600)
            assert [each.seq for each in found] == list(range(after + 1, after + 601))

    asyncio.run(scenario())
