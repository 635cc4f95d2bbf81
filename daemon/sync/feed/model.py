"""What a feed brings, and what comes of it.

A position is an epoch and a revision. A batch says: these are all changes that concern you after `after` and up to
`to`. Revisions have holes, so that only this coverage shows a loss. An epoch is another numbering: after a restore
of the platform, or after its filter has changed.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, NamedTuple, Protocol

from daemon.errors import DaemonError

Json = Any  # a value as `json.loads` gives it

BUCKETS = 256
"""How many digests a feed has; an object is in that of the first octet of the SHA-256 of `kind/id`."""


class Op(StrEnum):
    """What an item does to its object."""

    PUT = "put"
    DELETE = "del"


class Item(NamedTuple):
    """One object as it is after revision `rev`, whole; `body` is None where it is gone.

    `schema` is the version that wrote it, `min_reader` the oldest that can read it without loss of meaning.
    """

    kind: str
    id: str
    rev: int
    op: Op
    body: Mapping[str, Json] | None
    schema: int = 1
    min_reader: int = 1


class Lines(NamedTuple):
    """Items of a snapshot as they came, a line each; the first one is line `first` of its page.

    An item that does not say its revision is as of `start_rev`.
    """

    octets: bytes
    first: int
    start_rev: int


class Position(NamedTuple):
    """How far a feed has been read."""

    epoch: str
    rev: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Batch:
    """All changes in (`after`, `to`]. `signed` are the octets that `signature` by `key` is about, where it has one."""

    feed: str
    epoch: str
    after: int
    to: int
    head: int
    items: tuple[Item, ...]
    server_time: float | None = None
    key: str = ""
    signature: bytes = b""
    signed: bytes = b""


@dataclass(frozen=True, slots=True, kw_only=True)
class Trailer:
    """What a snapshot says of itself at its end: objects by kind, and the digest of each bucket.

    `feed`, `epoch` and `start_rev` say which snapshot it is the end of, None where it does not tell.
    """

    counts: Mapping[str, int]
    digests: tuple[bytes, ...]
    feed: str | None = None
    epoch: str | None = None
    start_rev: int | None = None
    key: str = ""
    signature: bytes = b""
    signed: bytes = b""


class Nack(NamedTuple):
    """An object that could not become a record; the last good one is served on. `at` is epoch seconds."""

    kind: str
    id: str
    rev: int
    at: float
    code: str
    detail: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Brake:
    """Why a change is held: `losses` of `of` objects would go. What is served stays as it is until it is released."""

    kind: str
    losses: int
    of: int
    since: float
    epoch: str
    rev: int


class KindStatus(NamedTuple):
    """Objects of one kind: served, refused, and served although something that they name is not there yet."""

    kind: str
    objects: int
    nacked: int
    pending: int


@dataclass(frozen=True, slots=True, kw_only=True)
class FeedStatus:
    """A feed at a glance. Times are epoch seconds, `skew_s` is how far the platform's clock is ahead of ours."""

    name: str
    tenant: str
    kinds: tuple[KindStatus, ...]
    position: Position | None
    head: int | None  # the platform's newest revision, as last heard
    contact_at: float | None
    applied_at: float | None
    skew_s: float | None
    brake: Brake | None
    staging: Position | None  # epoch and start of the snapshot that is under way
    wants_snapshot: bool


class Pending(NamedTuple):
    """An object that names something that is not there yet."""

    kind: str
    id: str
    wants_kind: str
    wants_id: str


class Refusal(StrEnum):
    """Why something was not applied; nothing of it was."""

    GAP = "gap"  # it begins after our position: ask again from there
    EPOCH = "epoch"  # another numbering: a snapshot is needed
    SIGNATURE = "signature"  # unsigned, signed by an unknown key, or not what was signed
    MISMATCH = "mismatch"  # a snapshot whose counts or digests are not those of its trailer
    BRAKE = "brake"  # too much would go
    FEED = "feed"  # of another feed


@dataclass(frozen=True, slots=True)
class Applied:
    """It is durable and served. `duplicate`: there was nothing new in it."""

    position: Position
    nacks: tuple[Nack, ...] = ()
    duplicate: bool = False


@dataclass(frozen=True, slots=True)
class Refused:
    """Nothing was applied; `position` is where the feed still is, None before its first snapshot."""

    why: Refusal
    detail: str
    position: Position | None = None


class Digests(NamedTuple):
    """Digests of all buckets at a position, and the SHA-256 over them."""

    position: Position
    buckets: tuple[bytes, ...]
    root: bytes


class Superseded(DaemonError):
    """Another snapshot of the feed has begun; this one is over."""

    slug = "snapshot-superseded"


class SnapshotUnreadable(DaemonError):
    """A line of a snapshot is no item; what came before its page can be gone on with by a new staging."""

    slug = "snapshot-unreadable"


class Staging(Protocol):
    """A snapshot that gathers beside what is served. Items may come again, and in any order.

    It is over with `finish`, whatever that returns; also when another one has begun, then `add` raises Superseded.
    """

    @property
    def start_rev(self) -> int:
        """The revision from where changes will be read: that of the first page, also when it is resumed."""

    @property
    def resume_at(self) -> str:
        """Where to go on after a restart: the cursor of the last page that is durable, empty at the start."""

    async def add(self, items: Sequence[Item], cursor: str) -> None:
        """Take a page. It is durable when the next one has been taken, `finish` at the latest.

        Raises StoreUnavailable, then it is gone on with at `resume_at` of a new staging; and Superseded.
        """

    async def finish(self, trailer: Trailer | None) -> Applied | Refused:
        """Compare with the trailer and serve it instead of what was served, in one transaction.

        Without a trailer, as from a source that has none, what came is taken as all there is.
        """

    async def drop(self) -> None:
        """Give it up: nothing of it will be served. Raises StoreUnavailable."""


class LineStaging(Staging, Protocol):
    """One that reads lines by itself: where there are many, in another process than the daemon's."""

    async def add_lines(self, lines: Lines, cursor: str) -> None:
        """Take a page, or a part of one, as it came; else as `add`.

        Raises SnapshotUnreadable, maybe only with a later page or from `finish`; nothing of that page is durable.
        """


class Feed(Protocol):
    """One feed of one tenant; the only writer of its objects."""

    name: str
    tenant: str
    kinds: frozenset[str]

    @property
    def position(self) -> Position | None:
        """How far it has been read; None before the first snapshot, and where its kinds are others than then."""

    @property
    def brake(self) -> Brake | None:
        """What is held because too much would go; None where nothing is."""

    async def apply(self, batch: Batch) -> Applied | Refused:
        """Apply a batch, durable and served when it returns. Raises StoreUnavailable."""

    async def snapshot(self, epoch: str, start_rev: int) -> Staging:
        """Begin a snapshot, or go on with the one that was under way with the same epoch.

        `start_rev` is the revision before its first page was read: changes are read from there afterwards.
        """

    async def digests(self) -> Digests:
        """Return the digests of what the feed has brought, refused objects included as they came."""

    async def repair(self, bucket: int, rev: int, items: Sequence[Item]) -> Applied | Refused:
        """Take `items`, as of `rev`, as all that there is in a bucket. Refused (gap) unless the feed is at `rev`."""

    async def nacks(self) -> list[Nack]:
        """Return the objects that are refused now."""

    async def contact(self, head: int | None, server_time: float | None, asked_at: float, at: float) -> None:
        """Note that the platform was heard of for certain: its newest revision and clock, our times around it."""

    async def release_brake(self) -> Applied | Refused:
        """Apply what the brake holds, as an operator or the platform says.

        What is not kept here, as a batch after a restart, passes when it comes again; Refused (brake) says so.
        """

    async def status(self) -> FeedStatus:
        """Return the feed at a glance."""


class LineFeed(Feed, Protocol):
    """A feed that reads the lines of its snapshots by itself."""

    async def snapshot(self, epoch: str, start_rev: int) -> LineStaging:
        """Begin a snapshot, or go on with one; see `Feed`."""


class FeedSource(Protocol):
    """Where a feed comes from: pushes, a connection of ours, tables, files."""

    name: str

    async def run(self) -> None:
        """Keep the feed up to date, for ever; nothing that the other side does ends it."""

    def resync(self) -> None:
        """Read everything again as soon as possible."""
