"""Spellings that platforms publish, turned into the neutral one; everything else passes unread."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from daemon.sync.problems import Path

Json = Any  # a value as `json.loads` gives it
_Steps = tuple[str, ...]

_SERVICE: Mapping[str, _Steps] = {
    "bandwidth_down": ("download",),
    "bandwidth_up": ("upload",),
    "dns_servers": ("dns",),
    "ip_pool_name": ("ipv4_pool",),
    "ipv6_pool_name": ("ipv6_pool",),
    "mikrotik_address_list": ("address_list",),
    "session_timeout": ("session_timeout_s",),
    "idle_timeout": ("idle_timeout_s",),
}
_SPANS = ("hold", "quarantine", "min_reuse", "decline", "lease", "tentative")
_RULES: Mapping[str, _Steps] = {"option82_policy": ("line_policy",)}
SPELLINGS: Mapping[str, Mapping[str, _Steps]] = {
    "tenant": {},
    "nas": {
        "nas_ip": ("address",),
        "ip_address": ("address",),
        "shared_secret": ("secret",),
    },
    "plan": {**_SERVICE, **_RULES},
    "subscriber": {spelled: ("service", *ours) for spelled, ours in _SERVICE.items()}
    | dict(_RULES)
    | {
        "radius_username": ("username",),
        "login": ("username",),
        "radius_password": ("password",),
        "mac_address": ("mac",),
        "static_ip": ("ipv4_address",),
        "framed_ip_address": ("ipv4_address",),
        "delegated_ipv6_prefix": ("delegated_prefix",),
        "additional_routes": ("routes",),
        "service_vlan": ("vlan_id",),
        "inner_vlan": ("inner_vlan_id",),
        "expires_at": ("valid_until",),
        "plan_id": ("plan",),
        "offer_id": ("plan",),
        "radius_profile_id": ("plan",),
        "lifecycle_state": ("status",),
    },
    "staff": {},
    "pool": {f"{name}_s": (name,) for name in _SPANS},
    "selector": {},
}
# Published, and without a meaning for what we answer: what a NAS says about its port, and the usual value.
IGNORED: Mapping[str, frozenset[str]] = {"subscriber": frozenset({"nas_port_type", "service_type"})}
# Vendors that platforms know and that have no profile of their own.
VENDORS: Mapping[str, str] = {
    "ubiquiti": "wispr",
    "cambium": "wispr",
    "zte": "standard",
    "other": "standard",
    "accel_ppp": "accel-ppp",
    "accelppp": "accel-ppp",
}
_FRAMED = ("framed-user", "framed")


@dataclass(frozen=True, slots=True)
class Conflict:
    """Two spellings of one field with different values."""

    spelled: str
    ours: str


@dataclass(frozen=True, slots=True)
class Normal:
    """A body in the neutral spelling; `origins` says which key each renamed field came from."""

    body: dict[str, Json]
    origins: Mapping[Path, str]
    conflicts: tuple[Conflict, ...]

    def spelled(self, path: Path) -> Path:
        """Return the path of a field as the object had it, for an error."""
        for end in range(len(path), 0, -1):
            origin = self.origins.get(path[:end])
            if origin is not None:
                return (origin, *path[end:])
        return path


def normalise(kind: str, body: dict[str, Json]) -> Normal:
    """Return the body of an object in the neutral spelling. The body that is given stays as it is."""
    table = SPELLINGS[kind]
    ignored = IGNORED.get(kind, frozenset())
    origins: dict[Path, str] = {}
    conflicts: list[Conflict] = []
    if body.keys() & table.keys() or body.keys() & ignored:
        body = _renamed(body, table, ignored, origins, conflicts)
    if kind == "subscriber":
        body = _with_route_prefixes(body)
    elif kind == "nas" and isinstance(vendor := body.get("vendor"), str):
        word = vendor.lower()
        body = body | {"vendor": VENDORS.get(word, word)}
    return Normal(body, origins, tuple(conflicts))


def _renamed(
    given: dict[str, Json],
    table: Mapping[str, _Steps],
    ignored: frozenset[str],
    origins: dict[Path, str],
    conflicts: list[Conflict],
) -> dict[str, Json]:
    body = {key: value for key, value in given.items() if key not in table and key not in ignored}
    nested = body.get("service")
    if isinstance(nested, dict):
        body["service"] = dict(nested)
    for spelled, steps in table.items():
        if spelled not in given:
            continue
        place: Json = body
        for step in steps[:-1]:
            place = place.setdefault(step, {})
        if not isinstance(place, dict):
            continue  # `service` itself is wrong, and is reported as such
        name = steps[-1]
        if name in place and place[name] != given[spelled]:
            conflicts.append(Conflict(spelled, origins.get(steps, ".".join(steps))))
        else:
            place[name] = given[spelled]
            origins.setdefault(steps, spelled)
    service_type = given.get("service_type")
    if isinstance(service_type, str) and "service_type" in ignored and service_type.lower() not in _FRAMED:
        # Framed is what replies say anyway; another type is what the platform wants to be answered.
        edits = body.get("attributes", [])
        edits = edits if isinstance(edits, list) else [edits]
        body["attributes"] = [*edits, f"Service-Type := {service_type}"]
        origins["attributes", len(edits)] = "service_type"
    return body


def _with_route_prefixes(body: dict[str, Json]) -> dict[str, Json]:
    """Call the `cidr` of a route its `prefix`."""
    routes = body.get("routes")
    if isinstance(routes, dict):
        routes = [routes]
    if not isinstance(routes, list) or not any(isinstance(each, dict) and "cidr" in each for each in routes):
        return body
    named = [
        {"prefix" if key == "cidr" and "prefix" not in each else key: value for key, value in each.items()}
        if isinstance(each, dict)
        else each
        for each in routes
    ]
    return body | {"routes": named}
