"""CGNAT plans of all tenants, by version, and what is answered from them and from reported port blocks."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from ipaddress import IPv4Address, IPv4Network
from itertools import pairwise
from math import inf

from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from daemon.leases.coverage import down_times
from daemon.store import cgnat_rows, coverage_rows, session_rows
from daemon.store.cgnat_rows import PlanRow
from daemon.store.writer import Writer
from ipam.cgnat import Algorithm, DeterministicPlan
from ipam.cgnat_blocks import BlockIndex, BlockLease
from ipam.cgnat_versions import Plans, PlansClash, collect
from ipam.model import Problem

Beside = Callable[[str, DeterministicPlan], Sequence[Problem]]
"""Says what else has outside addresses of a tenant's plan."""

KEPT_SINCE = "cgnat-blocks-kept-since"
"""The mark that says how far back reported blocks go, once some were pruned."""


@dataclass(frozen=True, slots=True)
class StoredPlan:
    """A version of a plan of a tenant; its end is that it was given, or the beginning of the next version."""

    tenant: str
    plan: DeterministicPlan
    added_at: float


@dataclass(frozen=True, slots=True)
class PlanRefused:
    """A plan cannot stand: what is wrong with it, all at once."""

    problems: tuple[str, ...]


class Cgnat:
    """Owns the plans; `load` first. Reported blocks are read from the store where they are asked for.

    `problems` are sentences about plans in the store that could not be read, for `status`. `unwritten` is asked how
    many reports of port blocks of an outside address are not in the store yet.
    """

    def __init__(self, engine: AsyncEngine, writer: Writer, node: str, beside: Beside | None = None) -> None:
        """`node` is the name under which this edge's runs are kept: when it was down is a gap in the reports.

        A plan whose outside addresses `beside` finds with somebody else is refused.
        """
        self._engine = engine
        self._writer = writer
        self._node = node
        self._beside = beside or _nothing
        self.unwritten: Callable[[IPv4Address], int] = _none
        self._changing = asyncio.Lock()
        self._stored: tuple[StoredPlan, ...] = ()
        self._plans: dict[str, Plans] = {}
        self.problems: tuple[str, ...] = ()

    async def load(self) -> None:
        """Read the plans."""
        async with self._engine.connect() as connection:
            self._use(*_versions(await cgnat_rows.read_plans(connection)))

    def _use(self, stored: tuple[StoredPlan, ...], problems: tuple[str, ...]) -> None:
        self._stored, self.problems = stored, problems
        # They were checked when they were added, so here nothing is refused: both of a pair are told.
        self._plans = {
            tenant: Plans(tuple(each.plan for each in stored if each.tenant == tenant))
            for tenant in sorted({each.tenant for each in stored})
        }

    def stored(self, tenant: str | None = None) -> tuple[StoredPlan, ...]:
        """Return every version of every plan, of one tenant or of all."""
        return tuple(each for each in self._stored if tenant in (None, each.tenant))

    def of_tenant(self, tenant: str) -> Plans:
        """Return the plans of a tenant."""
        return self._plans.get(tenant, Plans())

    async def add(self, tenant: str, plan: DeterministicPlan, at: float) -> StoredPlan | PlanRefused:
        """Store a plan, or the next version of it, whatever version it says; the one before ends where it begins.

        Raises StoreUnavailable.
        """
        async with self._changing:
            last = self.latest(tenant, plan.id)
            if last is not None and plan.valid_from <= last.valid_from:
                return PlanRefused(
                    (f"version {last.version} of {plan.id} begins at the same time or later: begin after it",)
                )
            plan = replace(plan, version=1 if last is None else last.version + 1, valid_until=None)
            found = self._beside(tenant, plan)
            if found:
                return PlanRefused(tuple(each.text for each in found))
            row = PlanRow(tenant, plan.id, plan.version, plan.valid_from, at, _encode(plan))
            return await self._add(row)

    async def _add(self, row: PlanRow) -> StoredPlan | PlanRefused:
        async with self._engine.connect() as connection:
            rows = await cgnat_rows.read_plans(connection, row.tenant)
        stored, _ = _versions(sorted([*rows, row], key=lambda each: (each.name, each.version)))
        together = collect(each.plan for each in stored)
        if not isinstance(together, Plans):
            return PlanRefused(tuple(_says(clash) for clash in together))

        async def save(connection: AsyncConnection) -> None:
            await cgnat_rows.add_plan(connection, row)

        await self._writer.commit(save)
        await self.load()
        return self._latest(row.tenant, row.name)

    async def end(
        self, tenant: str, name: str, valid_until: float, at: float
    ) -> StoredPlan | PlanRefused | None:
        """End the latest version of a plan at an epoch second; None where there is no such plan.

        Raises StoreUnavailable.
        """
        async with self._changing:
            last = self.latest(tenant, name)
            if last is None:
                return None
            if last.valid_until is not None:
                return PlanRefused((f"version {last.version} of {name} has an end: add a new version",))
            if valid_until <= last.valid_from:
                return PlanRefused((f"version {last.version} of {name} begins then or later: end it after",))
            version = last.version

            async def save(connection: AsyncConnection) -> None:
                await cgnat_rows.end_plan(connection, tenant, name, version, valid_until, at)

            await self._writer.commit(save)
            await self.load()
            return self._latest(tenant, name)

    def in_force(self, at: float) -> tuple[tuple[str, DeterministicPlan], ...]:
        """Return the plans in force at an epoch second, each with its tenant."""
        return tuple((each.tenant, each.plan) for each in self._stored if each.plan.in_force(at))

    def latest(self, tenant: str, name: str) -> DeterministicPlan | None:
        """Return the latest version of a plan, in force or not."""
        mine = [each.plan for each in self.stored(tenant) if each.plan.id == name]
        return mine[-1] if mine else None

    def _latest(self, tenant: str, name: str) -> StoredPlan:
        return [each for each in self.stored(tenant) if each.plan.id == name][-1]

    # --- answers ---------------------------------------------------------------------------------

    async def plans(self, _connection: AsyncConnection) -> Mapping[str, Plans]:
        """Return all versions of all plans, by tenant."""
        return self._plans

    async def blocks(
        self, connection: AsyncConnection, outside: IPv4Address, since: float, until: float
    ) -> Mapping[str, BlockIndex]:
        """Return the reported blocks of an outside address that were held in that time, by tenant.

        Also how each was last given back before it: with that the index knows which gaps in the reports matter.
        """
        found = await cgnat_rows.find_block_leases(connection, None, outside, since, until)
        found += await cgnat_rows.find_last_ends(connection, outside, since)
        if not found:
            return {}
        kept_since = await self._kept_since(connection)
        runs = await coverage_rows.runs(connection, kept_since)
        out: dict[str, BlockIndex] = {}
        for tenant, lease in sorted(found, key=lambda each: each[1].since):
            out.setdefault(tenant, BlockIndex(kept_since)).assigned(lease)
        for index in out.values():
            for gap in down_times(runs, self._node):
                index.missing(gap)
        return out

    async def ports(self, tenant: str, inside: str, at: float) -> list[BlockLease]:
        """Return the reported blocks that an inside address had at an epoch second."""
        async with self._engine.connect() as connection:
            return await cgnat_rows.find_inside_leases(connection, tenant, inside, at, at)

    async def prune(self, connection: AsyncConnection, before: float) -> int:
        """Delete some of the blocks that were given back before that time, and note it; return how many went.

        Bounded work: called again while it returns more than 0.
        """
        gone = await cgnat_rows.prune(connection, before)
        if gone:
            await session_rows.save_mark(connection, KEPT_SINCE, before)
        return gone

    async def _kept_since(self, connection: AsyncConnection) -> float:
        pruned = await session_rows.read_mark(self._engine, KEPT_SINCE)
        first = await coverage_rows.first_start(connection)
        known = [each for each in (pruned, first) if each is not None]
        return max(known) if known else inf


def _none(_outside: IPv4Address) -> int:
    return 0


def _nothing(_tenant: str, _plan: DeterministicPlan) -> Sequence[Problem]:
    return ()


def _says(clash: PlansClash) -> str:
    names = [f"{each.id} version {each.version}" for each in (clash.first, clash.second)]
    return f"{names[0]} and {names[1]}: {clash.why}"


def _versions(rows: Iterable[PlanRow]) -> tuple[tuple[StoredPlan, ...], tuple[str, ...]]:
    """Return the plans in rows that are in the order of tenant, name and version, and what could not be read."""
    out: list[StoredPlan] = []
    problems: list[str] = []
    every = list(rows)
    nexts = {
        id(one): other.valid_from
        for one, other in pairwise(every)
        if (one.tenant, one.name) == (other.tenant, other.name)
    }
    for row in every:
        ends = [each for each in (row.valid_until, nexts.get(id(row))) if each is not None]
        try:
            out.append(StoredPlan(row.tenant, _decode(row, min(ends, default=None)), row.added_at))
        except (ValueError, KeyError, TypeError) as error:  # PlanInvalid is a ValueError
            problems.append(f"CGNAT plan {row.name} version {row.version} of {row.tenant}: {error}")
    return tuple(out), tuple(problems)


def _encode(plan: DeterministicPlan) -> bytes:
    numbers = {
        "inside": [str(each) for each in plan.inside],
        "outside": [str(each) for each in plan.outside],
        "block_size": plan.block_size,
        "sharing": plan.sharing,
        "first_port": plan.first_port,
        "last_port": plan.last_port,
        "reserved_ports": sorted(plan.reserved_ports),
        "algorithm": plan.algorithm.value,
        "boundaries": plan.boundaries,
    }
    return json.dumps(numbers, separators=(",", ":")).encode()


def _decode(row: PlanRow, valid_until: float | None) -> DeterministicPlan:
    numbers = json.loads(row.detail)
    return DeterministicPlan(
        id=row.name,
        version=row.version,
        inside=tuple(IPv4Network(each) for each in numbers["inside"]),
        outside=tuple(IPv4Network(each) for each in numbers["outside"]),
        block_size=numbers["block_size"],
        sharing=numbers["sharing"],
        first_port=numbers["first_port"],
        last_port=numbers["last_port"],
        reserved_ports=frozenset(numbers["reserved_ports"]),
        algorithm=Algorithm(numbers["algorithm"]),
        boundaries=numbers["boundaries"],
        valid_from=row.valid_from,
        valid_until=valid_until,
    )
