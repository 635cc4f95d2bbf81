"""What an import sets aside: reservations of subscribers, exclusions from pools, addresses outside of all pools."""

from __future__ import annotations

from bisect import bisect_right

from daemon.leases.definitions import Definitions
from daemon.leases.import_model import Plan, PoolPlan
from daemon.leases.import_owners import Owners, Who
from daemon.replica.claims import Taken
from daemon.replica.index import TenantIndex
from ipam.address import Unit
from ipam.choose import kind_of
from ipam.history import clean
from ipam.imports.records import Standing
from ipam.imports.wire import Item
from ipam.kinds import SPACE_OF, Kind
from ipam.model import Reservation, space_of, span_of
from ipam.shelf import Shelf

_OUTSIDE = "lies in no pool, so nobody would be given it"


class Aside:
    """The reservations of one import, each put where it belongs."""

    def __init__(self, plan: Plan, definitions: Definitions, tenant: TenantIndex, owners: Owners) -> None:
        """The ranges of all pools are known by now."""
        self._plan = plan
        self._definitions = definitions
        self._tenant = tenant
        self._owners = owners
        self._of_owner: dict[tuple[str, Kind], Unit] = {}
        self._spans: list[tuple[str, str, int, int, str]] = sorted(
            (pool.vrf, SPACE_OF[pool.kind], first, last, pool.name)
            for pool in plan.pools.values()
            for first, last in pool.ranges
        )

    def add(self, item: Item) -> None:
        """Take one row up."""
        standing = Standing(item.get("standing"))
        pool = self._pool(item)
        who = self._owners.find(item) if item.get("owner") or item.get("subscriber") else None
        if item.get("subscriber") and who is None:
            self._plan.problems.add(item.finding("subscriber", "the id of a subscriber of this tenant"))
        elif standing is Standing.DECLINED:
            self._decline(item, pool)
        elif standing is not Standing.DISABLED and who is not None and who.subscriber is not None:
            self._reserve(item, who, pool)
        elif pool is not None:
            self._exclude(item, pool)
        elif standing is Standing.DISABLED or item.last != item.unit.last:
            self._plan.notes.add(item.finding("block", "a block of a pool", _OUTSIDE))
        else:
            self._keep_outside(item)

    # --- where it is -----------------------------------------------------------------------------

    def _pool(self, item: Item) -> PoolPlan | None:
        """Return the pool that a block lies in: one of the import, or one that is here."""
        vrf, unit = item.get("vrf"), item.unit
        at = bisect_right(self._spans, (vrf, unit.space, unit.value, 1 << 129, "")) - 1
        if at >= 0 and self._spans[at][:2] == (vrf, unit.space) and unit.value <= self._spans[at][3]:
            return self._plan.pools[self._spans[at][4]]
        for shelf in self._shelves(vrf, unit):
            name = shelf.pool.name
            if name not in self._plan.pools:
                file, line = item.get("file"), item.said.get("line", 0)
                pool = shelf.pool
                self._plan.pools[name] = PoolPlan(name, vrf, pool.kind, pool.unit_length, file, line)
            return self._plan.pools[name]
        return None

    def _shelves(self, vrf: str, unit: Unit) -> list[Shelf]:
        register = self._definitions.addresses.register
        if register.is_outside(self._plan.tenant, vrf, unit):
            return []
        return [
            shelf
            for (tenant, _), shelf in register.shelves.items()
            if tenant == self._plan.tenant
            and shelf.pool.vrf == vrf
            and shelf.pool.kind not in (Kind.FIXED, Kind.CGN_BLOCK)
            and space_of(shelf.pool) is unit.space
            and any(
                first <= unit.value <= last
                for first, last in (span_of(shelf.pool, each) for each in shelf.pool.ranges)
            )
        ]

    # --- what becomes of it ----------------------------------------------------------------------

    def _decline(self, item: Item, pool: PoolPlan | None) -> None:
        if pool is None or item.last != item.unit.last or item.unit.length != pool.unit_length:
            self._plan.notes.add(item.finding("block", "one unit of a pool", _OUTSIDE))
        else:
            pool.declined.append(item.unit.value)

    def _exclude(self, item: Item, pool: PoolPlan) -> None:
        pool.exclusions.append((item.unit.value, item.last))
        if item.get("owner"):
            remedy = (
                f"excluded from pool {pool.name}; should it be a subscriber's: `pool exclude {pool.name} --remove`, "
                f"then `reservation add`"
            )
            self._plan.notes.add(item.finding("owner", "a subscriber", remedy))

    def _reserve(self, item: Item, who: Who, pool: PoolPlan | None) -> None:
        assert who.subscriber is not None
        if item.last != item.unit.last or (pool is not None and item.unit.length != pool.unit_length):
            expected = "one unit" if pool is None else f"one /{pool.unit_length} of pool {pool.name}"
            self._plan.problems.add(item.finding("block", expected, "reserve single units"))
            return
        kind = kind_of(item.unit) if pool is None else pool.kind
        self._take(item, who.subscriber.id, item.get("description"), kind)

    def _keep_outside(self, item: Item) -> None:
        """Keep an address of nobody that we know, such as that of a router, from being anybody's."""
        name = " ".join(filter(None, (item.get("owner"), item.get("description"))))
        self._take(item, f"import:{item.unit}", name, kind_of(item.unit))

    def _take(self, item: Item, owner: str, name: str, kind: Kind) -> None:
        plan, unit, vrf = self._plan, item.unit, item.get("vrf")
        known = self._definitions.reservations.find(plan.tenant, vrf, unit)
        claimed = [*self._tenant.claims.overlapping(vrf, unit.space, unit.value, unit.last)]
        if (known is not None and known.owner == owner) or any(
            (each.unit, each.owner) == (unit, owner) for each in claimed
        ):
            plan.same("reservations")
            return
        taken = self._holder(vrf, unit, claimed)
        if taken:
            got = f"{unit} of {name or owner}"
            plan.problems.add(item.finding("block", "what is nobody else's", f"it is {taken}", got))
            return
        register = self._definitions.addresses.register
        earlier = register.set_aside.get((plan.tenant, clean(owner), kind))
        other = self._of_owner.setdefault((owner, kind), unit) if earlier is None else earlier[1]
        if other != unit:
            remedy = f"{other} is reserved for {owner} already, and a login gets one; leave one of them out"
            plan.problems.add(item.finding("owner", "one reservation of a kind for each", remedy, owner))
            return
        plan.reservations.append(
            Reservation(tenant=plan.tenant, vrf=vrf, unit=unit, owner=owner, name=clean(name))
        )

    def _holder(self, vrf: str, unit: Unit, claimed: list[Taken]) -> str:
        """Say whose a unit, or a part of it, is; empty where it is nobody's."""
        for other, owner in claimed:
            return f"by the data of subscriber {owner} ({other}): change one of the two"
        reserved = self._definitions.reservations.of_tenant(self._plan.tenant)
        for other, owner in reserved.overlapping(vrf, unit.space, unit.value, unit.last):
            return f"reserved for {owner} ({other}): delete that reservation, or leave this one out"
        return ""
