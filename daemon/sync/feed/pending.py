"""Objects in force that name a plan or a pool which is not there yet."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from daemon.replica.codec import kind_of
from daemon.replica.index import Index, TenantIndex
from daemon.replica.pools import SelectorSpec
from daemon.replica.records import Record, Subscriber
from daemon.sync.feed.model import Pending
from daemon.sync.references import names

_MOST = 100_000  # so many are kept by name; more than that are counted no further
_WANTED = frozenset({"plan", "pool"})

_Name = tuple[str, str]  # kind, id


class PendingTable:
    """The pending objects of one feed, kept up with each change of the index."""

    def __init__(self, index: Index, tenant: str) -> None:
        self._index = index
        self._tenant = tenant
        self._wants: dict[_Name, tuple[_Name, ...]] = {}
        self._wanted: dict[_Name, set[_Name]] = {}
        self._more = False  # there are more than are kept
        self.stale = True  # a plan or pool has gone, or nothing was looked at yet: `scan` is needed

    def put(self, record: Record) -> None:
        """Note a record that the index has got; whoever waited for it waits no longer."""
        name = (kind_of(record), record.id)
        self._forget(name)
        if name[0] in _WANTED:
            self.arrived(name)
        known = self._index.tenants.get(self._tenant)
        missing = () if known is None else tuple(_missing(known, record))
        if not missing:
            return
        if len(self._wants) >= _MOST:
            self._more = True
            return
        self._wants[name] = missing
        for each in missing:
            self._wanted.setdefault(each, set()).add(name)

    def arrived(self, name: _Name) -> None:
        """Note that a plan or pool is there."""
        self.stale = self.stale or self._more
        for waiting in self._wanted.pop(name, ()):
            left = tuple(each for each in self._wants[waiting] if each != name)
            if left:
                self._wants[waiting] = left
            else:
                del self._wants[waiting]

    def removed(self, name: _Name) -> None:
        """Note that an object is gone; of a plan or pool, others may miss it now."""
        self._forget(name)
        self.stale = self.stale or name[0] in _WANTED

    def _forget(self, name: _Name) -> None:
        for each in self._wants.pop(name, ()):
            waiting = self._wanted.get(each, set())
            waiting.discard(name)
            if not waiting:
                self._wanted.pop(each, None)

    def scan(self, kinds: frozenset[str]) -> Iterator[None]:
        """Look at all objects of the feed again; a pause after each."""
        self.stale = self._more = False
        self._wants.clear()
        self._wanted.clear()
        known = self._index.tenants.get(self._tenant)
        if known is None:
            return
        selectors = [SelectorSpec(selector=each) for each in known.selectors.values()]
        tables: tuple[Iterable[Record], ...] = (
            known.plans.values(),
            known.subscribers.values(),
            known.pools.values(),
            selectors,
        )
        for kind, table in zip(("plan", "subscriber", "pool", "selector"), tables, strict=True):
            for record in list(table) if kind in kinds else ():
                self.put(record)
                yield

    def count(self, kind: str) -> int:
        """Return how many objects of a kind are pending."""
        return sum(name[0] == kind for name in self._wants)

    def all(self) -> list[Pending]:
        """Return what is pending, one entry for each thing that an object misses."""
        return [
            Pending(kind, key, *each)
            for (kind, key), missing in sorted(self._wants.items())
            for each in missing
        ]


def _missing(known: TenantIndex, record: Record) -> Iterator[_Name]:
    if isinstance(record, Subscriber):  # there may be a million
        if record.plan is not None and record.plan not in known.plans:
            yield "plan", record.plan
        return
    for kind, key in dict.fromkeys(names(record)):
        if key not in (known.plans if kind == "plan" else known.pools):
            yield kind, key
