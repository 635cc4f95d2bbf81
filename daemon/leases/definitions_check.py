"""Whether a definition may be taken over: what is wrong with it by itself, and what of others it would overlap."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import replace
from ipaddress import IPv4Address, IPv6Address, summarize_address_range

from daemon.leases.definitions_edits import LASTING, Problems, part_span, part_text, problem, touched, without
from daemon.replica.claims import NO_UNITS, Claims, Part, Taken
from daemon.replica.index import Index
from ipam.address import Unit
from ipam.definition_rows import DefinedBy, Definition
from ipam.kinds import FREE, Kind, Space
from ipam.layout import Listed
from ipam.model import Pool, Problem, Range, faults, space_of, span_of
from ipam.overlap import check
from ipam.register import Register
from ipam.selection import check as check_names

MOST_RANGES = 10_000
"""Ranges of one pool: looking at them must not hold up logins."""

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:@+-]{0,63}", re.ASCII)
_REMEDY = {
    DefinedBy.PLATFORM: "change it on the platform (or in the data file that it came from)",
    DefinedBy.OPERATOR: "the platform's pool needs another name, or the operator's is deleted first",
}


def pool_problems(
    register: Register,
    pools: Iterable[Pool],
    index: Index,
    reserved: Claims,
    wanted: Definition,
    known: Pool | None,
) -> Problems:
    """Return why a pool cannot be as it is wanted; `known` is what it is now, None for a new one.

    `pools` are all that there are.

    Names of fallbacks are asked only of operators: the platform's may be loaded one after the other.
    """
    pool = wanted.pool
    pools = list(pools)
    found = [*faults(pool), *_name_problems(wanted, known), *_lasting_problems(pool, known)]
    if len(pool.ranges) > MOST_RANGES and (known is None or len(known.ranges) < len(pool.ranges)):
        text = f"pool {pool.name} has {len(pool.ranges)} ranges, more than {MOST_RANGES}: make larger ranges of them"
        found += problem("pool-ranges", (pool.name,), text)
    if wanted.by is DefinedBy.OPERATOR and (known is None or known.fallbacks != pool.fallbacks):
        found += [*_fallback_problems(register, pool), *_cycle_problems(pools, pool)]
    if found:
        return tuple(found)
    slots = set() if known is None else {each.first_slot for each in known.ranges}
    fresh = replace(pool, ranges=tuple(each for each in pool.ranges if each.first_slot not in slots))
    opened = without(() if known is None else known.exclusions, pool.exclusions)
    parts = dict.fromkeys((*fresh.ranges, *touched(pool, opened)))
    entered = replace(pool, ranges=tuple(parts))
    return (*_neighbour_problems(pools, pool, fresh), *_claim_problems(register, index, reserved, entered))


def _name_problems(wanted: Definition, known: Pool | None) -> Problems:
    name = wanted.pool.name
    # The platform's names are looked at when its data are read.
    fits = wanted.by is DefinedBy.PLATFORM or known is not None or _NAME.fullmatch(name) is not None
    if fits and not name.startswith("fixed:"):
        return ()
    text = (
        f"pool {name!r}: a name of 1 to 64 letters, digits and . _ : @ + - is expected, the first a letter or digit, "
        f"and not beginning with `fixed:`"
    )
    return problem("pool-name", (name,), text)


def _lasting_problems(pool: Pool, known: Pool | None) -> Iterator[Problem]:
    for name in LASTING if known is not None else ():
        if getattr(pool, name) != getattr(known, name):
            text = (
                f"pool {pool.name}: {name} cannot be changed, because leases would have other addresses; "
                f"make another pool and drain this one"
            )
            yield Problem(slug="pool-lasting", names=(pool.name,), text=text)


def _fallback_problems(register: Register, pool: Pool) -> Problems:
    named = [
        shelf.pool
        for name in pool.fallbacks
        if (shelf := register.find(pool.tenant, name)) is not None and name != pool.name
    ]
    return tuple(each for each in check_names((), [pool, *map(_alone, named)]))


def _cycle_problems(pools: Iterable[Pool], pool: Pool) -> Problems:
    """Return that a pool would be a fallback of its own fallbacks."""
    known = {each.name: each for each in pools if each.tenant == pool.tenant} | {pool.name: pool}
    seen: set[str] = set()
    ways: list[tuple[str, tuple[str, ...]]] = [(name, (pool.name, name)) for name in pool.fallbacks]
    while ways:
        name, way = ways.pop()
        if name == pool.name and len(way) > 2:  # that it is its own fallback is said elsewhere
            text = (
                f"pool {pool.name}: its fallbacks lead back to it ({' -> '.join(way)}); leave one of them out"
            )
            return problem("pool-fallback", way[:-1], text)
        if name not in seen and name in known:
            seen.add(name)
            ways += [(each, (*way, each)) for each in known[name].fallbacks]
    return ()


def _alone(pool: Pool) -> Pool:
    return replace(pool, fallbacks=())


def neighbours(pools: Iterable[Pool], pool: Pool) -> list[Pool]:
    """Return the other pools of the tenant and VRF that share an address with this one, port blocks included."""
    mine = _spans(pool)
    return [
        each
        for each in pools
        if each.tenant == pool.tenant
        and each.name != pool.name
        and each.vrf == pool.vrf
        and each.kind is not Kind.FIXED
        and _touch(mine, _spans(each))
    ]


def _spans(pool: Pool) -> list[tuple[Space, int, int]]:
    found: list[tuple[Space, int, int]] = []
    for part in pool.ranges:
        first, last = span_of(pool, part)
        found.append((space_of(pool), first, last))
        if pool.kind is Kind.CGN_BLOCK:
            found.append((Space.IPV4, first >> 16, last >> 16))
    return found


def _touch(mine: list[tuple[Space, int, int]], theirs: list[tuple[Space, int, int]]) -> bool:
    """Tell whether one of some spans shares a number with one of others, by a sweep over both."""
    ends: dict[Space, list[int]] = {}
    for space, first, last, whose in sorted(
        [(*each, 0) for each in mine] + [(*each, 1) for each in theirs], key=lambda each: each[1]
    ):
        reached = ends.setdefault(space, [-1, -1])
        if first <= reached[1 - whose]:
            return True
        reached[whose] = max(reached[whose], last)
    return False


def _neighbour_problems(pools: Iterable[Pool], pool: Pool, fresh: Pool) -> Problems:
    """Return what the new ranges overlap: other pools, and the pool's own."""
    found = check([fresh, *neighbours(pools, fresh)]) if fresh.ranges else ()
    mine = f"pool {pool.name}"
    remedy = "give one of them other ranges, or another VRF"
    others = tuple(replace(each, text=f"{each.text}: {remedy}") for each in found if mine in each.names)
    return (*others, *_own_problems(pool, fresh)) if fresh.ranges else others


def _own_problems(pool: Pool, fresh: Pool) -> Iterator[Problem]:
    """Yield the new ranges of which a pool has something already."""
    new = {each.first_slot for each in fresh.ranges}
    last: Range | None = None
    for part in sorted(pool.ranges, key=lambda each: each.first):
        if last is not None and part.first <= part_span(pool, last)[1]:
            added, there = (part, last) if part.first_slot in new else (last, part)
            text = (
                f"pool {pool.name} has {part_text(pool, added)} already, or a part of it: in its range "
                f"{part_text(pool, there)}"
            )
            yield Problem(slug="overlap", names=(f"pool {pool.name}", part_text(pool, there)), text=text)
        if last is None or part_span(pool, part)[1] > part_span(pool, last)[1]:
            last = part


def _claim_problems(register: Register, index: Index, reserved: Claims, fresh: Pool) -> list[Problem]:
    """Return the fixed addresses, routed blocks, reservations and fixed leases that cannot be slots of the pool."""
    tenant = index.tenants.get(fresh.tenant)
    found: list[Problem] = []
    for space, part in _parts(fresh):
        span = fresh.vrf, space, part.first, part.last
        if tenant is not None:
            taken = tenant.claims.overlapping(*span, but=part.length)
            found += _misfits(taken, part, "what the data give to subscriber", "change one of the two")
        if space is not Space.PORTS:
            taken = reserved.overlapping(*span, but=part.length)
            found += _misfits(taken, part, "a reservation of", "delete the reservation first")
        leases = _fixed_leases(register, fresh, space, part)
        found += _misfits(leases, part, "the fixed lease of", "end its session first")
    return found


def _parts(pool: Pool) -> Iterator[tuple[Space, Part]]:
    for each in pool.ranges:
        first, last = span_of(pool, each)
        yield space_of(pool), Part(first, last, pool.unit_length, pool.name, pool.exclusions)
        if pool.kind is Kind.CGN_BLOCK:
            yield Space.IPV4, Part(first >> 16, last >> 16, NO_UNITS, pool.name, pool.exclusions)


def _misfits(taken: Iterable[Taken], part: Part, what: str, remedy: str) -> Iterator[Problem]:
    for unit, owner in taken:
        if not part.has_room_for(unit):
            text = (
                f"pool {part.pool} and {unit}, {what} {owner}, overlap, and {unit} is not one unit of the pool: "
                f"{remedy}, or exclude {unit} from the pool"
            )
            yield Problem(slug="overlap", names=(f"pool {part.pool}", f"{unit} of {owner}"), text=text)


def _fixed_leases(register: Register, pool: Pool, space: Space, part: Part) -> Iterator[Taken]:
    """Yield the units outside of pools that are in use, or wait after it, where a range is to be."""
    shelf = register.find(pool.tenant, register.fixed_name(pool.vrf))
    if shelf is None or not isinstance(shelf.layout, Listed):
        return
    for unit in _prefixes(space, part.first, part.last):
        own = shelf.layout.find(unit)
        slots = [*shelf.layout.overlapping(unit), *([own] if own >= 0 else [])]
        for slot in slots:
            cell = shelf.allocator.cell_at(slot)
            if cell >= 0 and shelf.allocator.states[cell] != FREE:
                yield Taken(shelf.layout.unit(slot), shelf.owner_of(cell))


def _prefixes(space: Space, first: int, last: int) -> Iterator[Unit]:
    if space is Space.IPV4:
        for four in summarize_address_range(IPv4Address(first), IPv4Address(last)):
            yield Unit(space, int(four.network_address), four.prefixlen)
    elif space is Space.IPV6:
        for six in summarize_address_range(IPv6Address(first), IPv6Address(last)):
            yield Unit(space, int(six.network_address), six.prefixlen)


def fixed_inside(register: Register, pool: Pool, part: Range) -> list[Taken]:
    """Return the units outside of pools that are in use where a range is to be, each with its owner."""
    first, last = span_of(pool, part)
    there = Part(first, last, pool.unit_length, pool.name, pool.exclusions)
    return list(_fixed_leases(register, pool, space_of(pool), there))


def not_yours(known: Definition) -> Problems:
    """Return that a pool is the other party's."""
    pool = known.pool
    whose = "the platform" if known.by is DefinedBy.PLATFORM else "an operator"
    text = f"pool {pool.name} of tenant {pool.tenant} was defined by {whose}: {_REMEDY[known.by]}"
    return problem("pool-of-other-origin", (pool.name,), text)


def unknown(tenant: str, name: str) -> Problems:
    """Return that there is no such pool."""
    return problem(
        "no-such-pool", (name,), f"tenant {tenant} has no pool {name}; `pool list` shows those there are"
    )
