"""The bodies of the feed's objects in the neutral spelling; other spellings are in `sync.normalise`."""

from __future__ import annotations

from typing import Annotated

from pydantic import BeforeValidator, Field, PlainValidator, TypeAdapter, WithJsonSchema

from daemon.replica.records import AccessMode, IdentitySource, SecretKind
from daemon.sync.edits import EditText, read_edit
from daemon.sync.wire_base import Body, RateBody
from daemon.sync.wire_pools import PoolBody, SelectorBody
from daemon.sync.wire_rule_values import member
from daemon.sync.wire_rules import (
    BONUS,
    IDS,
    LABELS,
    LINE_POLICY,
    SESSIONS,
    TIMEZONE,
    GardenBody,
    RulesBody,
    TreatmentsBody,
)
from daemon.sync.wire_types import (
    ADDRESS,
    FLAG,
    IDENTITY,
    IPV4,
    IPV6,
    IPV6_PREFIX,
    KBPS,
    LABEL,
    LIST,
    MAC,
    MOMENT,
    NAME,
    PASSWORD,
    PREFIX,
    RATE,
    SECONDS,
    VLAN,
    one_of,
    text,
    whole,
    wrong,
)
from radius import vendors
from radius.grant import Access, Privilege

_ACCESS_MODES = tuple(mode.value for mode in AccessMode)
_SECRET_KINDS = tuple(kind.value for kind in SecretKind)
_ACCESSES = tuple(access.value for access in Access)
_SOURCES = tuple(source.value for source in IdentitySource)


def _secret(value: object) -> object:
    """Take a text for a secret in clear."""
    return value if isinstance(value, dict) else {"kind": "cleartext", "value": value}


def _authenticator(value: object) -> bool:
    for word, wanted in ((True, True), (False, False), ("require", True), ("observe", False)):
        if value is word or (isinstance(word, str) and value == word):
            return wanted
    raise wrong("unknown-word", "true, false, require or observe")


def _vendor(value: object) -> str:
    if isinstance(value, str) and vendors.find(value) is not None:
        return value
    raise wrong("unknown-vendor", f"one of {', '.join(vendors.names())}")


_WORD_ACCESS_MODE = Annotated[
    str, PlainValidator(one_of(_ACCESS_MODES)), WithJsonSchema({"enum": list(_ACCESS_MODES)})
]
_WORD_ACCESS = Annotated[str, PlainValidator(one_of(_ACCESSES)), WithJsonSchema({"enum": list(_ACCESSES)})]
_WORD_SOURCE = Annotated[str, PlainValidator(one_of(_SOURCES)), WithJsonSchema({"enum": list(_SOURCES)})]
_WORD_SECRET_KIND = Annotated[
    str, PlainValidator(one_of(_SECRET_KINDS)), WithJsonSchema({"enum": list(_SECRET_KINDS)})
]
_VENDOR = Annotated[str, PlainValidator(_vendor), WithJsonSchema({"enum": list(vendors.names())})]
_AUTHENTICATOR = Annotated[
    bool, PlainValidator(_authenticator), WithJsonSchema({"enum": [True, False, "require", "observe"]})
]
_METRIC = Annotated[int, PlainValidator(whole(0, 65535)), WithJsonSchema({"type": "integer", "minimum": 0})]
_PORT = Annotated[
    int, PlainValidator(whole(1, 65535)), WithJsonSchema({"type": "integer", "minimum": 1, "maximum": 65535})
]
_PRIORITY = Annotated[
    int, PlainValidator(whole(1, 8)), WithJsonSchema({"type": "integer", "minimum": 1, "maximum": 8})
]
_INTERIM = Annotated[
    int,
    PlainValidator(whole(60, 2**32 - 1, "seconds")),
    WithJsonSchema({"type": "integer", "minimum": 60}),
]
_RATE_TEXT = Annotated[str, PlainValidator(text(247)), WithJsonSchema({"type": "string", "maxLength": 247})]
_MESSAGE = Annotated[str, PlainValidator(text(253)), WithJsonSchema({"type": "string", "maxLength": 253})]
_EDIT_SCHEMA = {
    "anyOf": [
        {"type": "string", "examples": ["Reply-Message = hello", "Idle-Timeout := 600", "-Filter-Id"]},
        {
            "type": "object",
            "required": ["op", "name"],
            "additionalProperties": False,
            "properties": {
                "op": {"enum": ["add", "replace", "remove"]},
                "name": {"type": "string", "description": "as the dictionary has it, a tag after a colon"},
                "value": {"type": ["string", "integer"]},
                "octets": {"type": "string", "description": "instead of a value: the whole attribute in hex"},
            },
        },
    ]
}
_EDIT = Annotated[EditText, PlainValidator(read_edit), WithJsonSchema(_EDIT_SCHEMA)]
_EDITS_SAY = "raw attributes to add to, replace in or remove from the reply, after everything else"


class SecretBody(Body):
    """A secret with its kind; cleartext and nt-hash serve MS-CHAP, cleartext CHAP, every kind PAP."""

    kind: _WORD_SECRET_KIND
    value: PASSWORD = Field(description="nt-hash: 32 hex digits; the others as their programs write them")


_SECRET = Annotated[SecretBody, BeforeValidator(_secret)]


class RouteBody(Body):
    """A block routed to the subscriber."""

    prefix: PREFIX
    gateway: ADDRESS | None = Field(default=None, description="absent: the subscriber's own address")
    metric: _METRIC = 1


def _route(value: object) -> object:
    return value if isinstance(value, dict) else {"prefix": value}


_ROUTE = Annotated[RouteBody, BeforeValidator(_route)]


class BurstBody(RateBody):
    """Burst above the rate for `seconds`, while the average stays below the threshold."""

    threshold_download: RATE | None = Field(default=None, description="absent: the download rate")
    threshold_upload: RATE | None = Field(default=None, description="absent: the upload rate")
    seconds: SECONDS


class ServiceBody(Body):
    """What plans say, and subscribers where they differ from their plan."""

    download: RATE | None = Field(default=None, description="towards the subscriber, with a unit")
    upload: RATE | None = Field(default=None, description="from the subscriber, with a unit")
    download_kbps: KBPS | None = Field(default=None, description="instead of `download`, in kbit/s")
    upload_kbps: KBPS | None = Field(default=None, description="instead of `upload`, in kbit/s")
    burst: BurstBody | None = None
    committed: RateBody | None = Field(
        default=None, description="guaranteed minimum; needs download and upload"
    )
    priority: _PRIORITY | None = Field(default=None, description="queue priority, 1 highest")
    mikrotik_rate_limit: _RATE_TEXT | None = Field(
        default=None, description="literal rate string of the vendor, upload first, instead of the numbers"
    )
    download_policy: LABEL | None = Field(
        default=None, description="name of a policy or QoS profile on the NAS"
    )
    upload_policy: LABEL | None = Field(
        default=None, description="name of a policy or QoS profile on the NAS"
    )
    qos_profile: LABEL | None = Field(default=None, description="one name for both directions")
    services: Annotated[list[LABEL], LIST] = Field(
        default_factory=list,
        description="services to activate on the NAS; may hold {download_bps} and the like",
    )
    group: LABEL | None = Field(default=None, description="PPP or subscriber profile on the NAS")
    address_list: LABEL | None = Field(default=None, description="firewall address list on the NAS")
    filter_id: LABEL | None = None
    vrf: LABEL | None = None
    ipv4_pool: LABEL | None = Field(default=None, description="pool on the NAS")
    ipv6_pool: LABEL | None = Field(default=None, description="pool of SLAAC prefixes on the NAS")
    ipv6_address_pool: LABEL | None = Field(default=None, description="pool of DHCPv6 addresses on the NAS")
    delegated_pool: LABEL | None = Field(default=None, description="pool of delegated prefixes on the NAS")
    dns: Annotated[list[ADDRESS], LIST] = Field(default_factory=list, description="servers, both families")
    session_timeout_s: SECONDS | None = None
    idle_timeout_s: SECONDS | None = None
    interim_interval_s: _INTERIM | None = None


class PlanBody(RulesBody, ServiceBody):
    """What is sold: rates, pools, limits, and the rules for its subscribers."""

    name: NAME = ""
    access: _WORD_ACCESS | None = Field(default=None, description="absent: as the request says")
    attributes: Annotated[list[_EDIT], LIST] = Field(default_factory=list, description=_EDITS_SAY)


class SubscriberBody(Body):
    """A service line that may connect."""

    username: IDENTITY | None = Field(default=None, description="the same as one entry in `usernames`")
    usernames: Annotated[list[IDENTITY], LIST] = Field(default_factory=list)
    password: PASSWORD | None = Field(
        default=None, description="in clear; short for a secret of kind cleartext"
    )
    secret: SecretBody | None = None
    mac: MAC | None = Field(default=None, description="the same as one entry in `macs`")
    macs: Annotated[list[MAC], LIST] = Field(default_factory=list)
    circuit_id: IDENTITY | None = None
    remote_id: IDENTITY | None = None
    access_mode: _WORD_ACCESS_MODE | None = Field(default=None, description="absent: follows from `status`")
    status: NAME | None = Field(
        default=None, description="the platform's word; for information, see access_mode"
    )
    plan: NAME | None = Field(default=None, description="id of a plan of the same tenant")
    ipv4_address: IPV4 | None = None
    ipv6_address: IPV6 | None = None
    ipv6_prefix: IPV6_PREFIX | None = Field(default=None, description="of the link, for SLAAC")
    delegated_prefix: IPV6_PREFIX | None = Field(default=None, description="DHCPv6 prefix delegation")
    routes: Annotated[list[_ROUTE], LIST] = Field(default_factory=list)
    vlan_id: VLAN | None = None
    inner_vlan_id: VLAN | None = None
    valid_from: MOMENT | None = None
    valid_until: MOMENT | None = None
    simultaneous_use: SESSIONS | None = Field(
        default=None, description="most sessions at the same time; absent: as the plan says"
    )
    nases: IDS = Field(default_factory=list, description="only there; absent: as the plan says")
    sites: LABELS = Field(default_factory=list, description="only there; absent: as the plan says")
    line_policy: LINE_POLICY | None = Field(default=None, description="absent: as the plan says")
    bonus_octets: BONUS = Field(default=0, description="on top of each of the plan's allowances of octets")
    service: ServiceBody | None = Field(default=None, description="where this line differs from its plan")
    attributes: Annotated[list[_EDIT], LIST] = Field(default_factory=list, description=_EDITS_SAY)


class NasBody(Body):
    """A box, or a range of boxes, that sends us RADIUS."""

    address: PREFIX | None = Field(default=None, description="the same as one entry in `prefixes`")
    prefixes: Annotated[list[PREFIX], LIST] = Field(default_factory=list)
    secret: _SECRET
    previous_secret: _SECRET | None = Field(
        default=None, description="still accepted while the secret changes"
    )
    vendor: _VENDOR = "standard"
    coa_port: _PORT | None = Field(default=None, description="absent: that of the vendor")
    require_message_authenticator: _AUTHENTICATOR = False
    limit_proxy_state: FLAG = True
    identities: Annotated[list[_WORD_SOURCE], LIST] | None = Field(
        default=None, description="what to look up, in order"
    )
    line_password: _SECRET | None = Field(
        default=None, description="what the NAS sends for MAC and line identities"
    )
    strip_realm: FLAG = False
    site: LABEL | None = Field(default=None, description="where it stands; plans and subscribers name sites")
    coa: FLAG = Field(default=True, description="false: it takes no CoA and no Disconnect from us")
    coa_address: ADDRESS | None = Field(default=None, description="absent: where its packets come from")
    coa_secret: _SECRET | None = Field(default=None, description="absent: the secret of its own requests")
    coa_message_authenticator: FLAG = True
    coa_event_timestamp: FLAG = True
    attributes: Annotated[list[_EDIT], LIST] = Field(default_factory=list, description=_EDITS_SAY)


class TenantBody(Body):
    """A provider served by this edge."""

    name: NAME = ""
    reject_message: _MESSAGE | None = Field(default=None, description="Reply-Message of every reject")
    timezone: TIMEZONE = Field(default="UTC", description="hours, days and months are local to it")
    garden: GardenBody | None = None
    treatments: TreatmentsBody | None = Field(default=None, description="what is done instead of a reject")


class StaffBody(Body):
    """Somebody who may log in to devices."""

    username: IDENTITY
    password: PASSWORD | None = Field(
        default=None, description="in clear; short for a secret of kind cleartext"
    )
    secret: SecretBody | None = None
    privilege: Annotated[
        Privilege,
        PlainValidator(member(Privilege)),
        WithJsonSchema({"enum": [each.value for each in Privilege]}),
    ] = Privilege.READ
    enabled: FLAG = True
    groups: dict[str, LABEL] = Field(
        default_factory=dict, description="by vendor: its own group or user, where `privilege` does not fit"
    )
    nases: IDS = Field(default_factory=list, description="only there; absent: all of the tenant")
    sites: LABELS = Field(default_factory=list, description="only there; absent: all of the tenant")
    valid_until: MOMENT | None = None


AnyBody = TenantBody | PlanBody | NasBody | SubscriberBody | StaffBody | PoolBody | SelectorBody
# A kind may refer to those before it, and a plan to NASes.
BODIES: dict[str, type[AnyBody]] = {
    "tenant": TenantBody,
    "plan": PlanBody,
    "nas": NasBody,
    "subscriber": SubscriberBody,
    "staff": StaffBody,
    "pool": PoolBody,
    "selector": SelectorBody,
}
ADAPTERS: dict[str, TypeAdapter[AnyBody]] = {kind: TypeAdapter(body) for kind, body in BODIES.items()}
