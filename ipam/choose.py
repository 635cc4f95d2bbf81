"""Which slot a wanted unit would be, before anything is taken: the half of a login that may fail."""

from __future__ import annotations

from typing import Final

from ipam.address import Unit
from ipam.allocator import FRESH, OUT, SHUN
from ipam.cells import NONE
from ipam.kinds import (
    BITS,
    BOUND,
    DECLINED,
    DISABLED,
    FREE,
    HELD,
    QUARANTINED,
    RESERVED,
    STATES,
    TENTATIVE,
    Cause,
    Kind,
    LeaseState,
    PoolState,
    Shortage,
    Space,
)
from ipam.layout import Listed
from ipam.lease import Conflict, Exhausted, Origin, Wanted
from ipam.native import mypyc_attr
from ipam.register import Register
from ipam.shelf import Shelf, exact_key, plain_owner

_RIPEN_MOST = 4  # waiting slots that one login may set free, should the timer be late


_LIVE: Final = Origin.LIVE
_STICKY: Final = Origin.STICKY
_FRESH: Final = Origin.FRESH
_REUSED: Final = Origin.REUSED
_POOL_DISABLED: Final = PoolState.DISABLED


@mypyc_attr(acyclic=True)
class Pick:
    """A slot that can be taken at once; `key` is what the allocator is to know the owner by.

    `earlier` is the owner for whom it was still kept, when a fixed unit is taken all the same.
    """

    __slots__ = ("cell", "earlier", "fallback", "key", "kind", "origin", "shelf")

    def __init__(
        self, shelf: Shelf, cell: int, key: str, kind: Kind, origin: Origin, fallback: bool, earlier: str = ""
    ) -> None:
        self.shelf = shelf
        self.cell = cell
        self.key = key
        self.kind = kind
        self.origin = origin
        self.fallback = fallback
        self.earlier = earlier


def choose(
    register: Register, tenant: str, owner: str, wanted: Wanted, now: float, at: float
) -> Pick | Exhausted | Conflict:
    """Return the slot for one member of a bundle, or why there is none. What is not claimed then, `give_up`."""
    if wanted.unit is not None:
        return choose_exactly(register, tenant, wanted.vrf, owner, wanted.kind, wanted.unit, Origin.FIXED)
    if register.set_aside:
        aside = register.set_aside.get((tenant, owner, wanted.kind))
        if aside is not None:
            return choose_exactly(register, tenant, aside[0], owner, wanted.kind, aside[1], Origin.RESERVED)
    shelves = _candidates(register, tenant, wanted)
    if isinstance(shelves, Exhausted):
        return shelves
    kind, named = wanted.kind, wanted.pools[0]
    for shelf in shelves:
        cell = shelf.allocator.find(owner)
        if cell >= 0:
            return Pick(shelf, cell, owner, kind, _origin(shelf, cell), shelf.pool.name != named)
    for shelf in shelves:
        cell = _pick_new(register, shelf, now, at)
        if cell != NONE:
            origin = _REUSED
            if cell == FRESH:
                cell, origin = shelf.allocator.take_fresh(), _FRESH
            return Pick(shelf, cell, owner, kind, origin, shelf.pool.name != named)
    return _exhausted(shelves, wanted, now, at)


def give_up(picks: list[Pick]) -> None:
    """Nothing that was picked is claimed: let others have it."""
    for pick in picks:
        if pick.origin is _FRESH:
            pick.shelf.allocator.leave(pick.cell)


def _candidates(register: Register, tenant: str, wanted: Wanted) -> list[Shelf] | Exhausted:
    """Return the pools that may be tried, in their order, or why the first of them may not where none may."""
    names, kind = wanted.pools, wanted.kind
    first = register.find(tenant, names[0]) if names else None
    if first is None or first.pool.fallbacks or len(names) > 1:
        names = _with_fallbacks(register, tenant, names)
    elif _unfit(register, first, names[0], kind) is None:
        return [first]
    shelves: list[Shelf] = []
    refusal: Exhausted | None = None
    for name in names:
        shelf = register.find(tenant, name)
        shortage = _unfit(register, shelf, name, kind)
        if shelf is not None and shortage is None:
            shelves.append(shelf)
        elif refusal is None:
            refusal = Exhausted(shortage or Shortage.UNKNOWN_POOL, kind, name)
    return shelves or refusal or Exhausted(Shortage.UNKNOWN_POOL, kind, "")


def _with_fallbacks(register: Register, tenant: str, names: tuple[str, ...]) -> tuple[str, ...]:
    """Return the pools in the order in which they are tried: each with the fallbacks that its definition names."""
    wanted: dict[str, None] = {}
    for name in names:
        wanted[name] = None
        shelf = register.find(tenant, name)
        if shelf is not None:
            wanted.update(dict.fromkeys(shelf.pool.fallbacks))
    return tuple(wanted)


def _unfit(register: Register, shelf: Shelf | None, name: str, kind: Kind) -> Shortage | None:
    if shelf is None:
        others = any(pool == name for _, pool in register.shelves)
        return Shortage.OTHER_TENANT if others else Shortage.UNKNOWN_POOL
    if shelf.pool.kind is not kind:
        return Shortage.WRONG_KIND
    return Shortage.DISABLED if shelf.pool.state is _POOL_DISABLED else None


def _origin(shelf: Shelf, cell: int) -> Origin:
    state = shelf.allocator.states[cell]
    if TENTATIVE <= state <= BOUND:
        return _LIVE
    return Origin.RESERVED if state == RESERVED else _STICKY


def _pick_new(register: Register, shelf: Shelf, now: float, at: float) -> int:
    cell = shelf.allocator.pick_new()
    for _ in range(_RIPEN_MOST):
        if cell != NONE or not ripen_one(register, shelf, now, at):
            break
        cell = shelf.allocator.pick_new()
    return cell


def ripen_one(register: Register, shelf: Shelf, now: float, at: float) -> bool:
    """Let one slot go on whose wait is over; False where none is."""
    allocator = shelf.allocator
    cell = allocator.ripe(now)
    if cell == NONE:
        return False
    old = allocator.states[cell]
    new = allocator.ripen(cell)
    register.record(shelf, cell, old, Cause.HOLD_OVER if old == HELD else Cause.QUARANTINE_OVER, at)
    if new in (FREE, RESERVED, DISABLED):
        shelf.tenures.pop(cell, None)
    return True


def ripen(register: Register, now: float, at: float, most: int) -> int:
    """Let slots go on whose wait is over, `most` of them; return how many. A shelf that is not through comes last."""
    waiting = register.waiting
    done = 0
    for shelf in [each for each, due in waiting.items() if due <= now]:
        while done < most and ripen_one(register, shelf, now, at):
            done += 1
        del waiting[shelf]
        due = shelf.allocator.next_due()
        if due is not None:
            waiting[shelf] = due
        if done >= most:
            break
    return done


def _exhausted(shelves: list[Shelf], wanted: Wanted, now: float, at: float) -> Exhausted:
    dues = [due for shelf in shelves if (due := shelf.allocator.next_due()) is not None]
    next_at = at + max(min(dues) - now, 0.0) if dues else None
    first = shelves[0]
    if first.pool.state is PoolState.DRAINING:
        reason = Shortage.DRAINING
    elif first.divided or not first.allocator.segments:
        reason = Shortage.NO_BLOCK  # others have slots perhaps, and the store has blocks
    else:
        reason = Shortage.EXHAUSTED if next_at is None else Shortage.WAITING
    return Exhausted(reason, wanted.kind, first.pool.name, next_at)


def choose_exactly(
    register: Register, tenant: str, vrf: str, owner: str, kind: Kind, unit: Unit, origin: Origin
) -> Pick | Conflict:
    """Return the slot that is this unit, if nobody else has it, had it lately or has it reserved.

    The platform's word (FIXED) is stronger than what an earlier lease left behind: a hold or a quarantine, though not
    one after a conflict. `Pick.earlier` says whose that was.
    """
    place = register.place(tenant, vrf, unit)
    if place is None:
        return Conflict(unit, "", LeaseState.DISABLED, "")
    shelf, slot = place
    cell = shelf.allocator.carve(slot)
    if cell == NONE:  # in a block of another node
        return Conflict(unit, shelf.pool.name, LeaseState.DISABLED, "")
    earlier = ""
    for each in (cell, *_overlapping(shelf, unit)):
        if _may_have(shelf, each, owner):
            continue
        if origin is not Origin.FIXED or not _is_left_behind(shelf, each, owner):
            state = STATES[shelf.allocator.states[each]]
            return Conflict(unit, shelf.pool.name, state, shelf.owner_of(each))
        earlier = earlier or shelf.owner_of(each)
    live = TENTATIVE <= shelf.allocator.states[cell] <= BOUND
    key = shelf.allocator.owners[cell] if live else exact_key(owner, unit)
    return Pick(shelf, cell, key or owner, kind, Origin.LIVE if live else origin, False, earlier)


def _overlapping(shelf: Shelf, unit: Unit) -> list[int]:
    if not isinstance(shelf.layout, Listed):
        return []
    return [shelf.allocator.cell_at(slot) for slot in shelf.layout.overlapping(unit)]


def _may_have(shelf: Shelf, cell: int, owner: str) -> bool:
    if cell == NONE:
        return True
    allocator = shelf.allocator
    state = allocator.states[cell]
    reserved_for = allocator.reserved_for.get(cell)
    if reserved_for is not None and plain_owner(reserved_for) != owner:
        return False
    if state in (FREE, RESERVED):
        return True
    if state == DISABLED:
        return not allocator.marks[cell] & OUT
    if state == DECLINED or allocator.marks[cell] & SHUN:
        return TENTATIVE <= state <= BOUND and shelf.owner_of(cell) == owner
    if TENTATIVE <= state <= BOUND:
        return shelf.owner_of(cell) == owner
    return not allocator.marks[cell] & OUT and shelf.owner_of(cell) == owner


def _is_left_behind(shelf: Shelf, cell: int, owner: str) -> bool:
    """Tell whether nothing but the hold or quarantine of an ended lease keeps a slot from this owner."""
    allocator = shelf.allocator
    reserved_for = allocator.reserved_for.get(cell)
    if reserved_for is not None and plain_owner(reserved_for) != owner:
        return False
    return HELD <= allocator.states[cell] <= QUARANTINED and not allocator.marks[cell] & (SHUN | OUT)


def foresee(register: Register, tenant: str, owner: str, wanted: Wanted) -> Unit | None:
    """Return the unit that `choose` would give this owner whatever others do; nothing is changed.

    None: it would be one that the owner does not know yet, or none at all.
    """
    if wanted.unit is not None:
        return _foresee_exactly(register, tenant, wanted.vrf, owner, wanted.unit, Origin.FIXED)
    aside = register.set_aside.get((tenant, owner, wanted.kind))
    if aside is not None:
        return _foresee_exactly(register, tenant, aside[0], owner, aside[1], Origin.RESERVED)
    shelves = _candidates(register, tenant, wanted)
    for shelf in [] if isinstance(shelves, Exhausted) else shelves:
        cell = shelf.allocator.find(owner)
        if cell >= 0:
            return shelf.unit(cell)
    return None


def _foresee_exactly(
    register: Register, tenant: str, vrf: str, owner: str, unit: Unit, origin: Origin
) -> Unit | None:
    place = register.locate(tenant, vrf, unit)
    if place is None:
        shelf = register.find(tenant, register.fixed_name(vrf))
        if not register.is_outside(tenant, vrf, unit):
            return None
        cells = [] if shelf is None else _overlapping(shelf, unit)
    else:
        shelf, slot = place
        if shelf.allocator.segment_at(slot) is None:  # in a block of another node
            return None
        cells = [shelf.allocator.cell_at(slot), *_overlapping(shelf, unit)]
    for cell in cells:
        assert shelf is not None
        forced = origin is Origin.FIXED and cell != NONE and _is_left_behind(shelf, cell, owner)
        if not forced and not _may_have(shelf, cell, owner):
            return None
    return unit


def kind_of(unit: Unit) -> Kind:
    """Return which kind of pool would lease such a unit; FIXED for a block of IPv4 addresses, which none does."""
    if unit.space is Space.IPV4:
        return Kind.V4 if unit.length == BITS[Space.IPV4] else Kind.FIXED
    if unit.space is Space.IPV6:
        return Kind.V6_NA if unit.length == BITS[Space.IPV6] else Kind.PD
    return {Space.SVLAN: Kind.SVLAN, Space.CVLAN: Kind.CVLAN, Space.PORTS: Kind.CGN_BLOCK}[unit.space]
