"""No address twice: pools, fixed addresses and routed blocks of a document against each other and the replica.

An object that is refused leaves its stored form in force, which may be in the way of others: then all is looked at
again without it, a few times; after that nothing more of the document that claims addresses is taken.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence

from daemon.replica.claims import Claims, Fixed, Part, Spans, Taken, fixed_of, own_vrf, parts_of
from daemon.replica.index import Index, TenantIndex
from daemon.replica.pools import PoolSpec
from daemon.replica.records import Plan, Record, Subscriber
from daemon.replica.standing import Standing
from daemon.sync.faults import Fault
from daemon.sync.outlook import Key, Outlook
from daemon.sync.overlaps_book import Book
from daemon.sync.problems import Path
from ipam.kinds import Space

_PASSES = 8
_REMEDY = "give one of them other addresses, or a VRF of its own"

Found = tuple[Key, Fault]
_Span = tuple[Space, int, int]


def overlaps(
    index: Index, outlook: Outlook, records: Mapping[Key, Record], bad: Collection[Key]
) -> Iterator[Found]:
    """Yield, with its key, what is wrong with objects that claim what another has: see `overlap_steps`."""
    return (found for found in overlap_steps(index, outlook, records, bad) if found is not None)


def overlap_steps(
    index: Index, outlook: Outlook, records: Mapping[Key, Record], bad: Collection[Key]
) -> Iterator[Found | None]:
    """Yield, with its key, what is wrong with objects that claim what another has; None is a pause.

    `records` are those of the document, `bad` the keys of objects that are refused for other reasons. A subscriber's
    own addresses may lie in each other. Costs what the document claims, and what the replica has in the way; a plan
    with another VRF costs one look at each subscriber of its tenant.
    """
    claiming = {key: record for key, record in records.items() if _claims(record)}
    if not claiming:
        return
    refused = set(bad)
    standing = index.standing()
    for _ in range(_PASSES):
        found: list[Found] = []
        for each in _Pass(index, outlook, records, claiming, refused, standing).run():
            if each is not None:
                found.append(each)
            yield each
        refused.update(key for key, _ in found)
        # What was refused and is new leaves nothing behind.
        if all(outlook.stored(key) is None for key, _ in found):
            return
    expected = "objects that fit together: load them one after another"
    for key in claiming.keys() - refused:
        yield key, Fault((), "overlap", "addresses beside objects that were refused", expected)


def _claims(record: Record) -> bool:
    return isinstance(record, (PoolSpec, Plan)) or (isinstance(record, Subscriber) and record.personal)


class _Pass:
    """One look at everything, with a set of objects that are already refused."""

    def __init__(
        self,
        index: Index,
        outlook: Outlook,
        records: Mapping[Key, Record],
        claiming: Mapping[Key, Record],
        refused: Collection[Key],
        standing: Sequence[Standing],
    ) -> None:
        self._index = index
        self._outlook = outlook
        self._records = records
        self._claiming = claiming
        self._refused = refused
        self._claims: dict[str, Claims] = {}
        self._spans: dict[str, Spans] = {}
        self._vrfs: dict[tuple[str, str], str] = {}
        self._moving: dict[str, set[str]] = {}  # by tenant, plans with another VRF than before
        self._book = Book(standing, self._will_be)

    def run(self) -> Iterator[Found | None]:
        """Yield what is wrong: pools first, then plans that move to another VRF, then subscribers; None is a pause."""
        good = [(key, each) for key, each in self._claiming.items() if key not in self._refused]
        for _, record in good:
            if isinstance(record, Plan) and self._moves(record):
                self._moving.setdefault(record.tenant, set()).add(record.id)
        for key, record in good:
            if isinstance(record, PoolSpec):
                yield from self._pool(key, record)
                yield None
        yield from self._moved()
        for key, record in good:
            if isinstance(record, Subscriber):
                yield from self._subscriber(key, record)
                yield None

    # -- what stays of the replica

    def _stays(self, kind: str, tenant: str, name: str) -> bool:
        key = (kind, tenant, name)
        return key in self._refused or self._outlook.stays(key)

    def _will_be(self, tenant: str, name: str) -> PoolSpec | None:
        """Return the pool of that name that the data will have."""
        key = ("pool", tenant, name)
        record = None if key in self._refused else self._records.get(key)
        if record is None and self._stays(*key):
            record = self._outlook.stored(key)
        return record if isinstance(record, PoolSpec) else None

    def _moves(self, plan: Plan) -> bool:
        known = self._index.tenants.get(plan.tenant)
        if known is None or not known.subscribers:
            return False
        old = known.plans.get(plan.id)
        return ("" if old is None else old.service.vrf or "") != (plan.service.vrf or "")

    def _is_moving(self, known: TenantIndex, name: str) -> bool:
        moving = self._moving.get(known.tenant.id)
        subscriber = known.subscribers.get(name) if moving else None
        return subscriber is not None and subscriber.plan in (moving or ()) and own_vrf(subscriber) is None

    def _vrf(self, subscriber: Subscriber) -> str:
        own = own_vrf(subscriber)
        if own is not None or subscriber.plan is None:
            return own or ""
        place = (subscriber.tenant, subscriber.plan)
        if place not in self._vrfs:
            key = ("plan", *place)
            plan = None if key in self._refused else self._records.get(key)
            plan = self._outlook.stored(key) if plan is None else plan
            self._vrfs[place] = plan.service.vrf or "" if isinstance(plan, Plan) else ""
        return self._vrfs[place]

    def _taken(self, tenant: str, vrf: str, span: _Span, but: int | None = None) -> Iterator[Taken]:
        """Yield the claims in the way: of the document so far, and of what stays in the replica."""
        if tenant in self._claims:
            yield from self._claims[tenant].overlapping(vrf, *span, but)
        known = self._index.tenants.get(tenant)
        if known is not None:
            for taken in known.claims.overlapping(vrf, *span, but):
                if self._stays("subscriber", tenant, taken.owner) and not self._is_moving(known, taken.owner):
                    yield taken

    def _parts(self, tenant: str, vrf: str, span: _Span) -> Iterator[Part]:
        """Yield the ranges of pools in the way: of the document so far, and of what stays in the replica."""
        if tenant in self._spans:
            yield from self._spans[tenant].overlapping(vrf, *span)
        known = self._index.tenants.get(tenant)
        if known is not None:
            for part in known.spans.overlapping(vrf, *span):
                if self._stays("pool", tenant, part.pool):
                    yield part

    # -- objects

    def _pool(self, key: Key, record: PoolSpec) -> Iterator[Found]:
        fault = self._pool_fault(record)
        if fault is not None:
            yield key, fault
        else:
            self._spans.setdefault(record.tenant, Spans()).add(record)

    def _pool_fault(self, record: PoolSpec) -> Fault | None:
        tenant, vrf = record.tenant, record.pool.vrf
        stored = self._outlook.stored(("pool", tenant, record.id))
        same_place = isinstance(stored, PoolSpec) and _place(stored) == _place(record)
        for place, space, part in parts_of(record):
            shown, span = record.ranges[place], (space, part.first, part.last)
            path = ("ranges", place)
            other = next((each for each in self._parts(tenant, vrf, span) if each.pool != record.id), None)
            if other is not None:
                came = f"{shown}, which overlaps pool {other.pool} in {_named(vrf)}"
                return Fault(path, "overlap", came, "ranges that no other pool has", _REMEDY)
            stands = None if same_place else self._book.in_the_way(tenant, vrf, span, record.id)
            if stands is not None:
                return _standing_fault(path, shown, stands)
            # Where the pool was before, whatever stays was looked at when it came, or when the pool did.
            claims = () if same_place else self._taken(tenant, vrf, span, part.length)
            cut = next((each for each in claims if not part.has_room_for(each.unit)), None)
            if cut is not None:
                what = f"{cut.unit} of subscriber {cut.owner}"
                came = f"{shown}, into which {what} cuts in {_named(vrf)}"
                hint = f"add `exclusions: [{cut.unit}]`, or choose other ranges"
                return Fault(path, "overlap", came, "ranges beside fixed addresses and routed blocks", hint)
        return None

    def _moved(self) -> Iterator[Found | None]:
        """Look at the subscribers that stay and whose plans go to another VRF with all their addresses."""
        for tenant, plans in list(self._moving.items()):
            refused: dict[str, list[Fault]] = {}
            moved = [
                each
                for each in list(self._index.tenants[tenant].subscribers.values())
                if each.personal
                and each.plan in plans
                and own_vrf(each) is None
                and self._stays("subscriber", tenant, each.id)
            ]
            for subscriber in moved:
                assert subscriber.plan is not None, "it is one of the plans that move"
                faults = list(self._faults(subscriber))
                refused.setdefault(subscriber.plan, []).extend(faults[:1])
                if not faults:
                    self._enter(subscriber)
                yield None
            for plan, found in refused.items():
                if found:
                    more = f"; {len(found) - 1} more of its subscribers" if len(found) > 1 else ""
                    came = f"a VRF in which a subscriber of this plan would have {found[0].got}{more}"
                    expected = "a VRF in which their fixed addresses are free"
                    yield ("plan", tenant, plan), Fault(("vrf",), "overlap", came, expected, found[0].hint)

    def _subscriber(self, key: Key, record: Subscriber) -> Iterator[Found]:
        found = list(self._faults(record))
        yield from ((key, fault) for fault in found)
        if not found:
            self._enter(record)

    def _enter(self, record: Subscriber) -> None:
        claims = self._claims.setdefault(record.tenant, Claims())
        vrf = self._vrf(record)
        for each in fixed_of(record):
            claims.put(vrf, each.unit, record.id)

    def _faults(self, record: Subscriber) -> Iterator[Fault]:
        """Yield what is in the way of each of a subscriber's addresses: the first that there is."""
        tenant, vrf = record.tenant, self._vrf(record)
        for each in fixed_of(record):
            unit = each.unit
            span = (unit.space, unit.value, unit.last)
            taken = next((one for one in self._taken(tenant, vrf, span) if one.owner != record.id), None)
            if taken is not None:
                yield _taken_fault(each, taken, vrf)
                continue
            parts = self._parts(tenant, vrf, span)
            part = next((one for one in parts if not one.has_room_for(unit)), None)
            if part is not None:
                yield _pool_cut(each, part, vrf)
                continue
            stands = None if self._was(record, each) else self._book.cut_by(tenant, vrf, unit)
            if stands is not None:
                yield _standing_cut(each, stands)

    def _was(self, record: Subscriber, fixed: Fixed) -> bool:
        """Tell whether the replica has it so already, in the same VRF as far as the subscriber itself says it."""
        stored = self._outlook.stored(("subscriber", record.tenant, record.id))
        return (
            isinstance(stored, Subscriber)
            and (own_vrf(stored), stored.plan) == (own_vrf(record), record.plan)
            and any(each.unit == fixed.unit for each in fixed_of(stored))
        )


def _standing_fault(path: Path, shown: str, stands: Standing) -> Fault:
    pool, where = stands.part.pool, _named(stands.vrf)
    if stands.by_operator:
        came = f"{shown}, which overlaps pool {pool} of an operator in {where}"
        hint = f"choose other ranges; or empty that pool (`pool drain {pool} --disconnect`) and delete it"
        return Fault(path, "overlap", came, "ranges that no other pool has", hint)
    came = f"{shown}, which pool {pool} has in {where}, and it is in use there"
    hint = (
        f"leave it to pool {pool} by that name, or give this one other ranges: load data without it first, and with "
        f"it when `pool show {pool}` shows the range no longer"
    )
    return Fault(path, "overlap", came, "ranges of which no other pool has leases", hint)


def _standing_cut(fixed: Fixed, stands: Standing) -> Fault:
    pool, where = stands.part.pool, _named(stands.vrf)
    whose = "an operator's pool" if stands.by_operator else "pool"
    came = f"{fixed.unit}, which cuts into {whose} {pool} in {where}"
    expected = "addresses outside of all pools, or exactly one slot of a pool"
    hint = f"`pool exclude {pool} {fixed.unit}` first, or choose other addresses"
    if not stands.by_operator:
        hint = f"choose other addresses, or load this when the leases of pool {pool} there have ended"
    return Fault(_path(fixed), "overlap", came, expected, hint)


def _path(fixed: Fixed) -> tuple[str | int, ...]:
    return ("routes", fixed.place) if fixed.field == "routes" else (fixed.field,)


def _taken_fault(fixed: Fixed, taken: Taken, vrf: str) -> Fault:
    if taken.unit == fixed.unit:
        came = f"{fixed.unit}, which subscriber {taken.owner} has"
        noun = "route" if fixed.field == "routes" else fixed.field
        expected = f"a {noun} that no other subscriber has"
        return Fault(_path(fixed), "taken", f"{came} in {_named(vrf)}" if vrf else came, expected)
    came = f"{fixed.unit}, which overlaps {taken.unit} of subscriber {taken.owner} in {_named(vrf)}"
    return Fault(_path(fixed), "overlap", came, "addresses that no other subscriber has", _REMEDY)


def _pool_cut(fixed: Fixed, part: Part, vrf: str) -> Fault:
    lies = f"{fixed.unit}, which cuts into pool {part.pool} in {_named(vrf)}"
    expected = "addresses outside of all pools, or exactly one slot of a pool"
    hint = f"add `exclusions: [{fixed.unit}]` to pool {part.pool}, or choose other addresses"
    return Fault(_path(fixed), "overlap", lies, expected, hint)


def _place(pool: PoolSpec) -> tuple[object, ...]:
    return pool.pool.vrf, pool.pool.kind, pool.pool.unit_length, pool.spans, pool.pool.exclusions


def _named(vrf: str) -> str:
    return f"VRF {vrf or 'default'}"
