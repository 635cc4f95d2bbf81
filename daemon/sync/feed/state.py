"""What a feed remembers beside its objects: JSON in its row."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass

from daemon.store.feed_rows import FeedRow
from daemon.sync.feed.brake import NO_WINDOW, Window
from daemon.sync.feed.intake import SCHEMA
from daemon.sync.feed.model import Brake, Json, Position


@dataclass(frozen=True, slots=True, kw_only=True)
class Gathering:
    """A snapshot under way. `cursor` is that of the last durable page; `held`: it is whole, and the brake holds it."""

    epoch: str
    start_rev: int
    generation: int
    cursor: str = ""
    held: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Permit:
    """Somebody has said that what the brake held is meant: `losses` of a kind may go, once, in this epoch."""

    epoch: str
    kind: str
    losses: int


@dataclass(frozen=True, slots=True, kw_only=True)
class State:
    """A feed as its row has it. `kinds` are those that it brought with its last snapshot.

    `schema` is that of the version that has read its objects: a newer one may know fields that this one put aside.
    """

    epoch: str = ""
    rev: int = 0
    generation: int = 0
    kinds: tuple[str, ...] = ()
    last_generation: int = 0
    staging: Gathering | None = None
    brake: Brake | None = None
    permit: Permit | None = None
    window: Window = NO_WINDOW
    head: int | None = None
    skew_s: float | None = None
    applied_at: float | None = None
    schema: int = SCHEMA

    @property
    def position(self) -> Position | None:
        """How far the feed is; None before the first snapshot."""
        return Position(self.epoch, self.rev) if self.generation else None


def to_row(name: str, tenant: str, state: State, contact_at: float | None) -> FeedRow:
    """Return the row of a feed."""
    staging, brake, permit, window = state.staging, state.brake, state.permit, state.window
    said: dict[str, Json] = {
        "kinds": state.kinds,
        "last_generation": state.last_generation,
        "staging": None if staging is None else {n: getattr(staging, n) for n in Gathering.__slots__},
        "brake": None if brake is None else {n: getattr(brake, n) for n in Brake.__slots__},
        "permit": None if permit is None else {n: getattr(permit, n) for n in Permit.__slots__},
        "window": {"since": window.since, "losses": _plain(window.losses), "of": _plain(window.of)},
        "head": state.head,
        "skew_s": state.skew_s,
        "applied_at": state.applied_at,
        "schema": state.schema,
    }
    detail = json.dumps(said, separators=(",", ":")).encode()
    return FeedRow(name, tenant, state.epoch, state.rev, state.generation, contact_at, detail)


def of_row(row: FeedRow) -> State:
    """Return the state of a row. What of the detail cannot be read is as at the beginning; the position counts."""
    try:
        said = json.loads(row.detail)
        return State(
            epoch=row.epoch,
            rev=row.rev,
            generation=row.generation,
            kinds=tuple(said["kinds"]),
            last_generation=said["last_generation"],
            staging=None if said["staging"] is None else Gathering(**said["staging"]),
            brake=None if said["brake"] is None else Brake(**said["brake"]),
            permit=None if said["permit"] is None else Permit(**said["permit"]),
            window=Window(**said["window"]),
            head=said["head"],
            skew_s=said["skew_s"],
            applied_at=said["applied_at"],
            schema=said.get("schema", 1),
        )
    except (ValueError, TypeError, KeyError):
        return State(epoch=row.epoch, rev=row.rev, generation=row.generation, last_generation=row.generation)


def _plain(counts: Mapping[str, int] | None) -> dict[str, int] | None:
    return None if counts is None else dict(counts)
