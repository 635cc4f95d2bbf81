"""The settings of what comes from the platform and what goes to it: feeds, sinks, the outbox."""

from __future__ import annotations

import re
from typing import Annotated, Literal

from pydantic import AfterValidator, Field, Strict, StringConstraints, model_validator

from config.base import FilePath, Reference, Section, restart

_Tenant = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9._-]{1,64}$")]
_Url = Annotated[str, StringConstraints(pattern=r"^https?://[^\s/?#@]+(/[^\s?#]*)?$", max_length=500)]
_Identifier = Annotated[str, StringConstraints(pattern=r"^[A-Za-z_][A-Za-z0-9_]{0,62}$")]
_Key = Annotated[str, StringConstraints(pattern=r"^ed25519:[A-Za-z0-9._-]{1,64}=[A-Za-z0-9+/]{43}=$")]
_Texts = Annotated[
    tuple[Annotated[str, StringConstraints(min_length=1, max_length=500)], ...], Strict(strict=False)
]
_RENAMED = frozenset(
    (
        "radcheck",
        "radreply",
        "radusergroup",
        "radgroupcheck",
        "radgroupreply",
        "nas",
        "staff_check",
        "staff_reply",
    )
)
_TABLE = re.compile(r"([A-Za-z_]\w{0,62}\.)?[A-Za-z_]\w{0,62}", re.ASCII)


def _checked_table(text: str) -> str:
    ours, _, theirs = text.partition("=")
    if ours not in _RENAMED:
        raise ValueError(f"before the = comes one of {', '.join(sorted(_RENAMED))}")
    if _TABLE.fullmatch(theirs) is None:
        raise ValueError("after the = comes the name of a table, perhaps with its schema before a dot")
    return text


def _checked_pattern(text: str) -> str:
    try:
        re.compile(text)
    except (re.error, RecursionError, OverflowError) as error:
        raise ValueError(f"it cannot be read: {error}") from None
    return text


def _each_table_once(texts: tuple[str, ...]) -> tuple[str, ...]:
    ours = [each.partition("=")[0] for each in texts]
    if len(set(ours)) != len(ours):
        raise ValueError("a table is named twice")
    return texts


def _each_key_once(texts: tuple[str, ...]) -> tuple[str, ...]:
    names = [each.partition("=")[0] for each in texts]
    if len(set(names)) != len(names):
        raise ValueError("two keys have the same name")
    return texts


_TableNames = Annotated[
    tuple[Annotated[str, AfterValidator(_checked_table)], ...],
    Strict(strict=False),
    AfterValidator(_each_table_once),
]
_Pattern = Annotated[str, StringConstraints(min_length=1, max_length=200), AfterValidator(_checked_pattern)]
_Keys = Annotated[tuple[_Key, ...], Strict(strict=False), AfterValidator(_each_key_once)]
_KINDS = ("tenant", "plan", "nas", "subscriber", "staff", "pool", "selector")
_Kinds = Annotated[
    tuple[Literal["tenant", "plan", "nas", "subscriber", "staff", "pool", "selector"], ...],
    Strict(strict=False),
]
_STREAMS = ("accounting", "sessions", "auth-rejects", "leases", "quota", "devices", "audit")
_Streams = Annotated[
    tuple[Literal["accounting", "sessions", "auth-rejects", "leases", "quota", "devices", "audit"], ...],
    Strict(strict=False),
]
_REFERENCE = "file:PATH, env:NAME or credential:NAME"
_A_URL = "a URL without user, password and query, such as https://platform.example/edge"


class Peer(Section):
    """How another HTTP server is reached, and how it knows us."""

    url: _Url | None = Field(
        default=None,
        description="Where the platform is reached. Paths are appended to it.",
        json_schema_extra=restart(_A_URL),
    )
    token: Reference | None = Field(
        default=None,
        description="Where the bearer token is that we show.",
        json_schema_extra=restart(_REFERENCE, hidden=True),
    )
    certificate: FilePath | None = Field(
        default=None,
        description="Certificate that we show (PEM, with its chain); read again when the file changes.",
        json_schema_extra=restart("a path"),
    )
    certificate_key: FilePath | None = Field(
        default=None, description="Private key of `certificate` (PEM).", json_schema_extra=restart("a path")
    )
    plain_http: bool = Field(
        default=False,
        description="`url` may begin with http: everybody on the way can read it. For tests, and tunnels.",
        json_schema_extra=restart("true or false"),
    )
    ca: FilePath | None = Field(
        default=None,
        description="Authorities that the other side's certificate must come from (PEM); without it the system's.",
        json_schema_extra=restart("a path"),
    )

    @model_validator(mode="after")
    def _certificate_has_a_key(self) -> Peer:
        if (self.certificate is None) != (self.certificate_key is None):
            raise ValueError("certificate and certificate_key belong together")
        if self.url is not None and self.url.startswith("http:") and not self.plain_http:
            raise ValueError("a URL without https needs `plain_http`")
        return self


class FeedTable(Peer):
    """One feed: where the objects of one tenant come from. `[feeds.NAME]`, one table for each."""

    source: Literal["pull", "push", "sql"] = Field(
        description="`pull`: this edge dials out to the platform, also from behind NAT; `push`: the platform posts to "
        "our sync API; `sql`: the tables of a FreeRADIUS database.",
        json_schema_extra=restart(),
    )
    tenant: _Tenant = Field(
        description="Tenant whose objects these are.",
        json_schema_extra=restart("1 to 64 letters, digits, dots, dashes or underscores"),
    )
    kinds: _Kinds = Field(
        default=(),
        description="Kinds of objects that it owns; others are loaded by operators. Empty: all that its source has.",
        json_schema_extra=restart(f"a list of {', '.join(_KINDS)}"),
    )
    stream: bool = Field(
        default=True,
        description="`pull`: keep one answer open on which changes come; false asks again and again (long polling).",
        json_schema_extra=restart("true or false"),
    )
    public_keys: _Keys = Field(
        default=(),
        description="Keys that batches and snapshots may be signed with.",
        json_schema_extra=restart("a list of ed25519:NAME=BASE64"),
    )
    require_signature: bool = Field(
        default=False,
        description="Refuse what is not signed by one of `public_keys`.",
        json_schema_extra=restart("true or false"),
    )
    brake_percent: float = Field(
        default=5.0,
        ge=0,
        le=100,
        allow_inf_nan=False,
        description="More objects of a kind than this, and than `brake_objects`, are not removed within an hour before "
        "an operator says so; nor more than half of a kind. 100: nothing is held.",
        json_schema_extra=restart("a percentage"),
    )
    brake_objects: int = Field(
        default=100,
        ge=0,
        le=100_000_000,
        description="So many objects of a kind may go whatever the percentage, up to half of them.",
        json_schema_extra=restart("a number of objects"),
    )
    stale_after_s: float = Field(
        default=120.0,
        ge=10,
        le=86_400,
        allow_inf_nan=False,
        description="After so long without contact the data are stale: all goes on, and each decision says so.",
        json_schema_extra=restart(),
    )
    degraded_after_s: float = Field(
        default=86_400.0,
        ge=60,
        le=31_536_000,
        allow_inf_nan=False,
        description="After so long they are degraded: grants for a time have ended, new pools are not taken.",
        json_schema_extra=restart(),
    )
    isolated_after_s: float = Field(
        default=604_800.0,
        ge=60,
        le=31_536_000,
        allow_inf_nan=False,
        description="After so long this edge is isolated: `isolated_known` holds.",
        json_schema_extra=restart(),
    )
    degraded_unknown: Literal["reject", "captive"] = Field(
        default="reject",
        description="What becomes of logins that the data do not know, while they are degraded: the platform may have "
        "sold them a line since.",
        json_schema_extra=restart(),
    )
    isolated_known: Literal["keep", "captive", "reject"] = Field(
        default="keep",
        description="What becomes of active subscribers while this edge is isolated.",
        json_schema_extra=restart(),
    )
    database: Reference | None = Field(
        default=None,
        description="`sql`: where the URL of the database is, `postgresql://USER:PASSWORD@HOST/NAME` or `mysql://...`.",
        json_schema_extra=restart(_REFERENCE, hidden=True),
    )
    db_schema: _Identifier | None = Field(
        default=None,
        description="`sql`: schema that the tables are in, where it is not the usual one.",
        json_schema_extra=restart("a name"),
    )
    tables: _TableNames = Field(
        default=(),
        description="`sql`: tables with other names than FreeRADIUS gives them.",
        json_schema_extra=restart('a list such as ["radcheck=my_radcheck"]'),
    )
    password_attribute: str = Field(
        default="Cleartext-Password",
        min_length=1,
        max_length=64,
        description="`sql`: attribute of radcheck that holds passwords in clear.",
        json_schema_extra=restart(),
    )
    usernames: _Pattern | None = Field(
        default=None,
        description="`sql`: only logins that this regular expression matches as a whole belong to this edge.",
        json_schema_extra=restart("a regular expression"),
    )
    staff_tables: bool = Field(
        default=False,
        description="`sql`: radcheck_admin and radreply_admin hold the staff's logins to devices.",
        json_schema_extra=restart("true or false"),
    )
    probe_s: float = Field(
        default=3.0,
        ge=0.1,
        le=3_600,
        allow_inf_nan=False,
        description="`sql`: how often it is asked, cheaply, whether something has changed.",
        json_schema_extra=restart(),
    )
    compare_s: float = Field(
        default=300.0,
        ge=1,
        le=86_400,
        allow_inf_nan=False,
        description="`sql`: how often everything is compared, whatever the cheap question says.",
        json_schema_extra=restart(),
    )

    @property
    def owned(self) -> tuple[str, ...]:
        """The kinds that it owns: `kinds`, else all that its source can have."""
        if self.kinds:
            return self.kinds
        if self.source != "sql":
            return _KINDS
        return ("plan", "nas", "subscriber", "staff") if self.staff_tables else ("plan", "nas", "subscriber")

    @model_validator(mode="after")
    def _has_what_its_source_needs(self) -> FeedTable:
        if self.source == "pull" and self.url is None:
            raise ValueError("source pull needs `url`")
        if self.source == "sql" and self.database is None:
            raise ValueError("source sql needs `database`")
        if self.require_signature and not self.public_keys:
            raise ValueError("require_signature needs `public_keys`")
        if not self.stale_after_s <= self.degraded_after_s <= self.isolated_after_s:
            raise ValueError("stale_after_s, degraded_after_s and isolated_after_s rise in this order")
        return self


class SinkTable(Peer):
    """One sink: who gets the events of this edge. `[sinks.NAME]`, one table for each."""

    target: Literal["platform", "radacct", "nats"] = Field(
        description="`platform`: posts to its ingest; `radacct`: a table as FreeRADIUS writes it; `nats`: JetStream.",
        json_schema_extra=restart(),
    )
    streams: _Streams = Field(
        default=(),
        description="Streams that it gets. Empty: all of them (radacct: sessions are all it can hold).",
        json_schema_extra=restart(f"a list of {', '.join(_STREAMS)}"),
    )
    signing_secret: Reference | None = Field(
        default=None,
        description="`platform`: where the secret is that each request is signed with (HMAC-SHA-256).",
        json_schema_extra=restart(_REFERENCE, hidden=True),
    )
    servers: _Texts = Field(
        default=(),
        description="`nats`: servers.",
        json_schema_extra=restart('a list such as ["nats://192.0.2.1:4222"]'),
    )
    subject: Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9._-]{1,100}$")] = Field(
        default="dotmac",
        description="`nats`: first part of the subjects, before edge and stream.",
        json_schema_extra=restart("letters, digits, dots, dashes and underscores"),
    )
    database: Reference | None = Field(
        default=None,
        description="`radacct`: where the URL of the database is, `postgresql://USER:PASSWORD@HOST/NAME` or `mysql://...`.",
        json_schema_extra=restart(_REFERENCE, hidden=True),
    )
    table: Annotated[str, StringConstraints(pattern=r"^([A-Za-z_]\w{0,62}\.)?[A-Za-z_]\w{0,62}$")] = Field(
        default="radacct",
        description="`radacct`: name of the table, perhaps with its schema.",
        json_schema_extra=restart("a name"),
    )
    post_auth: bool = Field(
        default=False,
        description="`radacct`: refused logins go to radpostauth.",
        json_schema_extra=restart("true or false"),
    )
    distinct_ids: bool = Field(
        default=True,
        description="`radacct`: a session whose Acct-Session-Id another open one has gets a suffix there: platforms "
        "take both for one.",
        json_schema_extra=restart("true or false"),
    )
    new_rows_per_min: int = Field(
        default=400,
        ge=1,
        le=10_000_000,
        description="`radacct`: how many new rows a backlog may add a minute, the others wait: an importer that reads "
        "500 a minute falls behind otherwise.",
        json_schema_extra=restart("a number of rows"),
    )

    @model_validator(mode="after")
    def _has_what_its_target_needs(self) -> SinkTable:
        name = {"platform": "url", "radacct": "database", "nats": "servers"}[self.target]
        if not getattr(self, name):
            raise ValueError(f"target {self.target} needs `{name}`")
        return self


class Outbox(Section):
    """Events that the platform has not acknowledged yet, and what is kept of those that it has."""

    replay_days: float = Field(
        default=7.0,
        ge=0,
        le=3_650,
        allow_inf_nan=False,
        description="How long acknowledged events are kept, so that a receiver that was restored can have them again.",
        json_schema_extra=restart("a number of days"),
    )
    most_mib: int = Field(
        default=20_480,
        ge=64,
        le=100_000_000,
        description="How large the database may become. At 70 % of it telemetry is thinned and interims are folded "
        "together, at 100 % accounting is not acknowledged any more, so that NASes keep it.",
        json_schema_extra=restart("a number of MiB"),
    )
    least_free_mib: int = Field(
        default=512,
        ge=0,
        le=100_000_000,
        description="The same happens when the disk has less than this left. 0: nobody looks.",
        json_schema_extra=restart("a number of MiB"),
    )
