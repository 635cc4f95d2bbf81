"""FRR behind a real sshd: the conformance kit, a push that is cut, and the device's own timer."""

from __future__ import annotations

import asyncio
import shutil
import tempfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from drivers.base import Session
from drivers.conformance import Subject, Verdict, verify
from drivers.errors import LoginRefused
from drivers.frr import DRIVER
from drivers.frr_text import delta, merged
from drivers.model import Change, Mode
from drivers.outcomes import CommitState, Settled
from drivers.redact import Secret
from drivers.settle import settle
from drivers.target import Credentials
from tests.drivers.beds import run
from tests.drivers.frr_box import FrrBox, available

ADD = Change(Mode.MERGE, "ip route 203.0.113.0/24 blackhole")
BACK = Change(Mode.MERGE, "no ip route 203.0.113.0/24 blackhole")
BAD = Change(Mode.MERGE, "ip route 203.0.113.0/99 nonsense")
real = pytest.mark.skipif(not available(), reason="needs root, FRR and sshd")


@pytest.fixture(scope="module")
def box() -> Iterator[FrrBox]:
    home = Path(tempfile.mkdtemp(prefix="frr-"))  # pytest's own are closed to the user frr
    frr = FrrBox(home)
    try:
        frr.start()
        yield frr
    finally:
        frr.stop()
        shutil.rmtree(home)


@real
def test_frr_passes_the_conformance_kit(box: FrrBox) -> None:
    async def work() -> None:
        subject = Subject(DRIVER, box.target(), ADD, BACK, "show version", bad=BAD, confirm_within_s=5)
        report = await verify(subject)
        assert {c.name: c.detail for c in report.failed} == {}
        assert report.may_write
        skipped = {c.name for c in report.checks if c.verdict is Verdict.SKIPPED}
        assert skipped == {"wrong-password", "lock-refused"}

    run(work, limit_s=170)


@real
def test_a_wrong_password_is_told_as_such(box: FrrBox) -> None:
    async def work() -> None:
        target = box.target(credentials=Credentials("root", Secret("not-the-password")))
        with pytest.raises(LoginRefused):
            async with DRIVER.session(target):
                pass

    run(work)


@real
def test_a_session_killed_in_the_middle_is_taken_back_by_the_device(box: FrrBox) -> None:
    async def work() -> None:
        before = box.vtysh("-c", "show running-config")
        async with DRIVER.session(box.target()) as session:
            staged = await session.stage(ADD)
            ref = session.reference(staged, 6)
            async with asyncio.TaskGroup() as group:
                group.create_task(_kill(session, box.state / ref.id))
                result = await session.commit(staged, ref)
        assert result.state is CommitState.UNVERIFIED
        async with DRIVER.session(box.target()) as session:
            assert await settle(session, ref, ADD) is Settled.PENDING
        for _ in range(100):
            await asyncio.sleep(0.2)
            if box.vtysh("-c", "show running-config") == before:
                break
        else:
            raise AssertionError("not reverted")

    async def _kill(session: Session, armed: Path) -> None:
        while not (armed / "armed").exists():
            await asyncio.sleep(0.01)
        session.abort()

    run(work)


@real
def test_a_router_behind_a_jump_host_is_reached(box: FrrBox) -> None:
    async def work() -> None:
        async with DRIVER.session(box.target(jump=box.target(name="hop"))) as session:
            assert "FRRouting" in (await session.exec("show version")).text
            assert "lo" in [each.name for each in (await session.facts()).interfaces]

    run(work)


@real
def test_the_running_configuration_survives_only_when_saved(box: FrrBox) -> None:
    async def work() -> None:
        async with DRIVER.session(replace(box.target())) as session:
            staged = await session.stage(Change(Mode.MERGE, "ip route 192.0.2.0/24 blackhole"))
            await session.commit(staged, session.reference(staged))
            assert "192.0.2.0" not in (box.etc / "frr.conf").read_text()
            await session.save()
            assert "192.0.2.0" in (box.etc / "frr.conf").read_text()

    run(work)


def test_a_merge_adds_inside_blocks_and_takes_out_by_no() -> None:
    running = (
        "router bgp 65001\n neighbor 192.0.2.1 remote-as 65002\nexit\n!\nip route 10.0.0.0/8 blackhole\n"
    )
    change = "router bgp 65001\n neighbor 192.0.2.9 remote-as 65009\nno ip route 10.0.0.0/8\n"
    assert merged(running, change) == (
        "router bgp 65001\n neighbor 192.0.2.1 remote-as 65002\n neighbor 192.0.2.9 remote-as 65009\nexit\n"
    )


def test_a_delta_is_read_with_its_signs() -> None:
    output = "\nLines To Delete\n===============\nip route a\n\nLines To Add\n============\nip route b\nip route c\n"
    assert delta(output) == ("- ip route a\n+ ip route b\n+ ip route c", 2, 1)
