"""The address book of the daemon: pools and leases in memory, their store, and what time does to them.

One for each daemon. Everything that changes a lease goes through `book` and `steward`; everything that changes what
pools there are goes through `leases.definitions`.
"""

from __future__ import annotations

import contextlib
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Generic

from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from daemon.clock import Clock
from daemon.leases import definitions_copy, shared_book
from daemon.leases.definitions_copy import Definitions, DefinitionsCopy
from daemon.leases.lessor import Context
from daemon.leases.nodes_notes import Notes
from daemon.leases.shared_store import SharedLessor, SharedWriter, reason_of
from daemon.store.writer import Writer
from ipam import definition_rows, store
from ipam.block_rows import blocks_of
from ipam.blocks import gain_block
from ipam.book import Book
from ipam.ledger import Fence
from ipam.loading import load
from ipam.model import Pool, Range, Selector
from ipam.register import Register
from ipam.restore import faults
from ipam.selection import Selectors
from ipam.steward import Steward

# What a turn may take to end what is over, so that logins come in between, and after how many steps it looks.
_EXPIRE_S = 0.002
_EXPIRE_STEPS = 100


@dataclass(frozen=True, slots=True, kw_only=True)
class AddressOptions:
    """What the settings say: the name of this node in the history, and whether pools are shared with other nodes."""

    node: str = "edge"
    shared: bool = False
    hint: str = ""  # where this node is, for the people who look at the list of nodes


class Addresses(Generic[Context]):
    """The book of leases and its store. `restore` first; until then there is no `register`, `book` and `steward`.

    `problems` are sentences about what could not be taken up at the start, for `status`. `on_fenced` is told which
    blocks the shared store has given to another node. `on_short` (tenant, pool) is asked where a login has found
    nothing left: whether it may find something in a moment. `before_opening` is awaited with a pool and ranges that
    leases are about to begin in. `away` says why the shared store does not serve: fixed
    addresses go on then, without history, and logins that want a pool are refused; `leases.nodes` has it come back.
    """

    register: Register
    book: Book
    steward: Steward
    lessor: SharedLessor[Context]

    def __init__(
        self,
        engine: AsyncEngine,
        writer: Writer,
        clock: Clock,
        options: AddressOptions,
        copy: DefinitionsCopy | None = None,
    ) -> None:
        """`copy` is what is known of the shared store's definitions while that is away."""
        self.engine = engine
        self.writer = writer
        self.clock = clock
        self.options = options
        self.problems: tuple[str, ...] = ()
        self.copy = copy
        self.away: str | None = None
        self.strangers = 0  # stored slots of no pool here
        self.replaying = False  # from `restore` until sessions are read back, too, and compared
        self.notes = Notes()  # of sessions whose addresses are another node's to lease
        self.on_fenced: Callable[[tuple[Fence, ...]], None] = _ignore
        self.on_short: Callable[[str, str], bool] = _never
        self.before_opening: Callable[[Pool, tuple[Range, ...]], Awaitable[None]] = _cover_none
        self._selectors: dict[str, Selectors] = {}
        self.generation = 0  # rises with each change of selectors
        self._on_stored: Callable[[list[Context]], None] = _ignore
        self._on_refused: Callable[[list[Context]], None] = _ignore

    def serve(
        self, on_stored: Callable[[list[Context]], None], on_refused: Callable[[list[Context]], None]
    ) -> None:
        """Name who answers logins whose leases were stored, and forgets those that must not be; before `restore`."""
        self._on_stored, self._on_refused = on_stored, on_refused

    async def restore(self) -> None:
        """Read pools, leases and reservations back. Raises StoreUnavailable, but for a shared store: see `away`."""
        self.replaying = True
        if isinstance(self.writer, SharedWriter):
            try:
                await self.rejoin()
            except Exception as error:  # noqa: BLE001 - whatever it is, logins with fixed addresses go on
                await self.be_away(reason_of(error))
            return
        node, now, at = self.options.node, self.clock.monotonic(), self.clock.wall()
        boots: list[int] = []

        async def begin(connection: AsyncConnection) -> None:
            boots.append(await store.next_boot(connection, node, at))

        await self.writer.commit(begin)
        async with self.engine.connect() as connection:
            self.open(Register(node, boots[-1], await store.chain_end(connection, node)))
            for pool in await definition_rows.load_pools(connection):
                self.register.add_pool(pool, divided=self.options.shared)
            await self._load(connection, now, at)
            for reservation in await definition_rows.load_reservations(connection):
                self.steward.reserve(reservation, at)
            selectors: dict[str, list[Selector]] = {}
            for selector in await definition_rows.load_selectors(connection):
                selectors.setdefault(selector.match.tenant, []).append(selector)
        self.choose_by({tenant: Selectors(each) for tenant, each in selectors.items()})
        self.problems = faults(self.register)

    # --- a shared store --------------------------------------------------------------------------

    async def rejoin(self, *, closed: bool = False) -> None:
        """Begin anew with what the shared store has; with `closed`, no lease begins before `open_blocks`.

        What only the book knew until now is given up, as at a restart. Raises whatever the store or its driver does.
        """
        assert isinstance(self.writer, SharedWriter)
        self.writer.join(0)
        stored = await shared_book.join(self.engine, self.options.node, self.options.hint, self.clock.wall())
        self.give_up("the book of leases begins anew")
        self.writer.join(stored.boot)
        self.open(Register(self.options.node, stored.boot, stored.chain))
        now, at = self.clock.monotonic(), self.clock.wall()
        self.strangers = shared_book.fill(self.register, self.book, stored, now, at, closed=closed)
        for reservation in stored.definitions.reservations:
            self.steward.reserve(reservation, at)
        self.choose_by(stored.definitions.by_tenant())
        self.problems = faults(self.register)
        self.away = None
        await self._keep_copy(stored.definitions)

    async def refresh_copy(self) -> None:
        """Keep what the shared store says of pools and selectors now. Raises whatever that does."""
        async with self.engine.connect() as connection:
            wanted = await definitions_copy.read(connection)
        await self._keep_copy(wanted)

    async def _keep_copy(self, wanted: Definitions) -> None:
        if self.copy is not None:
            with contextlib.suppress(Exception):  # a full disk of our own must not take the pools away
                await self.copy.save(wanted)

    async def be_away(self, why: str) -> None:
        """Go on without the shared store: fixed addresses, and pools that have no slot here."""
        known = None if self.copy is None else await self.copy.load()
        self.give_up(why)
        self.open(Register(self.options.node, 0))
        self.lessor.give_up(why)
        self.strangers, self.problems = 0, ()
        if known is not None:
            for pool in known.pools:
                self.register.add_pool(pool, divided=True)
            self.choose_by(known.by_tenant())

    def give_up(self, why: str) -> None:
        """Store and answer nothing more of the present book, if there is one."""
        self.away = why
        if isinstance(self.writer, SharedWriter):
            self.writer.join(0)
        if hasattr(self, "lessor"):
            self.lessor.give_up(why)

    def open(self, register: Register) -> None:
        """Begin with a register that is empty, or about to be filled."""
        self.register = register
        self.book = Book(register)
        self.steward = Steward(register, self.book)
        self.lessor = SharedLessor(self.book, self.writer, self._on_stored, self._on_refused, self._fenced)

    def _fenced(self, lost: tuple[Fence, ...]) -> None:
        self.on_fenced(lost)

    async def _load(self, connection: AsyncConnection, now: float, at: float) -> None:
        if not self.options.shared:
            self.strangers = await load(connection, self.register, self.book, now)
            return
        for block in await blocks_of(connection, self.options.node):
            if self.register.find(block.tenant, block.pool) is not None:
                rows = await store.load_block_rows(
                    connection, block.tenant, block.pool, block.first_slot, block.last_slot
                )
                self.strangers += gain_block(self.register, self.book, block, rows, now, at)

    # --- selectors -------------------------------------------------------------------------------

    def selectors(self, tenant: str) -> Selectors | None:
        """Return what says which pools a tenant's logins are served from; None: no pool of ours."""
        return self._selectors.get(tenant)

    def choose_by(self, selectors: dict[str, Selectors]) -> None:
        """Serve logins by these selectors from now on, by tenant."""
        self._selectors = selectors
        self.generation += 1

    # --- time ------------------------------------------------------------------------------------

    def turn(self, lives: Callable[[str], bool]) -> None:
        """Let time pass: end what is over, have stored what has changed. To be called a few times a second.

        `lives` tells whether the session of a name is live: its leases then go on, however long nothing was heard.
        """
        clock = self.clock
        now, at = clock.monotonic(), clock.wall()
        while self.book.expire_due(now, at, _EXPIRE_STEPS, lives) >= _EXPIRE_STEPS:
            if clock.monotonic() - now > _EXPIRE_S:
                break
        if self.away is not None:
            self.register.ledger.abandon()  # of a book that is stored nowhere: nobody waits for it
        self.lessor.turn()


def _ignore(_what: object) -> None:
    return None


async def _cover_none(_pool: Pool, _parts: tuple[Range, ...]) -> None:
    return None


def _never(_tenant: str, _pool: str) -> bool:
    return False
