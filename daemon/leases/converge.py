"""The platform's pools and selectors, brought into the address book: what is new is added, what is gone drains.

No lease is lost by it. What cannot be as the platform wants it (an overlap with an operator's pool, another kind) is a
problem that is told; the pool stays as it was, and it is tried again.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Iterator, Sequence

from daemon.leases import definitions_edits as edits
from daemon.leases.converge_claims import ClaimKeeper, Who
from daemon.leases.definitions_desk import Desk
from daemon.leases.definitions_edits import LASTING, Problems, problem
from daemon.leases.definitions_pools import Pools
from daemon.leases.definitions_selectors import SelectorDefinitions
from daemon.replica.index import Key
from daemon.replica.pools import PoolSpec
from ipam.address import Malformed
from ipam.definition_rows import DefinedBy, Definition
from ipam.kinds import Order, PoolState
from ipam.model import Problem

_AGAIN_S = 30.0  # until what could not be is tried again without news
_SLICE = 20
_MOST_SUBSCRIBERS = 50_000  # above this one look at everything is cheaper
_KEY_OCTETS = 16


class Convergence:
    """What has changed in the data and is not in the book yet. `problems`: what cannot be as the data want it."""

    def __init__(self, desk: Desk, pools: Pools, selectors: SelectorDefinitions, claims: ClaimKeeper) -> None:
        self._desk = desk
        self._pools = pools
        self._selectors = selectors
        self._claims = claims
        self._pool_problems: tuple[tuple[str, Problem], ...] = ()  # with their tenants
        self._told: frozenset[tuple[str, str]] = frozenset()
        self._tried_at = 0.0
        self._vrfs: dict[tuple[str, str], str] = {}  # by tenant and plan, at the last look
        self._whole = True
        self._definitions = True
        self._subscribers: set[Who] = set()
        self._gained: set[tuple[str, str]] = set()

    @property
    def problems(self) -> tuple[Problem, ...]:
        """What cannot be as the data want it."""
        return tuple(each for _, each in self._told_to())

    def changed(self, keys: Sequence[Key]) -> None:
        """Note what the data have changed; `turn` takes it over."""
        for tenant, kind, name in keys:
            if kind == "subscriber":
                self._subscribers.add((tenant, name))
            elif kind in ("pool", "selector"):
                self._definitions = True
            elif kind == "tenant":
                self._definitions = self._whole = True
            elif kind == "plan" and self._vrfs.get((tenant, name), "") != self._vrf(tenant, name):
                self._whole = True
        if len(self._subscribers) > _MOST_SUBSCRIBERS:
            self._whole = True

    def gained(self, tenant: str, pool: str) -> None:
        """Note that this node has more of a pool than before."""
        self._gained.add((tenant, pool))

    async def whole(self) -> None:
        """Compare everything. Raises StoreUnavailable; then the next turn tries again."""
        self._whole = self._definitions = True
        await self.turn()

    async def turn(self) -> None:
        """Take over what has changed, and try again what could not be. Raises StoreUnavailable."""
        self._claims.turn()
        while self._gained:
            known = self._pools.known.get(self._gained.pop())
            if known is not None:
                await self._claims.moved(known.pool, known.pool.ranges)
        now = self._desk.addresses.clock.monotonic()
        again = bool(self.problems) and now - self._tried_at >= _AGAIN_S
        if not (self._whole or self._definitions or self._subscribers or again):
            await self._part()
            return
        await self._desk.index.whole()
        self._tried_at = now
        definitions, whole = self._definitions or again, self._whole
        some = self._subscribers | (self._claims.some_troubled() if again else set())
        self._definitions, self._whole, self._subscribers = False, False, set()
        try:
            if definitions or whole:
                await self._converge()
            if whole:
                self._vrfs = dict(self._plan_vrfs())
                await self._claims.whole()
            else:
                await self._claims.changed(some)
        except BaseException:
            self._definitions = self._definitions or definitions
            self._whole = self._whole or whole
            self._subscribers |= some
            raise
        self._tell()

    # --- pools and selectors ---------------------------------------------------------------------

    async def _converge(self) -> None:
        await self._part()
        found = await self._take_over(list(self._wanted()))
        if found:  # a range may go from one pool to another, once it is free
            await self._pools.turn()
            found = await self._take_over([spec for spec, _ in found])
        self._pool_problems = (
            *((spec.tenant, each) for spec, problems in found for each in problems),
            *self._selectors.converge(),
        )
        await self._part()

    async def _take_over(self, specs: Sequence[PoolSpec]) -> list[tuple[PoolSpec, Problems]]:
        """Bring the book to some pools of the data; return those that cannot be so, and why."""
        found: list[tuple[PoolSpec, Problems]] = []
        for number, spec in enumerate(specs):
            problems = await self._converge_pool(spec)
            if problems:
                found.append((spec, problems))
            if number % _SLICE == _SLICE - 1:
                await asyncio.sleep(0)
        return found

    def _wanted(self) -> Iterator[PoolSpec]:
        for tenant in self._desk.index.tenants.values():
            yield from tenant.pools.values()

    async def _converge_pool(self, spec: PoolSpec) -> Problems:
        key = spec.tenant, spec.id
        known = self._pools.known.get(key)
        if known is not None and known.by is DefinedBy.OPERATOR:
            text = (
                f"pool {spec.id} of tenant {spec.tenant} is defined by an operator and by the platform; the "
                f"operator's counts: delete it, or give the platform's another name"
            )
            return problem("pool-name", (spec.id,), text)
        refusal = _lasting(known, spec)
        if refusal:
            return refusal
        try:
            if known is None:
                wanted = edits.of_platform(spec, _key_for(spec))
                done = await self._desk.alone(lambda: self._pools.put_new(wanted))
            elif edits.conformed(known, spec) == known:
                return ()
            else:
                done = await self._desk.alone(
                    lambda: self._pools.put(key, DefinedBy.PLATFORM, lambda each: edits.conformed(each, spec))
                )
        except Malformed as error:
            return problem("pool-range", (spec.id,), f"pool {spec.id} of tenant {spec.tenant}: {error}")
        return done if isinstance(done, tuple) else ()

    async def _part(self) -> None:
        """Let pools drain that the platform has no longer, and go when they are empty."""
        for key, known in list(self._pools.known.items()):
            if known.by is not DefinedBy.PLATFORM or not self._is_gone(*key):
                continue
            if known.pool.state is PoolState.ACTIVE:
                await self._desk.alone(
                    lambda key=key: self._pools.put(  # type: ignore[misc]
                        key, DefinedBy.PLATFORM, lambda each: edits.in_state(each, PoolState.DRAINING)
                    )
                )
            if not self._pools.is_busy(key):
                await self._desk.alone(lambda key=key: self._pools.drop(key, DefinedBy.PLATFORM))  # type: ignore[misc]

    def _is_gone(self, tenant: str, name: str) -> bool:
        """Tell whether the data have no such pool; one that could not be read is not gone."""
        index = self._desk.index
        if index.loading or (tenant, "tenant", tenant) in index.unreadable:
            return False
        known = index.tenants.get(tenant)
        return known is None or (name not in known.pools and not known.is_unreadable("pool", name))

    # --- plans and problems ----------------------------------------------------------------------

    def _vrf(self, tenant: str, plan: str) -> str:
        known = self._desk.index.tenants.get(tenant)
        found = None if known is None else known.plans.get(plan)
        return "" if found is None else found.service.vrf or ""

    def _plan_vrfs(self) -> Iterator[tuple[tuple[str, str], str]]:
        for tenant in self._desk.index.tenants.values():
            for plan in tenant.plans.values():
                if plan.service.vrf:
                    yield (tenant.tenant.id, plan.id), plan.service.vrf

    def _told_to(self) -> Iterator[tuple[str, Problem]]:
        """Yield the problems, each with its tenant."""
        yield from self._pool_problems
        for (who, _), each in self._claims.problems.items():
            yield who[0], each

    def _tell(self) -> None:
        """Make an event of each problem that is new."""
        texts = {(tenant, each.text): each.slug for tenant, each in self._told_to()}
        for tenant, text in texts.keys() - self._told:
            self._desk.events.add("definition-refused", tenant=tenant, reason=texts[tenant, text], why=text)
        self._told = frozenset(texts)


def _lasting(known: Definition | None, spec: PoolSpec) -> Problems:
    """Return what the platform has changed that a pool keeps for ever."""
    if known is None:
        return ()
    for name in LASTING:
        if name != "key" and getattr(known.pool, name) != getattr(spec.pool, name):
            text = (
                f"pool {spec.id} of tenant {spec.tenant}: the data change {name} from {getattr(known.pool, name)} to "
                f"{getattr(spec.pool, name)}, and leases would have other addresses: use another name for "
                f"the new pool, and this one drains"
            )
            return problem("pool-lasting", (spec.id,), text)
    return ()


def _key_for(spec: PoolSpec) -> bytes:
    if spec.pool.order is not Order.SHUFFLED:
        return b""
    return spec.pool.key or secrets.token_bytes(_KEY_OCTETS)
