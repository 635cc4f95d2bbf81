"""An import read line by line, each checked against what there is, before anything is done."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable

from daemon.leases import import_pools
from daemon.leases.definitions import Definitions
from daemon.leases.import_leases import Gathering
from daemon.leases.import_model import MOST_LEASES, OwnerKey, Plan, PoolPlan
from daemon.leases.import_owners import Owners
from daemon.leases.import_reservations import Aside
from daemon.replica.index import Index
from ipam.history import clean
from ipam.imports import wire
from ipam.imports.records import Finding
from ipam.imports.wire import ORDER, Item, What
from ipam.tree import Prefix

_SLICE = 200  # lines between two looks at what else is to be done
_SHARED = (
    "leases cannot be taken over into pools that several nodes share: import the pools without them, "
    "and let subscribers log in again"
)


class Planner:
    """Makes a plan of lines. Feed it everything, then `finish`; what cannot be is in the plan's problems.

    It looks at the book as it is, so the plan should be carried out at once.
    """

    def __init__(self, definitions: Definitions, index: Index, tenant: str, key_of: OwnerKey) -> None:
        """`tenant` is one of the index."""
        self.plan = Plan(tenant)
        self._definitions = definitions
        self._index = index
        self._tenant = index.tenants[tenant]
        self._owners = Owners(index, self._tenant, key_of)
        self._at = definitions.addresses.clock.wall()
        self._place = 0
        self._lines = 0
        self._leases = 0
        self._set_aside: list[Item] = []
        self._gathering: Gathering | None = None
        self._rest = b""

    # --- reading ---------------------------------------------------------------------------------

    async def feed(self, octets: bytes) -> None:
        """Take some octets of the lines, cut anywhere."""
        *lines, self._rest = (self._rest + octets).split(b"\n")
        await self._read(lines)

    async def finish(self) -> Plan:
        """Take what is left, and return the plan."""
        await self._read([self._rest])
        await self._settle()
        return self.plan

    async def _read(self, lines: Iterable[bytes]) -> None:
        for line in lines:
            self._lines += 1
            if not line.strip():
                continue
            item = wire.read(line, self._lines)
            if isinstance(item, Finding):
                self.plan.problems.add(item)
                continue
            if ORDER[item.what] >= ORDER[What.LEASE] and self._gathering is None:
                await self._settle()
            self._take(item)
            if self._lines % _SLICE == 0:
                await asyncio.sleep(0)

    def _take(self, item: Item) -> None:
        if ORDER[item.what] < self._place:
            expected = f"the lines in the order {', '.join(What)}"
            self.plan.problems.add(item.finding("what", expected))
            return
        self._place = ORDER[item.what]
        if item.what is What.NOTE:
            self.plan.notes.add(
                item.finding(item.get("field"), item.get("expected"), item.get("remedy"), item.get("got"))
            )
        elif item.what is What.PREFIX:
            self._prefix(item)
        elif item.what is What.RANGE:
            import_pools.add_range(self.plan, item)
        elif item.what is What.RESERVATION:
            self._set_aside.append(item)
        else:
            self._lease(item)

    # --- prefixes --------------------------------------------------------------------------------

    def _prefix(self, item: Item) -> None:
        name = item.get("description")
        wanted = Prefix(
            tenant=self.plan.tenant,
            vrf=item.get("vrf"),
            unit=item.unit,
            role=clean(item.get("role")),
            site=clean(item.get("site")),
            state=item.get("state") or "active",
            name=clean(name),
        )
        known = self._definitions.prefixes.find(wanted.tenant, wanted.vrf, wanted.unit)
        if known is None:
            self.plan.prefixes.append(wanted)
            return
        self.plan.same("prefixes")
        if known.prefix != wanted:
            got = f"{wanted.unit} {wanted.state} {wanted.name}".strip()
            here = f"{known.prefix.state} {known.prefix.name}".strip()
            self.plan.notes.add(
                item.finding("block", "a prefix that is new", f"it stays as it is here: {here}", got)
            )

    # --- pools and leases ------------------------------------------------------------------------

    async def _settle(self) -> None:
        """All ranges are known, and all that is set aside: say what becomes of the pools."""
        if self._gathering is not None:
            return
        aside = Aside(self.plan, self._definitions, self._tenant, self._owners)
        for number, item in enumerate(self._set_aside):
            aside.add(item)
            if number % _SLICE == _SLICE - 1:
                await asyncio.sleep(0)
        self._set_aside.clear()
        await import_pools.settle(self.plan, self._definitions, self._index)
        reserved = self._definitions.reservations.of_tenant(self.plan.tenant)
        self._gathering = Gathering(self.plan, self._tenant, reserved, self._owners, self._at)

    def _lease(self, item: Item) -> None:
        assert self._gathering is not None
        self._leases += 1
        if self._leases == 1 and self._definitions.addresses.options.shared:
            self.plan.problems.add(item.finding("what", "pools only", _SHARED, "leases"))
        if self._leases == MOST_LEASES + 1:
            expected = f"at most {MOST_LEASES} leases at once"
            self.plan.problems.add(item.finding("what", expected, "import the pools one by one", "more"))
        pool = self._pool(item)
        if pool is None:
            self.plan.problems.add(item.finding("pool", "a pool of these files, or one that is here"))
        elif pool.layout is not None and self._leases <= MOST_LEASES:
            self._gathering.add(item, pool)

    def _pool(self, item: Item) -> PoolPlan | None:
        name = item.get("pool")
        pool = self.plan.pools.get(name)
        known = None if pool is not None else self._definitions.pools.find(self.plan.tenant, name)
        if known is not None:
            pool = import_pools.as_it_is(self._definitions, known, item)
            self.plan.pools[name] = pool
        return pool
