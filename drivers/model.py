"""The neutral words of drivers: identity, facts, configuration, change, diff, service. Pure values."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass, field
from enum import StrEnum


class ConfigKind(StrEnum):
    """Which configuration."""

    RUNNING = "running"
    STARTUP = "startup"
    CANDIDATE = "candidate"


class Secrets(StrEnum):
    """What happens to secrets in a configuration that is read."""

    REDACT = "redact"
    KEEP = "keep"  # for restoring; never for showing


class Mode(StrEnum):
    """How a change meets what is there."""

    MERGE = "merge"
    REPLACE = "replace"
    ACTIONS = "actions"


class DiffSource(StrEnum):
    """Who computed a diff."""

    NATIVE = "native"
    OFFLINE = "offline"


class Severity(StrEnum):
    """How bad a finding is; an error forbids the commit."""

    ERROR = "error"
    WARNING = "warning"


@dataclass(frozen=True, slots=True)
class Identity:
    """What the device says it is; empty where it does not say."""

    vendor: str
    model: str = ""
    os: str = ""
    version: str = ""
    serial: str = ""


@dataclass(frozen=True, slots=True)
class Interface:
    """One interface, as far as the device tells. `speed_bps` 0: unknown; `up` None: unknown."""

    name: str
    description: str = ""
    up: bool | None = None
    enabled: bool | None = None
    mac: str = ""
    speed_bps: int = 0


@dataclass(frozen=True, slots=True)
class Facts:
    """Identity and what goes with it. `uptime_s` None: not told."""

    identity: Identity
    hostname: str
    uptime_s: int | None = None
    interfaces: tuple[Interface, ...] = ()


@dataclass(frozen=True, slots=True)
class Config:
    """A configuration as text. `digest` is over its lines without the volatile ones: equal means the same."""

    kind: ConfigKind
    text: str = field(repr=False)
    digest: str
    redacted: bool = False


@dataclass(frozen=True, slots=True)
class Neighbor:
    """One neighbour. Keyed by (chassis_id, port_id), never by its name."""

    local_port: str
    chassis_id: str
    port_id: str
    name: str = ""
    description: str = ""
    address: str = ""
    protocol: str = "lldp"


@dataclass(frozen=True, slots=True)
class Action:
    """One command of an action list and the commands that take it back, known before it is sent.

    `undo` empty means: cannot be taken back. `check` is a reading command whose answer holds `expect`
    once the action has worked; it decides after a lost reply.
    """

    command: str = field(repr=False)
    undo: tuple[str, ...] = field(default=(), repr=False)
    check: str = ""
    expect: str = ""
    note: str = ""


@dataclass(frozen=True, slots=True)
class Change:
    """What is wanted of the device. MERGE and REPLACE carry `text` in the device's own language, ACTIONS `actions`.

    `base` is the digest of the configuration the change was planned against; staging fails if it moved.
    `secrets` are literal values inside the text that the transcript must not show.
    """

    mode: Mode
    text: str = field(default="", repr=False)
    actions: tuple[Action, ...] = ()
    base: str = ""
    secrets: tuple[str, ...] = field(default=(), repr=False)


@dataclass(frozen=True, slots=True)
class Staged:
    """A change laid out for one session. `handle` is the driver's own (file, session name); `undo` the inverse."""

    change: Change
    before: Config
    handle: str = ""
    undo: tuple[str, ...] = field(default=(), repr=False)


@dataclass(frozen=True, slots=True)
class Diff:
    """What a staged change would alter; `text` is redacted. Lines with + and - where the source allows it."""

    text: str
    source: DiffSource
    added: int = 0
    removed: int = 0

    @property
    def empty(self) -> bool:
        """Return whether nothing would change."""
        return not self.text.strip()


@dataclass(frozen=True, slots=True)
class Finding:
    """What validation says about a staged change."""

    severity: Severity
    message: str
    where: str = ""


@dataclass(frozen=True, slots=True)
class Lock:
    """The lock that is held; ADVISORY and NONE keep nobody else out."""

    kind: str
    handle: str = ""


@dataclass(frozen=True, slots=True)
class Reply:
    """The answer to one reading command, redacted."""

    command: str
    text: str


@dataclass(frozen=True, slots=True)
class CommitRef:
    """Names one commit on one device, made before the commit is sent, so that it can be journalled.

    `before` is the digest of the configuration before; `undo` the inverse commands; `confirm_within_s`
    None for a commit without a timer. `dumps` and `loads` carry it across a restart.
    """

    driver: str
    id: str
    before: str
    confirm_within_s: int | None = None
    handle: str = ""
    undo: tuple[str, ...] = field(default=(), repr=False)

    def dumps(self) -> str:
        """Return the reference as JSON. May hold secrets where `undo` does: seal it before storing."""
        return json.dumps(asdict(self), sort_keys=True)

    @classmethod
    def loads(cls, text: str) -> CommitRef:
        """Return the reference that `dumps` wrote."""
        fields = json.loads(text)
        return cls(**{**fields, "undo": tuple(fields["undo"])})


class ServiceVerb(StrEnum):
    """What is wanted of a subscriber's service."""

    ADD = "add"
    REMOVE = "remove"
    SUSPEND = "suspend"
    RESUME = "resume"
    KICK = "kick"  # end the live session; the service stays


@dataclass(frozen=True, slots=True)
class Ont:
    """One ONT: the PON port is in the intent. `id` None: the driver takes the next free one."""

    serial: str
    id: int | None = None
    line_profile: str = ""
    service_profile: str = ""


@dataclass(frozen=True, slots=True)
class ServiceIntent:
    """A subscriber's service in neutral words; a driver turns it into a change. Rates in bit/s, 0: none.

    `key` is the ownership marker that is written to the device (description, comment): what does not carry
    it is not ours and is never removed. Unset is None or empty and is not the same as "delete".
    """

    verb: ServiceVerb
    key: str
    port: str = ""
    ont: Ont | None = None
    s_vlan: int | None = None
    c_vlan: int | None = None
    profile: str = ""
    upload_bps: int = 0
    download_bps: int = 0
    user_name: str = ""
    address: str = ""
    session_id: str = ""


def digest(text: str) -> str:
    """Return a short hash of a configuration's lines; spaces at line ends and empty lines do not count."""
    lines = (line.rstrip() for line in text.splitlines())
    return hashlib.sha256("\n".join(line for line in lines if line).encode()).hexdigest()[:32]
