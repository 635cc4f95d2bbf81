"""Pools and selectors as JSON: their durable form, and the form that the sync feed spells."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from daemon.replica.pools import UNIT_LENGTHS, PoolSpec, SelectorSpec, range_space
from ipam.address import read_span
from ipam.kinds import Kind, Order, PoolState
from ipam.model import Match, Pool, Selector

Json = Any  # JSON as `json.loads` gives it

_WAITS = ("hold_s", "quarantine_s", "min_reuse_s", "decline_s", "lease_s", "tentative_s")
_PLAIN = (
    "vrf",
    "site",
    "sticky",
    *_WAITS,
    "low_percent",
    "critical_percent",
    "first_port",
    "last_port",
    "any_length",
)
_NOTHING = Pool(tenant="", vrf="", name="", kind=Kind.V4, unit_length=32, ranges=())


def said_pool(record: PoolSpec) -> dict[str, Json]:
    """Return a pool for storage: what differs from the defaults, ranges and exclusions as texts."""
    pool = record.pool
    said: dict[str, Json] = {
        "tenant": pool.tenant,
        "id": pool.name,
        "kind": pool.kind.value,
        "unit_length": pool.unit_length,
        "ranges": list(record.ranges),
    }
    for name in _PLAIN:
        if (value := getattr(pool, name)) != getattr(_NOTHING, name):
            said[name] = value
    for name, word in (("order", pool.order), ("state", pool.state)):
        if word is not getattr(_NOTHING, name):
            said[name] = word.value
    if pool.exclusions:
        said["exclusions"] = list(record.exclusions)
    if pool.fallbacks:
        said["fallbacks"] = list(pool.fallbacks)
    return said


def load_pool(said: dict[str, Json]) -> PoolSpec:
    """Return the pool that `said_pool` said; raises what building it raises where it is damaged."""
    kind = Kind(said["kind"])
    space = range_space(kind)
    pool = Pool(
        tenant=said["tenant"],
        name=said["id"],
        kind=kind,
        unit_length=said["unit_length"],
        ranges=(),
        order=Order(said.get("order", Order.SEQUENTIAL)),
        state=PoolState(said.get("state", PoolState.ACTIVE)),
        exclusions=tuple([read_span(space, each) for each in said.get("exclusions", ())]),
        fallbacks=tuple(said.get("fallbacks", ())),
        **{name: said.get(name, getattr(_NOTHING, name)) for name in _PLAIN},
    )
    return PoolSpec(pool=pool, ranges=tuple(said["ranges"]))


def wire_pool(record: PoolSpec) -> dict[str, Json]:
    """Return a pool as the feed spells it, with tenant and id."""
    said = said_pool(record)
    for name in _WAITS:
        if name in said:
            said[name.removesuffix("_s")] = int(said.pop(name))
    if UNIT_LENGTHS.get(record.pool.kind) == record.pool.unit_length:
        del said["unit_length"]
    return said


def said_selector(record: SelectorSpec) -> dict[str, Json]:
    """Return a selector for storage, which is also how the feed spells it."""
    selector, match = record.selector, record.selector.match
    said: dict[str, Json] = {"tenant": match.tenant, "id": selector.name, "priority": selector.priority}
    asked: dict[str, Json] = {
        name: value
        for name, value in (("plan", match.plan), ("nas", match.nas), ("site", match.site))
        if value is not None
    }
    if match.attribute is not None:
        asked["attribute"] = {"name": match.attribute[0], "value": match.attribute[1]}
    if asked:
        said["match"] = asked
    said["pools"] = {kind.value: list(names) for kind, names in selector.pools}
    return said


def load_selector(said: dict[str, Json]) -> SelectorSpec:
    """Return the selector that `said_selector` said; raises what building it raises where it is damaged."""
    asked: Mapping[str, Json] = said.get("match", {})
    attribute = asked.get("attribute")
    match = Match(
        tenant=said["tenant"],
        plan=asked.get("plan"),
        nas=asked.get("nas"),
        site=asked.get("site"),
        attribute=None if attribute is None else (attribute["name"], attribute["value"]),
    )
    pools = tuple([(Kind(kind), tuple(names)) for kind, names in said["pools"].items()])
    return SelectorSpec(
        selector=Selector(name=said["id"], priority=said["priority"], match=match, pools=pools)
    )
