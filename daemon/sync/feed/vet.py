"""Objects of a batch beside each other and beside the replica: what another one has, the later one does not get.

Names of what is not there are no fault here: the platform may bring it later.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping

from daemon.replica.index import Index
from daemon.replica.records import Record
from daemon.sync.faults import Fault
from daemon.sync.identities import SHARED, taken_identities, taken_prefixes
from daemon.sync.outlook import Key, Outlook
from daemon.sync.overlaps import overlap_steps
from daemon.sync.references import unknown_references
from daemon.sync.renderable import Unrenderable, unrenderable_plans

Found = tuple[Key, Fault]

_PASSES = 8
LATER = frozenset({"unknown-plan", "unknown-pool"})
"""Faults of an object that goes into force all the same: what it names may come."""
IN_THE_WAY = frozenset({"taken", "overlap", "pool-of-other-kind", "unrenderable"})
"""Faults that are gone when others have changed: such objects are tried again."""


class BatchOutlook(Outlook):
    """What there will be after a batch; `gone` are the keys of what it deletes."""

    def __init__(
        self, index: Index, objects: Collection[Key], records: Mapping[Key, Record], gone: frozenset[Key]
    ) -> None:
        super().__init__(index, objects, records, False)
        self._gone = gone

    def exists(self, key: Key) -> bool:
        """Tell whether an object will be there."""
        return key not in self._gone and super().exists(key)

    def stays(self, key: Key) -> bool:
        """Tell whether what the replica has is left as it is."""
        return key not in self._gone and super().stays(key)


def vet(
    index: Index, records: Mapping[Key, Record], gone: frozenset[Key], unrenderable: Unrenderable | None
) -> Iterator[Found | None]:
    """Yield the objects that cannot come into force, each with the first reason; None is a pause.

    The first in `records` keep what several claim. What is refused leaves its stored form in force, which may be in
    the way of others: then all is looked at again without it.
    """
    left = dict(records)
    for _ in range(_PASSES):
        outlook = BatchOutlook(index, left.keys(), left, gone)
        refused: dict[Key, Fault] = {}
        for found in _look(index, outlook, left, unrenderable):
            if found is not None and found[0] not in refused:
                refused[found[0]] = found[1]
                yield found
            else:
                yield None
        for key in refused:
            del left[key]
        if not refused or not any(_stored(index, key) for key in refused):
            return
    for key in left:
        yield (
            key,
            Fault((), "overlap", "a claim beside objects that were refused", "objects that fit together"),
        )


def _look(
    index: Index, outlook: Outlook, records: Mapping[Key, Record], unrenderable: Unrenderable | None
) -> Iterator[Found | None]:
    bad: set[Key] = set()
    for found in taken_identities(index, outlook, records):
        if found is None or found[1].path[0] not in SHARED:
            yield found
            bad.update(() if found is None else found[:1])
    for other in taken_prefixes(index, outlook, records):
        yield other
        bad.add(other[0])
    for key, record in records.items():
        for fault in unknown_references(record, outlook):
            if fault.slug not in LATER:
                yield key, fault
                bad.add(key)
        yield None
    if unrenderable is not None:
        for key, fault, by_all in unrenderable_plans(records, outlook, unrenderable):
            if by_all:
                yield key, fault
                bad.add(key)
    yield from overlap_steps(index, outlook, records, bad)


def _stored(index: Index, key: Key) -> bool:
    kind, tenant, name = key
    known = index.tenants.get(tenant)
    if known is None:
        return False
    tables: Mapping[str, Collection[str]] = {
        "subscriber": known.subscribers,
        "staff": known.staff_by_id,
        "plan": known.plans,
        "nas": known.nases,
        "pool": known.pools,
        "selector": known.selectors,
    }
    return name in tables.get(kind, ())
