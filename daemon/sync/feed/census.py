"""A whole snapshot before it is served: what it has, as its trailer says it, and what in it contradicts itself.

Reads the database by itself and blocks, so it runs in another process, or in a thread where little is to be read.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

from sqlalchemy import Connection

from daemon.replica.claims import fixed_of
from daemon.replica.codec import RecordUnreadable, kind_of, load, tenant_of
from daemon.replica.index import Index
from daemon.replica.records import Record, Staff, Subscriber, Tenant
from daemon.replica.standing import Standing
from daemon.store.feed_pages import look, reading, sums
from daemon.store.feed_rows import Place
from daemon.store.seal import Sealer
from daemon.sync.apply import ORDER
from daemon.sync.faults import Fault
from daemon.sync.feed.digest import Buckets
from daemon.sync.feed.intake import Refuse, refusal
from daemon.sync.feed.vet import vet
from daemon.sync.identities import SHARED, identities, taken
from daemon.sync.load import unrenderable
from daemon.sync.outlook import Key, Outlook
from daemon.sync.overlaps import overlaps

_PAGE = 500
_PARTS = 256  # sorted one after the other


class Task(NamedTuple):
    """What to look at. `beside` are records that stay beside the snapshot, `standing` what the address book has."""

    path: Path
    staged: Place
    served: Place
    beside: tuple[Record, ...]
    standing: tuple[Standing, ...]


class Census(NamedTuple):
    """What a snapshot has: objects by kind, digests by bucket; and what of it cannot come into force."""

    counts: dict[str, int]
    digests: tuple[bytes, ...]
    refused: tuple[tuple[str, str, Refuse], ...]


def take(task: Task, seal: Sealer) -> Census:
    """Look at everything that a snapshot has brought."""
    with reading(task.path) as connection:
        counts, buckets = _sums(connection, task.staged)
        refused = list(_Look(connection, task, seal).run())
    return Census(counts, buckets.digests(), tuple(refused))


def _sums(connection: Connection, place: Place) -> tuple[dict[str, int], Buckets]:
    counts: dict[str, int] = {}
    buckets = Buckets()
    for kind, bucket, digest in sums(connection, place):
        counts[kind] = counts.get(kind, 0) + 1
        buckets.toggle(bucket, digest)
    return counts, buckets


class _Look:
    """One look at all objects, kind by kind: the few of most kinds are held, of subscribers only what they claim."""

    def __init__(self, connection: Connection, task: Task, seal: Sealer) -> None:
        self._connection = connection
        self._task = task
        self._seal = seal
        self._marks = _Marks()
        self._twice: frozenset[int] = frozenset()
        self._index = Index()
        self._index.begin_load()  # no plan moves anybody: nobody is held
        self._index.standing = lambda: task.standing
        self._index.put(Tenant(id=task.staged.tenant))
        for record in sorted(task.beside, key=lambda each: ORDER[type(each)]):
            if tenant_of(record) not in self._index.tenants:
                self._index.put(Tenant(id=tenant_of(record)))
            self._put(record)

    def run(self) -> Iterator[tuple[str, str, Refuse]]:
        for kind in ("tenant", "nas", "plan", "pool", "selector", "subscriber", "staff"):
            for page in self._pages(kind):
                for key, fault in self._page(page):
                    yield key[0], key[2], refusal(fault)
        self._twice = self._marks.twice()
        if self._twice:
            yield from self._taken()

    def _pages(self, kind: str) -> Iterator[dict[Key, Record]]:
        """Yield the records of a kind, first those that are served so already: what they have they keep."""
        for same in (True, False):
            pages = look(self._connection, self._task.staged, self._task.served, kind, same=same, page=_PAGE)
            for rows in pages:
                page: dict[Key, Record] = {}
                for row in rows:
                    try:
                        page[kind, self._task.staged.tenant, row.id] = load(kind, row.body, self._seal)
                    except RecordUnreadable:
                        continue  # it is told where it is to be served
                yield page

    def _page(self, page: dict[Key, Record]) -> list[tuple[Key, Fault]]:
        if not any(isinstance(record, (Subscriber, Staff)) for record in page.values()):
            found = [each for each in vet(self._index, page, frozenset(), unrenderable) if each is not None]
        else:
            outlook = Outlook(self._index, page.keys(), page, False)
            first: dict[Key, Fault] = {}
            for key, fault in overlaps(self._index, outlook, page, ()):
                first.setdefault(key, fault)
            found = list(first.items())
        refused = {key for key, _ in found}
        for key, record in page.items():
            if key not in refused:
                self._put(record)
        return found

    def _put(self, record: Record) -> None:
        if not isinstance(record, (Subscriber, Staff)):
            self._index.put(record)
            return
        if isinstance(record, Subscriber) and record.personal:
            tenant = self._index.tenants[record.tenant]
            for each in fixed_of(record):
                tenant.claims.put(tenant.vrf_of(record), each.unit, record.id)
        for field, value in _sole(record):
            self._marks.add(hash((field, value)))

    def _taken(self) -> Iterator[tuple[str, str, Refuse]]:
        """Look again, for what came twice, at who has it."""
        owners: dict[tuple[str, str], str] = {}
        for kind in ("subscriber", "staff"):
            for page in self._pages(kind):
                for key, record in page.items():
                    assert isinstance(record, (Subscriber, Staff))
                    for field, value in _sole(record):
                        if hash((field, value)) not in self._twice:
                            continue
                        owner = owners.setdefault((field, value), key[2])
                        if owner != key[2]:
                            fault = taken(record, field.rpartition("/")[2], value, owner)
                            yield kind, key[2], refusal(fault)
                            break


class _Marks:
    """Hashes of which it is to be told which came twice: eight octets each, for there may be millions."""

    def __init__(self) -> None:
        self._parts = [array("q") for _ in range(_PARTS)]

    def add(self, mark: int) -> None:
        """Note a hash."""
        self._parts[mark % _PARTS].append(mark)

    def twice(self) -> frozenset[int]:
        """Return the hashes that came more than once, and forget all of them."""
        found: set[int] = set()
        for part in self._parts:
            found.update(a for a, b in pairwise(sorted(part)) if a == b)
            del part[:]
        return frozenset(found)


def _sole(record: Subscriber | Staff) -> Iterator[tuple[str, str]]:
    """Yield what nobody else may have, by kind and field."""
    for field, value in identities(record):
        if field not in SHARED:
            yield f"{kind_of(record)}/{field}", value


def beside(index: Index, tenant: str, owned: frozenset[str]) -> tuple[Record, ...]:
    """Return the records that a snapshot of `owned` kinds of a tenant has to get on with.

    Those are what operators have loaded of other kinds of the tenant, and the NASes of all tenants. Subscribers are
    only looked at where somebody else brings pools or addresses, so of others than these none is needed.
    """
    found: list[Record] = []
    for name, known in index.tenants.items():
        found += known.nases.values() if name != tenant or "nas" not in owned else ()
        if name != tenant:
            continue
        found += [known.tenant] if "tenant" not in owned else []
        found += known.plans.values() if "plan" not in owned else ()
        found += known.pools.values() if "pool" not in owned else ()
        found += (
            [each for each in known.subscribers.values() if each.personal]
            if "subscriber" not in owned
            else []
        )
    return tuple(found)
