"""NETCONF: framing, hello, errors one and several, and the emulator's confirmed commit with persist-id."""

from __future__ import annotations

import asyncio
import xml.etree.ElementTree as ET
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from drivers.emulator.netconf import NetconfDevice
from drivers.emulator.server import SshEmulator
from drivers.errors import Dropped, Garbled, LockHeld, TimedOut
from drivers.transports import ssh
from drivers.transports.framing import Framer, FramingError, encode
from drivers.transports.netconf import Netconf, RpcRefused, parse, text_of
from tests.drivers.beds import QUICK, opening_of, run, serving, target_of

NS = 'xmlns="urn:example:box"'


@asynccontextmanager
async def session_with(emulator: SshEmulator, **more: Any) -> AsyncGenerator[Netconf]:
    opening = opening_of(target_of(emulator, **more))
    connection = await ssh.connect(opening)
    netconf = Netconf(await connection.subsystem("netconf"), opening)
    try:
        await netconf.hello()
        yield netconf
    finally:
        connection.abort()


def location(name: str, operation: str = "") -> str:
    how = (
        f' xmlns:nc="urn:ietf:params:xml:ns:netconf:base:1.0" nc:operation="{operation}"' if operation else ""
    )
    return f"<system {NS}><location{how}>{name}</location></system>"


async def where(netconf: Netconf) -> str:
    return text_of(await netconf.get_config(), "location")


@given(st.lists(st.binary(min_size=1, max_size=60), min_size=1, max_size=5), st.integers(1, 7))
def test_any_cutting_of_chunked_messages_gives_the_same_messages(messages: list[bytes], step: int) -> None:
    wire = b"".join(encode(each, chunked=True) for each in messages)
    framer, got = Framer(), []
    framer.chunked = True
    for start in range(0, len(wire), step):
        framer.feed(wire[start : start + step])
        while (message := framer.next()) is not None:
            got.append(message)
    assert got == messages


def test_the_example_of_rfc_6242_is_read() -> None:
    wire = b'\n#4\n<rpc\n#18\n message-id="102"\n\n#79\n' + b"x" * 79 + b"\n##\n"
    framer = Framer()
    framer.chunked = True
    framer.feed(wire)
    assert framer.next() == b'<rpc message-id="102"\n' + b"x" * 79


def test_a_hello_and_a_chunk_that_arrive_together_are_told_apart() -> None:
    framer = Framer()
    framer.feed(b"<hello/>]]>]]>\n#3\nabc\n##\n")
    assert framer.next() == b"<hello/>"
    framer.chunked = True
    assert framer.next() == b"abc"


@pytest.mark.parametrize(
    "wire", [b"abcd", b"\n#0\nx", b"\n#x1\n", b"\n#99999999999\n", b"\n#123456789012345"]
)
def test_what_is_no_chunk_is_an_error(wire: bytes) -> None:
    framer = Framer()
    framer.chunked = True
    framer.feed(wire)
    with pytest.raises(FramingError):
        framer.next()


def test_a_document_type_is_refused() -> None:
    with pytest.raises(ValueError, match="document type"):
        parse(b'<!DOCTYPE a [<!ENTITY b "c">]><a>&b;</a>')


@pytest.mark.parametrize("version", ["1.0", "1.1"])
def test_both_framings_carry_a_configuration(version: str) -> None:
    async def work() -> None:
        async with serving(NetconfDevice(version=version)) as emulator, session_with(emulator) as netconf:
            await netconf.edit_config(location("räck ]]&gt; 4 &amp; #\n##\n"))
            await netconf.commit()
            assert (await where(netconf)).startswith("räck")

    run(work)


def test_a_confirmed_commit_is_confirmed_from_a_second_session() -> None:
    async def work() -> None:
        device = NetconfDevice(scale=100)
        async with serving(device) as emulator:
            async with session_with(emulator) as first:
                assert first.has("confirmed-commit:1.1")
                await first.edit_config(location("new"))
                await first.commit(confirm_within_s=60, persist="dm1")
            async with session_with(emulator) as second:
                assert await where(second) == "new"
                with pytest.raises(RpcRefused):
                    await second.commit(persist_id="another")
                await second.commit(persist_id="dm1")
            await asyncio.sleep(0.8)
            async with session_with(emulator) as third:
                assert await where(third) == "new"
        assert device.timer.reverted == 0

    run(work)


@pytest.mark.parametrize("persist", ["", "dm1"])
def test_without_a_confirm_the_device_reverts(persist: str) -> None:
    async def work() -> None:
        device = NetconfDevice(scale=100)
        async with serving(device) as emulator:
            async with session_with(emulator) as first:
                await first.edit_config(location("new"))
                await first.commit(confirm_within_s=60, persist=persist)
            if persist:
                async with session_with(emulator) as second:
                    assert await where(second) == "new"
                await asyncio.sleep(0.8)
            else:
                await asyncio.sleep(0.1)  # the end of the session takes it back at once
            async with session_with(emulator) as third:
                assert await where(third) == ""
        assert device.timer.reverted == 1

    run(work)


def test_a_cancelled_commit_is_taken_back_now() -> None:
    async def work() -> None:
        async with serving(NetconfDevice()) as emulator, session_with(emulator) as netconf:
            await netconf.edit_config(location("new"))
            await netconf.commit(confirm_within_s=60, persist="dm1")
            await netconf.cancel_commit("dm1")
            assert await where(netconf) == ""

    run(work)


@pytest.mark.parametrize("count", [1, 3])
def test_errors_one_or_several_have_one_shape(count: int) -> None:
    async def work() -> None:
        device = NetconfDevice()
        device.faults.refuse["edit-config"] = tuple(("invalid-value", f"bad {n}") for n in range(count))
        async with serving(device) as emulator, session_with(emulator) as netconf:
            with pytest.raises(RpcRefused) as caught:
                await netconf.edit_config(location("x"))
            assert [each.message for each in caught.value.errors] == [f"bad {n}" for n in range(count)]
            assert caught.value.command == "edit-config"
            assert await where(netconf) == ""

    run(work)


def test_a_lock_names_its_holder() -> None:
    async def work() -> None:
        async with (
            serving(NetconfDevice()) as emulator,
            session_with(emulator) as first,
            session_with(emulator) as second,
        ):
            await first.lock()
            with pytest.raises(LockHeld) as caught:
                await second.lock()
            assert caught.value.holder == first.session_id
            with pytest.raises(RpcRefused):
                await second.edit_config(location("x"))

    run(work)


def test_operations_of_an_edit_are_kept() -> None:
    async def work() -> None:
        async with serving(NetconfDevice(ET.Element("data"))) as emulator, session_with(emulator) as netconf:
            await netconf.edit_config(location("a"))
            await netconf.edit_config(location("a", "delete"))
            with pytest.raises(RpcRefused) as caught:
                await netconf.edit_config(location("a", "delete"))
            assert caught.value.errors[0].tag == "data-missing"

    run(work)


def test_silence_and_a_cut_are_typed_and_the_session_is_not_used_again() -> None:
    async def work() -> None:
        device = NetconfDevice()
        async with serving(device) as emulator:
            device.faults.hang_at = "get-config"
            quick = replace(QUICK, command_s=0.3)
            async with session_with(emulator, deadlines=quick) as netconf:
                with pytest.raises(TimedOut):
                    await netconf.get_config()
                with pytest.raises(Dropped):
                    await netconf.get_config()
            device.faults.cut_after = "commit"
            async with session_with(emulator) as netconf:
                with pytest.raises(Dropped):
                    await netconf.commit()

    run(work)


def test_a_device_that_speaks_no_xml_is_garbled() -> None:
    class Drunk(NetconfDevice):
        def perform(self, session: int, name: str, operation: ET.Element) -> str:
            return "<unclosed>"

    async def work() -> None:
        async with serving(Drunk()) as emulator, session_with(emulator) as netconf:
            with pytest.raises(Garbled):
                await netconf.get_config()

    run(work)
