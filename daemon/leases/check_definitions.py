"""Pools, reservations, fixed addresses, routed blocks and outside addresses of CGNATs against each other."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable, Sequence

from daemon.leases import cgnat_places
from daemon.leases.cgnat_places import Owned
from daemon.leases.check_model import SLICE, Finding, Progress, Rule, Scope, Step
from ipam.definition_rows import load_reservations
from ipam.kinds import Kind
from ipam.model import Claim, Pool, Problem
from ipam.overlap import check as overlaps


async def steps(scope: Scope) -> AsyncIterator[Step]:
    """Yield what overlaps. The comparison is of values that do not change, in a thread."""
    claims: list[Claim] = []
    for claim in scope.claims():
        claims.append(claim)
        if len(claims) % SLICE == 0:
            await asyncio.sleep(0)
    async with scope.addresses.engine.connect() as connection:
        reservations = await load_reservations(connection)
    shelves = list(scope.addresses.register.shelves.values())
    pools = [shelf.pool for shelf in shelves if shelf.pool.kind is not Kind.FIXED]
    problems = await asyncio.to_thread(overlaps, pools, reservations, claims)
    for problem in problems:
        yield Finding(
            rule=Rule.OVERLAP,
            tenant="",
            subject=" and ".join(problem.names),
            text=problem.text,
            remedy="take one of the two away, or change its VRF",
        )
    for problem in await asyncio.to_thread(_of_plans, scope.plans, pools, claims):
        yield Finding(
            rule=Rule.OVERLAP,
            tenant="",
            subject=" and ".join(problem.names),
            text=problem.text,
            remedy="exclude the outside addresses from the pool, move the subscriber, or end the plan",
        )
    done = len(pools) + len(reservations) + len(claims)
    yield Progress("definitions", done, done)


def _of_plans(plans: Sequence[Owned], pools: Iterable[Pool], claims: Iterable[Claim]) -> tuple[Problem, ...]:
    return (*cgnat_places.of_pools(plans, pools), *cgnat_places.of_claims(plans, claims))
