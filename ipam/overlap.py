"""No two owners of one number: pools, reservations, fixed addresses and routed blocks of a VRF against each other."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from ipam.address import Unit, text
from ipam.kinds import Kind, Space
from ipam.model import Claim, Pool, Problem, Reservation, space_of, span_of

_NO_UNITS = -1


class _Span(NamedTuple):
    tenant: str
    vrf: str
    space: Space
    first: int
    last: int
    name: str  # for people
    owner: str
    length: int  # of one unit; _NO_UNITS where no single unit may lie inside
    single: bool  # one unit of one owner, which may be a slot of a pool that is reserved for that owner


def check(
    pools: Iterable[Pool], reservations: Iterable[Reservation] = (), claims: Iterable[Claim] = ()
) -> tuple[Problem, ...]:
    """Return a problem for each pair that overlaps, naming both; nothing where all is well.

    A reservation or a fixed address of a known owner may be exactly one slot of a pool: the book then keeps that
    slot for the owner. An IPv4 pool must not cover the outside addresses of port blocks either.
    """
    spans = [*_of_pools(pools), *_of_reservations(reservations), *_of_claims(claims)]
    problems: list[Problem] = []
    for group in _grouped(spans):
        problems.extend(_overlaps(group))
    return tuple(problems)


def _of_pools(pools: Iterable[Pool]) -> Iterable[_Span]:
    for pool in pools:
        for part in pool.ranges:
            first, last = span_of(pool, part)
            name = f"pool {pool.name}"
            yield _Span(pool.tenant, pool.vrf, space_of(pool), first, last, name, "", pool.unit_length, False)
            if pool.kind is Kind.CGN_BLOCK:
                outside = first >> 16, last >> 16
                yield _Span(pool.tenant, pool.vrf, Space.IPV4, *outside, name, "", _NO_UNITS, False)


def _of_reservations(reservations: Iterable[Reservation]) -> Iterable[_Span]:
    for each in reservations:
        name = f"reservation {each.name or each.unit} of {each.owner}"
        yield _single(each.tenant, each.vrf, each.unit, name, each.owner)


def _of_claims(claims: Iterable[Claim]) -> Iterable[_Span]:
    for each in claims:
        yield _single(each.tenant, each.vrf, each.unit, each.what, each.owner)


def _single(tenant: str, vrf: str, unit: Unit, name: str, owner: str) -> _Span:
    return _Span(tenant, vrf, unit.space, unit.value, unit.last, name, owner, unit.length, True)


def _grouped(spans: list[_Span]) -> Iterable[list[_Span]]:
    groups: dict[tuple[str, str, Space], list[_Span]] = {}
    for span in spans:
        groups.setdefault((span.tenant, span.vrf, span.space), []).append(span)
    for group in groups.values():
        group.sort(key=lambda span: (span.first, -span.last))
        yield group


def _overlaps(group: list[_Span]) -> Iterable[Problem]:
    """Sweep over spans sorted by their beginning; `open_spans` are those that have not ended yet."""
    open_spans: list[_Span] = []
    for span in group:
        open_spans = [each for each in open_spans if each.last >= span.first]
        for other in open_spans:
            if not _may_overlap(other, span):
                both = text(span.space, span.first)
                sentence = (
                    f"{other.name} and {span.name} overlap from {both} on in VRF {span.vrf or 'default'}"
                )
                yield Problem(slug="overlap", names=(other.name, span.name), text=sentence)
        open_spans.append(span)


def _may_overlap(one: _Span, two: _Span) -> bool:
    if one.single and two.single:
        return one.owner == two.owner != "" and (one.first, one.last) == (two.first, two.last)
    if one.single or two.single:
        unit, pool = (one, two) if one.single else (two, one)
        inside = pool.first <= unit.first and unit.last <= pool.last
        return unit.owner != "" and unit.length == pool.length and inside
    return False
