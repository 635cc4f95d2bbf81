"""Records as JSON: their durable form (no defaults, secrets sealed), and the form that `sync` reads again."""

from __future__ import annotations

import json
from base64 import b64encode
from binascii import a2b_base64
from collections.abc import Callable, Mapping
from dataclasses import fields
from enum import StrEnum
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from socket import inet_aton
from sys import intern
from typing import Any

from daemon.errors import DaemonError
from daemon.replica.pools import PoolSpec, SelectorSpec
from daemon.replica.pools_codec import load_pool, load_selector, said_pool, said_selector, wire_pool
from daemon.replica.records import (
    AccessMode,
    AttributeEdit,
    EditOp,
    IdentitySource,
    Nas,
    Plan,
    Record,
    Secret,
    SecretKind,
    Service,
    Staff,
    Subscriber,
    Tenant,
)
from daemon.replica.rules import Allowance, Hours, LinePolicy, RateHours, Treatment
from daemon.replica.rules_codec import (
    DATACLASSES,
    load_garden,
    load_rules,
    load_treatments,
    wire_allowance,
    wire_hours,
    wire_rate,
    wire_rate_hours,
    wire_treatment,
)
from daemon.store.seal import SealBroken, Sealer, context
from radius.grant import Access, Burst, Privilege, Rate, Route

# JSON as `json.loads` gives it; the loaders below check what they take from it by building records.
Json = Any
_Special = Mapping[type, Callable[[Any], Json]]
KINDS: tuple[str, ...] = ("tenant", "plan", "nas", "subscriber", "staff", "pool", "selector")


class RecordUnreadable(DaemonError):
    """A stored object cannot be turned into a record; `why` is for an operator and holds no secret."""

    slug = "record-unreadable"

    def __init__(self, kind: str, tenant: str, identifier: str, why: str) -> None:
        self.kind = kind
        self.tenant = tenant
        self.identifier = identifier
        self.why = why
        super().__init__(f"{kind} {identifier or '(no id)'} of tenant {tenant or '(none)'}: {why}")


def kind_of(record: Record) -> str:
    """Return the kind of a record, for example `nas`."""
    return _KIND_OF[type(record)]


def tenant_of(record: Record) -> str:
    """Return the tenant of a record; a tenant belongs to itself."""
    return record.id if isinstance(record, Tenant) else record.tenant


def dump(record: Record, seal: Sealer) -> bytes:
    """Return the JSON body of a record for storage; secret values are sealed with `seal`."""
    bound = context(kind_of(record), tenant_of(record), record.id)

    def secret(value: Secret) -> Json:
        return [value.kind.value, b64encode(seal.seal(value.value, bound)).decode()]

    if isinstance(record, PoolSpec):
        body = said_pool(record)
    elif isinstance(record, SelectorSpec):
        body = said_selector(record)
    else:
        body = _said(record, {Secret: secret})
    return json.dumps(body, ensure_ascii=False, separators=(",", ":")).encode()


def load(kind: str, body: bytes, seal: Sealer) -> Record:
    """Return the record that `dump` stored.

    Raises RecordUnreadable, naming kind, tenant and id as far as they can be read, for an unknown kind, a
    damaged body and a secret that `seal` cannot open; other objects are not concerned. A caller that loads
    very many should switch the garbage collector off meanwhile: it finds nothing and takes a third of the
    time.
    """
    build = _LOADERS.get(kind)
    said: Json = None
    try:
        if build is None:
            raise ValueError(f"unknown kind, not one of {', '.join(_LOADERS)}")  # noqa: TRY301 - one exit
        text = body.decode()
        said, end = _raw_decode(text)  # `json.loads` without its looking for white space and encodings
        if end == len(text):
            return build(said, seal)
        why = "its stored form is damaged (octets after its end)"
    except SealBroken:
        why = "its secret cannot be opened with this sealing key"
    except json.JSONDecodeError as error:
        why = f"no JSON: {error}"
    except (ValueError, TypeError, KeyError, IndexError, AttributeError, OSError) as error:
        # A value in the message could be anything, so only what kind of damage it is gets told.
        why = str(error) if build is None else f"its stored form is damaged ({type(error).__name__})"
    named = said if isinstance(said, dict) else {}
    identifier = str(named.get("id", ""))
    tenant = identifier if kind == "tenant" else str(named.get("tenant", ""))
    raise RecordUnreadable(kind, tenant, identifier, why) from None


def export(
    record: Record, *, secrets: bool = False, spell: Callable[[AttributeEdit], str | None] | None = None
) -> dict[str, Json]:
    """Return `{kind, tenant, id, body}` as the sync feed spells it: reading that gives the same record.

    Secrets are in it only where `secrets` is set; without them a NAS lacks what it must have. `spell` may say
    the value of a raw attribute as text; where it does not, the attribute's octets are given in hex.
    """

    def secret(value: Secret) -> Json:
        if not secrets:
            return None
        text = value.value.hex() if value.kind is SecretKind.NT_HASH else value.value.decode()
        return {"kind": value.kind.value, "value": text}

    def edit(value: AttributeEdit) -> Json:
        named = {"op": value.op.value, "name": value.name}
        if value.op is EditOp.REMOVE:
            return named
        text = None if spell is None else spell(value)
        return named | ({"octets": value.octets.hex()} if text is None else {"value": text})

    if isinstance(record, PoolSpec):
        body = wire_pool(record)
    elif isinstance(record, SelectorSpec):
        body = said_selector(record)
    else:
        body = _wire_body(record, _said(record, {**_WIRE, Secret: secret, AttributeEdit: edit}))
    del body["id"]
    tenant = body.pop("tenant", None)
    return (
        {"kind": kind_of(record)} | ({"tenant": tenant} if tenant else {}) | {"id": record.id, "body": body}
    )


def _wire_body(record: Record, body: dict[str, Json]) -> dict[str, Json]:
    """Return what `_said` has of a record with the feed's names, in its flat form; `body` is used up."""
    for name in _SECRETS:
        if body.get(name, ...) is None:
            del body[name]
    service = _wire_service(body.pop("service", {}))
    if isinstance(record, Subscriber):
        attributes = service.pop("attributes", None)
        body |= {"service": service} if service else {}
        body |= {"attributes": attributes} if attributes else {}
    else:
        body |= service
    body |= body.pop("rules", {})
    for name in _BY_NAME:
        if name in body:
            body[name] = dict(body[name])
    for ours, wire in _WIRE_NAMES:
        if ours in body:
            body[wire] = body.pop(ours)
    if isinstance(record, Nas):
        body["coa_port"] = record.coa_port  # said always: what it is when not said depends on the vendor
    return body


def _wire_burst(burst: Burst) -> Json:
    threshold = wire_rate(burst.threshold)
    return wire_rate(burst.rate) | {
        "threshold_download": threshold["download"],
        "threshold_upload": threshold["upload"],
        "seconds": burst.seconds,
    }


def _wire_service(said: dict[str, Json]) -> dict[str, Json]:
    """Return a service as `_said` has it with the feed's names: flat rate, one list of DNS servers."""
    dns = said.pop("dns4", []) + said.pop("dns6", [])
    out: dict[str, Json] = said.pop("rate", {}) | said | ({"dns": dns} if dns else {})
    for ours, wire in _WIRE_NAMES:
        if ours in out:
            out[wire] = out.pop(ours)
    return out


def _said(value: object, special: _Special) -> dict[str, Json]:
    """Return what differs from the defaults of the dataclass `value`, as JSON values by field name.

    `special` says, by type, how values are written that are not written the usual way.
    """
    out: dict[str, Json] = {}
    for name, default in _DEFAULTS[type(value)]:
        each = getattr(value, name)
        if each != default:
            out[name] = _plain(each, special)
    return out


def _plain(value: object, special: _Special) -> Json:
    said = special.get(type(value))
    if said is not None:
        return said(value)
    if isinstance(value, StrEnum):
        return value.value
    if value is None or isinstance(value, (str, int, float)):
        return value
    if isinstance(value, tuple):
        return [_plain(each, special) for each in value]
    if isinstance(value, bytes):
        return value.hex()
    if type(value) in _DEFAULTS:
        return _said(value, special)
    if isinstance(value, (IPv4Address, IPv6Address, IPv4Network, IPv6Network)):
        return str(value)
    raise TypeError(f"{type(value).__name__} has no stored form")


def _subscriber(said: Json, seal: Sealer) -> Subscriber:
    return Subscriber(**_fields(said, _SUBSCRIBER, "subscriber", seal))


def _nas(said: Json, seal: Sealer) -> Nas:
    return Nas(**_fields(said, _NAS, "nas", seal))


def _plan(said: Json, seal: Sealer) -> Plan:
    return Plan(**_fields(said, _PLAN, "plan", seal))


def _tenant(said: Json, seal: Sealer) -> Tenant:
    return Tenant(**_fields(said, _TENANT, "tenant", seal))


def _staff(said: Json, seal: Sealer) -> Staff:
    return Staff(**_fields(said, _STAFF, "staff", seal))


def _fields(
    said: dict[str, Json], loaders: Mapping[str, Callable[[Json], Any]], kind: str, seal: Sealer
) -> dict[str, Any]:
    """Replace, in place, each JSON value of `said` by the value of its field."""
    for name, value in said.items():
        loader = loaders.get(name)
        if loader is not None:
            said[name] = loader(value)
        elif name in _SECRETS:
            bound = context(kind, said["tenant"], said["id"])
            said[name] = Secret(_SECRET_KINDS[value[0]], seal.open(a2b_base64(value[1]), bound))
    return said


def _rate(said: Json) -> Rate:
    return Rate(**said)


def _burst(said: Json) -> Burst:
    return Burst(rate=_rate(said["rate"]), threshold=_rate(said["threshold"]), seconds=said["seconds"])


def _route(said: Json) -> Route:
    gateway = said.get("gateway")
    return Route(
        prefix=ip_network(said["prefix"]),
        gateway=None if gateway is None else ip_address(gateway),
        metric=said.get("metric", 1),
    )


def _edit(said: Json) -> AttributeEdit:
    return AttributeEdit(
        EditOp(said["op"]), said["name"], tuple(said["oid"]), bytes.fromhex(said.get("octets", ""))
    )


def _service(said: Json) -> Service:
    for name, value in said.items():
        loader = _SERVICE.get(name)
        if loader is not None:
            said[name] = loader(value)
    return Service(**said)


def _each(loader: Callable[[Json], Any]) -> Callable[[Json], Any]:
    return lambda said: tuple([loader(each) for each in said])


_KIND_OF: Mapping[type[Record], str] = {
    Tenant: "tenant",
    Plan: "plan",
    Nas: "nas",
    Subscriber: "subscriber",
    Staff: "staff",
    PoolSpec: "pool",
    SelectorSpec: "selector",
}
_LOADERS: Mapping[str, Callable[[Json, Sealer], Record]] = {
    "tenant": _tenant,
    "plan": _plan,
    "nas": _nas,
    "subscriber": _subscriber,
    "staff": _staff,
    "pool": lambda said, _seal: load_pool(said),
    "selector": lambda said, _seal: load_selector(said),
}
_ACCESS_MODES = {mode.value: mode for mode in AccessMode}
_SECRET_KINDS = {kind.value: kind for kind in SecretKind}
_WIRE_NAMES = (
    ("edits", "attributes"),
    ("ipv6_delegated", "delegated_prefix"),
    ("ipv6_delegated_pool", "delegated_pool"),
    ("rate_text", "mikrotik_rate_limit"),
)
_raw_decode = json.JSONDecoder().raw_decode
_SECRETS = frozenset({"secret", "previous_secret", "line_password", "coa_secret"})
_BY_NAME = ("treatments", "groups")  # pairs in the record, an object in the feed
_WIRE: _Special = {
    Rate: wire_rate,
    Burst: _wire_burst,
    Treatment: wire_treatment,
    Hours: wire_hours,
    RateHours: wire_rate_hours,
    Allowance: wire_allowance,
}

# Values that many subscribers share are kept once: `intern` for words, enum members for modes.
_SERVICE: Mapping[str, Callable[[Json], Any]] = {
    "rate": _rate,
    "burst": _burst,
    "committed": _rate,
    "services": tuple,
    "dns4": _each(IPv4Address),
    "dns6": _each(IPv6Address),
    "edits": _each(_edit),
}
_SUBSCRIBER: Mapping[str, Callable[[Json], Any]] = {
    "tenant": intern,
    "access_mode": _ACCESS_MODES.__getitem__,
    "plan": lambda said: None if said is None else intern(said),
    "usernames": tuple,
    "macs": tuple,
    "status": intern,
    "ipv4_address": lambda said: IPv4Address(inet_aton(said)),  # three times as fast as from text
    "ipv6_address": IPv6Address,
    "ipv6_prefix": IPv6Network,
    "ipv6_delegated": IPv6Network,
    "routes": _each(_route),
    "nases": tuple,
    "sites": tuple,
    "line_policy": LinePolicy,
    "service": _service,
}
_NAS: Mapping[str, Callable[[Json], Any]] = {
    "prefixes": _each(ip_network),
    "identities": _each(IdentitySource),
    "coa_address": ip_address,
    "edits": _each(_edit),
}
_PLAN: Mapping[str, Callable[[Json], Any]] = {"access": Access, "service": _service, "rules": load_rules}
_TENANT: Mapping[str, Callable[[Json], Any]] = {"garden": load_garden, "treatments": load_treatments}
_STAFF: Mapping[str, Callable[[Json], Any]] = {
    "privilege": Privilege,
    "groups": _each(tuple),
    "nases": tuple,
    "sites": tuple,
}

_DEFAULTS: Mapping[type, tuple[tuple[str, Any], ...]] = {
    made: tuple(
        (each.name, each.default)  # that of a required field differs from every value: it is always said
        for each in fields(made)
        if each.init
    )
    for made in (
        *_KIND_OF,
        Service,
        Rate,
        Burst,
        Route,
        AttributeEdit,
        *DATACLASSES,
    )
}
