"""Holders by what sessions have reported: addresses that a NAS gave from pools of its own, and a second witness.

A report says that a session has an address at one time. It has it from the first report until the session ends or
reports another one; what lies between is said to be likely, not sure.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

from sqlalchemy.ext.asyncio import AsyncConnection

from daemon.leases.who_had_leases import with_session
from daemon.leases.who_had_model import (
    Claim,
    Evidence,
    Found,
    Holder,
    Question,
    Source,
    containing,
    prefix_text,
    together,
    utc,
)
from daemon.store import session_addresses
from daemon.store.session_addresses import AddressRow
from ipam.address import Unit
from ipam.kinds import Space


async def find(connection: AsyncConnection, question: Question, units: Sequence[Unit]) -> list[Found]:
    """Return which sessions had each unit, or a prefix that it is part of; `question` says when and where."""
    spans = [containing(unit) for unit in units]
    rows = await session_addresses.find(
        connection, together(spans), question.tenant, question.vrf, question.since, question.until
    )
    every: dict[int, list[AddressRow]] = {}
    if rows:
        every = _by_session(await _of_sessions(connection, [row.uid for row in rows]))
    return [
        _found([row for row in rows if row.length in span.get(row.address, ())], every, question)
        for span in spans
    ]


def _found(
    rows: Sequence[AddressRow], every: Mapping[int, Sequence[AddressRow]], question: Question
) -> Found:
    holders = [
        holder
        for mine in _by_session(rows).values()
        if (holder := _judge(mine, every[mine[0].uid], question)) is not None
    ]
    open_since = [each.from_at for each in holders if each.until_at is None and each.from_at is not None]
    return Found(holders=tuple(holders), doubt_since=min(open_since, default=None))


async def find_last(connection: AsyncConnection, question: Question) -> tuple[Holder, ...]:
    """Return the session that had the unit last before."""
    units = containing(question.unit)
    rows = await session_addresses.find_last(connection, units, question.tenant, question.vrf, question.since)
    return tuple(_holder(row, row.first_at, row.closed_at, Claim.HAD) for row in rows)


async def _of_sessions(connection: AsyncConnection, uids: Sequence[int]) -> list[AddressRow]:
    return await session_addresses.of_sessions(connection, sorted(set(uids)))


def _by_session(rows: Iterable[AddressRow]) -> dict[int, list[AddressRow]]:
    grouped: dict[int, list[AddressRow]] = {}
    for row in rows:
        grouped.setdefault(row.uid, []).append(row)
    return grouped


def _judge(mine: Sequence[AddressRow], every: Sequence[AddressRow], question: Question) -> Holder | None:
    """Return what one session had of the unit; `every` is all that it ever reported."""
    found: list[tuple[AddressRow, Holder]] = []
    for row in sorted(mine, key=lambda each: -each.length):  # what fits most closely comes first
        holder = _one(row, every, question)
        if holder is not None:
            found.append((row, holder))
    if not found:
        return None
    surest = min(found, key=lambda pair: (pair[1].claim is not Claim.HAD, -pair[0].length))[1]
    others = [each for _, holder in found if holder is not surest for each in holder.evidence]
    return replace(surest, evidence=(*surest.evidence, *others))


def _one(row: AddressRow, every: Sequence[AddressRow], question: Question) -> Holder | None:
    rivals = [each for each in every if each.kind == row.kind and each is not row and each != row]
    after = min((each.first_at for each in rivals if each.first_at > row.last_at), default=None)
    before = max((each.last_at for each in rivals if each.last_at < row.first_at), default=None)
    end = row.closed_at if after is None else after
    sure_until = row.last_at if after is not None else end
    begin = row.started_at if before is None else before
    since, until = question.since, question.until
    if row.first_at <= until and (sure_until is None or sure_until >= since):
        return _holder(row, row.first_at, end, Claim.HAD).noted(*_overlaps(row, rivals))
    if begin <= until and (end is None or end >= since):
        holder = _holder(row, begin, end, Claim.PERHAPS)
        if until < row.first_at:
            return holder.noted("its session was there, but had not reported the address yet")
        return holder.noted("its session reported another address later; when it changed is not known")
    return None


def _overlaps(row: AddressRow, rivals: Sequence[AddressRow]) -> list[str]:
    """Say where a session reported two addresses by turns."""
    mixed = [each for each in rivals if each.first_at <= row.last_at and row.first_at <= each.last_at]
    return [f"its session reported {each.address} in the same time" for each in mixed]


def _holder(row: AddressRow, from_at: float, until_at: float | None, claim: Claim) -> Holder:
    space = Space.IPV6 if ":" in row.address else Space.IPV4
    return Holder(
        claim=claim,
        tenant=row.tenant,
        vrf=row.vrf,
        unit=prefix_text(space, row.address, row.length),
        kind=row.kind,
        subscriber=row.subscriber,
        session=str(row.uid),
        acct_session_id=_text(row.acct_session_id),
        username=row.username,
        nas=row.nas,
        circuit=row.circuit,
        mac=row.mac,
        from_at=from_at,
        until_at=until_at,
        evidence=(
            Evidence(
                source=Source.ACCOUNTING,
                what=f"{row.kind}, first reported; last {utc(row.last_at)}",
                at=row.first_at,
            ),
        ),
    )


def _text(value: bytes) -> str:
    return value.decode("utf-8", "backslashreplace")


async def complete(connection: AsyncConnection, holders: Sequence[Holder]) -> list[Holder]:
    """Return holders with what the rows of their sessions add: Acct-Session-Id, user name, and the rest."""
    uids = sorted(
        {int(each.session) for each in holders if each.session.isascii() and each.session.isdigit()}
    )
    known: dict[str, dict[str, str]] = {}
    for row in await _of_sessions(connection, uids):
        known[str(row.uid)] = {
            "acct_session_id": _text(row.acct_session_id),
            "username": row.username,
            "nas": row.nas,
            "circuit": row.circuit,
            "mac": row.mac,
            "subscriber": row.subscriber,
        }
    for name in await session_addresses.names_of(
        connection, [each for each in uids if str(each) not in known]
    ):
        known[str(name.uid)] = {
            "acct_session_id": _text(name.acct_session_id),
            "username": name.username,
            "nas": name.nas,
        }
    return [with_session(each, **known.get(each.session, {})) for each in holders]


def join(leases: Sequence[Holder], sessions: Sequence[Holder]) -> list[Holder]:
    """Return the holders of both, each session once: the lease comes first and the report is its second witness."""
    heard = {each.session: each for each in sessions}
    joined: list[Holder] = []
    for each in leases:
        witness = heard.pop(each.session, None) if each.session else None
        if witness is not None:
            joined.append(_with_witness(each, witness))
        else:
            joined.append(each)
    taken = {each.session for each in leases}
    return joined + [each for each in sessions if each.session not in taken]


def _with_witness(lease: Holder, witness: Holder) -> Holder:
    had = Claim.HAD in (lease.claim, witness.claim)
    return replace(
        lease,
        claim=Claim.HAD if had else lease.claim,
        acct_session_id=lease.acct_session_id or witness.acct_session_id,
        username=lease.username or witness.username,
        evidence=(*lease.evidence, *witness.evidence),
        notes=_both(lease, witness),
    )


def _both(lease: Holder, witness: Holder) -> tuple[str, ...]:
    notes = [*lease.notes, *(note for note in witness.notes if witness.claim is Claim.HAD)]
    if (lease.tenant, lease.vrf) != (witness.tenant, witness.vrf):
        notes.append(f"the session reports it in tenant {witness.tenant}, VRF {witness.vrf or 'default'}")
    return tuple(dict.fromkeys(notes))
