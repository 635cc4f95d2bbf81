"""A run of events as a sink carries it: the JSON of each, and the hash of the chain after each."""

from __future__ import annotations

import asyncio
from hashlib import sha256
from typing import NamedTuple

from daemon.sync.outbox.envelope import Envelopes
from daemon.sync.outbox.model import Delivery, Incarnation

_SLICE = 60
"""Events that are written in one go: a sixth of a millisecond."""


class Run(NamedTuple):
    """Events of a delivery that follow each other: `first` is the number on the wire of the first of them."""

    first: int
    before_hash: bytes
    texts: list[bytes]  # JSON, one an event
    hashes: list[bytes]  # of the chain, after each event

    @property
    def last(self) -> int:
        """The number on the wire of the last event."""
        return self.first + len(self.texts) - 1

    def hash_at(self, seq: int) -> bytes:
        """Return the hash of the chain after a number, which is one of the run or the one before it."""
        return self.hashes[seq - self.first] if seq >= self.first else self.before_hash


async def run_of(
    delivery: Delivery, first: int, before_hash: bytes, *, most_octets: int, most_events: int
) -> Run:
    """Encode events of a delivery from number `first` on, up to a size of their JSON, one at the least.

    `before_hash` is that of the chain before them. Logins are let in between. Behind the last event, it is empty.
    """
    incarnation = Incarnation(delivery.incarnation, delivery.events[0].seq - delivery.first)
    encode = Envelopes(delivery.edge, delivery.stream, incarnation).encode
    start = first - delivery.first
    run = Run(first, before_hash, [], [])
    size, chain, hashes = 0, before_hash, delivery.hashes
    for i, event in enumerate(delivery.events[start : start + most_events]):
        if i % _SLICE == _SLICE - 1:
            await asyncio.sleep(0)
        text = encode(event).encode()
        size += len(text) + 1
        if run.texts and size > most_octets:
            break
        chain = hashes[start + i] if hashes else sha256(chain + event.fact).digest()
        run.texts.append(text)
        run.hashes.append(chain)
    return run
