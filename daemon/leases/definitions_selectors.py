"""Selectors: which logins are served from which pools, as operators and the platform say."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy.ext.asyncio import AsyncConnection

from daemon.leases.definitions_desk import Desk
from daemon.leases.definitions_edits import Problems, problem
from ipam import definition_rows
from ipam.definition_rows import DefinedBy
from ipam.kinds import Kind
from ipam.model import Problem, Selector
from ipam.selection import Selectors, check

Key = tuple[str, str]
"""Tenant and name."""


class SelectorDefinitions:
    """The selectors of operators, which are stored, beside those of the platform, which come with its data."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk
        self.local: dict[Key, Selector] = {}
        self.of_platform: dict[Key, Selector] = {}

    def take_stored(self, selectors: Sequence[Selector]) -> None:
        """Begin with what the store has."""
        self.local = {(each.match.tenant, each.name): each for each in selectors}
        self.publish()

    def find(self, tenant: str, name: str) -> tuple[Selector, DefinedBy] | None:
        """Return a selector, and whose it is."""
        key = tenant, name
        if key in self.local:
            return self.local[key], DefinedBy.OPERATOR
        found = self.of_platform.get(key)
        return None if found is None else (found, DefinedBy.PLATFORM)

    def listed(self) -> list[tuple[Selector, DefinedBy]]:
        """Return all of them, in the order in which they are asked."""
        every = [(each, DefinedBy.OPERATOR) for each in self.local.values()]
        every += [
            (each, DefinedBy.PLATFORM) for key, each in self.of_platform.items() if key not in self.local
        ]
        return sorted(every, key=lambda pair: (pair[0].match.tenant, pair[0].priority, pair[0].name))

    def naming(self, tenant: str, pool: str) -> tuple[str, ...]:
        """Return the selectors that name a pool, for people."""
        return tuple(
            f"selector {each.name}"
            for each, _ in self.listed()
            if each.match.tenant == tenant and any(pool in names for _, names in each.pools)
        )

    # --- what operators do -----------------------------------------------------------------------

    async def add(self, selector: Selector) -> Selector | Problems:
        """Add an operator's selector, or replace it. Raises StoreUnavailable."""
        return await self._desk.alone(lambda: self._add(selector))

    async def delete(self, tenant: str, name: str) -> Selector | Problems:
        """Delete an operator's selector; return what it was. Raises StoreUnavailable."""
        return await self._desk.alone(lambda: self._delete((tenant, name)))

    async def _add(self, selector: Selector) -> Selector | Problems:
        key = selector.match.tenant, selector.name
        refusal = self._problems(key, selector)
        if refusal:
            return refusal

        async def write(connection: AsyncConnection) -> None:
            await definition_rows.save_selector(connection, selector)

        await self._desk.commit(write)
        self.local[key] = selector
        self.publish()
        return selector

    async def _delete(self, key: Key) -> Selector | Problems:
        known = self.local.get(key)
        if known is None:
            return self._not_yours(key) or problem(
                "no-such-selector",
                (key[1],),
                f"tenant {key[0]} has no selector {key[1]}; see `selector list`",
            )

        async def write(connection: AsyncConnection) -> None:
            await definition_rows.delete_selector(connection, *key)

        await self._desk.commit(write)
        del self.local[key]
        self.publish()
        return known

    def _problems(self, key: Key, selector: Selector) -> Problems:
        refusal = self._not_yours(key)
        if refusal:
            return refusal
        if not selector.pools:
            return problem("selector-pools", (selector.name,), f"selector {selector.name} names no pool")
        for kind, _ in selector.pools:
            if kind in (Kind.CGN_BLOCK, Kind.FIXED):
                text = f"selector {selector.name}: no login can be told of a {kind}, so none can be selected for one"
                return problem("selector-kind", (selector.name,), text)
        pools = [shelf.pool for shelf in self._desk.addresses.register.shelves.values()]
        mine = f"selector {selector.name}"
        return tuple(each for each in check([selector], pools) if mine in each.names)

    def _not_yours(self, key: Key) -> Problems:
        if key not in self.of_platform or key in self.local:
            return ()
        text = f"selector {key[1]} of tenant {key[0]} was defined by the platform: change it on the platform"
        return problem("selector-of-other-origin", (key[1],), text)

    # --- what the platform wants -----------------------------------------------------------------

    def converge(self) -> tuple[tuple[str, Problem], ...]:
        """Take over the platform's selectors; return, by tenant, those whose names operators have taken."""
        wanted = {
            (tenant.tenant.id, each.name): each
            for tenant in self._desk.index.tenants.values()
            for each in tenant.selectors.values()
        }
        if wanted != self.of_platform:
            self.of_platform = wanted
            self.publish()
        clashes: dict[str, list[str]] = {}
        for tenant, name in wanted:
            if (tenant, name) in self.local:
                clashes.setdefault(tenant, []).append(name)
        return tuple((tenant, _clash(tenant, names)) for tenant, names in clashes.items())

    def publish(self) -> None:
        """Serve logins by what there is now."""
        by_tenant: dict[str, list[Selector]] = {}
        for selector, _ in self.listed():
            by_tenant.setdefault(selector.match.tenant, []).append(selector)
        self._desk.addresses.choose_by({tenant: Selectors(each) for tenant, each in by_tenant.items()})


def _clash(tenant: str, names: list[str]) -> Problem:
    text = (
        f"selectors of the platform have names of operators' ones of tenant {tenant}, which count: "
        f"{', '.join(names)}; delete one of each"
    )
    return Problem(slug="selector-name", names=tuple(names), text=text)
