"""What there will be once a document is applied: its own objects, and what the replica keeps beside them."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from functools import cached_property

from daemon.replica.index import Index, TenantIndex
from daemon.replica.pools import PoolSpec
from daemon.replica.records import Nas, Record, Tenant

Key = tuple[str, str, str]  # kind, tenant, id


class Outlook:
    """Looks at a document's objects before they are applied.

    `objects` are the keys of all of them, `records` the records of those that are right by themselves; both may
    grow until the first question. With `replace`, what the document's tenants have in the replica is about to go.
    """

    def __init__(
        self, index: Index, objects: Collection[Key], records: Mapping[Key, Record], replace: bool
    ) -> None:
        self._index = index
        self._objects = objects
        self._records = records
        self._replace = replace
        self._sites: dict[str, frozenset[str]] = {}

    @cached_property
    def tenants(self) -> frozenset[str]:
        """The tenants that the document's objects belong to."""
        return frozenset(tenant for _, tenant, _ in self._objects)

    def exists(self, key: Key) -> bool:
        """Tell whether an object will be there, right or wrong."""
        kind, tenant, name = key
        if key in self._objects:
            return True
        known = self._index.tenants.get(tenant)
        if known is None or kind == "tenant":
            return known is not None
        return name in _names(known, kind) and self.stays(key)

    def stays(self, key: Key) -> bool:
        """Tell whether what the replica has is neither replaced by the document nor about to go."""
        return key not in self._objects and not (self._replace and key[1] in self.tenants)

    def ids(self, kind: str, tenant: str) -> list[str]:
        """Return the ids of all plans, NASes or pools that a tenant will have, for a hint."""
        known = self._index.tenants.get(tenant)
        stored = [] if known is None else list(_names(known, kind))
        kept = [name for name in stored if self.stays((kind, tenant, name))]
        return kept + [key for each, owner, key in self._objects if (each, owner) == (kind, tenant)]

    def tenant(self, name: str) -> Tenant | None:
        """Return the record of a tenant as it will be; None where it is wrong or not there."""
        key = ("tenant", name, name)
        if key in self._objects:
            record = self._records.get(key)
            return record if isinstance(record, Tenant) else None
        known = self._index.tenants.get(name)
        return None if known is None else known.tenant

    def stored(self, key: Key) -> Record | None:
        """Return what the replica has of a plan, NAS, pool or subscriber, whether it stays or not."""
        kind, tenant, name = key
        known = self._index.tenants.get(tenant)
        if known is None or kind not in ("plan", "nas", "pool", "subscriber"):
            return None
        return known.subscribers.get(name) if kind == "subscriber" else _names(known, kind).get(name)

    def pool(self, tenant: str, name: str) -> PoolSpec | None:
        """Return the record of a pool as it will be; None where it is wrong or not there."""
        key = ("pool", tenant, name)
        record = self._records.get(key) if key in self._objects else self.stored(key)
        return record if isinstance(record, PoolSpec) else None

    def nases(self, tenant: str) -> Iterator[Nas]:
        """Yield the NASes that a tenant will have, those of the document first."""
        for record in self._records.values():
            if isinstance(record, Nas) and record.tenant == tenant:
                yield record
        known = self._index.tenants.get(tenant)
        for nas in list(known.nases.values()) if known is not None else ():
            if self.stays(("nas", tenant, nas.id)):
                yield nas

    def vendors(self, tenant: str) -> dict[str, Nas]:
        """Return one NAS of each vendor that a tenant will have, those of the document first."""
        found: dict[str, Nas] = {}
        for nas in self.nases(tenant):
            found.setdefault(nas.vendor, nas)
        return found

    def sites(self, tenant: str) -> frozenset[str]:
        """Return the sites of a tenant's NASes."""
        if tenant not in self._sites:
            self._sites[tenant] = frozenset(nas.site for nas in self.nases(tenant) if nas.site is not None)
        return self._sites[tenant]


def _names(known: TenantIndex, kind: str) -> Mapping[str, Record]:
    tables: dict[str, Mapping[str, Record]] = {"plan": known.plans, "nas": known.nases, "pool": known.pools}
    return tables[kind]
