"""Playbooks of what only a login shows: one too many, another line, a stranger; and of NAS entries that change."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

from daemon.aaa.session import Closed
from daemon.sync.load import LoadRequest
from radius.codes import AcctStatus, Code, Vendor
from radius.packet import Packet, vendor_attribute
from tests.daemon.playbook.stage import PASSWORD, Play, play
from tests.twins.bng import BngTwin, CpeTwin, Told

OTHER = "02-00-00-00-00-99"
GB = 1_000_000_000


async def replace_all(edge: Play) -> None:
    """Send all objects again as the whole of the provider's data."""
    said = [
        {"kind": kind, "id": name, "body": body} | ({} if kind == "tenant" else {"tenant": "demo"})
        for (kind, name), body in edge.data.items()
    ]
    request = LoadRequest(octets=json.dumps(said).encode(), name="provider.json", replace=True)
    await edge.edge.loader.load(request)


class Classless(BngTwin):
    """A BNG that never sends Class back."""

    def _open(self, cpe: CpeTwin, session_id: bytes, reply: Packet) -> None:
        self.mute = True
        super()._open(cpe, session_id, reply)
        self.mute = False
        cpe.class_octets = None
        self._account(cpe, AcctStatus.START)

    def _account(self, cpe: CpeTwin, status: AcctStatus, more: bytes = b"") -> None:
        if not self.mute:
            super()._account(cpe, status, more)

    mute = False


class Liner(BngTwin):
    """A BNG that names the line in logins only."""

    def _place(self, cpe: CpeTwin, session_id: bytes) -> bytes:
        named = vendor_attribute(Vendor.ADSL_FORUM, 1, b"olt9 9/9/9:999")
        return super()._place(cpe, session_id) + named

    def _account(self, cpe: CpeTwin, status: AcctStatus, more: bytes = b"") -> None:
        place = BngTwin._place
        self._place = lambda *given: place(self, *given)  # type: ignore[method-assign]
        super()._account(cpe, status, more)
        del self._place


async def bng_of(edge: Play, kind: type[BngTwin], **body: Any) -> BngTwin:
    """Return a new BNG of that kind, which is in the provider's data."""
    twin = await kind("127.0.0.1", edge.clock.wall).begin()
    twin.auth_port, twin.acct_port = edge.edge.ports()
    edge.bngs.append(twin)
    base = {"address": "127.0.0.1", "secret": "testing123", "vendor": "mikrotik", "coa_port": twin.port}
    await edge.provide("nas", "bng-1", **(base | body))
    return twin


def test_one_session_too_many_stays_walled_in_until_there_is_room(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with play(tmp_path) as edge:
            await edge.provide(
                "plan", "basic", simultaneous_use=1, treatments={"too-many-sessions": "captive"}
            )
            bng = await edge.bng()
            one, two = bng.cpe("alice", PASSWORD), bng.cpe("alice", PASSWORD, mac=OTHER, port="vlan102")
            await edge.connect(bng, one)
            await edge.connect(bng, two)
            assert (one.address_list, two.address_list) == ("full", "garden")
            await edge.pass_time(130)
            assert (one.address_list, two.address_list, bng.told()) == ("full", "garden", [])
            bng.hang_up(one)
            await edge.until(lambda: two.address_list == "full", most_s=130, step_s=1)
            await edge.settled()

    asyncio.run(scenario())


def test_whoever_came_by_another_line_stays_walled_in_even_after_a_restart(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with play(tmp_path) as edge:
            await edge.provide(
                "plan", "basic", line_policy="enforce", treatments={"circuit-mismatch": "captive"}
            )
            await edge.provide("subscriber", "A1", circuit_id="olt1 1/1/1:100")
            bng = await bng_of(edge, Liner)
            cpe = bng.cpe("alice", PASSWORD)
            await edge.connect(bng, cpe)
            assert cpe.address_list == "garden"
            await edge.pass_time(70)
            await edge.restart()
            await edge.pass_time(70)
            assert (cpe.address_list, bng.told()) == ("garden", [])
            await edge.provide("subscriber", "A1", circuit_id="olt9 9/9/9:999")
            await edge.settled()
            assert cpe.address_list == "full", "the data were wrong, and the line is still known"

    asyncio.run(scenario())


def test_a_stranger_on_a_nas_without_class_gets_nothing_of_the_subscriber(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with play(tmp_path) as edge:
            await edge.provide("tenant", "demo", treatments={"wrong-password": "captive"})
            await edge.provide("plan", "basic", simultaneous_use=1)
            bng = await bng_of(edge, Classless)
            thief = bng.cpe("alice", "a-guess", mac=OTHER, port="vlan666")
            session = await edge.connect(bng, thief)
            assert (session.subscriber, session.stranger, session.applied_reason) == (
                "",
                True,
                "wrong-password",
            )
            await edge.pass_time(90)
            bng.interim(thief)
            alice = bng.cpe("alice", PASSWORD)
            mine = await edge.connect(bng, alice)
            assert (mine.subscriber, alice.address_list) == ("A1", "full")
            await edge.provide("plan", "basic", download="30M")
            await edge.settled()
            assert (session.subscriber, thief.address_list, alice.rate) == ("", "garden", "4M/30M")

    asyncio.run(scenario())


def test_who_pays_in_the_garden_of_a_nas_without_class_is_let_out(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with play(tmp_path) as edge:
            await edge.provide("subscriber", "A1", access_mode="captive")
            bng = await bng_of(edge, Classless)
            cpe = bng.cpe("alice", PASSWORD)
            session = await edge.connect(bng, cpe)
            assert (cpe.address_list, session.applied_reason) == ("garden", "access-captive")
            await edge.provide("subscriber", "A1", access_mode="active")
            await edge.until(lambda: cpe.address_list == "full")
            await edge.settled()

    asyncio.run(scenario())


def test_a_nas_that_gets_another_name_takes_its_sessions_with_it(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with play(tmp_path) as edge:
            bng = await edge.bng()
            cpe = bng.cpe("alice", PASSWORD)
            session = await edge.connect(bng, cpe)
            bng.interim(cpe, download_octets=8 * GB)
            await edge.pass_time(15)
            edge.data["nas", "renamed"] = edge.data.pop(("nas", "bng-1"))
            await replace_all(edge)
            bng.interim(cpe, download_octets=GB)
            await edge.pass_time(15)
            assert (session.nas, len(edge.path.sessions)) == ("renamed", 1)
            await edge.restart()
            await edge.provide("subscriber", "A1", access_mode="reject")
            await edge.until(lambda: not cpe.online)
            usage = edge.path.books.usage.find("demo", "A1")
            assert usage is not None
            assert usage.month.download_octets == 9 * GB
            assert bng.told() == [Told(Code.DISCONNECT_REQUEST, "alice")]

    asyncio.run(scenario())


def test_sessions_of_a_nas_that_was_taken_away_are_closed_after_three_intervals(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with play(tmp_path) as edge:
            bng = await edge.bng()
            session = await edge.connect(bng, bng.cpe("alice", PASSWORD))
            assert session.applied is not None
            interim_s = session.applied.interim_interval_s or 0
            await edge.pass_time(5 * interim_s, 30)
            assert session.closed_at is None, "as silent as ever, but it is there"
            del edge.data["nas", "bng-1"]
            await replace_all(edge)
            await edge.pass_time(3 * interim_s - 60, 30)
            assert session.closed_at is None
            await edge.pass_time(180, 30)
            assert (session.closed_by, session.terminate_cause) == (Closed.NAS_REMOVED, "lost-service")
            (event,) = edge.events("session-ghost-closed")
            assert event.session == session.uid

    asyncio.run(scenario())
