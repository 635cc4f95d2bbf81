"""What the routes of feeds answer with, and how it is made of a feed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Protocol

from pydantic import Field

from daemon.api.models import Model
from daemon.clock import Clock
from daemon.replica.contact import Age, AgePolicy
from daemon.sync.feed.forget import Forgotten
from daemon.sync.feed.model import Applied, Brake, Feed, FeedSource, FeedStatus, Nack, Position
from daemon.sync.feed.pull_options import PullStatus
from daemon.sync.feed.signing import NO_KEYS, Keys
from daemon.sync.feed.standing import Standing, standing, standing_of
from daemon.sync.freeradius.sql_options import SqlStatus


@dataclass(frozen=True, slots=True, kw_only=True)
class FeedDesk:
    """One feed as the API knows it. `source`: what brings it; None: the platform pushes it to us.

    `keys`: what the objects of a bucket must be signed with, too.
    """

    feed: Feed
    source: FeedSource | None = None
    keys: Keys = NO_KEYS
    ages: AgePolicy = field(default_factory=AgePolicy)


class Ending(Protocol):
    """What can end feeds."""

    @property
    def left(self) -> Mapping[str, str]:
        """Feeds that are served and that the settings name no longer, with their tenants."""

    async def forget(self, name: str, *, keep: bool) -> Forgotten:
        """End one of them; its objects become those of operators, or go. Raises NotFound, StoreUnavailable."""


@dataclass(frozen=True, slots=True)
class SyncFeeds:
    """All feeds, by name; `ending` are those that the settings may name no longer."""

    desks: Mapping[str, FeedDesk]
    clock: Clock
    ending: Ending | None = None
    wanted: set[str] = field(default_factory=set)  # pushed feeds of which an operator wants a snapshot


class PositionView(Model):
    """How far a feed was read."""

    epoch: str
    rev: int


class BrakeView(Model):
    """Why a change is held."""

    kind: str
    losses: int = Field(description="how many objects would go")
    of: int
    since: float
    epoch: str
    rev: int


class KindView(Model):
    """The objects of one kind."""

    kind: str
    state: Standing
    objects: int
    nacked: int = Field(description="refused; the last good ones are served")
    pending: int = Field(description="served, though they name something that is not there yet")


class SourceView(Model):
    """What a feed of which the edge asks the platform is doing. Times are epoch seconds."""

    state: str
    since: float
    error: str
    error_at: float | None
    failures: int = Field(description="in a row")
    next_try_at: float | None
    connected_at: float | None
    pages: int = Field(description="of the snapshot that is under way, or of the latest")
    items: int
    batches: int
    snapshots: int
    repairs: int = Field(description="buckets of objects that were read again")
    refused: dict[str, int]
    clock: str = Field(description="how far the platform's clock is from ours, in a word")
    skew_s: float | None
    certificate_days: float | None = Field(description="how long ours is good for")


class SqlView(Model):
    """What a feed from the tables of FreeRADIUS has read. Times are epoch seconds."""

    error: str = Field(description="of the last try; empty where it went well")
    failures: int = Field(description="in a row")
    swept_at: float | None = Field(description="when all rows were read last")
    changed_at: float | None = Field(description="when they were last found to be others")
    users: int
    rows: int
    skipped: int = Field(description="users that the rule for user names leaves out")
    unusable_passwords: int
    duplicates: int
    unknown: dict[str, int] = Field(description="attributes that are passed over, and how many have them")
    digest: str = Field(description="of all that the tables amount to, hex")


class FeedView(Model):
    """One feed at a glance."""

    feed: str
    tenant: str
    state: Standing
    mode: str = Field(description="pull: we ask the platform; push: it posts; sql: we read its tables")
    kinds: list[KindView]
    position: PositionView | None
    head: int | None = Field(description="the platform's newest revision, as last heard")
    lag: int | None = Field(description="how many revisions we are behind")
    contact_at: float | None
    age_s: float | None = Field(description="since the platform was last heard of for certain")
    age: Age | None = Field(description="how old its data are by that, in a word; null before the first time")
    applied_at: float | None
    skew_s: float | None
    brake: BrakeView | None
    snapshot: PositionView | None = Field(description="the one that is under way")
    wants_snapshot: bool
    source: SourceView | None
    sql: SqlView | None


class NackView(Model):
    """An object that is refused."""

    kind: str
    id: str
    rev: int
    at: float
    code: str
    detail: str


class AppliedView(Model):
    """Something was applied; `nacks` are the objects of it that are refused."""

    position: PositionView
    duplicate: bool
    nacks: list[NackView]
    wants_snapshot: bool = Field(description="the edge asks for a snapshot")


class DigestsView(Model):
    """Digests in hex: of the 256 buckets, and of all."""

    position: PositionView
    root: str
    digests: list[str]


class SnapshotView(Model):
    """A snapshot that is being pushed."""

    snapshot: str
    epoch: str
    start_rev: int
    resume_at: str = Field(
        description="the cursor of the last page that is durable; empty: begin at the first"
    )


class SnapshotBegin(Model):
    """Which snapshot is about to come."""

    epoch: str = Field(min_length=1, max_length=512)
    start_rev: int = Field(ge=0, le=2**63 - 1, description="the revision before its first page was read")


class PageView(Model):
    """A page is durable."""

    items: int
    resume_at: str


class HeldView(Model):
    """What the brake holds."""

    brake: BrakeView | None


class Objects(StrEnum):
    """What becomes of the objects of a feed that ends."""

    KEEP = "keep"
    REMOVE = "remove"


class ForgottenView(Model):
    """A feed is no more."""

    feed: str
    tenant: str
    objects: int = Field(description="how many it had")
    kept: bool = Field(description="operators change them from now on; false: they have gone")


class ResyncView(Model):
    """What becomes of the wish for a snapshot."""

    feed: str
    says: str


def position_view(position: Position | None) -> PositionView | None:
    """Return a position for an answer."""
    return None if position is None else PositionView(epoch=position.epoch, rev=position.rev)


def nack_view(nack: Nack) -> NackView:
    """Return a refusal for an answer."""
    return NackView(**nack._asdict())


def brake_view(brake: Brake | None) -> BrakeView | None:
    """Return what is held for an answer."""
    if brake is None:
        return None
    return BrakeView(
        kind=brake.kind,
        losses=brake.losses,
        of=brake.of,
        since=brake.since,
        epoch=brake.epoch,
        rev=brake.rev,
    )


def applied_view(done: Applied, *, wants_snapshot: bool) -> AppliedView:
    """Return what came of a batch."""
    return AppliedView(
        position=PositionView(epoch=done.position.epoch, rev=done.position.rev),
        duplicate=done.duplicate,
        nacks=[nack_view(each) for each in done.nacks],
        wants_snapshot=wants_snapshot,
    )


def feed_view(desk: FeedDesk, status: FeedStatus, at: float, *, wanted: bool) -> FeedView:
    """Return a feed at a glance."""
    stands = standing(status, at, desk.ages.stale_after_s)
    position, head = status.position, status.head
    source = getattr(desk.source, "status", None)
    age_s = None if status.contact_at is None else max(0.0, at - status.contact_at)
    return FeedView(
        feed=status.name,
        tenant=status.tenant,
        state=stands,
        mode=_mode(desk, source),
        kinds=[
            KindView(
                kind=each.kind,
                state=standing_of(each, stands),
                objects=each.objects,
                nacked=each.nacked,
                pending=each.pending,
            )
            for each in status.kinds
        ],
        position=position_view(position),
        head=head,
        lag=None if position is None or head is None else max(0, head - position.rev),
        contact_at=status.contact_at,
        age_s=age_s,
        age=None if age_s is None else desk.ages.age(age_s),
        applied_at=status.applied_at,
        skew_s=status.skew_s,
        brake=brake_view(status.brake),
        snapshot=position_view(status.staging),
        wants_snapshot=status.wants_snapshot or wanted,
        source=_source_view(source, at) if isinstance(source, PullStatus) else None,
        sql=_sql_view(source) if isinstance(source, SqlStatus) else None,
    )


def _mode(desk: FeedDesk, source: object) -> str:
    if desk.source is None:
        return "push"
    return "sql" if isinstance(source, SqlStatus) else "pull"


def _sql_view(status: SqlStatus) -> SqlView:
    return SqlView(
        error=status.error,
        failures=status.failures,
        swept_at=status.swept_at,
        changed_at=status.changed_at,
        users=status.users,
        rows=status.rows,
        skipped=status.skipped,
        unusable_passwords=status.unusable_passwords,
        duplicates=status.duplicates,
        unknown=dict(status.unknown),
        digest=status.digest,
    )


def _source_view(status: PullStatus, at: float) -> SourceView:
    return SourceView(
        state=status.state,
        since=status.since,
        error=status.error,
        error_at=status.error_at,
        failures=status.failures,
        next_try_at=status.next_try_at,
        connected_at=status.connected_at,
        pages=status.pages,
        items=status.items,
        batches=status.batches,
        snapshots=status.snapshots,
        repairs=status.repairs,
        refused=dict(status.refused),
        clock=status.skew,
        skew_s=status.skew_s,
        certificate_days=status.certificate_days(at),
    )
