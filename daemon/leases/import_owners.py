"""Who the owner in an address book of another server is here: a subscriber, or nobody that is known."""

from __future__ import annotations

from ipaddress import ip_address
from typing import NamedTuple

from daemon.leases.import_model import OwnerKey
from daemon.replica.index import Index, TenantIndex
from daemon.replica.records import Nas, Subscriber
from ipam.history import Party
from ipam.imports.wire import Item
from radius.line import canonical_mac


class Who(NamedTuple):
    """An owner: the subscriber if there is one, what the book is to know it by, and what is known of the line."""

    subscriber: Subscriber | None
    key: str
    party: Party


class Owners:
    """The owners of one tenant."""

    def __init__(self, index: Index, tenant: TenantIndex, key_of: OwnerKey) -> None:
        self._index = index
        self._tenant = tenant
        self._key_of = key_of
        self._nases: dict[str, Nas | None] = {}

    def find(self, item: Item) -> Who | None:
        """Return the owner of a row; None where it names a subscriber by an id that nobody has.

        Looked for by user name (without the realm where the NAS strips it), MAC, circuit, remote id and id. Whoever
        is not found is kept by what the row says, as sessions of unknown subscribers are.
        """
        owner, calling = item.get("owner"), item.get("circuit")
        nas = self._nas(item.get("nas"))
        mac = canonical_mac(calling) or calling
        named = item.get("subscriber")
        by_name = True
        if named:
            subscriber = self._tenant.subscribers.get(named)
            if subscriber is None:
                return None
        else:
            subscriber = self._by_name(owner, nas)
            if subscriber is None:
                subscriber, by_name = self._by_line(owner, calling), False
        place = item.get("nas") if nas is None else nas.id
        if subscriber is None:
            key = f"/{mac or canonical_mac(owner) or owner}"
            return Who(None, key, Party("", place, "", calling))
        if not mac:
            mac = canonical_mac(owner) or ""
        plan = self._tenant.plans.get(subscriber.plan or "")
        key = self._key_of(subscriber, plan, by_name, mac)
        return Who(subscriber, key, Party(subscriber.id, place, "", calling))

    def _by_name(self, owner: str, nas: Nas | None) -> Subscriber | None:
        usernames = self._tenant.usernames
        found = usernames.get(owner.encode())
        if found is None and nas is not None and nas.strip_realm and "@" in owner:
            found = usernames.get(owner.partition("@")[0].encode())
        return found

    def _by_line(self, owner: str, calling: str) -> Subscriber | None:
        tenant = self._tenant
        for each in dict.fromkeys((owner, calling)):
            mac = canonical_mac(each) if each else None
            found = None if mac is None else tenant.macs.get(mac)
            if found is None and each:
                found = tenant.circuits.get(each.encode()) or tenant.remotes.get(each.encode())
            if found is not None:
                return found
        return tenant.subscribers.get(owner)

    def _nas(self, address: str) -> Nas | None:
        if not address:
            return None
        if address not in self._nases:
            self._nases[address] = self._find_nas(address)
        return self._nases[address]

    def _find_nas(self, address: str) -> Nas | None:
        try:
            found = self._index.find_nas(ip_address(address).packed)
        except ValueError:
            return self._tenant.nases.get(address)
        return None if found is None or found.tenant != self._tenant.tenant.id else found
