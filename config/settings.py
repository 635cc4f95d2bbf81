"""Every setting of the daemon: its unit, default, limits, and why one would change it.

`docs/config.md` is made from these models. A field's `live` tells whether a reload changes it in the running
daemon; all others wait for a restart.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal, TypeVar

from pydantic import Field, Strict, StringConstraints, ValidationInfo, field_validator, model_validator

from config.address import parse
from config.api import Api
from config.base import (
    ADDRESSES,
    Addresses,
    FilePath,
    Reference,
    Section,
    live,
    restart,
)
from config.enforcement import Coa, Policy, Staff, Storm
from config.exchange import FeedTable, Outbox, SinkTable
from config.ipam import Ipam, Probe


class Edge(Section):
    """The daemon itself."""

    name: str = Field(
        default="edge",
        min_length=1,
        max_length=64,
        description="Name of this edge in `status` and towards the platform; one for each point of presence.",
        json_schema_extra=live(),
    )
    state_dir: FilePath = Field(
        default=Path("/var/lib/dotmac-edge"),
        description="Directory of the database, the sealing key and the admin socket. It holds what was "
        "acknowledged, so it needs a disk that keeps its promises. Relative to the current directory.",
        json_schema_extra=restart("a directory"),
    )


class Log(Section):
    """What is written to standard error."""

    level: Literal["debug", "info", "warning", "error"] = Field(
        default="info",
        description="Least severity that is written. `debug` speaks about each step of background work, "
        "never about secrets.",
        json_schema_extra=live(),
    )
    format: Literal["json", "console"] = Field(
        default="json",
        description="`json`: one object a line, for collectors; `console`: for people.",
        json_schema_extra=live(),
    )


class Radius(Section):
    """The RADIUS server."""

    auth_listen: Addresses = Field(
        default=("0.0.0.0:1812", "[::]:1812"),
        description="Where Access-Requests are taken (RFC 2865).",
        json_schema_extra=restart(ADDRESSES),
    )
    acct_listen: Addresses = Field(
        default=("0.0.0.0:1813", "[::]:1813"),
        description="Where Accounting-Requests are taken (RFC 2866).",
        json_schema_extra=restart(ADDRESSES),
    )
    receive_buffer_octets: int = Field(
        default=8_388_608,
        ge=65_536,
        le=1_073_741_824,
        description="Receive buffer asked of the kernel for each socket; it carries a reconnect storm "
        "over the moments in which we are busy. The kernel gives no more than `net.core.rmem_max`.",
        json_schema_extra=restart(),
    )
    reject_delay_s: float = Field(
        default=1.0,
        ge=0,
        le=10,
        allow_inf_nan=False,
        description="How long an Access-Reject waits, which slows guessing down; 0 answers at once. Keep it "
        "below the time after which your NASes repeat.",
        json_schema_extra=live(),
    )
    duplicate_window_s: int = Field(
        default=15,
        ge=5,
        le=30,
        description="How long a reply is kept so that a repeated request gets the same one "
        "(RFC 5080 section 2.2.2 asks for 5 to 30).",
        json_schema_extra=restart(),
    )
    trace_permits: int = Field(
        default=20_000,
        ge=0,
        le=1_000_000,
        description="How many accepted logins are remembered for `why`; each costs about 1 kB of memory.",
        json_schema_extra=restart("a number of logins"),
    )
    trace_denials: int = Field(
        default=20_000,
        ge=0,
        le=1_000_000,
        description="How many refused logins are remembered for `why`. Apart from the accepted ones, so that "
        "neither pushes the other out.",
        json_schema_extra=restart("a number of logins"),
    )
    hash_workers: int = Field(
        default=2,
        ge=1,
        le=64,
        description="Threads that check slow password hashes (bcrypt, yescrypt, PBKDF2) beside the event "
        "loop; not more than processor cores.",
        json_schema_extra=restart("a number of threads"),
    )
    max_pending_hashes: int = Field(
        default=256,
        ge=1,
        le=100_000,
        description="Slow hash checks that may wait; beyond them a login gets no answer and the NAS repeats, "
        "instead of all of them being answered too late.",
        json_schema_extra=restart("a number of logins"),
    )

    @field_validator("acct_listen")
    @classmethod
    def _no_duplicates(cls, acct: tuple[str, ...], info: ValidationInfo) -> tuple[str, ...]:
        seen: set[tuple[str, int]] = set()
        for text in (*info.data.get("auth_listen", ()), *acct):
            place = parse(text)
            if place in seen:
                raise ValueError(f"{text} is there twice in auth_listen and acct_listen")
            seen.add(place)
        return acct

    @property
    def auth_addresses(self) -> tuple[tuple[str, int], ...]:
        """`auth_listen` as (host, port)."""
        return tuple(parse(each) for each in self.auth_listen)

    @property
    def acct_addresses(self) -> tuple[tuple[str, int], ...]:
        """`acct_listen` as (host, port)."""
        return tuple(parse(each) for each in self.acct_listen)


class Accounting(Section):
    """Accounting records, the sessions they tell of, and how long both are kept."""

    max_batch_records: int = Field(
        default=512,
        ge=1,
        le=10_000,
        description="Records that one commit may hold. More means fewer waits for the disk, each longer.",
        json_schema_extra=restart(),
    )
    max_pending_records: int = Field(
        default=20_000,
        ge=1,
        le=1_000_000,
        description="Records that may wait for the disk; beyond them none is taken or acknowledged, and the "
        "NAS keeps and repeats them.",
        json_schema_extra=restart(),
    )
    clock_skew_s: int = Field(
        default=300,
        ge=0,
        le=86_400,
        description="How far a NAS's clock (Event-Timestamp) may be off before our own time is used instead.",
        json_schema_extra=live(),
    )
    max_delay_s: int = Field(
        default=86_400,
        ge=0,
        le=2_592_000,
        description="Largest Acct-Delay-Time that is believed; a NAS that was cut off sends old "
        "records with it.",
        json_schema_extra=live(),
    )
    journal_keep_days: int = Field(
        default=7,
        ge=1,
        le=3_650,
        description="How long accounting records stay in the journal, as they came.",
        json_schema_extra=restart(),
    )
    closed_keep_days: int = Field(
        default=7,
        ge=1,
        le=3_650,
        description="How long closed sessions stay in the database, for `session` queries.",
        json_schema_extra=restart(),
    )
    closed_memory_s: int = Field(
        default=3_600,
        ge=60,
        le=86_400,
        description="How long closed sessions also stay in memory, where late records find them without a "
        "look into the database.",
        json_schema_extra=restart(),
    )
    session_flush_s: float = Field(
        default=10.0,
        ge=0.1,
        le=60,
        allow_inf_nan=False,
        description="How often changed sessions are written. Nothing is lost in between: the journal has it.",
        json_schema_extra=restart(),
    )
    default_interim_s: int = Field(
        default=600,
        ge=60,
        le=86_400,
        description="Acct-Interim-Interval of plans that say none (RFC 2869 section 2.1 wants at least 60).",
        json_schema_extra=restart(),
    )

    @field_validator("max_pending_records")
    @classmethod
    def _holds_a_batch(cls, pending: int, info: ValidationInfo) -> int:
        batch = info.data.get("max_batch_records", 0)
        if pending < batch:
            raise ValueError(f"max_batch_records is {batch}, and that many must be able to wait")
        return pending


class Store(Section):
    """The database."""

    busy_timeout_s: float = Field(
        default=5.0,
        ge=0.1,
        le=60,
        allow_inf_nan=False,
        description="How long a statement waits for a lock that another process holds, a backup for example.",
        json_schema_extra=restart(),
    )
    wal_checkpoint_pages: int = Field(
        default=8_000,
        ge=100,
        le=1_000_000,
        description="Size of the write-ahead log, in pages of 4096 octets, at which it is folded into the "
        "database.",
        json_schema_extra=restart(),
    )


class Secrets(Section):
    """Where secrets come from; the settings hold references, never a secret."""

    sealing_key: Reference | None = Field(
        default=None,
        description="Key that seals secrets in the database: `file:PATH`, `env:NAME` or `credential:NAME` "
        "(systemd). Without it a file `seal.key`, mode 0600, is made in `edge.state_dir`.",
        json_schema_extra=restart("file:PATH, env:NAME or credential:NAME", hidden=True),
    )


class Data(Section):
    """Objects (tenants, NASes, plans, subscribers) from files."""

    files: Annotated[tuple[FilePath, ...], Strict(strict=False)] = Field(
        default=(),
        description="Files loaded at start and at each reload, in this order. Relative to the directory of "
        "the configuration file.",
        json_schema_extra=live("a list of paths"),
    )


_Table = TypeVar("_Table", bound=Section)
_Name = Annotated[str, StringConstraints(pattern=r"^[a-z0-9][a-z0-9-]{0,31}$")]
Named = Annotated[dict[_Name, _Table], Field()]


class Settings(Section):
    """All sections; each may be left out. `feeds` and `sinks` are tables of tables, each with a name of its own."""

    edge: Edge = Edge()
    log: Log = Log()
    radius: Radius = Radius()
    accounting: Accounting = Accounting()
    policy: Policy = Policy()
    coa: Coa = Coa()
    staff: Staff = Staff()
    storm: Storm = Storm()
    ipam: Ipam = Ipam()
    probe: Probe = Probe()
    api: Api = Api()
    store: Store = Store()
    secrets: Secrets = Secrets()
    data: Data = Data()
    outbox: Outbox = Outbox()
    feeds: Named[FeedTable] = Field(default_factory=dict)
    sinks: Named[SinkTable] = Field(default_factory=dict)

    @model_validator(mode="after")
    def _one_owner_for_each_kind(self) -> Settings:
        owners: dict[tuple[str, str], str] = {}
        for name, feed in self.feeds.items():
            for kind in feed.owned:
                other = owners.setdefault((feed.tenant, kind), name)
                if other != name:
                    raise ValueError(
                        f"feeds.{other} and feeds.{name} both own {kind} of tenant {feed.tenant}"
                    )
        return self
