"""A feed in memory: checks objects as the real one does, keeps them, and holds what would take too much away."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from daemon.replica.records import Record
from daemon.sync.feed.digest import Buckets, bucket_of, object_digest, root_of
from daemon.sync.feed.model import (
    Applied,
    Batch,
    Brake,
    Digests,
    FeedStatus,
    Item,
    Nack,
    Op,
    Position,
    Refusal,
    Refused,
    Trailer,
)
from daemon.sync.records import BodyInvalid, to_record
from radius.dictionary import shipped

KINDS = frozenset({"subscriber", "plan", "nas", "staff"})
DICTIONARY = shipped()
Objects = dict[tuple[str, str], Any]


class FeedTwin:
    """Implements `Feed` as far as a source of tables needs it."""

    def __init__(self, kinds: frozenset[str] = KINDS) -> None:
        self.name, self.tenant, self.kinds = "radius", "demo", kinds
        self.position: Position | None = None
        self.brake: Brake | None = None
        self.objects: Objects = {}
        self.batches: list[Batch] = []
        self.snapshots = 0
        self.contacts: list[tuple[int | None, float | None]] = []
        self.wants_snapshot = False
        self._held: tuple[Position, Objects] | None = None

    async def apply(self, batch: Batch) -> Applied | Refused:
        assert self.position == Position(batch.epoch, batch.after)
        objects = dict(self.objects)
        for item in batch.items:
            if item.op is Op.DELETE:
                objects.pop((item.kind, item.id))
            else:
                objects[item.kind, item.id] = item.body
        self.batches.append(batch)
        return self._serve(Position(batch.epoch, batch.to), objects)

    async def snapshot(self, epoch: str, start_rev: int) -> StagingTwin:
        return StagingTwin(self, epoch, start_rev)

    def _serve(self, position: Position, objects: Objects) -> Applied | Refused:
        losses = len(self.objects.keys() - objects.keys())
        if losses > max(10, len(self.objects) // 10):
            self._held = position, objects
            self.brake = Brake(
                kind="subscriber",
                losses=losses,
                of=len(self.objects),
                since=0,
                epoch=position[0],
                rev=position[1],
            )
            return Refused(Refusal.BRAKE, f"{losses} would go", self.position)
        self.position, self.objects, self.wants_snapshot = position, objects, False
        return Applied(position)

    async def digests(self) -> Digests:
        assert self.position is not None
        sums = digests_of(self.objects)
        return Digests(self.position, sums, root_of(sums))

    async def repair(self, bucket: int, rev: int, items: Sequence[Item]) -> Applied | Refused:
        raise NotImplementedError

    async def nacks(self) -> list[Nack]:
        return []

    async def contact(self, head: int | None, server_time: float | None, asked_at: float, at: float) -> None:
        self.contacts.append((head, server_time))

    async def release_brake(self) -> Applied | Refused:
        assert self._held is not None
        (self.position, self.objects), self.brake, self._held = self._held, None, None
        return Applied(self.position)

    async def status(self) -> FeedStatus:
        return FeedStatus(
            name=self.name,
            tenant=self.tenant,
            kinds=(),
            position=self.position,
            head=None,
            contact_at=None,
            applied_at=None,
            skew_s=None,
            brake=self.brake,
            staging=None,
            wants_snapshot=self.wants_snapshot,
        )

    def records(self) -> tuple[list[Record], dict[tuple[str, str], str]]:
        """Return the records of what is served, and why which object has none."""
        records, refused = [], {}
        for (kind, key), body in self.objects.items():
            try:
                records.append(to_record(kind, self.tenant, key, dict(body), DICTIONARY))
            except BodyInvalid as error:
                refused[kind, key] = str(error)
        return records, refused

    def of(self, kind: str) -> dict[str, Any]:
        """Return the bodies of a kind by id."""
        return {key: body for (each, key), body in self.objects.items() if each == kind}


class StagingTwin:
    """A snapshot on its way."""

    resume_at = ""

    def __init__(self, feed: FeedTwin, epoch: str, start_rev: int) -> None:
        self._feed = feed
        self._epoch = epoch
        self.start_rev = start_rev
        self.pages: list[int] = []
        self._objects: Objects = {}

    async def add(self, items: Sequence[Item], cursor: str) -> None:
        self.pages.append(len(items))
        self._objects |= {(each.kind, each.id): each.body for each in items}

    async def finish(self, trailer: Trailer | None) -> Applied | Refused:
        assert trailer is not None
        assert trailer.digests == digests_of(self._objects)
        assert sum(trailer.counts.values()) == len(self._objects)
        self._feed.snapshots += 1
        return self._feed._serve(Position(self._epoch, self.start_rev), self._objects)

    async def drop(self) -> None:
        self._objects = {}


def digests_of(objects: Objects) -> tuple[bytes, ...]:
    """Return the digests of the buckets of these objects."""
    buckets = Buckets()
    for (kind, key), body in objects.items():
        buckets.toggle(bucket_of(kind, key), object_digest(kind, key, 1, body))
    return buckets.digests()
