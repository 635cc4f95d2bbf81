"""Refused logins and what happens to devices, gathered in memory and told every few seconds."""

from __future__ import annotations

import asyncio
import json

from daemon.aaa.rejects import Rejects
from daemon.events import Events
from daemon.store import outbox_pages
from daemon.sync.outbox.model import Stream
from radius.codes import Attr
from radius.packet import attribute
from tests.daemon.outbox.conftest import PlacedStore
from tests.daemon.outbox.stage import stage
from tests.daemon.stack import T0, Stack


def test_refusals_of_a_login_for_a_reason_are_one_event_with_their_count(store: PlacedStore) -> None:
    async def scenario() -> None:
        stack = Stack()
        twin = stack.nas()
        mac = attribute(Attr.CALLING_STATION_ID, b"02-00-00-00-00-01")
        for tries in range(3):
            stack.at = T0 + tries
            twin.ask(twin.login("alice", "not-her-password", mac))
        twin.ask(twin.login("stranger", "sesame", mac))
        twin.ask(twin.login("alice", "wonderland", mac))
        async with store.running(), stage(store, rejects=stack.access.rejects) as edge:
            await edge.outbox.flush()
            await edge.outbox.flush()
            rows = await outbox_pages.read(store.engine, Stream.AUTH_REJECTS, 0, 10)
            found = {json.loads(row.body)["identity"]: json.loads(row.body) for row in rows}
            assert len(rows) == 2
            assert {(row.type, row.urgency, row.tenant) for row in rows} == {("auth.rejected", "C", "demo")}
            alice = found["alice"]
            assert (alice["count"], alice["reason"], alice["nas"]) == (3, "wrong-password", "lab")
            assert (alice["subscriber_id"], alice["mac"]) == ("ALICE", "02:00:00:00:00:01")
            assert alice["first_at"] < alice["last_at"]
            assert found["stranger"]["reason"] == "unknown-user"
            for secret in (b"not-her-password", b"sesame", b"wonderland"):
                assert all(secret not in row.body for row in rows)

    asyncio.run(scenario())


def test_a_flood_of_names_takes_bounded_memory_and_loses_no_count() -> None:
    stack = Stack()
    stack.access.rejects = rejects = Rejects(most=10)
    twin = stack.nas()
    for number in range(100):
        twin.ask(twin.login(f"name-{number}", "x"))
    assert len(rejects) == 11
    bodies = [json.loads(event.body) for event in rejects.take(1_000)]
    assert sum(body["count"] for body in bodies) == 100
    assert max(body["count"] for body in bodies) == 90


def test_refusals_are_sampled_and_counted_when_the_disk_fills() -> None:
    stack = Stack()
    rejects = stack.access.rejects
    twin = stack.nas()
    rejects.one_in = 10
    for number in range(100):
        twin.ask(twin.login(f"name-{number}", "x"))
    assert len(rejects.take(1_000)) == 10
    assert rejects.dropped == 90
    rejects.one_in = 0
    twin.ask(twin.login("name", "x"))
    assert rejects.take(1_000) == []
    assert rejects.dropped == 91


def test_what_happens_to_devices_is_told_and_nothing_else(store: PlacedStore) -> None:
    async def scenario() -> None:
        async with store.running(), stage(store) as edge:
            events = Events(100, edge.clock.wall, lambda *_a, **_f: None, edge.clock.monotonic)
            events.listeners.append(edge.outbox.devices.heard)
            events.add("nas-silent", tenant="demo", nas="lab", told="sessions 5")
            events.add("lease-refused", tenant="demo", nas="lab")
            events.add("coa-outcome", tenant="demo", session=7, nas="lab", outcome="acked", password="geheim")
            await edge.outbox.flush()
            await edge.outbox.flush()
            events.add("nas-back", tenant="demo", nas="lab")
            await edge.outbox.flush()
            found = await edge.outbox.logs[Stream.DEVICES].read(0, 10)
            assert [event.type for event in found] == [
                "device.nas-silent",
                "device.coa-outcome",
                "device.nas-back",
            ]
            assert found[1].correlation == "7"
            assert "geheim" not in str(found)

    asyncio.run(scenario())


def test_sources_of_a_request_path_fit_the_outbox() -> None:
    from daemon.sync.outbox.sources import sources_of

    class Path:
        """As much of a request path as is asked at once."""

        stack = Stack()
        clients, sessions, accounting, access = stack.clients, stack.sessions, stack.accounting, stack.access

        class Keeper:
            applied_seq = 5
            spare = False

        keeper = Keeper()

        def accept_accounting(self, taken: bool) -> None:
            self.taken = taken

    path = Path()
    found = sources_of(path, None, "edge")  # type: ignore[arg-type]
    assert found.applied_seq() == 5
    assert found.profile_of("demo", "lab").name == "mikrotik"
    assert found.profile_of("demo", "gone").name == "standard"
    found.spare(True)
    assert path.keeper.spare
