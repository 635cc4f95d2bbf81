"""The CoA client: repeats, identifiers, secrets, ICMP, and a peer that we did not write."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Awaitable, Callable
from dataclasses import replace
from ipaddress import IPv4Address, IPv6Address
from pathlib import Path
from random import Random

import pytest
import uvloop
from pyrad import dictionary as pyrad_dictionary
from pyrad import packet as pyrad_packet

from daemon.aaa.coa.client import Answer, CoaClient, Result, Target
from daemon.aaa.coa.timers import Timers
from daemon.supervise import Supervisor
from radius.authenticator import Key
from radius.codes import Attr, Code
from radius.errors import Unencodable
from radius.exchange import Schedule
from radius.packet import attribute
from tests.twins.clock import ClockTwin
from tests.twins.dae import DaeTwin, ack, forged, nak, silence

SECRET, OLD = Key(b"testing123"), Key(b"the-old-one")
NAME = attribute(Attr.USER_NAME, b"alice") + attribute(Attr.ACCT_SESSION_ID, b"0001")
SCHEDULE = Schedule(first_s=2.0, longest_s=16.0, most_sends=4, give_up_s=30.0)
DM = Code.DISCONNECT_REQUEST


class Bench:
    """A client, its clock, and one NAS."""

    def __init__(self, twin: DaeTwin) -> None:
        self.clock = ClockTwin()
        self.faults: list[object] = []
        self.supervisor = Supervisor(self.clock, lambda *_, **fields: self.faults.append(fields))
        self.timers = Timers(self.clock, self.supervisor.spawn)
        self.client = CoaClient(self.clock, self.timers, Random(1), SCHEDULE, idle_s=60.0)
        self.twin = twin
        self.target = Target(twin.address, twin.port, (SECRET,))

    async def ask(self, target: Target | None = None, code: Code = DM, attributes: bytes = NAME) -> Result:
        """Ask, and let as much time pass as that takes."""
        task = asyncio.create_task(self.client.ask(target or self.target, code, attributes))
        while not task.done():
            await asyncio.sleep(0.002)
            if not task.done():
                await self.clock.advance(0.5)
        return task.result()


def run(
    scenario: Callable[[Bench], Awaitable[None]],
    twin: DaeTwin | None = None,
    loop: Callable[[], asyncio.AbstractEventLoop] = asyncio.new_event_loop,
) -> None:
    async def everything() -> None:
        nas = twin or DaeTwin()
        bench = Bench(await nas.start())
        try:
            await scenario(bench)
        finally:
            bench.client.close()
            await bench.supervisor.stop(1.0)
            await nas.stop()
        assert bench.faults == []

    with asyncio.Runner(loop_factory=loop) as runner:
        runner.run(everything())


def test_a_repeat_is_the_same_octets_and_the_next_request_has_the_next_identifier() -> None:
    async def scenario(bench: Bench) -> None:
        first = await bench.ask()
        second = await bench.ask()
        assert (first.answer, first.sends) == (Answer.ACK, 3)
        assert (second.answer, second.sends) == (Answer.ACK, 1)
        assert len(set(bench.twin.datagrams[:3])) == 1
        assert [octets[1] for octets in bench.twin.datagrams] == [0, 0, 0, 1]

    run(scenario, DaeTwin(silence, silence))


def test_a_nas_that_says_nothing_is_asked_as_the_schedule_says() -> None:
    async def scenario(bench: Bench) -> None:
        began = bench.clock.monotonic()
        result = await bench.ask()
        assert (result.answer, result.sends, result.heard) == (Answer.TIMEOUT, 4, False)
        assert len(bench.twin.datagrams) == 4
        assert 27 <= bench.clock.monotonic() - began <= 31

    run(scenario, DaeTwin(otherwise=silence))


@pytest.mark.parametrize("message", [False, True])
def test_a_refusal_comes_with_its_cause(message: bool) -> None:
    async def scenario(bench: Bench) -> None:
        bench.twin.message = message
        result = await bench.ask(code=Code.COA_REQUEST)
        assert (result.answer, result.cause, result.heard) == (Answer.NAK, 503, True)
        assert result.rtt_s is not None

    run(scenario, DaeTwin(nak(503)))


def test_message_authenticator_is_a_switch() -> None:
    async def scenario(bench: Bench) -> None:
        await bench.ask()
        await bench.ask(replace(bench.target, message=False))
        assert [Attr.MESSAGE_AUTHENTICATOR in request.spots for request in bench.twin.requests] == [
            True,
            False,
        ]

    run(scenario)


def test_a_forged_answer_is_counted_and_waited_past() -> None:
    async def scenario(bench: Bench) -> None:
        result = await bench.ask()
        assert (result.answer, result.bad_replies) == (Answer.ACK, 1)

    run(scenario, DaeTwin(forged))


def test_answers_in_another_order_find_their_requests() -> None:
    async def scenario(bench: Bench) -> None:
        held: list[bytes] = []

        def hold(twin: DaeTwin, request: object) -> list[bytes]:
            answer = ack if len(held) % 2 else nak(503)
            held.extend(answer(twin, request))  # type: ignore[arg-type]
            return list(reversed(held)) if len(held) == 6 else []

        bench.twin.otherwise = hold
        tasks = [asyncio.create_task(bench.client.ask(bench.target, DM, NAME)) for _ in range(6)]
        results = await asyncio.wait_for(asyncio.gather(*tasks), 5)
        assert [result.answer for result in results] == [Answer.NAK, Answer.ACK] * 3
        assert bench.client.open_sockets == 1

    run(scenario)


def test_a_late_answer_finds_nobody() -> None:
    async def scenario(bench: Bench) -> None:
        waiting = asyncio.create_task(bench.client.ask(bench.target, DM, NAME))
        while not bench.twin.requests:
            await asyncio.sleep(0.001)
        waiting.cancel()
        await asyncio.gather(waiting, return_exceptions=True)
        late = bench.twin.reply(bench.twin.requests[0], Code.DISCONNECT_NAK)
        bench.twin.otherwise = lambda twin, request: [late, *ack(twin, request)]
        assert (await bench.ask()).answer is Answer.ACK
        assert bench.client.strays == 1

    run(scenario, DaeTwin(silence))


def test_more_requests_than_identifiers_take_a_second_socket() -> None:
    async def scenario(bench: Bench) -> None:
        tasks = [asyncio.create_task(bench.client.ask(bench.target, DM, NAME)) for _ in range(280)]
        while len(set(bench.twin.datagrams)) < 256 or bench.client.open_sockets < 2:
            await asyncio.sleep(0.002)
        assert bench.client.open_sockets == 2
        bench.twin.otherwise = ack
        while not all(task.done() for task in tasks):
            await asyncio.sleep(0.002)
            await bench.clock.advance(0.5)
        assert {task.result().answer for task in tasks} == {Answer.ACK}

    run(scenario, DaeTwin(otherwise=silence))


def test_an_idle_socket_is_closed_and_opened_again() -> None:
    async def scenario(bench: Bench) -> None:
        await bench.ask()
        assert bench.client.open_sockets == 1
        await bench.clock.advance(59)
        await bench.ask()
        await bench.clock.advance(59)
        assert bench.client.open_sockets == 1
        await bench.clock.advance(62)
        assert bench.client.open_sockets == 0
        assert (await bench.ask()).answer is Answer.ACK

    run(scenario)


@pytest.mark.parametrize("loop", [asyncio.new_event_loop, uvloop.new_event_loop], ids=["asyncio", "uvloop"])
def test_a_nas_that_comes_back_after_a_closed_port_is_heard(
    loop: Callable[[], asyncio.AbstractEventLoop],
) -> None:
    """libuv stops to poll a socket on which it has seen an error."""

    async def scenario(bench: Bench) -> None:
        for _ in range(2):
            await bench.twin.stop()
            assert (await bench.ask()).answer is Answer.UNREACHABLE
            await bench.twin.start(port=bench.target.port)
            for _ in range(2):
                assert (await bench.ask()).answer is Answer.ACK
        assert bench.client.open_sockets == 1

    run(scenario, loop=loop)


def test_a_closed_port_is_told_at_once() -> None:
    async def scenario(bench: Bench) -> None:
        await bench.twin.stop()
        began = bench.clock.monotonic()
        assert (await bench.ask()).answer is Answer.UNREACHABLE
        assert bench.clock.monotonic() - began < 2

    run(scenario)


def test_a_network_without_a_route_is_told_at_once() -> None:
    async def scenario(bench: Bench) -> None:
        target = replace(bench.target, address=IPv4Address("255.255.255.255"))  # connecting needs permission
        assert (await bench.ask(target)).answer is Answer.UNREACHABLE
        assert bench.client.open_sockets == 0

    run(scenario)


def test_ipv6() -> None:
    async def everything() -> None:
        twin = await DaeTwin().start("::1")
        bench = Bench(twin)
        try:
            result = await bench.ask(Target(IPv6Address("::1"), twin.port, (SECRET,)))
            assert result.answer is Answer.ACK
        finally:
            bench.client.close()
            await bench.supervisor.stop(1.0)
            await twin.stop()

    asyncio.run(everything())


def test_during_a_rotation_the_second_secret_has_its_turn_and_is_remembered() -> None:
    async def scenario(bench: Bench) -> None:
        both = replace(bench.target, keys=(SECRET, OLD))
        first = await bench.ask(both)
        assert (first.answer, first.key, first.sends) == (Answer.ACK, 1, 5)
        second = await bench.ask(both)
        assert (second.answer, second.sends) == (Answer.ACK, 1)
        assert bench.twin.datagrams[3][1] != bench.twin.datagrams[4][1], "another secret is another request"

    run(scenario, DaeTwin(secret=b"the-old-one"))


def test_the_wait_ends_when_there_is_nothing_to_wait_for() -> None:
    async def scenario(bench: Bench) -> None:
        until: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        task = asyncio.create_task(bench.client.ask(bench.target, DM, NAME, until=until))
        while not bench.twin.datagrams:
            await asyncio.sleep(0.001)
        until.set_result(None)
        result = await asyncio.wait_for(task, 5)
        assert (result.answer, result.heard, result.sends) == (Answer.MOOT, None, 1)

    run(scenario, DaeTwin(otherwise=silence))


def test_what_fits_no_packet_is_refused_and_leaves_nothing_behind() -> None:
    async def scenario(bench: Bench) -> None:
        with pytest.raises(Unencodable):
            await bench.client.ask(bench.target, DM, NAME * 400)
        assert (await bench.ask()).answer is Answer.ACK

    run(scenario)


def test_the_source_address_can_be_set() -> None:
    async def scenario(bench: Bench) -> None:
        sources: list[str] = []
        received = bench.twin.datagram_received

        def note(data: bytes, addr: tuple[str, int]) -> None:
            sources.append(addr[0])
            received(data, addr)

        bench.twin.datagram_received = note  # type: ignore[method-assign]
        bench.client = CoaClient(
            bench.clock, bench.timers, Random(1), SCHEDULE, (IPv4Address("127.0.0.9"), IPv6Address("::1"))
        )
        assert (await bench.ask()).answer is Answer.ACK
        assert sources == ["127.0.0.9"]

    run(scenario)


PYRAD = """
ATTRIBUTE User-Name 1 string
ATTRIBUTE Filter-Id 11 string
ATTRIBUTE Acct-Session-Id 44 string
ATTRIBUTE Event-Timestamp 55 date
ATTRIBUTE Message-Authenticator 80 octets
ATTRIBUTE Error-Cause 101 integer
"""


@pytest.mark.parametrize(("code", "reply"), [(40, 41), (40, 42), (43, 44), (43, 45)])
@pytest.mark.parametrize("message", [False, True])
def test_pyrad_takes_our_requests_and_we_take_its_answers(
    tmp_path: Path, code: int, reply: int, message: bool
) -> None:
    words = tmp_path / "dictionary"
    words.write_text(PYRAD)
    dictionary = pyrad_dictionary.Dictionary(str(words))
    listener = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    listener.bind(("127.0.0.1", 0))
    listener.settimeout(5)

    def serve() -> None:
        octets, peer = listener.recvfrom(4096)
        request = pyrad_packet.CoAPacket(packet=octets, secret=b"testing123", dict=dictionary)
        assert request.VerifyCoARequest()
        assert ("Message-Authenticator" in request.keys()) is message  # noqa: SIM118
        assert request["User-Name"] == ["alice"]
        answer = request.CreateReply()
        answer.code = reply
        if reply in (42, 45):
            answer["Error-Cause"] = 404
        listener.sendto(answer.ReplyPacket(), peer)

    async def scenario(bench: Bench) -> None:
        target = Target(IPv4Address("127.0.0.1"), listener.getsockname()[1], (SECRET,), message=message)
        served = asyncio.get_running_loop().run_in_executor(None, serve)
        result = await bench.ask(target, Code(code))
        await served
        refused = reply in (42, 45)
        assert result.answer is (Answer.NAK if refused else Answer.ACK)
        assert result.cause == (404 if refused else None)

    with listener:
        run(scenario)
