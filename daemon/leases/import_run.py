"""An import carried out: pools are defined closed, filled with their leases, and opened when all is on disk.

Logins see nothing of it before it is complete. It is a sequence of transactions, since one of a million rows would
hold up every login and accounting record meanwhile. If it is cut off, by a crash or a full disk, the pools stay
closed and `ipam_import` knows them; the same import again adds what is missing and opens them. Deleting those pools
undoes it.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Iterable
from dataclasses import replace
from typing import Any

from sqlalchemy.ext.asyncio import AsyncConnection

from daemon.leases.addresses import Addresses
from daemon.leases.definitions import Definitions
from daemon.leases.import_leases import Placed, Placer
from daemon.leases.import_model import Findings, Plan, PoolPlan, Progress, Report
from daemon.replica.pools import Span, range_space, span_text
from daemon.store import import_rows
from daemon.store.import_rows import Unopened
from ipam.address import Unit
from ipam.imports.records import Finding
from ipam.kinds import FREE, SPACE_OF, PoolState
from ipam.model import Pool, Problem

_SLICE = 250  # leases between two looks at what else is to be done
_BATCH = 400  # leases in one transaction
_COUNTED = 5_000
_AT_ONCE = 500  # definitions that are asked for before the first is there


class CutOff(Exception):
    """An import could not be finished; what it is told with says why, and that the same again completes it."""


class Run:
    """Carries one plan out, which must have no problems."""

    def __init__(self, plan: Plan, definitions: Definitions) -> None:
        self._plan = plan
        self._definitions = definitions
        self._addresses: Addresses[Any] = definitions.addresses
        self._made: Counter[str] = Counter()
        self._lost: Findings = plan.notes

    async def steps(self) -> AsyncIterator[Progress]:
        """Do it, telling how far it is. Raises CutOff, StoreUnavailable."""
        plan = self._plan
        async with self._addresses.engine.connect() as connection:
            waiting = await import_rows.load(connection, plan.tenant)
        mine = [each for each in waiting if each.pool in plan.pools]
        for number, pool in enumerate(plan.pools.values()):
            mine += await self._define(pool)
            yield Progress("pools", number + 1, len(plan.pools))
        async for step in self._others():
            yield step
        total = sum(len(pool.leases) for pool in plan.pools.values())
        done = 0
        for pool in plan.pools.values():
            async for placed in self._fill(pool):
                yield Progress("leases", done + placed, total)
            done += len(pool.leases)
        await self._open(mine)

    def report(self, *, done: bool) -> Report:
        """Return what was made."""
        return report(self._plan, +self._made, done=done)

    # --- pools -----------------------------------------------------------------------------------

    async def _define(self, pool: PoolPlan) -> list[Unopened]:
        """Define what is new of a pool, closed; return what is to be opened in the end."""
        plan, wanted = self._plan, pool.wanted
        assert wanted is not None
        closed: list[Unopened] = []
        if pool.known is None:
            closed = [Unopened(plan.tenant, pool.name)]
        elif pool.spans:
            there = {each.first_slot for each in pool.known.pool.ranges}
            fresh = [each for each in wanted.pool.ranges if each.first_slot not in there]
            closed = [Unopened(plan.tenant, pool.name, each.first_slot) for each in fresh]
        if closed:
            await self._note(closed)
        pools = self._definitions.pools
        if pool.known is None:
            texts = [_text(pool, span) for span in pool.spans]
            self._settled(await pools.add(replace(wanted.pool, ranges=()), texts))
            self._made["pools"] += 1
        elif closed:
            fresh_ones = tuple(fresh)
            grow = lambda known: replace(known, ranges=(*known.ranges, *fresh_ones))  # noqa: E731
            self._settled(await pools.change(plan.tenant, pool.name, grow))
        if pool.known is not None and pool.fresh_exclusions:
            texts = [_text(pool, span) for span in pool.fresh_exclusions]
            self._settled(await pools.exclude(plan.tenant, pool.name, texts))
        self._made["ranges"] += len(pool.spans)
        self._made["exclusions"] += len(pool.fresh_exclusions)
        return closed

    async def _note(self, closed: list[Unopened]) -> None:
        at = self._addresses.clock.wall()

        async def write(connection: AsyncConnection) -> None:
            await import_rows.save(connection, closed, at)

        await self._addresses.writer.commit(write)

    async def _open(self, mine: Iterable[Unopened]) -> None:
        """Let logins have what was closed until now."""
        by_pool: dict[str, set[int]] = {}
        for each in mine:
            by_pool.setdefault(each.pool, set()).add(each.first_slot)
        for name, slots in by_pool.items():

            def edit(known: Pool, slots: set[int] = slots) -> Pool:
                state = PoolState.ACTIVE if import_rows.WHOLE in slots else known.state
                ranges = tuple(
                    replace(part, draining=False) if part.first_slot in slots else part
                    for part in known.ranges
                )
                return replace(known, state=state, ranges=ranges)

            if self._definitions.pools.find(self._plan.tenant, name) is not None:
                self._settled(await self._definitions.pools.change(self._plan.tenant, name, edit))

        async def write(connection: AsyncConnection) -> None:
            await import_rows.remove(connection, (Unopened(*each) for each in mine))

        if by_pool:
            await self._addresses.writer.commit(write)

    # --- prefixes and reservations ---------------------------------------------------------------

    async def _others(self) -> AsyncIterator[Progress]:
        plan, definitions = self._plan, self._definitions
        for first in range(0, len(plan.prefixes), _AT_ONCE):
            some = plan.prefixes[first : first + _AT_ONCE]
            for answer in await asyncio.gather(*map(definitions.prefixes.add, some)):
                self._settled(answer)
            self._made["prefixes"] += len(some)
            yield Progress("prefixes", self._made["prefixes"], len(plan.prefixes))
        for first in range(0, len(plan.reservations), _AT_ONCE):
            kept = plan.reservations[first : first + _AT_ONCE]
            for made in await asyncio.gather(*map(definitions.reservations.reserve, kept)):
                self._settled(made)
            self._made["reservations"] += len(kept)
            yield Progress("reservations", self._made["reservations"], len(plan.reservations))
        for pool in plan.pools.values():
            for value in pool.declined:
                self._decline(pool, value)

    def _decline(self, pool: PoolPlan, value: int) -> None:
        """Keep an address from everybody for a while that was found in use by a stranger."""
        steward, clock = self._addresses.steward, self._addresses.clock
        unit = Unit(SPACE_OF[pool.kind], value, pool.unit_length)
        place = self._addresses.register.locate(self._plan.tenant, pool.vrf, unit)
        cell = -1 if place is None else place[0].allocator.cell_at(place[1])
        if place is not None and (cell < 0 or place[0].allocator.states[cell] == FREE):
            steward.decline(self._plan.tenant, pool.vrf, unit, clock.monotonic(), clock.wall())
            self._made["declined"] += 1
            self._addresses.lessor.wake()

    # --- leases ----------------------------------------------------------------------------------

    async def _fill(self, pool: PoolPlan) -> AsyncIterator[int]:
        """Put the leases of a pool into the book and its store; yield how many are through."""
        shelf = self._addresses.register.find(self._plan.tenant, pool.name)
        assert shelf is not None, "it is defined by now"
        placer = Placer(self._addresses, pool, shelf)
        unsaved = 0
        for index in range(len(pool.leases)):
            placed = placer.place(index)
            self._count(pool, index, placed)
            unsaved += placed in (Placed.LIVE, Placed.KEPT)
            if unsaved >= _BATCH:
                await self._addresses.lessor.stored(placer.serial)
                unsaved = 0
            if index % _SLICE == _SLICE - 1:
                await asyncio.sleep(0)
                yield index + 1
        if placer.serial:
            await self._addresses.lessor.stored(placer.serial)
        yield len(pool.leases)

    def _count(self, pool: PoolPlan, index: int, placed: Placed) -> None:
        if placed is Placed.SAME:
            self._plan.same("leases")
        elif placed is Placed.REPLACED:
            self._plan.same("earlier leases of the same owners, not taken over")
        elif placed is Placed.TAKEN:
            assert pool.layout is not None
            unit, owner = pool.layout.unit(pool.leases.slots[index]), pool.leases.owners[index]
            self._lost.add(
                Finding(
                    file=pool.file,
                    line=None,
                    field="block",
                    got=f"{unit} of {owner}",
                    expected="an address that is free here",
                    remedy="somebody has got it since the check, or the owner has another one here: that stays",
                )
            )
        else:
            self._made["leases" if placed is Placed.LIVE else "kept for their owners"] += 1

    def _settled(self, answer: object) -> None:
        if isinstance(answer, tuple) and answer and isinstance(answer[0], Problem):
            said = "; ".join(each.text for each in answer if isinstance(each, Problem))
            raise CutOff(f"{said}. Nothing of it is open to logins yet; put it right and import again")


def _text(pool: PoolPlan, span: Span) -> str:
    return span_text(range_space(pool.kind), *span)


async def foreseen(plan: Plan, at: float) -> Report:
    """Return what an import would make; `at` is now, epoch s."""
    made: Counter[str] = Counter(prefixes=len(plan.prefixes), reservations=len(plan.reservations))
    replaced = 0
    for pool in plan.pools.values():
        made["pools"] += pool.known is None
        made["ranges"] += len(pool.spans)
        made["exclusions"] += len(pool.fresh_exclusions)
        made["declined"] += len(pool.declined)
        leases = pool.leases
        for number, (slot, until) in enumerate(zip(leases.slots, leases.untils, strict=True)):
            if number % _COUNTED == 0:
                await asyncio.sleep(0)
            if slot < 0:
                replaced += 1
            else:
                made["leases" if until > at else "kept for their owners"] += 1
    if replaced:
        plan.unchanged["earlier leases of the same owners, not taken over"] = replaced
    return report(plan, +made, done=False)


def report(plan: Plan, made: Counter[str], *, done: bool) -> Report:
    """Return what an import has come to."""
    return Report(
        done=done,
        made=dict(made),
        unchanged=dict(plan.unchanged),
        problems=tuple(plan.problems.told),
        problem_count=plan.problems.count,
        notes=tuple(plan.notes.told),
        note_count=plan.notes.count,
    )
