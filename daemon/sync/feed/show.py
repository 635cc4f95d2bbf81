"""What is durable becomes visible: records of one feed into the index, what comes before what goes."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from functools import partial

from daemon.clock import Clock
from daemon.replica.codec import RecordUnreadable, kind_of, load
from daemon.replica.index import Index, Key
from daemon.replica.records import Record, Tenant
from daemon.store import feed_finds, feed_rows
from daemon.store.feed_finds import Stored
from daemon.store.feed_rows import Place
from daemon.store.seal import Sealer
from daemon.sync.apply import ORDER, TYPES
from daemon.sync.feed.ledger import Ledger
from daemon.sync.feed.pending import PendingTable
from daemon.sync.feed.slices import Slices

_PAGE = 500
_TOLD_MOST = 20_000  # changed subscribers; of more it is told that anything of the tenant may have changed
_KINDS = tuple(TYPES)

OnChange = Callable[[Sequence[Key]], None]


class Show:
    """Changes the index for one feed, and tells the others what has changed."""

    def __init__(
        self,
        index: Index,
        tenant: str,
        seal: Sealer,
        clock: Clock,
        pending: PendingTable,
        on_change: OnChange,
    ) -> None:
        self._index = index
        self._tenant = tenant
        self._seal = seal
        self._clock = clock
        self._pending = pending
        self._on_change = on_change
        self._changed: list[Key] = []
        self._beyond = False  # more has changed than is told one by one

    def ready(self) -> None:
        """See to it that the tenant is there, whether or not anybody has brought its own object."""
        if self._tenant not in self._index.tenants:
            self._index.put(Tenant(id=self._tenant))

    async def change(self, records: Sequence[Record], gone: Sequence[tuple[str, str]]) -> None:
        """Show records in the order in which they refer to each other; what goes goes last, in the other order."""
        ordered = sorted(records, key=lambda record: ORDER[type(record)])
        doomed = sorted(gone, key=lambda name: -_KINDS.index(name[0]))

        async def work(slices: Slices) -> None:
            await slices.each(ordered, self._put)
            await slices.each(doomed, lambda name: self._remove(*name))

        await self._whole(work)

    async def generation(self, ledger: Ledger, before: Place, owned: Sequence[str]) -> None:
        """Bring the index from one generation to the one that is served now: only what differs is read."""
        now, engine = ledger.place, ledger.engine

        async def work(slices: Slices) -> None:
            for kind in _KINDS:
                after = ""
                while rows := await feed_finds.differing(engine, before, now, kind, after, _PAGE):
                    await slices.each(rows, partial(self._read, kind))
                    after = rows[-1].id
            for kind in reversed(_KINDS):
                after = ""
                while ids := await feed_rows.vanished(engine, before, now, owned, kind, after, _PAGE):
                    await slices.each(ids, partial(self._remove, kind))
                    after = ids[-1]

        await self._whole(work)

    async def _whole(self, work: Callable[[Slices], Awaitable[None]]) -> None:
        """Do work as one load: others are told when all of it is there."""
        slices = Slices(self._clock.monotonic)
        self._changed, self._beyond = [], False
        self._index.begin_load()
        try:
            await work(slices)
            await slices.exhaust(self._index.settle())
        finally:
            self._index.loaded_at = self._clock.wall()
            try:
                if self._beyond:
                    self._changed.append((self._tenant, "tenant", self._tenant))
                if self._changed:
                    self._on_change(self._changed)
            finally:
                self._changed = []
                self._index.end_load()

    def _put(self, record: Record) -> None:
        self._index.put(record)
        self._pending.put(record)
        self._note(kind_of(record), record.id)

    def _read(self, kind: str, row: Stored) -> None:
        try:
            record = load(kind, row.body, self._seal)
        except RecordUnreadable:
            self._index.unreadable.add((self._tenant, kind, row.id))
            return
        self._put(record)

    def _remove(self, kind: str, key: str) -> None:
        if kind == "tenant":
            self._index.put(Tenant(id=self._tenant))  # what others say of it goes on being served
        else:
            self._index.remove(TYPES[kind], self._tenant, key)
        self._pending.removed((kind, key))
        self._note(kind, key, always=True)

    def _note(self, kind: str, key: str, *, always: bool = False) -> None:
        if always or kind != "subscriber" or len(self._changed) < _TOLD_MOST:
            self._changed.append((self._tenant, kind, key))
        else:
            self._beyond = True


def by_key(tenant: str, records: Sequence[Record]) -> Mapping[tuple[str, str, str], Record]:
    """Return records by kind, tenant and id, in their order."""
    return {(kind_of(record), tenant, record.id): record for record in records}
