"""The replica in memory: every question of the request path is one dictionary look-up.

`generation` rises with each change, so that what was derived from records can be thrown away.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from ipaddress import ip_address

from daemon.replica.records import Nas, Plan, Record, Subscriber, Tenant

_CACHE_MOST = 50_000


class TenantIndex:
    """The records of one tenant."""

    __slots__ = ("circuits", "macs", "nases", "plans", "remotes", "subscribers", "tenant", "usernames")

    def __init__(self, tenant: Tenant) -> None:
        self.tenant = tenant
        self.plans: dict[str, Plan] = {}
        self.nases: dict[str, Nas] = {}
        self.subscribers: dict[str, Subscriber] = {}
        self.usernames: dict[bytes, Subscriber] = {}
        self.macs: dict[str, Subscriber] = {}
        self.circuits: dict[bytes, Subscriber] = {}
        self.remotes: dict[bytes, Subscriber] = {}

    def put_subscriber(self, subscriber: Subscriber) -> None:
        """Add or replace a subscriber and everything it is found by."""
        old = self.subscribers.get(subscriber.id)
        if old is not None:
            self.remove_subscriber(old)
        self.subscribers[subscriber.id] = subscriber
        for name in subscriber.usernames:
            self.usernames[name.encode()] = subscriber
        for mac in subscriber.macs:
            self.macs[mac] = subscriber
        if subscriber.circuit_id is not None:
            self.circuits[subscriber.circuit_id.encode()] = subscriber
        if subscriber.remote_id is not None:
            self.remotes[subscriber.remote_id.encode()] = subscriber

    def remove_subscriber(self, subscriber: Subscriber) -> None:
        """Forget a subscriber; what another subscriber has taken over meanwhile stays."""
        del self.subscribers[subscriber.id]
        for name in subscriber.usernames:
            if self.usernames.get(name.encode()) is subscriber:
                del self.usernames[name.encode()]
        for mac in subscriber.macs:
            if self.macs.get(mac) is subscriber:
                del self.macs[mac]
        for table, text in ((self.circuits, subscriber.circuit_id), (self.remotes, subscriber.remote_id)):
            if text is not None and table.get(text.encode()) is subscriber:
                del table[text.encode()]


class Index:
    """All tenants, and which NAS an address belongs to."""

    def __init__(self) -> None:
        self.tenants: dict[str, TenantIndex] = {}
        self.generation = 0
        self.nas_generation = 0
        self.loaded_at: float | None = None  # when the data last changed, epoch seconds
        self._networks: dict[
            tuple[int, int], dict[int, Nas]
        ] = {}  # (version, prefix length) -> network -> NAS
        self._lengths: dict[int, list[int]] = {4: [], 6: []}
        self._found: dict[bytes, Nas | None] = {}
        self._stale = False

    def put(self, record: Record) -> None:
        """Add or replace one record. Its tenant must be there, unless it is the tenant itself."""
        self.generation += 1
        if isinstance(record, Tenant):
            known = self.tenants.get(record.id)
            if known is None:
                self.tenants[record.id] = TenantIndex(record)
            else:
                known.tenant = record
            return
        tenant = self.tenants[record.tenant]
        if isinstance(record, Subscriber):
            tenant.put_subscriber(record)
        elif isinstance(record, Plan):
            tenant.plans[record.id] = record
        else:
            tenant.nases[record.id] = record
            self._nases_changed()

    def remove(self, kind: type[Record], tenant: str, key: str) -> None:
        """Forget one record; nothing happens where there is none."""
        index = self.tenants.get(tenant)
        if index is None:
            return
        self.generation += 1
        if kind is Subscriber and key in index.subscribers:
            index.remove_subscriber(index.subscribers[key])
        elif kind is Plan:
            index.plans.pop(key, None)
        elif kind is Nas and index.nases.pop(key, None) is not None:
            self._nases_changed()
        elif kind is Tenant:
            del self.tenants[tenant]
            self._nases_changed()

    def _nases_changed(self) -> None:
        """Forget what was looked up; the table is made again at the next look-up, once for many changes."""
        self.nas_generation += 1
        self._found = {}
        self._stale = True

    def _rebuild_networks(self) -> None:
        self._stale = False
        self._networks = {}
        for nas in self.nases():
            for network in nas.prefixes:
                place = self._networks.setdefault((network.version, network.prefixlen), {})
                place[int(network.network_address)] = nas
        for version in (4, 6):
            lengths = {length for each, length in self._networks if each == version}
            self._lengths[version] = sorted(lengths, reverse=True)

    def find_nas(self, address: bytes) -> Nas | None:
        """Return the NAS whose prefix holds the address (4 or 16 octets); the longest prefix wins."""
        try:
            return self._found[address]
        except KeyError:
            nas = self._find_nas(address)
            if len(self._found) >= _CACHE_MOST:
                self._found.clear()
            self._found[address] = nas
            return nas

    def _find_nas(self, address: bytes) -> Nas | None:
        if self._stale:
            self._rebuild_networks()
        size = len(address) * 8
        version = 4 if size == 32 else 6
        number = int.from_bytes(address, "big")
        for length in self._lengths[version]:
            nas = self._networks[(version, length)].get(number >> (size - length) << (size - length))
            if nas is not None:
                return nas
        return None

    def nases(self) -> Iterator[Nas]:
        """Yield every NAS."""
        for tenant in self.tenants.values():
            yield from tenant.nases.values()

    def count(self) -> dict[str, int]:
        """Return how many records there are by kind."""
        tenants = self.tenants.values()
        return {
            "tenant": len(self.tenants),
            "nas": sum(len(each.nases) for each in tenants),
            "plan": sum(len(each.plans) for each in tenants),
            "subscriber": sum(len(each.subscribers) for each in tenants),
        }

    def records(self) -> Iterable[Record]:
        """Yield every record, tenants first, so that putting them in this order works."""
        for index in self.tenants.values():
            yield index.tenant
            yield from index.nases.values()
            yield from index.plans.values()
            yield from index.subscribers.values()


def address_octets(text: str) -> bytes:
    """Return the 4 or 16 octets of an address; raises ValueError for anything else."""
    return ip_address(text).packed
