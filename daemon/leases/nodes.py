"""One of several nodes on a PostgreSQL: it claims blocks of pools before they are needed, and gives back what is not.

The store is asked, never told: each turn compares the blocks that this node uses with those that it owns there, so
a lost answer to a COMMIT, a crash or another node's takeover all come right in the same way. No login waits for it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any

from daemon.errors import StoreUnavailable
from daemon.leases.addresses import Addresses
from daemon.leases.definitions_apply import SetAside
from daemon.leases.nodes_blocks import BlockKeeper, Counts
from daemon.leases.nodes_heard import HeardKeeper
from daemon.leases.nodes_plan import takes_blocks
from daemon.leases.shared_store import NameTaken, SharedWriter, reason_of
from ipam import heard_rows, node_rows
from ipam.block_rows import blocks_by_node, blocks_of, take_over_blocks
from ipam.blocks import sessions_in
from ipam.kinds import FREE
from ipam.ledger import Fence
from ipam.node_rows import NodeRow

_POLL_S = 0.05
_TAKE_AT_ONCE = 64
_CUT_OFF = 0.8  # of `takeover_after_s`: then this node stops, a good while before another begins
_GONE_BEATS = 5
_COPY_S = 60.0  # how often the definitions are copied, for a start without the store


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeOptions:
    """What the settings say. `takeover_after_s`, 60 or more: a node that was silent so long is taken over; None: never.

    `compare_s` must be shorter than the shortest lease time: so long may a node tell leases of blocks it has lost.
    """

    block_slots: int = 256
    beat_s: float = 1.0
    compare_s: float = 5.0
    ahead_s: float = 10.0
    give_after_s: float = 60.0
    takeover_after_s: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class TakenOver:
    """What became of a takeover: how many blocks, or why none (`node-unknown`, `node-alive`, `node-is-this`)."""

    node: str
    blocks: int = 0
    reason: str = ""
    silent_s: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Overview:
    """All nodes, and the blocks of each pool by node: tenant, pool, node (empty: nobody), blocks, slots."""

    nodes: tuple[NodeRow, ...]
    blocks: tuple[tuple[str, str, str, int, int], ...]


class Nodes:
    """The loop of a node; `run` is a task of its own, to be started once.

    `on_restored` is awaited when the store has come back and the book has begun anew, before a lease can begin;
    `on_lost` gets the names of sessions whose addresses are another node's now: end them. `set_aside` is told of
    the slots of each block that is gained, before a lease can begin there. `log` is told what happened.
    """

    def __init__(
        self,
        addresses: Addresses[Any],
        options: NodeOptions,
        on_restored: Callable[[], Awaitable[None]],
        on_lost: Callable[[tuple[str, ...]], None],
        set_aside: SetAside | None,
        log: Callable[..., None],
    ) -> None:
        assert isinstance(addresses.writer, SharedWriter)
        self._addresses = addresses
        self._writer: SharedWriter = addresses.writer
        self._clock = addresses.clock
        self.options = options
        self._on_restored = on_restored
        self._on_lost = on_lost
        self._log = log
        self.counts = Counts()
        self.failing: str | None = None
        self._remote = HeardKeeper(addresses)
        self._keeper = BlockKeeper(
            addresses, options.block_slots, options.ahead_s, self.counts, set_aside, self._remote
        )
        self._lock = asyncio.Lock()
        self._wake = False
        self._ousted = False
        self._compared_at = self._clock.monotonic()
        self._copied_at = self._compared_at
        self._heard = self._clock.monotonic(), self._clock.wall()
        self._orphans: tuple[str, ...] = ()  # sessions of a time before this node was cut off
        self._orphans_until = 0.0
        addresses.on_fenced = self._fenced
        addresses.on_short = self.short

    # --- the loop --------------------------------------------------------------------------------

    async def run(self) -> None:
        """Keep this node in step with the store for ever."""
        while True:
            await self.turn()
            await self._pause()

    def urgent(self) -> None:
        """A login found no free slot: look at once instead of at the next turn."""
        self._wake = True

    def short(self, tenant: str, pool: str) -> bool:
        """A login found nothing left of a pool: tell whether blocks of it can be had, and look for them at once."""
        if self._addresses.away is not None or self._keeper.is_dry((tenant, pool)):
            return False
        self.urgent()
        return True

    async def _pause(self) -> None:
        until = self._clock.monotonic() + self.options.beat_s
        while self._clock.monotonic() < until and not self._wake and not self._is_short():
            await self._clock.sleep(_POLL_S)
        self._wake = False

    def _is_short(self) -> bool:
        return self._addresses.away is None and any(
            shelf.allocator.counts[FREE] < self._keeper.low_water(key) and takes_blocks(shelf)
            for key, shelf in self._addresses.register.shelves.items()
            if shelf.divided
        )

    async def turn(self) -> None:
        """Do once what is to be done: heartbeat, compare, claim, give back."""
        async with self._lock:
            try:
                await self._work()
            except NameTaken as error:
                self._ousted = True
                self.failing = str(error)
                self._log("node-name-taken", why=str(error))
                await self._addresses.be_away(str(error))
            except StoreUnavailable as error:
                self._failed(str(error))
            except Exception as error:  # noqa: BLE001 - of several libraries; the store is away, whatever it is
                self._failed(reason_of(error))
            else:
                self.failing = None
            await self._mind_silence()

    def _failed(self, why: str) -> None:
        if self.failing is None:
            self._log("shared-store-away", why=why)
        self.failing = why

    async def _work(self) -> None:
        if self._addresses.away is not None:
            await self._rejoin()
        now = self._clock.monotonic()
        began = now, self._clock.wall()
        due = now - self._compared_at >= self.options.compare_s
        async with self._writer.transaction() as connection:
            await node_rows.beat(connection, self._writer.node, self._writer.boot)
            owned = await blocks_of(connection, self._writer.node) if due else None
        self._heard = began
        self._keeper.retry()
        if owned is not None and self._addresses.away is None:
            ended = await self._keeper.agree(owned)
            self._compared_at = now
            self._lost(ended)
        await self._keeper.supply()
        await self._keeper.give_back(self.options.give_after_s)
        await self._take_over_silent()
        await self._remote.tell()
        if due:
            await self._remote.answer()
            self._lost(await self._remote.learn())
        if now - self._copied_at >= _COPY_S:
            self._copied_at = now
            await self._addresses.refresh_copy()

    async def _rejoin(self) -> None:
        if self._ousted:
            async with self._addresses.engine.begin() as connection:
                known = await node_rows.lock_node(connection, self._writer.node)
            if known is not None and known.silent_s < _GONE_BEATS * self.options.beat_s:
                raise StoreUnavailable(self.failing or "another daemon has the name of this node")
        await self._addresses.rejoin(closed=True)
        self._ousted = False
        self._keeper.begin()
        self._remote.begin()
        await self._on_restored()
        self._keeper.open_all()
        self._compared_at = self._clock.monotonic()
        known_now = self._sessions()
        orphans, self._orphans = self._orphans, ()
        self._lost(tuple(name for name in orphans if name not in known_now))
        self._log("shared-store-back", leases=len(self._addresses.book))

    # --- what is lost ----------------------------------------------------------------------------

    def _fenced(self, fences: tuple[Fence, ...]) -> None:
        """A batch was refused: these blocks are another node's."""
        names: dict[str, None] = {}
        for each in fences:
            names.update(dict.fromkeys(self._keeper.lose(each.tenant, each.pool, each.block)))
        self._lost(tuple(names))

    def _lost(self, names: tuple[str, ...]) -> None:
        if names:
            self._log("node-fenced", sessions=len(names))
            self._on_lost(names)

    def _sessions(self) -> set[str]:
        register, book = self._addresses.register, self._addresses.book
        return {
            name
            for (tenant, pool), shelf in register.shelves.items()
            if shelf.divided
            for name in sessions_in(register, book, tenant, pool)
        }

    async def _mind_silence(self) -> None:
        """Where silent nodes are taken over: stop in time when it is this one that is cut off."""
        after_s = self.options.takeover_after_s
        if after_s is None:
            return
        now = self._clock.monotonic()
        silent_s = max(now - self._heard[0], self._clock.wall() - self._heard[1])  # or the machine slept
        if self._addresses.away is None and silent_s > _CUT_OFF * after_s:
            lease_s = max(
                (each.pool.lease_s for each in self._addresses.register.shelves.values() if each.divided),
                default=0.0,
            )
            self._orphans, self._orphans_until = tuple(self._sessions()), now + lease_s
            why = f"nothing was heard of the shared store for {silent_s:.0f} s: other nodes take over"
            self._log("node-cut-off", why=why, sessions=len(self._orphans))
            await self._addresses.be_away(why)
        elif self._orphans and now >= self._orphans_until:
            orphans, self._orphans = self._orphans, ()
            self._lost(orphans)

    # --- takeover --------------------------------------------------------------------------------

    async def take_over(self, dead: str, *, force: bool = False) -> TakenOver:
        """Take the blocks of a node that is dead; its leases are kept for their owners for one lease time.

        Nothing is done where it was heard of lately, unless `force`. Raises StoreUnavailable.
        """
        async with self._lock:
            if self._addresses.away is not None:
                raise StoreUnavailable(self._addresses.away)
            return await self._take_over(dead, 0.0 if force else _GONE_BEATS * self.options.beat_s)

    async def _take_over(self, dead: str, least_silent_s: float) -> TakenOver:
        if dead == self._writer.node:
            return TakenOver(node=dead, reason="node-is-this")
        total = 0
        while True:
            async with self._writer.transaction() as connection:
                known = await node_rows.lock_node(connection, dead)
                if known is None:
                    return TakenOver(node=dead, reason="node-unknown")
                if known.silent_s < least_silent_s:
                    return TakenOver(node=dead, blocks=total, reason="node-alive", silent_s=known.silent_s)
                at = self._clock.wall()
                await heard_rows.leave(connection, dead)
                blocks = await take_over_blocks(connection, dead, self._writer.node, at, _TAKE_AT_ONCE)
            if not blocks:
                break
            total += len(blocks)
            self.counts.taken_over += len(blocks)
            await self._keeper.gain(blocks)
        self._log("node-taken-over", node=dead, blocks=total, silent_s=round(known.silent_s))
        return TakenOver(node=dead, blocks=total, silent_s=known.silent_s)

    async def _take_over_silent(self) -> None:
        if self.options.takeover_after_s is None:
            return
        for each in (await self.overview()).nodes:
            if (
                each.blocks
                and each.node != self._writer.node
                and each.silent_s > self.options.takeover_after_s
            ):
                await self._take_over(each.node, self.options.takeover_after_s)

    # --- looking ---------------------------------------------------------------------------------

    @property
    def name(self) -> str:
        """The name of this node."""
        return self._writer.node

    @property
    def problems(self) -> Sequence[str]:
        """Return what is not as it should be, sentences for `status`."""
        away = self._addresses.away
        if away is not None:
            return (f"pools of the shared store are not served: {away}",)
        return () if self.failing is None else (f"the shared store is away: {self.failing}",)

    async def overview(self) -> Overview:
        """Return all nodes and blocks. Raises StoreUnavailable."""
        try:
            async with self._addresses.engine.connect() as connection:
                return Overview(
                    nodes=tuple(await node_rows.nodes(connection)),
                    blocks=tuple(await blocks_by_node(connection)),
                )
        except Exception as error:  # of several libraries, and all of them mean the same
            raise StoreUnavailable(reason_of(error)) from error
