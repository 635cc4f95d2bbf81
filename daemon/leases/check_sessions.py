"""The book against live sessions: who reports an address has it, who has one is online, nobody shares one."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator

from daemon.leases.check_model import SLICE, Finding, Progress, Rule, Scope, Seen, Step
from ipam.address import Unit
from ipam.book import Live
from ipam.cells import NONE
from ipam.kinds import BOUND, DECLINED, HELD, STATES, TENTATIVE, Cause, Space
from ipam.shelf import Shelf

_Group = tuple[str, str, Space, int]


async def steps(scope: Scope) -> AsyncIterator[Step]:
    """Yield what does not fit between sessions and leases."""
    async for step in _of_sessions(scope):
        yield step
    async for step in _of_leases(scope):
        yield step


# --- sessions ------------------------------------------------------------------------------------------


async def _of_sessions(scope: Scope) -> AsyncIterator[Step]:
    names = scope.sessions.names()
    reported: dict[_Group, dict[int, str]] = {}
    for number, name in enumerate(names):
        seen = scope.sessions.find(name)
        if seen is not None:
            for unit in seen.units:
                for finding in _of_unit(scope, seen, unit):
                    yield finding
                other = _share(scope, reported, seen, unit)
                if other is not None:
                    yield _shared(seen, other, unit)
        if number % SLICE == SLICE - 1:
            yield Progress("sessions", number + 1, len(names))
            await asyncio.sleep(0)
    yield Progress("sessions", len(names), len(names))


def _share(scope: Scope, reported: dict[_Group, dict[int, str]], seen: Seen, unit: Unit) -> Seen | None:
    """Return another live session that reports this unit, too."""
    known = reported.setdefault((seen.tenant, seen.vrf, unit.space, unit.length), {})
    before = known.setdefault(unit.value, seen.name)
    if before == seen.name:
        return None
    other = scope.sessions.find(before)  # it may have ended since
    if other is None or unit not in other.units or other.vrf != seen.vrf:
        known[unit.value] = seen.name
        return None
    return other


def _shared(seen: Seen, other: Seen, unit: Unit) -> Finding:
    return Finding(
        rule=Rule.ONE_SESSION,
        tenant=seen.tenant,
        subject=str(unit),
        text=f"{unit} in VRF {seen.vrf or 'default'} is reported by session #{other.name} ({_who(other)}) and by "
        f"session #{seen.name} ({_who(seen)})",
        remedy=f"end the one that should not have it: session kick '#{seen.name}' or '#{other.name}'",
    )


def _of_unit(scope: Scope, seen: Seen, unit: Unit) -> Iterator[Finding]:
    """Yield what is wrong about an address that a session reports, if it is one of ours."""
    register = scope.addresses.register
    if _has(scope, seen, unit) or register.locate(seen.tenant, seen.vrf, unit) is None:
        return
    text, free = _stands(scope, seen, unit)
    repaired = False
    if free and scope.repair:
        scope.sessions.look_again(seen.name)
        after = scope.sessions.find(seen.name)
        repaired = after is None or _has(scope, after, unit)
    yield Finding(
        rule=Rule.SESSION_LEASE,
        tenant=seen.tenant,
        subject=str(unit),
        text=f"session #{seen.name} ({_who(seen)}) reports {unit}, which {text}",
        remedy="`ipam check --repair` leases it to the session"
        if free
        else f"end the session, so that it logs in anew: session kick '#{seen.name}'",
        repaired=repaired,
    )


def _has(scope: Scope, seen: Seen, unit: Unit) -> bool:
    """Tell whether an address is leased to the session that reports it."""
    book = scope.addresses.book
    mine = map(book.find, seen.bundles)
    if any(live is not None and _holds(live, unit, seen.vrf) for live in mine):
        return True
    place = scope.addresses.register.locate(seen.tenant, seen.vrf, unit)
    if place is None:
        return False
    shelf, slot = place
    cell = shelf.allocator.cell_at(slot)
    tenure = shelf.tenures.get(cell)
    return tenure is not None and tenure.session == seen.name and shelf.allocator.states[cell] == BOUND


def _holds(live: Live, unit: Unit, vrf: str) -> bool:
    return any(tenure.unit == unit and shelf.pool.vrf == vrf for shelf, _, tenure in live.members)


def _stands(scope: Scope, seen: Seen, unit: Unit) -> tuple[str, bool]:
    """Return what the address is to the book, and whether the session could have it."""
    place = scope.addresses.register.locate(seen.tenant, seen.vrf, unit)
    assert place is not None, "it was found just now"
    shelf, slot = place
    cell = shelf.allocator.cell_at(slot)
    if cell == NONE:
        ours = shelf.allocator.segment_at(slot) is not None
        return ("is free" if ours else "is of another node's block"), ours
    state, owner = shelf.allocator.states[cell], shelf.owner_of(cell)
    tenure = shelf.tenures.get(cell)
    if TENTATIVE <= state <= BOUND:
        own = tenure is not None and tenure.party.subscriber == seen.subscriber != ""
        session = f", session #{tenure.session}" if tenure is not None and tenure.session else ""
        return f"is leased to {owner}{session}", own
    own = tenure is not None and tenure.party.subscriber == seen.subscriber != ""
    kept = HELD <= state <= DECLINED and not own
    return f"is {STATES[state]}{f' for {owner}' if owner and state else ''}", not kept and state < DECLINED


def _who(seen: Seen) -> str:
    return f"{seen.subscriber or 'subscriber unknown'} at {seen.nas}"


# --- leases --------------------------------------------------------------------------------------------


async def _of_leases(scope: Scope) -> AsyncIterator[Step]:
    bundles = scope.addresses.book.bundles()
    for number, live in enumerate(bundles):
        if live.session and not live.ended and scope.sessions.find(live.session) is None:
            yield _orphan(scope, live)
        if number % SLICE == SLICE - 1:
            yield Progress("leases", number + 1, len(bundles))
            await asyncio.sleep(0)
    yield Progress("leases", len(bundles), len(bundles))


def _orphan(scope: Scope, live: Live) -> Finding:
    """Return what there is to say of a bundle whose session is gone; release it where that is wished."""
    tenant, owner = live.key
    clock = scope.addresses.clock
    units = ", ".join(_unit_text(shelf, cell) for shelf, cell, _ in live.members)
    if scope.repair:
        scope.addresses.book.release(live.id, Cause.REAPER, clock.monotonic(), clock.wall())
    return Finding(
        rule=Rule.LEASE_SESSION,
        tenant=tenant,
        subject=units,
        text=f"{units} is bound to {owner} for session #{live.session}, which is not live",
        remedy="`ipam check --repair` releases it, `lease release ADDRESS` as well",
        repaired=scope.repair,
    )


def _unit_text(shelf: Shelf, cell: int) -> str:
    return str(shelf.unit(cell))
