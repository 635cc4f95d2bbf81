"""Holders by the history of leases: from the events around a time to who had the unit then.

An event says in which state its unit was before and is after it, and whose lease it was. Between two events lies
one stretch; the stretches that touch the time that is asked about name the holders.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import NamedTuple

from sqlalchemy.ext.asyncio import AsyncConnection

from daemon.leases.who_had_model import (
    Claim,
    Evidence,
    Found,
    Holder,
    Question,
    Source,
    Via,
    containing,
    prefix_text,
    together,
)
from ipam import history_rows
from ipam.address import Unit, text
from ipam.history import Change, HistoryEvent
from ipam.history_rows import Around, Ports, Track
from ipam.kinds import BITS, ClockQuality, Kind, LeaseState, Space
from ipam.ledger import LeaseRow

_BEFORE = 8  # events before the time: a lease has few, and more are asked for where it has many
_MOST_BEFORE = 1_000
_AFTER = 4
_MOST_LAST = 5
_LIVE = (LeaseState.TENTATIVE.value, LeaseState.BOUND.value)
_FIXED = "fixed:"  # begins the pools of fixed units: each node has its own, so both may have one live


class Stretch(NamedTuple):
    """A unit in one state, from one event to the next. `about` is the event that names whose lease it was.

    None for `begin` or `end`: no event is known there. `vague`: the times of the two events contradict their order.
    """

    begin: HistoryEvent | None
    end: HistoryEvent | None
    state: str
    about: HistoryEvent
    vague: bool

    @property
    def from_at(self) -> float | None:
        """The first epoch second, None where it is not known."""
        if self.begin is None:
            return None
        at = self.begin.change.at
        return at if self.end is None else min(at, self.end.change.at)

    @property
    def until_at(self) -> float | None:
        """The epoch second at which it was over, None where nothing says so."""
        if self.end is None:
            return None
        at = self.end.change.at
        return at if self.begin is None else max(at, self.begin.change.at)

    def touches(self, since: float, until: float) -> bool:
        """Tell whether any of it lies between two epoch seconds, both included."""
        begin, end = self.from_at, self.until_at
        return (begin is None or begin <= until) and (end is None or end > since)


def stretches(events: Sequence[HistoryEvent], whole: bool) -> list[Stretch]:
    """Return the stretches of a unit in the order of its events.

    The one before the first event is left out where the history is whole: then the unit was never used before.
    """
    if not events:
        return []
    found: list[Stretch] = []
    first = events[0]
    if not whole or first.change.old in _LIVE:
        found.append(Stretch(None, first, first.change.old, first, vague=False))
    for begin, end in zip(events, (*events[1:], None), strict=True):
        vague = end is not None and end.change.at < begin.change.at
        found.append(Stretch(begin, end, begin.change.new, begin, vague))
    return found


async def find(connection: AsyncConnection, question: Question, units: Sequence[Unit]) -> list[Found]:
    """Return who had each unit by the history of leases: exactly, or as a part of what was leased.

    `question` says when and where. If the unit that it asks for is the only one, its port blocks are looked for too.
    """
    spans = [containing(unit) for unit in units]
    wanted = together(spans)
    ports: Ports | None = None
    if units == [question.unit] and question.unit[::2] == (Space.IPV4, BITS[Space.IPV4]):
        ports = Ports(text(Space.IPV4, question.unit.value), question.port)
    tracks = await history_rows.find_tracks(connection, wanted, question.tenant, question.vrf, ports)
    arounds = await _around(connection, tracks, question)
    judged = [
        (key, _judge(events, whole, question))
        for key, several in _by_unit(arounds).items()
        for events, whole in _lines(several)
    ]
    found = [
        merge(each for key, each in judged if ports is not None or key[1] in span.get(key[0], ()))
        for span in spans
    ]
    if all(each.holders for each in found):
        return found
    rows = await history_rows.standing_without_history(
        connection, wanted, question.tenant, question.vrf, question.until
    )
    known = {track[:4] for track in tracks}
    old = [row for row in rows if (row.address, row.length, row.tenant, row.vrf) not in known]
    return [_with_old(each, span, old) for each, span in zip(found, spans, strict=True)] if old else found


def _with_old(found: Found, span: Mapping[str, Collection[int]], rows: Iterable[LeaseRow]) -> Found:
    mine = tuple(_from_row(row) for row in rows if row.length in span.get(row.address, ()))
    return replace(found, holders=mine) if mine and not found.holders else found


def _from_row(row: LeaseRow) -> Holder:
    """Return the holder of a lease that is older than the history that is kept, and goes on."""
    space = Space(row.space)
    return Holder(
        claim=Claim.HAD if row.state == LeaseState.BOUND.value else Claim.OFFERED,
        tenant=row.tenant,
        vrf=row.vrf,
        unit=prefix_text(space, row.address, row.length),
        kind=row.pool,
        subscriber=row.subscriber,
        session=row.session,
        nas=row.nas,
        circuit=row.circuit,
        mac=row.mac,
        from_at=row.since_at,
        notes=("its events are older than the history that is kept; the lease itself still stands",),
    )


def _by_unit(arounds: Iterable[Around]) -> dict[tuple[str, int, str, str], list[Around]]:
    grouped: dict[tuple[str, int, str, str], list[Around]] = {}
    for each in arounds:
        grouped.setdefault(each.track[:4], []).append(each)
    return grouped


async def _around(connection: AsyncConnection, tracks: Sequence[Track], question: Question) -> list[Around]:
    """Return the events of tracks around the time, each back to where its lease began."""
    before = _BEFORE
    done: list[Around] = []
    while tracks:
        got = await history_rows.around(connection, tracks, question.since, question.until, before, _AFTER)
        ready = [
            each
            for each in got
            if each.whole or before >= _MOST_BEFORE or _settled(each.events, question.since)
        ]
        done += ready
        finished = {each.track for each in ready}
        tracks = [each for each in tracks if each not in finished]
        before = min(before * 8, _MOST_BEFORE)
    return done


def _settled(events: Sequence[HistoryEvent], since: float) -> bool:
    """Tell whether what the unit was at `since` began within these events."""
    earlier = [each.change for each in events if each.change.at < since]
    return bool(earlier) and any(
        change.old not in _LIVE or change.lease_id != earlier[-1].lease_id for change in earlier
    )


def _lines(arounds: Iterable[Around]) -> list[tuple[list[HistoryEvent], bool]]:
    """Return the events of one unit, each line of them in its order.

    Slots of a pool go from node to node with their blocks, so that the events of several books are one line. A fixed
    unit is a line of its own at each node.
    """
    moving: list[HistoryEvent] = []
    whole = True
    lines: list[tuple[list[HistoryEvent], bool]] = []
    books = 0
    for each in arounds:
        fixed = [event for event in each.events if event.change.pool.startswith(_FIXED)]
        pooled = [event for event in each.events if not event.change.pool.startswith(_FIXED)]
        if fixed:
            lines.append((fixed, each.whole))
        if pooled:
            moving += pooled
            whole = whole and each.whole
            books += 1
    if moving:
        if books > 1:
            moving.sort(key=lambda event: event.change.at)
        lines.append((moving, whole))
    return lines


def _judge(events: Sequence[HistoryEvent], whole: bool, question: Question) -> Found:
    """Return who had the unit of one line of events."""
    line = stretches(events, whole)
    touching = [spot for spot, each in enumerate(line) if each.touches(question.since, question.until)]
    live = [spot for spot in touching if line[spot].state in _LIVE]
    holders: list[Holder] = []
    reached = -1
    for spot in live:
        if spot <= reached:
            continue
        first, last = _tenure(line, spot)
        reached = last
        holders.append(_holder(line[first : last + 1], question))
    past = [spot for spot, each in enumerate(line) if each.state in _LIVE and _over(each, question.since)]
    last_holder: tuple[Holder, ...] = ()
    if not holders and past:
        first, final = _tenure(line, past[-1])
        last_holder = (_holder(line[first : final + 1], None),)
    return Found(holders=tuple(holders), last=last_holder, doubt_since=_doubt(line, touching))


def _over(stretch: Stretch, since: float) -> bool:
    return stretch.until_at is not None and stretch.until_at <= since


def _doubt(line: Sequence[Stretch], touching: Sequence[int]) -> float | None:
    """Return since when something may have gone unseen: None where a later event shows that nothing has."""
    if not touching:
        return None
    final = line[touching[-1]]
    if final.end is not None:
        return None
    return None if final.begin is None else final.begin.change.at


def _tenure(line: Sequence[Stretch], spot: int) -> tuple[int, int]:
    """Return the first and last stretch of the same lease and session as that one; an offer belongs to both."""
    first = last = spot
    while first > 0 and _same(line[first - 1], line[first]):
        first -= 1
    while last + 1 < len(line) and _same(line[last], line[last + 1]):
        last += 1
    return first, last


def _same(one: Stretch, other: Stretch) -> bool:
    if one.state not in _LIVE or other.state not in _LIVE:
        return False
    mine, its = one.about.change, other.about.change
    sessions = {each.session for each in (mine, its) if each.session}
    return mine.lease_id == its.lease_id and len(sessions) < 2


def _holder(tenure: Sequence[Stretch], question: Question | None) -> Holder:
    """Return who held during stretches of one lease; `question` None: who had it last."""
    asked = (
        tenure
        if question is None
        else [each for each in tenure if each.touches(question.since, question.until)]
    )
    had = any(each.state == LeaseState.BOUND.value for each in asked)
    bound = [each for each in tenure if each.state == LeaseState.BOUND.value]
    counted = bound if had else tenure
    about = next((each.about.change for each in tenure if each.about.change.session), tenure[-1].about.change)
    events = _events(tenure)
    space = Space.IPV6 if ":" in about.address and "." not in about.address else Space.IPV4
    is_ports = about.kind == Kind.CGN_BLOCK.value
    made = Holder(
        claim=Claim.HAD if had else Claim.OFFERED,
        tenant=about.tenant,
        vrf=about.vrf,
        unit=about.address if is_ports else prefix_text(space, about.address, about.length),
        kind=about.kind,
        subscriber=about.subscriber,
        session=about.session,
        nas=about.nas,
        circuit=about.circuit,
        mac=about.mac,
        from_at=counted[0].from_at,
        until_at=tenure[-1].until_at,
        via=_ports(about) if is_ports else None,
        evidence=tuple(map(_evidence, events)),
    )
    return made.noted(*_notes(tenure, bound, had, events))


def _ports(change: Change) -> Via:
    """Return the ports of a port block that is leased from a pool: there is no inside address to tell."""
    outside, _, first = change.address.rpartition(":")
    return Via(outside, int(first), int(first) + change.length - 1, 1, "", change.tenant)


def _events(tenure: Sequence[Stretch]) -> list[HistoryEvent]:
    """Return the events that bound the stretches, each once."""
    found = {
        (event.book, event.seq): event
        for each in tenure
        for event in (each.begin, each.about, each.end)
        if event is not None
    }
    return list(found.values())


def _notes(
    tenure: Sequence[Stretch], bound: Sequence[Stretch], had: bool, events: Sequence[HistoryEvent]
) -> list[str]:
    notes: list[str] = []
    if not had and bound:
        notes.append("the address was offered; the session began after the time that is asked about")
    elif not had:
        notes.append("the address was offered in an Access-Accept; no session is known to have begun with it")
    if tenure[0].begin is None:
        notes.append("it began before the history that was read; the event that ended it names the holder")
    if any(each.vague for each in tenure):
        notes.append("the clock stepped back here: the times are not certain, the order of events is")
    notes += [
        f"conflict: {event.change.seen or 'somebody else'} was seen with it at {event.change.at:.3f}"
        for event in events
        if event.change.cause == "conflict"
    ]
    return notes


def _evidence(event: HistoryEvent) -> Evidence:
    change = event.change
    return Evidence(
        source=Source.LEASE,
        what=f"{change.cause}: {change.old} to {change.new}",
        at=change.at,
        book=event.book,
        seq=event.seq,
        hash=event.hash.hex(),
        clock_quality=change.clock_quality,
    )


def merge(several: Iterable[Found]) -> Found:
    """Return what several lines say together; who had it last counts for each unit by itself."""
    found = list(several)
    doubts = [each.doubt_since for each in found if each.doubt_since is not None]
    return Found(
        holders=tuple(holder for each in found for holder in each.holders),
        last=tuple(sorted((holder for each in found for holder in each.last), key=_ended)[-_MOST_LAST:]),
        doubt_since=min(doubts) if doubts else None,
        notes=tuple(dict.fromkeys(note for each in found for note in each.notes)),
    )


def _ended(holder: Holder) -> float:
    return holder.until_at or 0.0


_WORST = (
    ClockQuality.UNKNOWN.value,
    ClockQuality.STEPPED_BACK.value,
    ClockQuality.UNSYNCHRONISED.value,
    ClockQuality.SYNCHRONISED.value,
)


def worst_clock(holders: Iterable[Holder]) -> str:
    """Return the worst clock quality among the evidence of holders, `unknown` where there is none."""
    seen = {each.clock_quality for holder in holders for each in holder.evidence if each.clock_quality}
    return next((each for each in _WORST if each in seen), ClockQuality.UNKNOWN.value)


def with_session(holder: Holder, **known: str) -> Holder:
    """Return a holder with what its session's row adds; what the history says stays."""
    fields = {name: value for name, value in known.items() if value and not getattr(holder, name)}
    return replace(holder, **fields) if fields else holder  # type: ignore[arg-type] # names of text fields
