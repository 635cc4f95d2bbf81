"""Looking back: the events of one address around a time, and a run of events to verify.

The order of events is that of `seq` within each book; times only find the place, for a clock may step back.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any, NamedTuple

from sqlalchemy import ColumnElement, Select, and_, func, or_, select, union, union_all
from sqlalchemy.ext.asyncio import AsyncConnection

from ipam.history import GENESIS, Chain, Change, HistoryEvent
from ipam.kinds import LeaseState
from ipam.ledger import LeaseRow
from ipam.schema import ANCHOR, BOOT, EVENT, LEASE

_MOST_TRACKS = 40  # in one statement
_LIVE = (LeaseState.TENTATIVE.value, LeaseState.BOUND.value)
_COLUMNS = (EVENT.c.book, EVENT.c.seq, EVENT.c.hash, *(EVENT.c[name] for name in Change._fields))


class Track(NamedTuple):
    """One unit in one VRF, as one book knows it: `length` is of the prefix, of a port block how many ports."""

    address: str
    length: int
    tenant: str
    vrf: str
    book: str


class Around(NamedTuple):
    """Events of one track in the order of `seq`; `whole` is whether none before the first one is kept."""

    track: Track
    events: tuple[HistoryEvent, ...]
    whole: bool


class Ports(NamedTuple):
    """An outside IPv4 address whose port blocks are looked for as well: those that hold `port`, all for None."""

    outside: str
    port: int | None


async def find_tracks(
    connection: AsyncConnection,
    units: Mapping[str, Collection[int]],
    tenant: str | None,
    vrf: str | None,
    ports: Ports | None = None,
) -> list[Track]:
    """Return every track of units that are asked for: lengths by canonical text of the first address."""
    wanted: list[ColumnElement[bool]] = [EVENT.c.address.in_(list(units))]
    if ports is not None:
        wanted.append(_blocks_of(connection, ports.outside))
    others = [
        EVENT.c[name] == value for name, value in (("tenant", tenant), ("vrf", vrf)) if value is not None
    ]
    columns = (EVENT.c.address, EVENT.c.length, EVENT.c.tenant, EVENT.c.vrf, EVENT.c.book)
    # Not one query with OR: then SQLite reads every event, where the index alone says enough.
    statement = union(*(select(*columns).where(each, *others).distinct() for each in wanted))
    found = [Track(*row) for row in await connection.execute(statement)]
    found.sort()
    return [each for each in found if each.length in units.get(each.address, ()) or _has_port(each, ports)]


def _blocks_of(connection: AsyncConnection, outside: str) -> ColumnElement[bool]:
    if connection.dialect.name == "sqlite":  # compares octets, so that the index serves a range
        return and_(EVENT.c.address >= f"{outside}:", EVENT.c.address < f"{outside};")
    return EVENT.c.address.like(f"{outside}:%")


def _has_port(track: Track, ports: Ports | None) -> bool:
    if ports is None or not track.address.startswith(f"{ports.outside}:"):
        return False
    first = int(track.address.rpartition(":")[2])
    return ports.port is None or 0 <= ports.port - first < track.length


async def around(
    connection: AsyncConnection,
    tracks: Sequence[Track],
    since: float,
    until: float,
    before: int,
    after: int,
) -> list[Around]:
    """Return the events of each track from `since` to `until`, up to `before` earlier and `after` later ones.

    `since` and `until` are epoch seconds, both included. Previous hashes are left empty: `events_at` has them.
    """
    found: dict[Track, list[HistoryEvent]] = {track: [] for track in tracks}
    for start in range(0, len(tracks), _MOST_TRACKS):
        some = tracks[start : start + _MOST_TRACKS]
        parts = [part for track in some for part in _parts(track, since, until, before, after)]
        for row in await connection.execute(union_all(*parts)):
            event = _event(row)
            found[_track_of(event)].append(event)
    return [
        Around(
            track,
            tuple(sorted(events, key=_seq)),
            sum(each.change.at < since for each in events) < before,
        )
        for track, events in found.items()
    ]


def _parts(track: Track, since: float, until: float, before: int, after: int) -> list[Select[Any]]:
    mine = and_(*(EVENT.c[name] == value for name, value in track._asdict().items()))
    at, seq = EVENT.c.at, EVENT.c.seq
    base = select(*_COLUMNS).where(mine)
    return [
        select(base.where(at < since).order_by(at.desc(), seq.desc()).limit(before).subquery()),
        base.where(at.between(since, until)),
        select(base.where(at > until).order_by(at, seq).limit(after).subquery()),
    ]


def _track_of(event: HistoryEvent) -> Track:
    change = event.change
    return Track(change.address, change.length, change.tenant, change.vrf, event.book)


def _seq(event: HistoryEvent) -> int:
    return event.seq


def _event(row: Any, before: bytes = b"") -> HistoryEvent:
    book, seq, own, *fields = row
    return HistoryEvent(book, seq, Change._make(fields), before, bytes(own))


async def events_at(connection: AsyncConnection, keys: Collection[tuple[str, int]]) -> list[HistoryEvent]:
    """Return events by book and `seq`, each with the hash before it; those that are not there are left out.

    The hash before is empty where the event before is missing, which is a break of the chain.
    """
    if not keys:
        return []
    these = or_(*(and_(EVENT.c.book == book, EVENT.c.seq == seq) for book, seq in keys))
    previous = EVENT.alias("previous")
    before = and_(previous.c.book == EVENT.c.book, previous.c.seq == EVENT.c.seq - 1)
    pruned = and_(ANCHOR.c.book == EVENT.c.book, ANCHOR.c.seq == EVENT.c.seq - 1)
    joined = EVENT.outerjoin(previous, before).outerjoin(ANCHOR, pruned)
    query = select(*_COLUMNS, previous.c.hash, ANCHOR.c.hash).select_from(joined).where(these)
    found: list[HistoryEvent] = []
    for row in await connection.execute(query.order_by(EVENT.c.book, EVENT.c.seq)):
        *own, of_previous, of_anchor = row
        known = of_previous if of_previous is not None else of_anchor
        start = GENESIS if row.seq == 1 else b""
        found.append(_event(own, start if known is None else bytes(known)))
    return found


async def kept_from(connection: AsyncConnection) -> float | None:
    """Return the epoch second of the oldest event that is kept of any book; None where there is none."""
    nodes = select(BOOT.c.node).distinct().subquery()
    first = select(EVENT.c.at).where(EVENT.c.book == nodes.c.node).order_by(EVENT.c.seq).limit(1)
    rows = await connection.execute(select(first.scalar_subquery()).select_from(nodes))
    return min((at for (at,) in rows if at is not None), default=None)


async def oldest_of(connection: AsyncConnection, book: str) -> float | None:
    """Return the epoch second of the oldest event that is kept of a book, None for none."""
    first = select(EVENT.c.at).where(EVENT.c.book == book).order_by(EVENT.c.seq).limit(1)
    at: float | None = (await connection.execute(first)).scalar()
    return at


async def boots(connection: AsyncConnection, since: float, until: float) -> list[tuple[str, float]]:
    """Return node and epoch second of every start of a node between two epoch seconds, in their order."""
    query = select(BOOT.c.node, BOOT.c.at).where(BOOT.c.at.between(since, until)).order_by(BOOT.c.at)
    return [(row.node, row.at) for row in await connection.execute(query)]


async def run_of(
    connection: AsyncConnection, book: str, first_seq: int, last_seq: int
) -> tuple[Chain, list[HistoryEvent]]:
    """Return a run of a book's events and where the chain stood before it, for `history.broken`.

    The run begins later than asked where earlier ones are pruned. The event before the first is taken as it is.
    """
    anchor = select(ANCHOR.c.seq, ANCHOR.c.hash).where(ANCHOR.c.book == book)
    kept = (await connection.execute(anchor)).first()
    first = max(first_seq, 1 if kept is None else kept.seq + 1)
    if kept is not None and first == kept.seq + 1:
        chain = Chain(book, int(kept.seq), bytes(kept.hash))
    elif first == 1:
        chain = Chain(book)
    else:
        own = select(EVENT.c.hash).where(EVENT.c.book == book, EVENT.c.seq == first - 1)
        found = (await connection.execute(own)).scalar()
        chain = Chain(book, first - 1, b"" if found is None else bytes(found))
    events: list[HistoryEvent] = []
    page = select(*_COLUMNS).where(EVENT.c.book == book, EVENT.c.seq.between(first, last_seq))
    before = chain.hash
    for row in await connection.execute(page.order_by(EVENT.c.seq)):
        events.append(_event(row, before))
        before = events[-1].hash
    return chain, events


async def standing_without_history(
    connection: AsyncConnection,
    units: Mapping[str, Collection[int]],
    tenant: str | None,
    vrf: str | None,
    until: float,
) -> list[LeaseRow]:
    """Return live leases of units that began up to an epoch second, where the history of that time is pruned.

    Reads all leases, since nothing else asks for one by its address alone.
    """
    if (await connection.execute(select(ANCHOR.c.book).limit(1))).first() is None:
        return []
    query = select(LEASE).where(
        LEASE.c.address.in_(list(units)), LEASE.c.state.in_(_LIVE), LEASE.c.since_at <= until
    )
    if tenant is not None:
        query = query.where(LEASE.c.tenant == tenant)
    if vrf is not None:
        query = query.where(LEASE.c.vrf == vrf)
    rows = (LeaseRow._make(row) for row in await connection.execute(query))
    return [row for row in rows if row.length in units[row.address]]


class Kept(NamedTuple):
    """What is kept of a book: from which epoch second on, and the ends of its chain. `pruned`: there was more."""

    book: str
    from_at: float
    first_seq: int
    last_seq: int
    last_hash: bytes
    pruned: bool


async def kept_books(connection: AsyncConnection) -> list[Kept]:
    """Return what is kept of every book that has events."""
    books = await _books(connection)
    pruned = {row.book for row in await connection.execute(select(ANCHOR.c.book))}
    found: list[Kept] = []
    for book in books:
        mine = select(EVENT.c.seq, EVENT.c.at, EVENT.c.hash).where(EVENT.c.book == book)
        first = (await connection.execute(mine.order_by(EVENT.c.seq).limit(1))).first()
        last = (await connection.execute(mine.order_by(EVENT.c.seq.desc()).limit(1))).first()
        assert first is not None, "the book was found by an event"
        assert last is not None, "the book was found by an event"
        found.append(Kept(book, first.at, first.seq, last.seq, bytes(last.hash), book in pruned))
    return found


async def _books(connection: AsyncConnection) -> list[str]:
    """Return the names of all books, each found by one step in the primary key."""
    names: list[str] = []
    while True:
        following = select(func.min(EVENT.c.book))
        if names:
            following = following.where(EVENT.c.book > names[-1])
        name = (await connection.execute(following)).scalar()
        if name is None:
            return names
        names.append(str(name))
