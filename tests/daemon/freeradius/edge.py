"""Our request path on a real port of loopback, with the records that a feed has brought."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager

from daemon.aaa.endpoint import Endpoint, Port
from daemon.replica.records import Record
from radius.duplicates import Duplicates
from radius.udp import BatchSocket
from tests.daemon.stack import Stack


@contextmanager
def edge(records: Iterable[Record]) -> Iterator[tuple[Stack, int]]:
    """Yield a stack that listens while the loop runs, and its port."""
    stack = Stack(*records)
    stack.at = time.time()
    sock = BatchSocket("127.0.0.1", 0)
    endpoint = Endpoint(
        Port.AUTH,
        sock,
        Duplicates(15.0, stack.now),
        stack.conductor.handle,
        lambda drop: stack.counts.add(0, "unknown", "drop", drop),
    )
    endpoint.start()
    try:
        yield stack, sock.port
    finally:
        endpoint.stop()
        endpoint.close()
