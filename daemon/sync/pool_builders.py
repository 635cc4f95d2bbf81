"""Bodies of pools and selectors into records; what no single field shows is checked here."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from sys import intern

from daemon.replica.pools import UNIT_LENGTHS, PoolSpec, SelectorSpec, Span, canonical, range_space
from daemon.sync.faults import Fault, Faults
from daemon.sync.problems import Path
from daemon.sync.rule_builders import once
from daemon.sync.wire_pools import AttributeBody, PoolBody, PoolsBody, SelectorBody
from ipam.address import Malformed, read_span
from ipam.kinds import Kind, Order
from ipam.model import Match, Pool, Problem, Selector, range_of
from ipam.model import faults as pool_faults
from radius import values
from radius.dictionary import Dictionary
from radius.errors import Malformed as AttributeMalformed
from radius.errors import Unencodable

_FORMS = {
    Kind.SVLAN: "VLAN ids from 1 to 4094, such as 100-199",
    Kind.CVLAN: "VLAN ids from 1 to 4094, such as 100-199",
    Kind.V4: "an IPv4 prefix or range such as 192.0.2.0/24 or 192.0.2.10-192.0.2.99",
    Kind.CGN_BLOCK: "outside addresses such as 192.0.2.0/28 or 192.0.2.10-192.0.2.19",
}
_V6_FORM = "an IPv6 prefix or range such as 2001:db8::/40"
_LAST_VLAN = 4094
# Which field of the feed each fault of `ipam.model.faults` is about.
_FIELD_OF = {
    "pool-times": "hold",
    "pool-thresholds": "critical_percent",
    "pool-fallback": "fallbacks",
    "pool-ports": "unit_length",
    "pool-unit": "unit_length",
    "pool-unit-nibble": "unit_length",
}
_REMEDY_OF = {"pool-unit-nibble": "take a multiple of 4, or say `any_length: true`"}
_UNKEYED = b"\0"  # whoever stores a shuffled pool draws its key; until then any will do


def pool(tenant_id: str, key: str, body: PoolBody, faults: Faults) -> PoolSpec:
    """Return the record of a pool."""
    bare = Pool(
        tenant=intern(tenant_id),
        vrf=body.vrf or "",
        name=key,
        kind=body.kind,
        unit_length=_unit_length(body, faults),
        ranges=(),
        site=body.site or "",
        order=body.order,
        sticky=body.sticky,
        hold_s=float(body.hold),
        quarantine_s=float(body.quarantine),
        min_reuse_s=float(body.min_reuse),
        decline_s=float(body.decline),
        lease_s=float(body.lease),
        tentative_s=float(body.tentative),
        state=body.state,
        low_percent=body.low_percent,
        critical_percent=body.critical_percent,
        fallbacks=once(("fallbacks",), body.fallbacks, faults),
        first_port=body.first_port,
        last_port=body.last_port,
        any_length=body.any_length,
    )
    found = pool_faults(replace(bare, key=_UNKEYED) if bare.order is Order.SHUFFLED else bare)
    faults.found += [_pool_fault(body, each) for each in found]
    ranges = _ranges("ranges", body.ranges, bare, faults, units=not found)
    if not body.ranges:
        faults.add(("ranges",), "missing", None, f"at least one range: {_form(bare.kind)}")
    exclusions = _ranges("exclusions", body.exclusions, bare, faults, units=False)
    space = range_space(bare.kind)
    excluded = tuple(read_span(space, each) for each in exclusions)
    return PoolSpec(pool=replace(bare, exclusions=excluded), ranges=() if faults.found else ranges)


def _unit_length(body: PoolBody, faults: Faults) -> int:
    if body.unit_length is not None:
        return body.unit_length
    if body.kind is Kind.CGN_BLOCK:
        faults.add((), "missing", None, "`unit_length`: how many ports one block has")
        return 1
    return UNIT_LENGTHS[body.kind]


def _pool_fault(body: PoolBody, problem: Problem) -> Fault:
    field = _FIELD_OF.get(problem.slug, "kind")
    came = getattr(body, field)
    shown = "nothing" if came is None else str(came) if isinstance(came, (int, float)) else ", ".join(came)
    expected = problem.text.removeprefix(f"pool {problem.names[0]}: ")
    return Fault((field,), problem.slug, shown, expected, _REMEDY_OF.get(problem.slug, ""))


def _ranges(name: str, given: Sequence[str], bare: Pool, faults: Faults, *, units: bool) -> tuple[str, ...]:
    """Return ranges or exclusions as canonical texts; with `units`, each must be whole units of the pool."""
    made: list[tuple[str, Span]] = []
    for index, each in enumerate(given):
        path: Path = (name, index)
        try:
            text = canonical(range_space(bare.kind), each)
            if units:
                range_of(text, bare)
        except Malformed as reason:
            faults.add(path, "bad-range", each, _range_form(bare, reason, units))
            continue
        span = read_span(range_space(bare.kind), text)
        if range_space(bare.kind) in ("svlan", "cvlan") and not 1 <= span[0] <= span[1] <= _LAST_VLAN:
            faults.add(path, "bad-range", each, _form(bare.kind))
            continue
        twice = next((other for other, (first, last) in made if first <= span[1] and span[0] <= last), None)
        if twice is not None:
            faults.add(path, "overlap", f"{each}, which overlaps {twice}", f"{name} that do not overlap")
        made.append((text, span))
    return tuple(text for text, _ in made)


def _form(kind: Kind) -> str:
    return _FORMS.get(kind, _V6_FORM)


def _range_form(bare: Pool, reason: Malformed, units: bool) -> str:
    """Say what a range should have been: `ipam`'s own words where it can be read and still does not fit."""
    return reason.expected if units and "units" in reason.expected else _form(bare.kind)


def selector(
    tenant_id: str, key: str, body: SelectorBody, dictionary: Dictionary, faults: Faults
) -> SelectorSpec:
    """Return the record of a selector."""
    given = body.match
    match = Match(tenant=intern(tenant_id))
    if given is not None:
        attribute = None if given.attribute is None else _attribute(given.attribute, dictionary, faults)
        match = Match(
            tenant=match.tenant, plan=given.plan, nas=given.nas, site=given.site, attribute=attribute
        )
    pools = tuple(_pools(body.pools, faults))
    if not pools and body.pools.cgn_block is None:
        faults.add(("pools",), "missing", None, "at least one pool, such as `v4: [home]`")
    return SelectorSpec(selector=Selector(name=key, priority=body.priority, match=match, pools=pools))


def _pools(body: PoolsBody, faults: Faults) -> Iterator[tuple[Kind, tuple[str, ...]]]:
    for kind, names in (
        (Kind.V4, body.v4),
        (Kind.V6_NA, body.v6_na),
        (Kind.V6_PREFIX, body.v6_prefix),
        (Kind.PD, body.pd),
        (Kind.SVLAN, body.svlan),
        (Kind.CVLAN, body.cvlan),
    ):
        if names:
            yield kind, once(("pools", kind.value), names, faults)


def _attribute(body: AttributeBody, dictionary: Dictionary, faults: Faults) -> tuple[str, str]:
    """Return name and value as the dictionary writes them, so that a request's value is the same text."""
    path: Path = ("match", "attribute")
    definition = dictionary.by_name(body.name)
    if definition is None:
        near = ", ".join(dictionary.suggest(body.name)[:3])
        hint = f"did you mean {near}?" if near else ""
        faults.add((*path, "name"), "unknown-attribute", body.name, "an attribute of the dictionary", hint)
        return body.name, body.value
    if definition.sensitive or definition.oid[0] > 255:
        expected = "an attribute that goes over the wire and holds no secret"
        faults.add((*path, "name"), "attribute-not-allowed", body.name, expected)
        return body.name, ""
    try:
        octets = values.encode(values.parse(body.value, definition), definition)
        return definition.name, values.text(values.decode(octets, definition), definition)
    except (Unencodable, AttributeMalformed) as error:
        expected = f"a value that {definition.name} can have"
        faults.add((*path, "value"), "unencodable", body.value, expected, str(error))
        return definition.name, body.value
