"""The pools of an import against those that there are: what is new of them, and what stands in the way."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from dataclasses import replace

from daemon.leases.definitions import Definitions
from daemon.leases.definitions_check import pool_problems
from daemon.leases.definitions_edits import grown, merged, part_span, without
from daemon.leases.import_model import MOST_RANGES, Plan, PoolPlan
from daemon.replica.index import Index
from daemon.replica.pools import range_space, span_text
from ipam.address import Malformed, text
from ipam.definition_rows import DefinedBy, Definition
from ipam.imports.records import Finding
from ipam.imports.wire import Item
from ipam.kinds import BITS, SPACE_OF, Kind, PoolState, Space
from ipam.layout import Counted
from ipam.model import Pool, Problem
from ipam.overlap import check

_LEASED = (Kind.V4, Kind.V6_NA, Kind.V6_PREFIX, Kind.PD)


def kind_of(item: Item) -> Kind | None:
    """Return what the pool of a range leases; None where what is said does not fit the units."""
    space, length = item.unit.space, item.unit.length
    said = item.get("kind")
    if said:
        fits = said in _LEASED and SPACE_OF[Kind(said)] is space
        return Kind(said) if fits and (said in (Kind.PD, Kind.V6_PREFIX) or length == BITS[space]) else None
    if space is Space.IPV4:
        return Kind.V4 if length == BITS[space] else None
    return Kind.V6_NA if length == BITS[space] else Kind.PD


def add_range(plan: Plan, item: Item) -> None:
    """Take a range up into its pool."""
    name, kind = item.get("pool"), kind_of(item)
    if not name:
        plan.problems.add(item.finding("pool", "the name of a pool"))
        return
    if kind is None:
        got = f"units of /{item.unit.length}" + (f" of kind {item.get('kind')}" if item.get("kind") else "")
        expected = "single addresses, or IPv6 prefixes of a pool of kind pd or v6-prefix"
        plan.problems.add(item.finding("length", expected, got=got))
        return
    pool = plan.pools.get(name)
    if pool is None:
        file, line = item.get("file"), item.said.get("line", 0)
        pool = PoolPlan(name, item.get("vrf"), kind, item.unit.length, file, line)
        plan.pools[name] = pool
    if (pool.kind, pool.unit_length, pool.vrf) != (kind, item.unit.length, item.get("vrf")):
        remedy = "give one of them another name with --map, or import them one after the other"
        got = f"{name} of {kind} /{item.unit.length} in VRF {item.get('vrf') or 'default'}"
        expected = (
            f"{pool.kind} /{pool.unit_length} in VRF {pool.vrf or 'default'}, as in {pool.file}:{pool.line}"
        )
        plan.problems.add(item.finding("pool", expected, remedy, got))
        return
    pool.ranges.append((item.unit.value, item.last))


def as_it_is(definitions: Definitions, known: Definition, item: Item) -> PoolPlan:
    """Return a pool that is here, for leases that come without its ranges."""
    pool, file, line = known.pool, item.get("file"), item.said.get("line", 0)
    found = PoolPlan(pool.name, pool.vrf, pool.kind, pool.unit_length, file, line)
    found.known, found.wanted, found.layout = known, known, Counted(pool)
    found.shelf = definitions.addresses.register.find(pool.tenant, pool.name)
    return found


async def settle(plan: Plan, definitions: Definitions, index: Index) -> None:
    """Say of each pool what is to become of it, and note what stands in the way."""
    for pool in plan.pools.values():
        await asyncio.sleep(0)
        try:
            _settle(plan, pool, definitions, index)
        except Malformed as error:
            _problem(plan, pool, str(error), "whole units")
    fresh = [each.wanted.pool for each in plan.pools.values() if each.wanted is not None and each.spans]
    for problem in check(fresh):
        _refuse(plan, plan.pools[problem.names[0].removeprefix("pool ")], [problem])


def _settle(plan: Plan, pool: PoolPlan, definitions: Definitions, index: Index) -> None:
    known = definitions.pools.find(plan.tenant, pool.name)
    pool.known = known
    pool.spans = merged(pool.ranges)
    if known is not None and not _fits(plan, pool, known):
        return
    if known is not None:
        pool.spans = without(pool.spans, (part_span(known.pool, part) for part in known.pool.ranges))
        pool.fresh_exclusions = without(pool.exclusions, known.pool.exclusions)
        pool.shelf = definitions.addresses.register.find(plan.tenant, pool.name)
    else:
        pool.fresh_exclusions = merged(pool.exclusions)
    if len(pool.spans) > MOST_RANGES:
        _problem(
            plan,
            pool,
            f"{len(pool.spans)} ranges with gaps between them",
            f"at most {MOST_RANGES}",
            "add the addresses that are missing, or divide the pool by names",
        )
        return
    pool.wanted = wanted = _wanted(plan, pool)
    pool.layout = Counted(wanted.pool)
    if known is not None and known.by is DefinedBy.PLATFORM and (pool.spans or pool.fresh_exclusions):
        what = _spans_text(pool, pool.spans or pool.fresh_exclusions)
        _problem(plan, pool, what, f"what the platform's pool {pool.name} has", "change it on the platform")
        return
    if known is None or pool.spans or pool.fresh_exclusions:
        reserved = definitions.reservations.of_tenant(plan.tenant)
        register = definitions.addresses.register
        known_pool = None if known is None else known.pool
        pools = [shelf.pool for shelf in register.shelves.values()]
        _refuse(plan, pool, pool_problems(register, pools, index, reserved, wanted, known_pool))


def _fits(plan: Plan, pool: PoolPlan, known: Definition) -> bool:
    there = known.pool
    if (there.kind, there.unit_length, there.vrf) == (pool.kind, pool.unit_length, pool.vrf):
        return True
    got = f"{pool.kind} /{pool.unit_length} in VRF {pool.vrf or 'default'}"
    there_vrf = there.vrf or "default"
    expected = f"as pool {there.name} is here: {there.kind} /{there.unit_length} in VRF {there_vrf}"
    _problem(plan, pool, got, expected, "name the pool otherwise with --map, or say --vrf")
    return False


def _wanted(plan: Plan, pool: PoolPlan) -> Definition:
    """Return the definition with what is new in it: closed until all leases are there."""
    texts = [span_text(range_space(pool.kind), *span) for span in pool.spans]
    if pool.known is None:
        empty = Pool(
            tenant=plan.tenant,
            vrf=pool.vrf,
            name=pool.name,
            kind=pool.kind,
            unit_length=pool.unit_length,
            ranges=(),
            exclusions=pool.fresh_exclusions,
            state=PoolState.DISABLED,
        )
        return grown(Definition(pool=empty), texts)
    exclusions = merged((*pool.known.pool.exclusions, *pool.fresh_exclusions))
    known = replace(pool.known, pool=replace(pool.known.pool, exclusions=exclusions))
    first = known.pool.next_slot
    wanted = grown(known, texts)
    ranges = tuple(
        replace(each, draining=True) if each.first_slot >= first else each for each in wanted.pool.ranges
    )
    return replace(wanted, pool=replace(wanted.pool, ranges=ranges))


def _spans_text(pool: PoolPlan, spans: Iterable[tuple[int, int]]) -> str:
    space = SPACE_OF[pool.kind]
    return ", ".join(f"{text(space, first)}-{text(space, last)}" for first, last in list(spans)[:3])


def _refuse(plan: Plan, pool: PoolPlan, problems: Iterable[Problem]) -> None:
    for each in problems:
        _problem(plan, pool, each.text, "a pool that can be defined beside what is here")


def _problem(plan: Plan, pool: PoolPlan, got: str, expected: str, remedy: str = "") -> None:
    line = pool.line or None
    finding = Finding(file=pool.file, line=line, field="pool", got=got, expected=expected, remedy=remedy)
    plan.problems.add(finding)
