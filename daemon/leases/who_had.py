"""Who had an address: the history of leases, the reports of sessions and the CGNATs asked, and put together.

Nothing is guessed. Everybody who may have had it is named, each with what that stands on; and the times at which
nobody wrote things down are named where they could have changed the answer.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Sequence
from dataclasses import replace

from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from daemon.leases import who_had_leases, who_had_nat, who_had_sessions
from daemon.leases.coverage import Coverage
from daemon.leases.who_had_model import Answer, Claim, Found, Holder, Question, Source, Verified
from daemon.leases.who_had_nat import Behind, Translations
from daemon.store import coverage_rows
from ipam import history_rows
from ipam.address import Unit, read_address
from ipam.cgnat_blocks import Gap
from ipam.history import Chain, HistoryEvent, broken
from ipam.kinds import BITS, Space

_DAY_S = 86_400.0  # a session that began unseen is told of by its interims within that time
_MOST_GAPS = 50
_MOST_RUNS = 10  # pieces of the chain that are recomputed for one answer
SEALED = "the evidence was altered: its hash does not fit"


class WhoHad:
    """Answers from the edge's own store and from that of the leases, which may be a shared one."""

    def __init__(
        self, edge: AsyncEngine, leases: AsyncEngine, coverage: Coverage, node: str, nat: Translations | None
    ) -> None:
        """`node` is the name of this edge's chain; `nat` None: no CGNAT is known."""
        self._edge = edge
        self._leases = leases
        self._coverage = coverage
        self._node = node
        self._nat = nat

    async def ask(self, question: Question, verify: int = 0) -> Answer:
        """Return who had it. `verify` is how many events around each piece of evidence are recomputed."""
        async with self._edge.connect() as edge, self._leases.connect() as leases:
            (found,) = await self._direct(edge, leases, question, [question.unit])
            behind = await self._behind(edge, question)
            inside, count = await self._inside((edge, leases), question, behind)
            holders = _in_order([*found.holders, *inside])
            known = await who_had_sessions.complete(edge, holders[: question.limit])
            told = await _sealed(leases, known)
            last = () if holders else await self._last(edge, question, found)
            kept_from = await history_rows.kept_from(leases)
            gaps = await self._gaps((edge, leases), question, found, behind, kept_from)
            runs = await _verified(leases, told, verify) if verify else ()
        total = len(found.holders) + count
        return Answer(
            question=question,
            holders=tuple(told),
            count=total,
            last=last,
            gaps=gaps[-_MOST_GAPS:],
            kept_from=kept_from,
            clock=who_had_leases.worst_clock(told or last),
            notes=(*_notes(question, total, len(told), behind), *found.notes, *_more_gaps(gaps)),
            verified=runs,
        )

    @staticmethod
    async def _direct(
        edge: AsyncConnection, leases: AsyncConnection, question: Question, units: Sequence[Unit]
    ) -> list[Found]:
        """Return who had each of the units themselves."""
        by_lease = await who_had_leases.find(leases, question, units)
        by_report = await who_had_sessions.find(edge, question, units)
        return [
            replace(
                who_had_leases.merge(pair),
                holders=tuple(who_had_sessions.join(pair[0].holders, pair[1].holders)),
            )
            for pair in zip(by_lease, by_report, strict=True)
        ]

    async def _last(self, edge: AsyncConnection, question: Question, found: Found) -> tuple[Holder, ...]:
        """Return who had the unit last before, where nobody had it then."""
        by_report = await who_had_sessions.find_last(edge, question)
        return tuple(await who_had_sessions.complete(edge, who_had_sessions.join(found.last, by_report)))

    async def _behind(self, edge: AsyncConnection, question: Question) -> Behind:
        return Behind() if self._nat is None else await who_had_nat.find(edge, question, self._nat)

    async def _inside(
        self, stores: tuple[AsyncConnection, AsyncConnection], question: Question, behind: Behind
    ) -> tuple[list[Holder], int]:
        """Return who had the inside addresses, and how many there are at least: one for each that is not asked."""
        asked = behind.vias[: question.limit]
        found: dict[tuple[str, str], Found] = {}
        for tenant in sorted({via.tenant for via in asked}):
            inside = sorted({via.inside for via in asked if via.tenant == tenant and via.inside})
            inner = replace(question, port=None, tenant=tenant, vrf=None)
            got = await self._direct(*stores, inner, [_unit(each) for each in inside])
            found |= {(tenant, address): each for address, each in zip(inside, got, strict=True)}
        holders = [
            holder
            for via in asked
            for holder in who_had_nat.of_via(via, found.get((via.tenant, via.inside), Found()).holders)
        ]
        return holders, len(holders) + len(behind.vias) - len(asked)

    async def _gaps(
        self,
        stores: tuple[AsyncConnection, AsyncConnection],
        question: Question,
        found: Found,
        behind: Behind,
        kept_from: float | None,
    ) -> tuple[Gap, ...]:
        """Return the times of which nothing was written down and that could have changed the answer."""
        edge, leases = stores
        gaps: list[Gap] = []
        if not found.holders or found.doubt_since is not None:
            # Where a later event says that it was the same all the time, nothing can have gone unseen.
            doubt = question.since if found.holders else question.since - _DAY_S
            doubt = doubt if found.doubt_since is None else min(doubt, found.doubt_since)
            gaps += await self._coverage.gaps(edge, doubt, question.until)
            for node, at in await history_rows.boots(leases, doubt, question.until):
                if node != self._node:
                    why = f"edge {node} started; how long it had been down, it knows itself"
                    gaps.append(Gap(at, at, why))
        first_run = await coverage_rows.first_start(edge)
        begins = [each for each in (kept_from, first_run) if each is not None]
        if not begins or min(begins) > question.since:
            until = min(begins, default=question.until)
            gaps.append(Gap(0.0, until, "no records are kept of that time"))
        return tuple(sorted({*gaps, *behind.gaps}))


def _unit(address: str) -> Unit:
    space, value = read_address(address)
    return Unit(space, value, BITS[space])


def _in_order(holders: Iterable[Holder]) -> list[Holder]:
    """Return the surest first; what was leased as a whole before what was leased as a part of something larger."""
    sure = {Claim.HAD: 0, Claim.OFFERED: 1, Claim.PERHAPS: 2}
    return sorted(holders, key=lambda each: (sure[each.claim], each.from_at or 0.0))


def _notes(question: Question, count: int, told: int, behind: Behind) -> list[str]:
    notes = list(behind.notes)
    shared = len(behind.vias) > 1
    if shared and question.port is None:
        notes.append(
            f"the address is shared by CGNAT: {len(behind.vias)} inside addresses may be meant; "
            "the source port tells which"
        )
    if question.port is not None and not behind.vias and question.unit.space is Space.IPV6:
        notes.append("the port plays no part: IPv6 addresses are not shared")
    if question.unit.length != BITS[question.unit.space]:
        notes.append("holders of parts of the prefix are not looked for: ask for one address of it")
    if told < count:
        notes.append(f"{count - told} more of {count} are not told: raise the limit")
    if count > 1 and not shared:
        notes.append("several candidates: which of them is meant, the records do not tell")
    return notes


def _more_gaps(gaps: Sequence[Gap]) -> list[str]:
    left = len(gaps) - _MOST_GAPS
    return [f"{left} earlier gaps are not told"] if left > 0 else []


# --- evidence --------------------------------------------------------------------------------------


def keys_of(holders: Iterable[Holder]) -> list[tuple[str, int]]:
    """Return book and `seq` of every event that holders stand on, each once."""
    keys = {
        (each.book, each.seq) for holder in holders for each in holder.evidence if each.source is Source.LEASE
    }
    return sorted(keys)


def sound(event: HistoryEvent) -> bool:
    """Tell whether an event has the hash that its fields and the hash before it make."""
    return broken([event], Chain(event.book, event.seq - 1, event.prev_hash)) is None


async def events_of(connection: AsyncConnection, holders: Iterable[Holder]) -> list[HistoryEvent]:
    """Return the events that holders stand on, each with the hash before it."""
    keys = keys_of(holders)
    found: list[HistoryEvent] = []
    for start in range(0, len(keys), 200):
        found += await history_rows.events_at(connection, keys[start : start + 200])
    return found


async def _sealed(connection: AsyncConnection, holders: Sequence[Holder]) -> list[Holder]:
    """Return the holders, those with a note whose evidence is not what was written."""
    bad = {(event.book, event.seq) for event in await events_of(connection, holders) if not sound(event)}
    if not bad:
        return list(holders)
    return [
        each.noted(*(f"{SEALED} ({book}/{seq})" for book, seq in keys_of([each]) if (book, seq) in bad))
        for each in holders
    ]


async def _verified(
    connection: AsyncConnection, holders: Sequence[Holder], events: int
) -> tuple[Verified, ...]:
    """Recompute the chain around the evidence, at most so many events in each of a few runs."""
    found: list[Verified] = []
    for book, first, last in _pieces(keys_of(holders), max(events // 2, 1))[:_MOST_RUNS]:
        chain, run = await history_rows.run_of(connection, book, first, last)
        begin = chain.seq + 1
        at = await asyncio.to_thread(broken, run, chain)
        if at is None and not run:
            at = begin
        found.append(Verified(book=book, first_seq=begin, last_seq=chain.seq, broken_at=at))
    return tuple(found)


def _pieces(keys: Sequence[tuple[str, int]], around: int) -> list[tuple[str, int, int]]:
    """Return runs of numbers around each, those that touch as one."""
    found: list[tuple[str, int, int]] = []
    for book, seq in keys:
        first, last = max(seq - around, 1), seq + around
        if found and found[-1][0] == book and first <= found[-1][2] + 1:
            found[-1] = (book, found[-1][1], last)
        else:
            found.append((book, first, last))
    return found
