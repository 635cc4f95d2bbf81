"""One mad NAS starves no other, and logins go before accounting."""

from __future__ import annotations

import asyncio
from collections import Counter, deque
from ipaddress import ip_network
from typing import cast

from daemon.aaa.admission import FairQueue
from daemon.aaa.endpoint import Endpoint, Port
from daemon.aaa.nas import Client
from daemon.aaa.reasons import Drop
from daemon.aaa.storm import Limits, Reason, Storm
from radius.codes import AcctStatus, Attr
from radius.duplicates import Duplicates
from radius.packet import attribute
from radius.udp import BATCH, BatchSocket, Datagram
from tests.daemon.conftest import Store
from tests.daemon.stack import Stack, nas
from tests.daemon.test_accounting import running
from tests.twins.nas import NasTwin, peer_of

GOOD, MAD, THIRD = "127.0.0.1", "192.0.2.1", "198.51.100.1"


class SocketTwin:
    """A socket in memory: what has arrived waits in `arrived`, what is answered stands in `sent`."""

    ipv4 = True

    def __init__(self) -> None:
        self.arrived: deque[Datagram] = deque()
        self.read: list[Datagram] = []
        self.sent: list[Datagram] = []

    def receive(self) -> list[Datagram]:
        """Return up to a batch."""
        batch = [self.arrived.popleft() for _ in range(min(BATCH, len(self.arrived)))]
        self.read += batch
        return batch

    def send(self, datagrams: list[Datagram]) -> None:
        """Keep answers."""
        self.sent += datagrams


class Port1812:
    """A stack with three NASes whose requests come through a socket."""

    def __init__(self, most: int = 8192) -> None:
        self.stack = Stack(
            nas(id="mad", prefixes=(ip_network(f"{MAD}/32"),)),
            nas(id="third", prefixes=(ip_network(f"{THIRD}/32"),)),
        )
        self.socket = SocketTwin()
        self.endpoint = self.stack.endpoints[Port.AUTH]
        self.endpoint.socket = cast("BatchSocket", self.socket)
        self.endpoint.queue = FairQueue(most)
        self._port = 1024

    def arrive(self, address: str, count: int) -> None:
        """Let that many logins arrive from a NAS."""
        twin = self.stack.nas(address)
        for _ in range(count):
            self._port += 1
            self.socket.arrived.append(
                (twin.login("alice", "wonderland").octets, peer_of(address, self._port))
            )

    def answered(self, address: str) -> int:
        """Return how many logins of a NAS were answered so far."""
        return sum(peer[4:8] == peer_of(address)[4:8] for _, peer in self.socket.sent)

    def read(self, address: str) -> int:
        """Return how many datagrams of a NAS were taken off the socket so far."""
        return sum(peer[4:8] == peer_of(address)[4:8] for _, peer in self.socket.read)

    def overload(self) -> dict[str, int]:
        """Return how many requests were dropped for that reason, by NAS."""
        counts = self.stack.counts.requests
        return {key[1]: count for key, count in counts.items() if key[3] == Drop.NAS_OVERLOAD}


def in_a_loop(scene: object) -> None:
    """Run a scene with an event loop that it never gives a turn to: every turn is one `serve` of the scene's."""

    async def run() -> None:
        assert callable(scene)
        scene()

    asyncio.run(run())


def test_a_nas_that_floods_costs_another_neither_an_answer_nor_more_than_a_batch() -> None:
    def scene() -> None:
        port = Port1812(most=512)
        for _ in range(100):
            port.arrive(MAD, 100)
            port.arrive(GOOD, 1)
        port.endpoint.serve()  # the first batch shows that there are two
        while port.socket.arrived or port.endpoint.queue:
            port.endpoint.serve()
            assert port.answered(GOOD) == port.read(GOOD), "what was read is answered in the same turn"
        assert port.answered(GOOD) == 100
        assert port.overload().keys() == {"mad"}
        assert port.answered(MAD) + port.overload()["mad"] == 10_000

    in_a_loop(scene)


def test_the_other_is_answered_in_the_next_batch_though_it_comes_behind_a_thousand() -> None:
    def scene() -> None:
        port = Port1812()
        port.arrive(GOOD, 1)
        port.arrive(MAD, 1)
        port.endpoint.serve()
        port.arrive(MAD, 1_000)
        port.arrive(GOOD, 20)
        port.endpoint.serve()
        assert port.answered(GOOD) == 21

    in_a_loop(scene)


def test_two_nases_that_both_come_back_lose_nothing() -> None:
    def scene() -> None:
        port = Port1812()
        port.arrive(GOOD, 1)
        port.arrive(MAD, 1_500)
        port.arrive(GOOD, 1_500)
        while port.endpoint.serve():
            pass
        assert (port.answered(MAD), port.answered(GOOD), port.overload()) == (1_500, 1_501, {})

    in_a_loop(scene)


def test_a_nas_alone_is_served_in_order_and_nothing_is_read_ahead() -> None:
    def scene() -> None:
        port = Port1812(most=64)
        port.arrive(MAD, 1_000)
        port.endpoint.serve()
        port.endpoint.serve()
        assert (len(port.socket.read), len(port.socket.sent)) == (2 * BATCH, 2 * BATCH)
        assert [peer for _, peer in port.socket.sent] == [peer for _, peer in port.socket.read]
        while port.endpoint.serve():
            pass
        assert (port.answered(MAD), port.overload()) == (1_000, {})

    in_a_loop(scene)


def test_a_nas_that_was_about_long_ago_does_not_count() -> None:
    def scene() -> None:
        port = Port1812()
        port.arrive(GOOD, 1)
        port.arrive(MAD, 1)
        port.endpoint.serve()
        port.stack.now += 10
        port.arrive(MAD, 10)
        port.endpoint.serve()
        port.arrive(MAD, 200)
        port.endpoint.serve()
        assert len(port.endpoint.queue) == 0

    in_a_loop(scene)


def test_a_flood_of_a_stranger_takes_no_room() -> None:
    def scene() -> None:
        port = Port1812(most=64)
        port.arrive(GOOD, 1)
        port.arrive(MAD, 1)
        port.endpoint.serve()
        port.arrive("203.0.113.9", 900)
        port.arrive(GOOD, 10)
        port.endpoint.serve()
        assert port.answered(GOOD) == 11
        assert port.stack.reasons()[Drop.UNKNOWN_NAS] == 900

    in_a_loop(scene)


def test_what_waits_is_answered_though_nothing_more_arrives() -> None:
    async def scene() -> None:
        port = Port1812()
        port.arrive(GOOD, 1)
        port.arrive(MAD, 500)
        while port.socket.arrived:
            port.endpoint.serve()
        assert len(port.endpoint.queue) > 0
        for _ in range(20):
            await asyncio.sleep(0)
        assert (port.answered(MAD), len(port.endpoint.queue)) == (500, 0)

    asyncio.run(scene())


def clients(count: int) -> list[Client]:
    stack = Stack(*(nas(id=f"n{i}", prefixes=(ip_network(f"10.0.0.{i}/32"),)) for i in range(count)))
    stack.clients.turn()
    found = [stack.clients.get("demo", f"n{i}") for i in range(count)]
    return [each for each in found if each is not None]


def test_each_gets_its_share_and_what_one_leaves_the_others_get() -> None:
    little, much, more = clients(3)
    queue = FairQueue()
    for client, count in ((much, 100), (little, 5), (more, 100)):
        for i in range(count):
            assert queue.put(client, (client.label.encode(), bytes((i,))))
    taken = queue.take(64)
    assert Counter(label for label, _ in taken) == {b"n0": 5, b"n1": 30, b"n2": 29}
    assert len(queue) == 205 - 64
    for label in (b"n0", b"n1", b"n2"):
        order = [number[0] for each, number in taken if each == label]
        assert order == list(range(len(order))), "in the order of arrival"


def test_more_nases_than_places_take_turns() -> None:
    many = clients(100)
    queue = FairQueue()
    for _ in range(2):
        for client in many:
            queue.put(client, (client.label.encode(), b""))
    first = {label for label, _ in queue.take(64)}
    second = {label for label, _ in queue.take(36)}
    assert (len(first), len(second), len(first | second)) == (64, 36, 100)


def test_a_full_queue_still_takes_those_below_their_share() -> None:
    mad, good = clients(2)
    queue = FairQueue(most=10)
    assert [queue.put(mad, (b"", b"")) for _ in range(12)] == [True] * 10 + [False] * 2
    assert [queue.put(good, (b"", b"")) for _ in range(7)] == [True] * 5 + [False] * 2
    assert not queue.put(mad, (b"", b""))
    assert len(queue) == 15


def endpoint(port: Port, socket: SocketTwin, order: list[str]) -> Endpoint:
    def handle(_endpoint: Endpoint, datagrams: list[Datagram]) -> list[Datagram]:
        order.append(f"{port} {len(datagrams)}")
        return datagrams

    return Endpoint(port, cast("BatchSocket", socket), Duplicates(15.0, 0.0), handle, lambda _drop: None)


def test_logins_go_before_accounting_but_do_not_stop_it() -> None:
    order: list[str] = []
    logins, records = SocketTwin(), SocketTwin()
    auth, acct = endpoint(Port.AUTH, logins, order), endpoint(Port.ACCT, records, order)
    acct.before = (auth,)
    logins.arrived.extend([(b"", b"")] * 100)
    records.arrived.extend([(b"", b"")] * 10)
    acct._readable()
    assert order == ["auth 64", "auth 36", "acct 10"]
    order.clear()
    logins.arrived.extend([(b"", b"")] * 1_000)
    records.arrived.extend([(b"", b"")] * 10)
    acct._readable()
    assert order == ["auth 64"] * 4 + ["acct 10"]
    assert len(records.sent) == 20


def test_an_endpoint_that_stopped_answers_nothing_more() -> None:
    async def scene() -> None:
        port = Port1812()
        port.arrive(GOOD, 1)
        port.arrive(MAD, 500)
        while port.socket.arrived:
            port.endpoint.serve()
        before = len(port.socket.sent)
        port.endpoint._rest()
        port.arrive(GOOD, 1)
        for _ in range(20):
            await asyncio.sleep(0)
        assert (len(port.socket.sent), len(port.endpoint.queue)) == (before, 0)

    asyncio.run(scene())


def with_storm(stack: Stack, sessions: int = 1_000) -> Storm:
    """Give the stack a storm that thinks its NAS has that many sessions."""
    storm = Storm(Limits(), lambda label: sessions if label == "lab" else 0)
    stack.conductor.storm = storm
    return storm


def test_logins_and_repeats_are_counted_towards_a_storm() -> None:
    stack = Stack(nas(id="mad", prefixes=(ip_network(f"{MAD}/32"),)))
    storm = with_storm(stack)
    twins = {count: stack.nas(address) for address, count in ((GOOD, 60), (MAD, 40))}
    requests = {count: twin.login("alice", "wonderland") for count, twin in twins.items()}
    for _ in range(4):
        for count, twin in twins.items():
            for _ in range(count):
                twin.send(requests[count])
        stack.now += 1.0
    assert storm.turn(stack.now)
    assert storm.reason is Reason.REPEATS
    seen = storm.snapshot(stack.now, stack.at)
    assert (round(seen.access_per_s), seen.nas, seen.repeats_share) == (100, "lab", 1.0)


def test_a_nas_that_does_not_hear_our_answers_makes_no_storm() -> None:
    stack = Stack(nas(id="mad", prefixes=(ip_network(f"{MAD}/32"),)))
    storm = with_storm(stack)
    good, deaf = stack.nas(), stack.nas(MAD)
    for _ in range(240):
        for _ in range(3):
            request = deaf.login("alice", "wonderland")
            for _ in range(3):
                deaf.send(request)
        good.send(good.login("alice", "wonderland"))
        stack.now += 1.0
    assert not storm.turn(stack.now)
    assert storm.deaf == ("mad",)


def reboot(twin: NasTwin) -> bytes:
    on = int(AcctStatus.ACCOUNTING_ON).to_bytes(4, "big")
    attributes = attribute(Attr.ACCT_STATUS_TYPE, on) + attribute(Attr.NAS_IDENTIFIER, b"bras1")
    return twin.account(attributes).octets


def test_an_accounting_on_begins_a_storm(store: Store) -> None:
    async def scene() -> None:
        async with running(store) as edge:
            storm = with_storm(edge.stack)
            edge.stack.nas().send(reboot(edge.stack.nas()))
            await store.writer.drain()
            assert (storm.active, storm.reason, storm.nas) == (True, Reason.REBOOT, "lab")

    asyncio.run(scene())


def test_a_forged_accounting_on_begins_none(store: Store) -> None:
    async def scene() -> None:
        async with running(store) as edge:
            storm = with_storm(edge.stack)
            edge.stack.nas().send(reboot(edge.stack.nas(secret=b"guessed")))
            await store.writer.drain()
            assert not storm.active

    asyncio.run(scene())
