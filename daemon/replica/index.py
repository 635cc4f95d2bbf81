"""The replica in memory: every question of the request path is one dictionary look-up.

`generation` rises with each change, so that what was derived from records can be thrown away.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Iterator
from io import BytesIO
from struct import pack
from zoneinfo import ZoneInfo

from daemon.replica.claims import Claims, Spans, fixed_of, own_vrf
from daemon.replica.contact import IN_TOUCH
from daemon.replica.pools import PoolSpec, SelectorSpec
from daemon.replica.records import Nas, Plan, Record, Staff, Subscriber, Tenant
from daemon.replica.standing import Stands, nothing
from ipam.model import Selector

_CACHE_MOST = 50_000
_PAUSE = 1000  # subscribers

Key = tuple[str, str, str]
"""(tenant, kind, id)"""

# UTC as a file of RFC 8536 section 3: no transitions, one type of offset 0. For machines without time zones.
_UTC_FILE = pack(">4s16x6llbb4s", b"TZif", 0, 0, 0, 0, 1, 4, 0, 0, 0, b"UTC\0")


class TenantIndex:
    """The records of one tenant; `staff` is by user name, `zone` what its hours, days and months are local to.

    `unreadable` is that of the whole index. `claims` are the fixed addresses and routed blocks of the subscribers,
    `spans` where the pools lie.
    """

    __slots__ = (
        "_moved",
        "_vrfs",
        "circuits",
        "claims",
        "contact",
        "macs",
        "nases",
        "plans",
        "pools",
        "remotes",
        "selectors",
        "spans",
        "staff",
        "staff_by_id",
        "subscribers",
        "tenant",
        "unreadable",
        "usernames",
        "zone",
    )

    def __init__(self, tenant: Tenant, unreadable: set[Key]) -> None:
        self.put_tenant(tenant)
        self.contact = IN_TOUCH
        self.unreadable = unreadable
        self.plans: dict[str, Plan] = {}
        self.nases: dict[str, Nas] = {}
        self.subscribers: dict[str, Subscriber] = {}
        self.usernames: dict[bytes, Subscriber] = {}
        self.macs: dict[str, Subscriber] = {}
        self.circuits: dict[bytes, Subscriber] = {}
        self.remotes: dict[bytes, Subscriber] = {}
        self.staff: dict[bytes, Staff] = {}
        self.staff_by_id: dict[str, Staff] = {}
        self.pools: dict[str, PoolSpec] = {}
        self.selectors: dict[str, Selector] = {}
        self.claims = Claims()
        self.spans = Spans()
        # By plan, as its subscribers' claims are entered; absent: the default.
        self._vrfs: dict[str, str] = {}
        self._moved: set[str] = set()  # plans whose VRF is another since

    def is_unreadable(self, kind: str, key: str) -> bool:
        """Tell whether the store has such an object of this tenant that could not be read."""
        return bool(self.unreadable) and (self.tenant.id, kind, key) in self.unreadable

    def put_tenant(self, tenant: Tenant) -> None:
        """Replace the tenant's own record; a time zone that this machine does not know is UTC."""
        self.tenant = tenant
        self.zone = _zone(tenant.timezone)

    def put_staff(self, staff: Staff) -> None:
        """Add or replace a member of staff."""
        self.remove_staff(staff.id)
        self.staff_by_id[staff.id] = staff
        self.staff[staff.username.encode()] = staff

    def remove_staff(self, key: str) -> None:
        """Forget a member of staff, if there is one; a user name that another has taken over meanwhile stays."""
        old = self.staff_by_id.pop(key, None)
        if old is not None and self.staff.get(old.username.encode()) is old:
            del self.staff[old.username.encode()]

    def put_plan(self, plan: Plan) -> None:
        """Add or replace a plan. With another VRF, `settle` has to move its subscribers' claims afterwards."""
        self.plans[plan.id] = plan
        self._note_vrf(plan.id, plan.service.vrf or "")

    def remove_plan(self, key: str) -> None:
        """Forget a plan, if there is one."""
        self.plans.pop(key, None)
        self._note_vrf(key, "")

    def _note_vrf(self, plan: str, vrf: str) -> None:
        if self._vrfs.get(plan, "") == vrf:
            self._moved.discard(plan)
        elif self.subscribers:
            self._moved.add(plan)
        else:
            self._vrfs[plan] = vrf

    def settle(self) -> Iterator[None]:
        """Move the claims of plans whose VRF has changed: one look at each subscriber, a pause after some."""
        if not self._moved:
            return
        new = {
            key: plan.service.vrf or "" for key in self._moved if (plan := self.plans.get(key)) is not None
        }
        for i, subscriber in enumerate(list(self.subscribers.values())):
            plan_id = subscriber.plan or ""
            if subscriber.personal and plan_id in self._moved and own_vrf(subscriber) is None:
                self._unclaim(subscriber)
                for each in fixed_of(subscriber):
                    self.claims.put(new.get(plan_id, ""), each.unit, subscriber.id)
            if i % _PAUSE == _PAUSE - 1:
                yield
        for plan_id in self._moved:
            self._vrfs[plan_id] = new.get(plan_id, "")
        self._moved.clear()

    def _entered_vrf(self, subscriber: Subscriber) -> str:
        own = own_vrf(subscriber)
        return self._vrfs.get(subscriber.plan or "", "") if own is None else own

    def _claim(self, subscriber: Subscriber) -> None:
        for each in fixed_of(subscriber):
            self.claims.put(self._entered_vrf(subscriber), each.unit, subscriber.id)

    def _unclaim(self, subscriber: Subscriber) -> None:
        for each in fixed_of(subscriber):
            self.claims.remove(self._entered_vrf(subscriber), each.unit, subscriber.id)

    def vrf_of(self, subscriber: Subscriber) -> str:
        """Return the VRF in which a subscriber's addresses are: its own, else its plan's, else the default ""."""
        own, plan = own_vrf(subscriber), self.plans.get(subscriber.plan or "")
        return (own if own is not None or plan is None else plan.service.vrf) or ""

    def put_pool(self, pool: PoolSpec) -> None:
        """Add or replace a pool."""
        self.remove_pool(pool.id)
        self.pools[pool.id] = pool
        self.spans.add(pool)

    def remove_pool(self, key: str) -> None:
        """Forget a pool, if there is one."""
        old = self.pools.pop(key, None)
        if old is not None:
            self.spans.remove(old)

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
        if subscriber.personal:
            self._claim(subscriber)

    def remove_subscriber(self, subscriber: Subscriber) -> None:
        """Forget a subscriber; what another subscriber has taken over meanwhile stays."""
        del self.subscribers[subscriber.id]
        if subscriber.personal:
            self._unclaim(subscriber)
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
    """All tenants, and which NAS an address belongs to.

    `unreadable` are stored objects that are missing here because they could not be read: that they are not known
    says nothing about them. While a load is half done, what is missing may be about to come.
    """

    def __init__(self) -> None:
        self.tenants: dict[str, TenantIndex] = {}
        self.generation = 0
        self.nas_generation = 0
        self.unreadable: set[Key] = set()
        self.standing: Stands = nothing  # what the address book has, once there is one
        self._loads = 0
        self._whole = asyncio.Event()
        self._whole.set()
        self.loaded_at: float | None = None  # when the data last changed, epoch seconds
        # (version, prefix length) -> network -> NAS
        self._networks: dict[tuple[int, int], dict[int, Nas]] = {}
        self._lengths: dict[int, list[int]] = {4: [], 6: []}
        self._found: dict[bytes, Nas | None] = {}
        self._stale = False

    @property
    def loading(self) -> bool:
        """Whether a load is half done."""
        return not self._whole.is_set()

    def begin_load(self) -> None:
        """What follows belongs together; several loads may be half done at the same time."""
        self._loads += 1
        self._whole.clear()

    def end_load(self) -> None:
        """All of a load is there; who waited for that goes on at once."""
        self._loads = max(0, self._loads - 1)
        if self._loads:
            return
        for _ in self.settle():
            pass
        self._whole.set()

    def settle(self) -> Iterator[None]:
        """Move the claims of all plans that a load put into another VRF, with pauses for the caller to use."""
        for tenant in self.tenants.values():
            yield from tenant.settle()

    def _plans_changed(self) -> None:
        """Move claims after a change of a plan: at once, or for all plans of a load at its end."""
        if not self.loading:
            for _ in self.settle():
                pass

    async def whole(self) -> None:
        """Return when no load is half done."""
        while not self._whole.is_set():
            await self._whole.wait()

    def put(self, record: Record) -> None:
        """Add or replace one record. Its tenant must be there, unless it is the tenant itself."""
        self.generation += 1
        if self.unreadable:
            self.unreadable.discard(
                (record.id if isinstance(record, Tenant) else record.tenant, _KIND[type(record)], record.id)
            )
        if isinstance(record, Tenant):
            known = self.tenants.get(record.id)
            if known is None:
                self.tenants[record.id] = TenantIndex(record, self.unreadable)
            else:
                known.put_tenant(record)
            return
        tenant = self.tenants[record.tenant]
        if isinstance(record, Subscriber):
            tenant.put_subscriber(record)
        elif isinstance(record, Plan):
            tenant.put_plan(record)
            self._plans_changed()
        elif isinstance(record, Staff):
            tenant.put_staff(record)
        elif isinstance(record, PoolSpec):
            tenant.put_pool(record)
        elif isinstance(record, SelectorSpec):
            tenant.selectors[record.id] = record.selector
        else:
            tenant.nases[record.id] = record
            self._nases_changed()

    def remove(self, kind: type[Record], tenant: str, key: str) -> None:
        """Forget one record, read or not; nothing happens where there is none."""
        self.unreadable.discard((tenant, _KIND[kind], key))
        index = self.tenants.get(tenant)
        if index is None:
            return
        self.generation += 1
        if kind is Subscriber and key in index.subscribers:
            index.remove_subscriber(index.subscribers[key])
        elif kind is Plan:
            index.remove_plan(key)
            self._plans_changed()
        elif kind is Staff:
            index.remove_staff(key)
        elif kind is PoolSpec:
            index.remove_pool(key)
        elif kind is SelectorSpec:
            index.selectors.pop(key, None)
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
            "plan": sum(len(each.plans) for each in tenants),
            "nas": sum(len(each.nases) for each in tenants),
            "subscriber": sum(len(each.subscribers) for each in tenants),
            "staff": sum(len(each.staff_by_id) for each in tenants),
            "pool": sum(len(each.pools) for each in tenants),
            "selector": sum(len(each.selectors) for each in tenants),
        }

    def records(self) -> Iterable[Record]:
        """Yield every record, tenants first, so that putting them in this order works."""
        for index in self.tenants.values():
            yield index.tenant
            yield from index.plans.values()
            yield from index.nases.values()
            yield from index.subscribers.values()
            yield from index.staff_by_id.values()
            yield from index.pools.values()
            yield from (SelectorSpec(selector=each) for each in index.selectors.values())


_KIND: dict[type[Record], str] = {
    Tenant: "tenant",
    Plan: "plan",
    Nas: "nas",
    Subscriber: "subscriber",
    Staff: "staff",
    PoolSpec: "pool",
    SelectorSpec: "selector",
}


def _zone(name: str) -> ZoneInfo:
    for each in (name, "UTC"):
        try:
            return ZoneInfo(each)
        except (OSError, ValueError, LookupError):
            pass
    return ZoneInfo.from_file(BytesIO(_UTC_FILE), key="UTC")
