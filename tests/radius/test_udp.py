"""Batches over real loopback sockets."""

from __future__ import annotations

import socket
import time
from collections.abc import Iterator

import pytest

from radius.udp import BatchSocket, Datagram, source, source_octets


def receive(batch: BatchSocket, count: int) -> list[Datagram]:
    got: list[Datagram] = []
    end = time.monotonic() + 5
    while len(got) < count and time.monotonic() < end:
        got += batch.receive()
    return got


@pytest.fixture(params=["127.0.0.1", "::1", "0.0.0.0", "::"])
def server(request: pytest.FixtureRequest) -> Iterator[BatchSocket]:
    batch = BatchSocket(request.param, 0)
    yield batch
    batch.close()


def client_of(server: BatchSocket, address: str | None = None) -> socket.socket:
    sock = socket.socket(server.family, socket.SOCK_DGRAM)
    sock.settimeout(5)
    sock.connect((address or ("127.0.0.1" if server.family == socket.AF_INET else "::1"), server.port))
    return sock


def test_every_datagram_is_answered_to_its_sender(server: BatchSocket) -> None:
    with client_of(server) as one, client_of(server) as two:
        for number in range(100):
            (one if number % 2 else two).send(b"%d" % number)
        got = receive(server, 100)
        assert sorted(int(octets) for octets, _ in got) == list(range(100))
        server.send([(b"re" + octets, peer) for octets, peer in got])
        assert {one.recv(100) for _ in range(50)} == {b"re%d" % number for number in range(1, 100, 2)}
        assert {two.recv(100) for _ in range(50)} == {b"re%d" % number for number in range(0, 100, 2)}


def test_a_peer_says_address_and_port(server: BatchSocket) -> None:
    with client_of(server) as sock:
        sock.send(b"x")
        ((_, peer),) = receive(server, 1)
        address, port = source(peer)
        assert (str(address), port) == sock.getsockname()[:2]
        assert source_octets(peer) == address.packed


def test_a_wildcard_socket_answers_from_the_address_that_was_asked() -> None:
    server = BatchSocket("0.0.0.0", 0)
    try:
        with client_of(server, "127.0.0.9") as sock:  # connected: an answer from elsewhere would not arrive
            sock.send(b"x")
            server.send([(b"answer", peer) for _, peer in receive(server, 1)])
            assert sock.recv(100) == b"answer"
    finally:
        server.close()


def test_the_longest_packet_comes_whole(server: BatchSocket) -> None:
    with client_of(server) as sock:
        sock.send(bytes(4096))
        ((octets, peer),) = receive(server, 1)
        assert octets == bytes(4096)
        server.send([(octets, peer)])
        assert sock.recv(5000) == bytes(4096)


def test_nothing_waiting_is_an_empty_list(server: BatchSocket) -> None:
    assert server.receive() == []


def test_lost_datagrams_are_counted() -> None:
    server = BatchSocket("127.0.0.1", 0, receive_buffer_octets=4096)
    try:
        with client_of(server) as sock:
            for _ in range(200):
                sock.send(bytes(1000))
        assert server.kernel_drops() > 0
    finally:
        server.close()


def test_an_address_in_use_is_an_error() -> None:
    server = BatchSocket("127.0.0.1", 0)
    try:
        with pytest.raises(OSError, match="in use"):
            BatchSocket("127.0.0.1", server.port)
    finally:
        server.close()
