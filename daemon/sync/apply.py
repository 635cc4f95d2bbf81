"""The one writer of the replica: records that have been validated become durable, then visible.

A large load goes in slices of a few hundred, so that accounting and logins do not wait behind it; plans go
before the subscribers that name them. A crash between two slices leaves a prefix, which loading again completes.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from sqlalchemy.ext.asyncio import AsyncConnection

from daemon.clock import Clock
from daemon.replica import store
from daemon.replica.codec import kind_of, tenant_of
from daemon.replica.index import Index, Key
from daemon.replica.pools import PoolSpec, SelectorSpec
from daemon.replica.records import Nas, Plan, Record, Staff, Subscriber, Tenant
from daemon.store.seal import Sealer
from daemon.store.writer import Writer
from daemon.sync.owners import Owners

_SLICE = 500
TYPES: dict[str, type[Record]] = {
    "tenant": Tenant,
    "plan": Plan,
    "nas": Nas,
    "subscriber": Subscriber,
    "staff": Staff,
    "pool": PoolSpec,
    "selector": SelectorSpec,
}
ORDER = {made: place for place, made in enumerate(TYPES.values())}


@dataclass(frozen=True, slots=True)
class Applied:
    """What a load changed, by kind: new, different, the same as before, removed."""

    added: dict[str, int]
    changed: dict[str, int]
    unchanged: dict[str, int]
    removed: dict[str, int]


class Apply:
    """Makes changes to the replica."""

    def __init__(
        self,
        index: Index,
        writer: Writer,
        seal: Sealer,
        clock: Clock,
        on_change: Callable[[Sequence[Key]], None] | None = None,
        owners: Owners | None = None,
    ) -> None:
        """`on_change` is told, once a load is there as a whole, the keys of everything that it changed.

        `owners` are the feeds that bring objects; those are theirs alone, and take turns with us.
        """
        self._on_change = on_change
        self._index = index
        self._writer = writer
        self._seal = seal
        self._clock = clock
        self.owners = Owners() if owners is None else owners

    async def load(self, records: Sequence[Record], *, replace: bool, dry_run: bool = False) -> Applied:
        """Store and show `records`; with `replace`, what their tenants have besides is removed.

        With `dry_run` only the comparison is made. What feeds bring stays as it is. Raises StoreUnavailable: what was
        not stored is not shown either; and OwnedByFeed, where a record is of a kind that a feed brings.
        """
        for record in records:
            self.owners.refuse(tenant_of(record), kind_of(record))
        async with self.owners.turn:
            ordered = sorted(records, key=lambda record: ORDER[type(record)])
            applied, differing = await self._compare(ordered)
            doomed = await self._absent(ordered) if replace else []
            for _, kind, _ in doomed:
                applied.removed[kind] = applied.removed.get(kind, 0) + 1
            if dry_run or not (differing or doomed):
                return applied
            await self._write_all(differing, doomed)
            await asyncio.sleep(0)  # one load after another must not keep waiting who waits for a whole one
            return applied

    async def _write_all(self, differing: Sequence[Record], doomed: Sequence[Key]) -> None:
        """Write and show all of it, what goes last: nobody is for a moment without the plan that he leaves."""
        at = self._clock.wall()
        changed: list[Key] = []
        self._index.begin_load()
        try:
            for start in range(0, len(differing), _SLICE):
                some = differing[start : start + _SLICE]
                await self._write(some, [], at)
                changed += [(tenant_of(each), kind_of(each), each.id) for each in some]
            for start in range(0, len(doomed), _SLICE):
                await self._write([], doomed[start : start + _SLICE], at)
                changed += doomed[start : start + _SLICE]
            for _ in self._index.settle():
                await asyncio.sleep(0)
        finally:
            self._index.loaded_at = at
            if self._on_change is not None:
                self._on_change(changed)
            self._index.end_load()

    async def _compare(self, records: Sequence[Record]) -> tuple[Applied, list[Record]]:
        applied = Applied({}, {}, {}, {})
        differing: list[Record] = []
        for i, record in enumerate(records):
            old = self.find((tenant_of(record), kind_of(record), record.id))
            counts = applied.added if old is None else applied.unchanged if old == record else applied.changed
            counts[kind_of(record)] = counts.get(kind_of(record), 0) + 1
            if old is None or old != record:
                differing.append(record)
            if i % _SLICE == _SLICE - 1:
                await asyncio.sleep(0)
        return applied, differing

    async def _absent(self, records: Sequence[Record]) -> list[Key]:
        """Return the keys of what the tenants named in `records` have and `records` have not, readable or not.

        What a feed has brought is not meant.
        """
        owned = self.owners.feed_of
        named = {(tenant_of(record), kind_of(record), record.id) for record in records}
        tenants = {tenant for tenant, _, _ in named}
        keys = [
            key
            for key in self._index.unreadable
            if key[0] in tenants and key[1] in TYPES and key[1] != "tenant" and key not in named
            if owned(*key[:2]) is None
        ]
        for i, record in enumerate(self._index.records()):
            key = (tenant_of(record), kind_of(record), record.id)
            if key[0] in tenants and key[1] != "tenant" and key not in named and owned(*key[:2]) is None:
                keys.append(key)
            if i % _SLICE == _SLICE - 1:
                await asyncio.sleep(0)
        return keys

    async def _write(self, records: Sequence[Record], doomed: Sequence[Key], at: float) -> None:
        """Make one slice durable, then visible."""

        async def write(connection: AsyncConnection) -> None:
            await store.remove(connection, doomed)
            await store.save(connection, records, self._seal, at)

        await self._writer.commit(write)
        for tenant, kind, key in doomed:
            self._index.remove(TYPES[kind], tenant, key)
        for record in records:
            self._index.put(record)

    def find(self, key: Key) -> Record | None:
        """Return the record that the replica has under a key."""
        tenant, kind, name = key
        known = self._index.tenants.get(tenant)
        if known is None:
            return None
        if kind == "tenant":
            return known.tenant
        if kind == "selector":
            selector = known.selectors.get(name)
            return None if selector is None else SelectorSpec(selector=selector)
        tables: dict[str, Mapping[str, Record]] = {
            "plan": known.plans,
            "nas": known.nases,
            "subscriber": known.subscribers,
            "staff": known.staff_by_id,
            "pool": known.pools,
        }
        return tables[kind].get(name)
