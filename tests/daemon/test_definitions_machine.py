"""Any mix of definitions, logins, loads of data, full disks and restarts: no lease is lost, none is given twice."""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import Awaitable, Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from daemon.errors import StoreUnavailable
from daemon.replica.pools import PoolSpec
from daemon.replica.records import Subscriber
from ipam.address import read_unit
from ipam.kinds import Kind, LeaseState, PoolState
from ipam.lease import Bundle
from ipam.model import Pool, Reservation
from ipam.overlap import check
from ipam.restore import faults
from tests.daemon.conftest import Store
from tests.daemon.definitions_stage import TENANT, Stage, fixed, pool, spec

# Small and close together, so that they meet.
RANGES = (
    "192.0.2.0/29",
    "192.0.2.8/29",
    "192.0.2.4-192.0.2.11",
    "192.0.2.0/28",
    "192.0.2.16/30",
    "192.0.2.20/32",
)
ADDRESSES = tuple(f"192.0.2.{each}" for each in range(0, 24, 3))
NAMES = ("home", "office", "spare")
PEOPLE = ("ann", "ben", "cat", "dan", "eve")

Step = tuple[str, int, int]
STEPS = st.lists(
    st.tuples(
        st.sampled_from(
            (
                "add",
                "grow",
                "shrink",
                "drain",
                "undrain",
                "drain-range",
                "exclude",
                "include",
                "disable",
                "delete",
                "reserve",
                "unreserve",
                "login",
                "login",
                "login",
                "login-fixed",
                "logout",
                "expire",
                "turn",
                "load-pool",
                "drop-pool",
                "load-subscriber",
                "drop-subscriber",
                "full-disk",
                "restart",
            )
        ),
        st.integers(0, 1000),
        st.integers(0, 1000),
    ),
    min_size=5,
    max_size=40,
)


class Machine:
    """A stage, and what was told to whom."""

    def __init__(self, stage: Stage) -> None:
        self.stage = stage
        self.told: dict[str, str] = {}  # by owner: what it has, as long as its session lives

    async def step(self, what: str, one: int, two: int) -> None:
        """Do something; refusals are answers, too."""
        if what == "full-disk":
            async with self.stage.full_disk("ipam_pool"):
                await self._try(("add", "grow", "shrink", "exclude", "delete")[one % 5], two, one)
        else:
            await self._try(what, one, two)
        await self.stage.settle()
        self.see()

    async def _try(self, what: str, one: int, two: int) -> None:
        act: Callable[[int, int], Awaitable[Any]] = getattr(self, "_" + what.replace("-", "_"))
        with suppress(StoreUnavailable):
            await act(one, two)

    # --- operators -------------------------------------------------------------------------------

    async def _add(self, one: int, two: int) -> None:
        await self.stage.definitions.pools.add(pool(NAMES[one % 3]), [RANGES[two % 6]])

    async def _grow(self, one: int, two: int) -> None:
        await self.stage.definitions.pools.resize(TENANT, NAMES[one % 3], [RANGES[two % 6]])

    async def _shrink(self, one: int, two: int) -> None:
        await self.stage.definitions.pools.resize(TENANT, NAMES[one % 3], remove=[RANGES[two % 6]])

    async def _drain(self, one: int, _two: int) -> None:
        await self.stage.definitions.pools.drain(TENANT, NAMES[one % 3])

    async def _undrain(self, one: int, _two: int) -> None:
        await self.stage.definitions.pools.drain(TENANT, NAMES[one % 3], draining=False)

    async def _drain_range(self, one: int, two: int) -> None:
        await self.stage.definitions.pools.drain(
            TENANT, NAMES[one % 3], [RANGES[two % 6]], draining=two % 2 == 0
        )

    async def _exclude(self, one: int, two: int) -> None:
        await self.stage.definitions.pools.exclude(TENANT, NAMES[one % 3], [ADDRESSES[two % 8]])

    async def _include(self, one: int, two: int) -> None:
        await self.stage.definitions.pools.include(TENANT, NAMES[one % 3], [ADDRESSES[two % 8]])

    async def _disable(self, one: int, _two: int) -> None:
        await self.stage.definitions.pools.set_state(TENANT, NAMES[one % 3], PoolState.DISABLED)

    async def _delete(self, one: int, _two: int) -> None:
        await self.stage.definitions.pools.delete(TENANT, NAMES[one % 3])

    async def _reserve(self, one: int, two: int) -> None:
        unit = read_unit(ADDRESSES[one % 8])
        wanted = Reservation(tenant=TENANT, vrf="", unit=unit, owner=PEOPLE[two % 5].upper())
        await self.stage.definitions.reservations.reserve(wanted)

    async def _unreserve(self, one: int, _two: int) -> None:
        await self.stage.definitions.reservations.unreserve(TENANT, "", read_unit(ADDRESSES[one % 8]))

    # --- logins ----------------------------------------------------------------------------------

    async def _login(self, one: int, two: int) -> None:
        owner = PEOPLE[one % 5].upper()
        if owner not in self.told:
            self._begin(owner, self.stage.take(owner, NAMES[two % 3], NAMES[(two + 1) % 3]))

    async def _login_fixed(self, one: int, _two: int) -> None:
        owner = PEOPLE[one % 5].upper()
        known = self.stage.index.tenants[TENANT].subscribers.get(owner)
        if known is not None and owner not in self.told:
            self._begin(owner, self.stage.take(owner, unit=str(known.ipv4_address)))

    def _begin(self, owner: str, got: object) -> None:
        if isinstance(got, Bundle):
            book, clock = self.stage.addresses.book, self.stage.clock
            book.bind(got.id, owner, clock.monotonic(), clock.wall())
            self.told[owner] = str(got.leases[0].unit)

    async def _logout(self, one: int, _two: int) -> None:
        owner = PEOPLE[one % 5].upper()
        self.told.pop(owner, None)
        self.stage.logout(owner)

    async def _expire(self, one: int, _two: int) -> None:
        self.stage.expire(float(one % 100))

    async def _turn(self, _one: int, _two: int) -> None:
        await self.stage.definitions.turn()

    # --- the data --------------------------------------------------------------------------------

    async def _load_pool(self, one: int, two: int) -> None:
        ranges = [RANGES[two % 6]] if one % 2 else ["192.0.2.0/29", "192.0.2.16/30"][: 1 + two % 2]
        await self.stage.load(spec(NAMES[one % 3], *ranges))

    async def _drop_pool(self, one: int, _two: int) -> None:
        await self.stage.load(gone=[(PoolSpec, NAMES[one % 3])])

    async def _load_subscriber(self, one: int, two: int) -> None:
        claimed = self.stage.index.tenants[TENANT].subscribers.values()
        if any(str(each.ipv4_address) == ADDRESSES[two % 8] for each in claimed):
            return  # which the ingest refuses
        await self.stage.load(fixed(PEOPLE[one % 5], ADDRESSES[two % 8]))

    async def _drop_subscriber(self, one: int, _two: int) -> None:
        await self.stage.load(gone=[(Subscriber, PEOPLE[one % 5].upper())])

    async def _restart(self, _one: int, _two: int) -> None:
        await self.stage.settle()
        await self.stage.restart()

    # --- what must be ----------------------------------------------------------------------------

    def see(self) -> None:
        """Fail where anything is not as it must be."""
        register, book = self.stage.addresses.register, self.stage.addresses.book
        assert faults(register) == ()
        assert check(self._pools()) == ()
        held: dict[str, str] = {}
        for bundle in book.bundles():
            for shelf, cell, tenure in bundle.members:
                assert shelf.allocator.states[cell] in (1, 2)
                assert held.setdefault(str(tenure.unit), tenure.owner) == tenure.owner, "given twice"
        for owner, address in self.told.items():
            assert held.get(address) == owner, f"{owner} has lost {address}"
        self._see_kept()

    def _see_kept(self) -> None:
        """A fixed address that is a slot is nobody else's, but for who had it before."""
        for subscriber in self.stage.index.tenants[TENANT].subscribers.values():
            unit = read_unit(str(subscriber.ipv4_address))
            place = self.stage.addresses.register.locate(TENANT, "", unit)
            if place is None or place[0].pool.kind is Kind.FIXED or self._told_of(subscriber.id, unit):
                continue
            assert self.stage.state(str(unit)) is not LeaseState.FREE, (
                f"{unit} is not kept for {subscriber.id}"
            )

    def _told_of(self, owner: str, unit: object) -> bool:
        """Tell whether it was said that this cannot be kept."""
        return ((TENANT, owner), unit) in self.stage.definitions.claims.problems

    def _pools(self) -> list[Pool]:
        shelves = self.stage.addresses.register.shelves.values()
        return [each.pool for each in shelves if each.pool.kind is not Kind.FIXED]

    async def same_after_a_restart(self) -> None:
        """What is on disk makes the same pools and the same leases."""
        await self.stage.definitions.turn()
        await self.stage.settle()
        before = {each.name: each for each in self._pools()}
        await self.stage.restart()
        self.see()
        assert {each.name: each for each in self._pools()} == before


@settings(
    max_examples=25,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)
@given(STEPS)
def test_definitions_logins_and_crashes_in_any_order(steps: list[Step]) -> None:
    async def run() -> None:
        with tempfile.TemporaryDirectory() as folder:
            async with (
                Store(Path(folder) / "edge.db").running() as store,
                Stage(store.engine).running() as stage,
            ):
                machine = Machine(stage)
                for step in steps:
                    await machine.step(*step)
                await machine.same_after_a_restart()
                assert [task.exception() for task in stage.tasks if task.done() and task.exception()] == []

    asyncio.run(run())
