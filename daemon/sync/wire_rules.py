"""The rules of plans and tenants as the feed spells them: hours, allowances, ties, treatments, the walled garden."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

from pydantic import ConfigDict, Field, PlainValidator, WithJsonSchema

from daemon.replica.rules import Act, Bound, Direction, LinePolicy, SimultaneousMode, Treatment, Window
from daemon.sync.wire_base import Body, RateBody, text_or
from daemon.sync.wire_hours import HOURS_LIST
from daemon.sync.wire_rule_values import (
    THEN_FORM,
    duration,
    identifier,
    member,
    octets,
    then,
    timezone,
    treatment,
    url,
)
from daemon.sync.wire_types import FLAG, LABEL, LIST, SECONDS, identity, whole
from radius.grant import Rate

# The reasons for which something else than a reject can be ruled. Only a tenant can rule on the last two: where
# nobody is known, no plan is.
TREATABLE = (
    "access-reject",
    "not-yet-valid",
    "expired",
    "outside-hours",
    "wrong-nas",
    "wrong-site",
    "mac-mismatch",
    "circuit-mismatch",
    "vlan-mismatch",
    "port-mismatch",
    "too-many-sessions",
    "octets-used-up",
    "time-used-up",
    "unknown-user",
    "wrong-password",
)
OF_TENANTS_ONLY = frozenset({"unknown-user", "wrong-password"})


def _then_rate(body: RateBody) -> Treatment:
    return Treatment(act=Act.RATE, rate=Rate(download_bps=body.download, upload_bps=body.upload))


def _words(of: type[StrEnum]) -> WithJsonSchema:
    return WithJsonSchema({"enum": [each.value for each in of]})


_ID_SCHEMA = WithJsonSchema({"type": ["string", "integer"]})
IDS = Annotated[list[Annotated[str, PlainValidator(identifier), _ID_SCHEMA]], LIST]
LABELS = Annotated[list[LABEL], LIST]
LINE_POLICY = Annotated[LinePolicy, PlainValidator(member(LinePolicy)), _words(LinePolicy)]
TIMEZONE = Annotated[
    str, PlainValidator(timezone), WithJsonSchema({"type": "string", "examples": ["Europe/Berlin"]})
]
BONUS = Annotated[
    int, PlainValidator(octets(0)), WithJsonSchema({"type": ["integer", "string"], "examples": ["20GB", 0]})
]
SESSIONS = Annotated[
    int, PlainValidator(whole(1, 10_000)), WithJsonSchema({"type": "integer", "minimum": 1, "maximum": 10000})
]
_OCTETS = Annotated[
    int, PlainValidator(octets(1)), WithJsonSchema({"type": ["integer", "string"], "examples": ["500GB"]})
]
_DURATION = Annotated[
    int, PlainValidator(duration), WithJsonSchema({"type": ["integer", "string"], "examples": ["30h", 3600]})
]
_URL = Annotated[str, PlainValidator(url), WithJsonSchema({"type": "string", "format": "uri"})]
_TREATMENT = Annotated[
    Treatment,
    PlainValidator(treatment),
    WithJsonSchema({"type": "string", "pattern": "^(reject|captive|plan:.+)$"}),
]
_THEN_SCHEMA = {
    "anyOf": [
        RateBody.model_json_schema(),
        {"type": "string", "pattern": "^(notify|reject|captive|plan:.+)$"},
    ]
}
_THEN = Annotated[
    Treatment, text_or(RateBody, then, _then_rate, "unknown-word", THEN_FORM), WithJsonSchema(_THEN_SCHEMA)
]
_NAME = Annotated[
    str, PlainValidator(identity(64)), WithJsonSchema({"type": "string", "minLength": 1, "maxLength": 64})
]
_INTERIM = Annotated[
    int, PlainValidator(whole(60, 2**32 - 1, "seconds")), WithJsonSchema({"type": "integer", "minimum": 60})
]
_MONTH_DAY = Annotated[
    int, PlainValidator(whole(1, 31)), WithJsonSchema({"type": "integer", "minimum": 1, "maximum": 31})
]


class TreatmentsBody(Body):
    """What is done instead of a reject, by its reason."""

    model_config = ConfigDict(alias_generator=lambda name: name.replace("_", "-"))

    access_reject: _TREATMENT | None = None
    not_yet_valid: _TREATMENT | None = None
    expired: _TREATMENT | None = None
    outside_hours: _TREATMENT | None = None
    wrong_nas: _TREATMENT | None = None
    wrong_site: _TREATMENT | None = None
    mac_mismatch: _TREATMENT | None = None
    circuit_mismatch: _TREATMENT | None = None
    vlan_mismatch: _TREATMENT | None = None
    port_mismatch: _TREATMENT | None = None
    too_many_sessions: _TREATMENT | None = None
    octets_used_up: _TREATMENT | None = None
    time_used_up: _TREATMENT | None = None
    unknown_user: _TREATMENT | None = Field(default=None, description="of a tenant only")
    wrong_password: _TREATMENT | None = Field(default=None, description="of a tenant only")


class GardenBody(Body):
    """The walled garden: what a captive session gets instead of its plan's service."""

    redirect_url: _URL | None = Field(default=None, description="page that every web request is led to")
    address_list: LABEL | None = Field(default=None, description="firewall address list on the NAS")
    services: LABELS = Field(default_factory=list, description="services to activate on the NAS")
    filter_id: LABEL | None = None
    ipv4_pool: LABEL | None = Field(
        default=None, description="pool on the NAS for those without a fixed address"
    )
    rate: RateBody | None = None
    session_timeout_s: SECONDS = 300
    interim_interval_s: _INTERIM | None = None


class AllowanceBody(Body):
    """So many octets, or so much time, in a window, and what happens from there on."""

    name: _NAME
    octets: _OCTETS | None = Field(default=None, description="either this, or `seconds` or `time`")
    seconds: _DURATION | None = None
    time: _DURATION | None = Field(default=None, description="the same as `seconds`")
    window: Annotated[Window, PlainValidator(member(Window)), _words(Window)] = Window.MONTH
    direction: Annotated[Direction, PlainValidator(member(Direction)), _words(Direction)] = Direction.BOTH
    then: _THEN | None = Field(default=None, description="absent: reject")
    on_gap: FLAG = Field(default=False, description="act even where the count may be too large")


class RateHoursBody(RateBody):
    """A rate that replaces the plan's at some hours."""

    hours: HOURS_LIST


class RulesBody(Body):
    """What a plan rules: when, where, how many, how much."""

    login_hours: HOURS_LIST = Field(default_factory=list, description="absent: always")
    nases: IDS = Field(default_factory=list, description="only there; absent: everywhere")
    sites: LABELS = Field(default_factory=list, description="only there; absent: everywhere")
    simultaneous_use: SESSIONS | None = Field(default=None, description="most sessions at the same time")
    simultaneous_mode: Annotated[
        SimultaneousMode, PlainValidator(member(SimultaneousMode)), _words(SimultaneousMode)
    ] = SimultaneousMode.REJECT_NEW
    bind: Annotated[list[Annotated[Bound, PlainValidator(member(Bound)), _words(Bound)]], LIST] = Field(
        default_factory=list, description="what a subscriber's logins are tied to"
    )
    bind_learn: FLAG = Field(default=False, description="tie to what the first login shows")
    line_policy: LINE_POLICY = Field(
        default=LinePolicy.LOG, description="what another circuit or remote id than the subscriber's means"
    )
    allowances: Annotated[list[AllowanceBody], LIST] = Field(default_factory=list)
    rate_hours: Annotated[list[RateHoursBody], LIST] = Field(default_factory=list)
    month_day: _MONTH_DAY = Field(default=1, description="on which windows of a month begin")
    treatments: TreatmentsBody | None = Field(default=None, description="by reason; wins over the tenant's")
