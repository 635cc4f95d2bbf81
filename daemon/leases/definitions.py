"""What pools, ranges, reservations, selectors, prefixes and VRFs there are: the only place where that changes.

Each change is checked, stored, and only then in force; one at a time. `pools`, `reservations`, `selectors` and
`prefixes` are the operators' verbs. What the platform's data say is converged with `changed` and `turn`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from daemon.events import Events
from daemon.leases.addresses import Addresses
from daemon.leases.converge import Convergence
from daemon.leases.converge_claims import ClaimKeeper
from daemon.leases.definitions_desk import Desk, Spawn
from daemon.leases.definitions_pools import Pools
from daemon.leases.definitions_prefixes import Prefixes
from daemon.leases.definitions_renumber import Renumbering
from daemon.leases.definitions_reservations import Reservations
from daemon.leases.definitions_selectors import SelectorDefinitions
from daemon.leases.definitions_standing import standing_of
from daemon.replica.index import Index, Key
from ipam import definition_rows
from ipam.model import Pool, Problem, Range

_REFRESH_S = 5.0  # how often a shared store is asked what other nodes have defined


class Definitions:
    """All definitions of a daemon. `start` once the addresses are restored, then `turn` about once a second.

    `problems` are what the platform wants and cannot have, for `status`; it is tried again after each load.
    """

    def __init__(
        self, addresses: Addresses[Any], index: Index, events: Events, spawn: Spawn, block_slots: int = 256
    ) -> None:
        self._desk = Desk(addresses, index, events, spawn, block_slots)
        self.reservations = Reservations(self._desk)
        self.claims = ClaimKeeper(self._desk, self.reservations)
        self.selectors = SelectorDefinitions(self._desk)
        self.pools = Pools(self._desk, self.reservations.of_tenant, self.set_aside, self.selectors.naming)
        index.standing = lambda: list(standing_of(self.pools, shared=self._desk.shared))
        self.prefixes = Prefixes(self._desk)
        self.renumbering = Renumbering(addresses)
        self._convergence = Convergence(self._desk, self.pools, self.selectors, self.claims)
        self._refreshed_at = 0.0

    @property
    def problems(self) -> tuple[Problem, ...]:
        """What the platform wants and cannot have."""
        return self._convergence.problems

    @property
    def addresses(self) -> Addresses[Any]:
        """The book that this defines."""
        return self._desk.addresses

    async def start(self) -> None:
        """Read what is stored, then converge with the platform's data. Raises StoreUnavailable."""
        await self._desk.alone(self._take_stored)
        self._refreshed_at = self._desk.addresses.clock.monotonic()
        await self._convergence.whole()

    async def _take_stored(self) -> None:
        async with self._desk.reading() as connection:
            self.pools.take_stored(await definition_rows.load_definitions(connection))
            self.reservations.take_stored(await definition_rows.load_reservations(connection))
            self.selectors.take_stored(await definition_rows.load_selectors(connection))
            await self.prefixes.load(connection)
        self._desk.doubtful = False

    def changed(self, keys: Sequence[Key]) -> None:
        """The data have changed; `turn` converges once the load is there as a whole."""
        self._convergence.changed(keys)

    def gained(self, tenant: str, pool: str) -> None:
        """This node has got a block of a pool: `turn` sets aside what is a subscriber's own there."""
        self._convergence.gained(tenant, pool)

    async def turn(self) -> None:
        """Converge with the data, take away what was to go and is empty now. Raises StoreUnavailable."""
        if self._desk.addresses.away is not None:  # `start` is called again when the shared store is back
            self.selectors.converge()
            return
        now = self._desk.addresses.clock.monotonic()
        if self._desk.doubtful or (self._desk.shared and now - self._refreshed_at >= _REFRESH_S):
            await self._desk.alone(self._refresh)
            self._refreshed_at = now
        self.renumbering.turn()
        await self._convergence.turn()
        await self.pools.turn()

    async def _refresh(self) -> None:
        """Follow the store: another node may have changed it, or a commit that failed took place after all."""
        async with self._desk.reading() as connection:
            pools = await definition_rows.load_definitions(connection)
            reservations = await definition_rows.load_reservations(connection)
            selectors = await definition_rows.load_selectors(connection)
            await self.prefixes.load(connection)
        await self.pools.refresh(pools)
        self.reservations.refresh(reservations)
        self.selectors.take_stored(selectors)
        self._desk.doubtful = False

    async def set_aside(self, pool: Pool, parts: tuple[Range, ...]) -> None:
        """Set aside what is somebody's own where a pool has got ranges, or has lost them; then what sessions have."""
        self.reservations.moved(pool, parts)
        await self.claims.moved(pool, parts)
        await self._desk.addresses.before_opening(pool, parts)
