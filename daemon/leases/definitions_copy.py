"""What the shared store last said of pools, selectors and reservations, kept in the edge's own database.

So a start without the shared store knows which logins want an address of a pool, and refuses those instead of letting
them in without one.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from daemon.store.writer import Writer
from ipam import definition_rows
from ipam.model import Pool, Reservation, Selector
from ipam.selection import Selectors


@dataclass(frozen=True, slots=True, kw_only=True)
class Definitions:
    """What there is to lease from, and who is served from what."""

    pools: tuple[Pool, ...] = ()
    selectors: tuple[Selector, ...] = ()
    reservations: tuple[Reservation, ...] = ()

    def by_tenant(self) -> dict[str, Selectors]:
        """Return the selectors as logins use them."""
        found: dict[str, list[Selector]] = {}
        for each in self.selectors:
            found.setdefault(each.match.tenant, []).append(each)
        return {tenant: Selectors(each) for tenant, each in found.items()}


async def read(connection: AsyncConnection) -> Definitions:
    """Return what a store says now."""
    return Definitions(
        pools=tuple(await definition_rows.load_pools(connection)),
        selectors=tuple(await definition_rows.load_selectors(connection)),
        reservations=tuple(await definition_rows.load_reservations(connection)),
    )


class DefinitionsCopy:
    """The copy, in tables of the same form."""

    def __init__(self, engine: AsyncEngine, writer: Writer) -> None:
        """Both of the edge's own database."""
        self._engine = engine
        self._writer = writer

    async def load(self) -> Definitions:
        """Return the copy; nothing where there is none yet."""
        async with self._engine.connect() as connection:
            return await read(connection)

    async def save(self, wanted: Definitions) -> bool:
        """Keep other definitions than before; False where they are the same. Raises StoreUnavailable."""
        if _sorted(wanted) == _sorted(await self.load()):
            return False

        async def write(connection: AsyncConnection) -> None:
            known = await read(connection)
            for pool in known.pools:
                await definition_rows.delete_pool(connection, pool.tenant, pool.name)
            for selector in known.selectors:
                await definition_rows.delete_selector(connection, selector.match.tenant, selector.name)
            for kept in known.reservations:
                await definition_rows.delete_reservation(connection, kept.tenant, kept.vrf, kept.unit)
            for pool in wanted.pools:
                await definition_rows.save_pool(connection, pool)
            for selector in wanted.selectors:
                await definition_rows.save_selector(connection, selector)
            for kept in wanted.reservations:
                await definition_rows.save_reservation(connection, kept)

        await self._writer.commit(write)
        return True


def _sorted(some: Definitions) -> Definitions:
    return replace(
        some,
        selectors=tuple(sorted(some.selectors, key=lambda each: (each.match.tenant, each.name))),
        reservations=tuple(sorted(some.reservations, key=lambda each: (each.tenant, each.vrf, each.unit))),
    )
