"""Pools, a disk and shorthands for the tests of the book."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from ipam.address import read_unit
from ipam.blocks import Block
from ipam.history import Chain, HistoryEvent, Party
from ipam.kinds import Kind
from ipam.lease import Bundle, Request, Wanted
from ipam.ledger import Batch, Fence, LeaseRow
from ipam.model import Pool, range_of
from ipam.store import Fenced

TENANT = "acme"


def pool(name: str, kind: Kind, *ranges: str, **settings: Any) -> Pool:
    """Return a pool of ranges given as text, with short times."""
    unit_length = {
        Kind.V4: 32,
        Kind.V6_NA: 128,
        Kind.V6_PREFIX: 64,
        Kind.PD: 56,
        Kind.SVLAN: 12,
        Kind.CVLAN: 12,
        Kind.CGN_BLOCK: 2000,
    }
    settings = {
        "unit_length": unit_length[kind],
        "hold_s": 30.0,
        "quarantine_s": 50.0,
        "min_reuse_s": 10.0,
        "decline_s": 200.0,
        "lease_s": 100.0,
        "tentative_s": 20.0,
        **settings,
    }
    made = Pool(tenant=TENANT, vrf="", name=name, kind=kind, ranges=(), **settings)
    for given in ranges:
        made = replace(made, ranges=(*made.ranges, range_of(given, made)))
    return made


def request(*wanted: Wanted, party: Party | None = None) -> Request:
    return Request(tenant=TENANT, wanted=wanted, party=party or Party())


def v4(*pools: str) -> Wanted:
    return Wanted(Kind.V4, pools)


def fixed(unit: str, kind: Kind = Kind.V4) -> Wanted:
    return Wanted(kind, unit=read_unit(unit))


def units(bundle: object) -> list[str]:
    """Return what a bundle leases, as text; fails where it is none."""
    assert isinstance(bundle, Bundle), bundle
    return [str(lease.unit) for lease in bundle.leases]


class Disk:
    """What a database keeps: a batch is written as a whole or not at all."""

    def __init__(self) -> None:
        self.rows: dict[tuple[str, str, int], LeaseRow] = {}
        self.events: dict[str, list[HistoryEvent]] = {}
        self.blocks: dict[tuple[str, int], tuple[str | None, Block]] = {}
        self.boots = 0

    def next_boot(self) -> int:
        self.boots += 1
        return self.boots

    def write(self, batch: Batch) -> None:
        lost = tuple(each for each in batch.fences if not self._owns(batch.book, each))
        if lost:
            raise Fenced(lost)
        for event in batch.events:
            self._belongs(event)
        chain = self.events.setdefault(batch.book, [])
        assert batch.events[0].seq == len(chain) + 1
        chain.extend(batch.events)
        for row in batch.rows:
            self.rows[row.tenant, row.pool, row.slot] = row

    def _belongs(self, event: HistoryEvent) -> None:
        """See that nobody writes history of a block that is not his."""
        for (pool, _), (owner, block) in self.blocks.items():
            if pool == event.change.pool and block.first_slot <= event.change.slot <= block.last_slot:
                assert (owner, block.generation) == (event.book, event.change.fence), "of another's block"

    def _owns(self, node: str, fence: Fence) -> bool:
        owner, block = self.blocks[fence.pool, fence.block]
        return owner == node and block.generation == fence.generation

    def chain_end(self, book: str) -> Chain:
        events = self.events.get(book)
        return Chain(book) if not events else Chain(book, events[-1].seq, events[-1].hash)

    def claim(self, node: str, pool: str, first_slot: int) -> Block:
        """Give a block to a node, whoever had it."""
        _, block = self.blocks[pool, first_slot]
        block = replace(block, generation=block.generation + 1)
        self.blocks[pool, first_slot] = node, block
        return block
