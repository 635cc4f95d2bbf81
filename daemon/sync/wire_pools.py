"""Pools and selectors as the feed spells them: what is leased, from where, to which logins."""

from __future__ import annotations

from typing import Annotated, Never

from pydantic import BeforeValidator, ConfigDict, Field, PlainValidator, WithJsonSchema

from daemon.sync.wire_base import Body
from daemon.sync.wire_rule_values import duration, member
from daemon.sync.wire_rules import IDS
from daemon.sync.wire_types import FLAG, LABEL, LIST, NAME, text, whole, wrong
from ipam.kinds import Kind, Order, PoolState

KINDS = tuple(kind for kind in Kind if kind is not Kind.FIXED)

_KIND_WORDS = [kind.value for kind in KINDS]
_PORT_MOST = 65_535
_MOST = 1000
_PERCENT_FORM = "a percentage, 0 to 100"
NO_ATTRIBUTE = "RADIUS has no attribute with which a NAS takes a port block: plan it on the NAT device"


def _kind(value: object) -> Kind:
    for kind in KINDS:
        if isinstance(value, str) and value.lower() == kind.value:
            return kind
    raise wrong("unknown-word", f"one of {', '.join(_KIND_WORDS)}")


def _wait(value: object) -> int:
    """Read a time span that may be nothing."""
    if value in ("0", "0s") or (value == 0 and not isinstance(value, (bool, float))):
        return 0
    return duration(value)


def _percent(value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 <= value <= 100:
        raise wrong("bad-number", _PERCENT_FORM)
    return float(value)


def _few(value: object) -> object:
    """Refuse long lists: each range is compared with others while logins wait."""
    if isinstance(value, list) and len(value) > _MOST:
        raise wrong("too-many", f"at most {_MOST} in one list: make larger ranges, or several pools")
    return value


def _no_ports(_value: object) -> Never:
    raise wrong("no-attribute", "pools of kinds that a NAS takes from RADIUS", NO_ATTRIBUTE)


def _integer(least: int, most: int) -> WithJsonSchema:
    return WithJsonSchema({"type": "integer", "minimum": least, "maximum": most})


_SPAN_SCHEMA = WithJsonSchema({"type": ["integer", "string"], "examples": ["1h", 300]})
_KIND = Annotated[Kind, PlainValidator(_kind), WithJsonSchema({"enum": _KIND_WORDS})]
_RANGE = Annotated[
    str,
    PlainValidator(text(100)),
    WithJsonSchema(
        {"type": ["string", "integer"], "examples": ["192.0.2.0/24", "192.0.2.10-192.0.2.99", "100-199"]}
    ),
]
_RANGES = Annotated[list[_RANGE], LIST, BeforeValidator(_few)]
_POOLS = Annotated[IDS, BeforeValidator(_few)]
_UNIT = Annotated[int, PlainValidator(whole(1, _PORT_MOST)), _integer(1, _PORT_MOST)]
_PORT = Annotated[int, PlainValidator(whole(0, _PORT_MOST)), _integer(0, _PORT_MOST)]
_WAIT = Annotated[int, PlainValidator(_wait), _SPAN_SCHEMA]
_SPAN = Annotated[int, PlainValidator(duration), _SPAN_SCHEMA]
_ORDER = Annotated[
    Order, PlainValidator(member(Order)), WithJsonSchema({"enum": [each.value for each in Order]})
]
_STATE = Annotated[
    PoolState, PlainValidator(member(PoolState)), WithJsonSchema({"enum": [each.value for each in PoolState]})
]
_PERCENT = Annotated[
    float, PlainValidator(_percent), WithJsonSchema({"type": "number", "minimum": 0, "maximum": 100})
]
_PRIORITY = Annotated[int, PlainValidator(whole(0, 2**31 - 1)), _integer(0, 2**31 - 1)]
_PORTS = Annotated[list[str] | None, PlainValidator(_no_ports), WithJsonSchema({"not": {}})]
_VALUE = Annotated[str, PlainValidator(text(253)), WithJsonSchema({"type": ["string", "integer"]})]


class PoolBody(Body):
    """Addresses, prefixes, VLANs or port blocks that are leased to whoever logs in."""

    kind: _KIND
    vrf: LABEL | None = Field(default=None, description="absent: the default VRF")
    ranges: _RANGES = Field(
        description="prefixes, `first-last`, or single ones; of port blocks outside addresses"
    )
    unit_length: _UNIT | None = Field(
        default=None,
        description="prefix length of one lease (pd 56, v6-prefix 64); of port blocks how many ports",
    )
    exclusions: _RANGES = Field(default_factory=list, description="never given out; written as ranges are")
    site: LABEL | None = None
    order: _ORDER = Field(default=Order.SEQUENTIAL, description="in which what was never used is given out")
    sticky: FLAG = Field(default=True, description="the owner gets the last one back")
    hold: _WAIT = Field(default=3600, description="how long an ended lease is kept for its owner, if sticky")
    quarantine: _WAIT = Field(default=300, description="how long nobody else gets it after its end")
    min_reuse: _WAIT = Field(default=60, description="the same, as a floor for short quarantines")
    decline: _WAIT = Field(default=86_400, description="how long one found in use by a stranger stays out")
    lease: _SPAN = Field(default=660, description="how long a lease stands without news of its session")
    tentative: _SPAN = Field(default=60, description="how long it waits for the session's Start")
    state: _STATE = Field(default=PoolState.ACTIVE, description="draining: leases stay, none begins")
    low_percent: _PERCENT = Field(default=20.0, description="of free ones: a warning")
    critical_percent: _PERCENT = Field(default=5.0, description="of free ones: an alarm")
    fallbacks: _POOLS = Field(
        default_factory=list, description="pools of the same kind to try next, and no others"
    )
    first_port: _PORT = Field(default=1024, description="of port blocks")
    last_port: _PORT = Field(default=_PORT_MOST, description="of port blocks")
    any_length: FLAG = Field(default=False, description="let prefixes end inside a hexadecimal digit")


class AttributeBody(Body):
    """A RADIUS attribute of the request and the value that it must have."""

    name: LABEL
    value: _VALUE


class MatchBody(Body):
    """Which logins of the tenant a selector is for; what is not said matches all."""

    plan: NAME | None = Field(default=None, description="id of a plan of the same tenant")
    nas: NAME | None = Field(default=None, description="id of a NAS of the same tenant")
    site: LABEL | None = Field(default=None, description="of the NAS")
    attribute: AttributeBody | None = None


class PoolsBody(Body):
    """Names of pools by what they lease, in the order in which they are tried."""

    model_config = ConfigDict(alias_generator=lambda name: name.replace("_", "-"))

    v4: _POOLS = Field(default_factory=list)
    v6_na: _POOLS = Field(default_factory=list)
    v6_prefix: _POOLS = Field(default_factory=list)
    pd: _POOLS = Field(default_factory=list)
    svlan: _POOLS = Field(default_factory=list)
    cvlan: _POOLS = Field(default_factory=list)
    cgn_block: _PORTS = Field(default=None, description=f"refused: {NO_ATTRIBUTE}")


class SelectorBody(Body):
    """Which pools a login is served from."""

    priority: _PRIORITY = Field(
        default=100, description="the lowest is asked first, of equal ones the first id"
    )
    match: MatchBody | None = Field(default=None, description="absent: every login of the tenant")
    pools: PoolsBody
