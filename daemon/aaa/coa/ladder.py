"""One turn of a CoA job: what is sent on its rung of the ladder, and what follows from the answer.

The ladder goes from a CoA-Request over a Disconnect-Request to the device driver. What an Error-Cause means is
in one table. A NAK of a CoA may have changed a part (accel-ppp does that), so the state is then unknown: the
next change is made so that it is right from either state.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from enum import StrEnum
from ipaddress import ip_address
from random import Random

from daemon.aaa.coa.client import Answer, CoaClient, Result, Target
from daemon.aaa.coa.job import Job, Kind, Outcome, alike
from daemon.aaa.coa.names import Names, Sessions
from daemon.aaa.coa.target import Entry, Speech
from daemon.aaa.coa.wire import (
    ErrorCause,
    Shown,
    cause_slug,
    request_attributes,
    shown,
)
from daemon.aaa.session import Session
from daemon.clock import Clock
from radius.codes import Attr, Code
from radius.errors import RadiusError, Unencodable
from radius.exchange import Schedule
from radius.grant import Grant, Rendered
from radius.packet import attribute, decode

Kick = Callable[[Session], Awaitable[bool]]
"""Ends a session through the device itself; True where the device says that it is gone. Has its own time limit."""

_PROBE = Schedule(first_s=1.0, longest_s=2.0, most_sends=3, give_up_s=5.0)
_MOST_IGNORED = 2  # CoAs met with silence by a NAS that answers Disconnects
_MOST_BUSY = 5
_MOST_SILENCES = 2  # before the device driver has its turn
_MANY = 1000
_NOT_TAKEN = (Answer.NAK, Answer.UNREACHABLE)


class Step(StrEnum):
    """What a NAK asks for."""

    NEXT = "next"  # name the session in another way
    SMALLER = "smaller"  # with fewer attributes
    LARGER = "larger"  # with more
    DOWN = "down"  # this rung does not do it
    STOP = "stop"  # our picture of the NAS is wrong: nothing would do it
    BACK_OFF = "back-off"
    GONE = "gone"  # there is no such session, however it is named


_STEPS = {
    ErrorCause.MISSING_ATTRIBUTE: Step.NEXT,
    ErrorCause.NAS_IDENTIFICATION_MISMATCH: Step.STOP,
    ErrorCause.INVALID_REQUEST: Step.NEXT,
    ErrorCause.INVALID_ATTRIBUTE_VALUE: Step.NEXT,
    ErrorCause.SESSION_CONTEXT_NOT_FOUND: Step.NEXT,
    ErrorCause.RESOURCES_UNAVAILABLE: Step.BACK_OFF,
    ErrorCause.MULTIPLE_SESSION_SELECTION_UNSUPPORTED: Step.LARGER,
}


def judge(kind: Kind, cause: int | None) -> Step:
    """Return what a NAK with this Error-Cause asks for; one without a cause asks for another name."""
    if cause is None:
        return Step.NEXT
    if cause == ErrorCause.UNSUPPORTED_ATTRIBUTE:
        return Step.DOWN if kind is Kind.CHANGE else Step.SMALLER
    return next((step for each, step in _STEPS.items() if each == cause), Step.DOWN)


class Next(StrEnum):
    """What becomes of the job after a turn."""

    DONE = "done"
    DOWN = "down"  # one rung
    LATER = "later"
    CHECK = "check"  # the NAS said yes: look for the effect


@dataclass(frozen=True, slots=True, kw_only=True)
class Turn:
    """How a turn went. `heard` tells whether the NAS answered, None where it was not asked; `sent` was set."""

    next: Next
    outcome: Outcome
    cause: int | None = None
    note: str = ""
    heard: bool | None = None
    sent: tuple[Rendered, ...] = ()


class Ladder:
    """Sends. `counts` are requests by NAS, kind, answer and cause."""

    def __init__(
        self, client: CoaClient, sessions: Sessions, clock: Clock, random: Random, kick: Kick | None
    ) -> None:
        self._client = client
        self._sessions = sessions
        self._clock = clock
        self._random = random
        self._kick = kick
        self._names = Names(sessions)
        self._tried: dict[int, tuple[Grant, ...]] = {}  # by session: sent, and perhaps in force
        self._reports: dict[int, tuple[asyncio.Future[bytes], tuple[Rendered, ...]]] = {}  # by job
        self._crowded = _MANY
        self.counts: Counter[tuple[str, str, str, str]] = Counter()

    def below(self, rung: Kind) -> Kind | None:
        """Return the next rung down, None at the end."""
        if rung is Kind.CHANGE:
            return Kind.DISCONNECT
        return Kind.KICK if rung is Kind.DISCONNECT and self._kick is not None else None

    def unsure(self, uid: int) -> bool:
        """Tell whether a change may be in force at the NAS that it has not acknowledged."""
        return uid in self._tried

    def forget(self, job: Job) -> None:
        """The job is finished."""
        report = self._reports.pop(job.id, None)
        if report is not None:
            report[0].cancel()
        if job.session.closed_at is not None:
            self._tried.pop(job.session_uid, None)
        elif len(self._tried) > self._crowded:
            self._tried = {uid: tried for uid, tried in self._tried.items() if self.lives(uid)}
            self._crowded = max(_MANY, 2 * len(self._tried))

    def lives(self, uid: int) -> bool:
        """Tell whether a session lives."""
        session = self._sessions.find_uid(uid)
        return session is not None and session.closed_at is None

    async def climb(self, job: Job, entry: Entry, target: Target | None) -> Turn:
        """Do one turn; `target` None means that this NAS takes no CoA, or that its address is not known."""
        if job.rung is not Kind.KICK and target is None:
            note = "no-address" if entry.nas.coa else "coa-off"
            if self._kick is None or job.intent.attributes:
                return Turn(next=Next.DONE, outcome=Outcome.UNABLE, note=note)
            job.rung = Kind.KICK
        if job.rung is Kind.KICK:
            return await self._kicked(job, entry)
        assert target is not None
        try:
            if job.rung is Kind.CHANGE:
                return await self._change(job, entry, target)
            return await self._disconnect(job, entry, target)
        except Unencodable:
            return Turn(next=Next.DONE, outcome=Outcome.UNABLE, note=Unencodable.slug)

    async def _change(self, job: Job, entry: Entry, target: Target) -> Turn:
        if self._seen(job):
            return self._took(job, Turn(next=Next.DONE, outcome=Outcome.VERIFIED))
        if job.intent.attributes:
            return await self._set(job, entry, target, ())
        sent = self._rendered(job, entry.profile)
        if sent is None:
            return Turn(next=Next.DOWN, outcome=job.outcome, note="not-in-a-live-session")
        if not sent:
            return self._took(job, Turn(next=Next.DONE, outcome=Outcome.ACKED))
        self._try(job, sent)
        return await self._set(job, entry, target, sent)

    async def _set(self, job: Job, entry: Entry, target: Target, sent: tuple[Rendered, ...]) -> Turn:
        """Send a CoA-Request with `sent`, or with the raw attributes of the intent."""
        job.attempts += 1
        change = b"".join(each.octets for each in sent) or job.intent.attributes
        result, step = await self._ask(job, entry, target, change)
        if result.answer is Answer.ACK:
            check = Next.CHECK if sent else Next.DONE
            return self._took(job, Turn(next=check, outcome=Outcome.ACKED, heard=True, sent=sent))
        if result.answer is Answer.MOOT:
            return Turn(next=Next.DONE, outcome=Outcome.NO_SESSION, note="closed")
        if result.answer is Answer.NAK:
            return _refused(job, result, step)
        if self._seen(job):
            return self._took(job, Turn(next=Next.DONE, outcome=Outcome.VERIFIED, heard=True))
        if result.answer is Answer.TIMEOUT and job.intent.retries:
            return await self._silence(job, target)
        return Turn(next=Next.LATER, outcome=Outcome(result.answer.value), heard=False)

    async def _silence(self, job: Job, target: Target) -> Turn:
        """Find out whether the NAS is silent or drops only CoA: it answers a Disconnect that is about nobody.

        Without that, a session would lose its connection because the way to its NAS was cut for a while.
        """
        attributes = nobody(self._random, self._clock.wall() if target.stamp else None)
        result = await self._client.ask(
            target, Code.DISCONNECT_REQUEST, attributes, until=job.closing, schedule=_PROBE
        )
        self._count(job, "probe", result)
        job.ignored += result.heard is True
        down = job.ignored >= _MOST_IGNORED
        return Turn(
            next=Next.DOWN if down else Next.LATER,
            outcome=Outcome.TIMEOUT,
            note="coa-ignored" if result.heard else "",
            heard=result.heard,
        )

    async def _disconnect(self, job: Job, entry: Entry, target: Target) -> Turn:
        job.attempts += 1
        result, step = await self._ask(job, entry, target, b"")
        if result.answer is Answer.ACK:
            return Turn(next=Next.CHECK, outcome=Outcome.ACKED, cause=result.cause, heard=True)
        if result.answer is Answer.MOOT:
            done = Turn(next=Next.DONE, outcome=Outcome.VERIFIED)
            return done if job.ending else replace(done, outcome=Outcome.NO_SESSION, note="closed")
        if result.answer is Answer.NAK:
            return _refused(job, result, step)
        job.silences += 1
        down = job.silences >= _MOST_SILENCES and self._kick is not None
        return Turn(next=Next.DOWN if down else Next.LATER, outcome=Outcome(result.answer.value), heard=False)

    async def _kicked(self, job: Job, entry: Entry) -> Turn:
        assert self._kick is not None
        job.attempts += 1
        job.ending = True  # a device that does not say yes may have done it
        try:
            gone = await self._kick(job.session)
        except Exception:  # noqa: BLE001 - a device driver may fail in any way; the job goes on
            gone = False
        self.counts[(entry.nas.id, Kind.KICK, "ack" if gone else "nak", "")] += 1
        if gone:
            return Turn(next=Next.CHECK, outcome=Outcome.ACKED)
        return Turn(next=Next.LATER, outcome=Outcome.NAKED, note="kick-failed")

    async def _ask(self, job: Job, entry: Entry, target: Target, change: bytes) -> tuple[Result, Step | None]:
        """Name the session in one way after the other until the answer is not about its name."""
        code = Code.COA_REQUEST if job.rung is Kind.CHANGE else Code.DISCONNECT_REQUEST
        sets = self._names.of(job.session, entry.profile.identities)
        causes: set[int | None] = set()
        while True:
            chosen = sets.pop(0)
            stamp = self._clock.wall() if target.stamp else None
            attributes = request_attributes(chosen.octets, stamp, change)
            result = await self._client.ask(target, code, attributes, until=job.closing)
            self._count(job, job.rung, result)
            if job.rung is Kind.DISCONNECT and result.sends and result.answer not in _NOT_TAKEN:
                job.ending = True
            if result.answer is Answer.ACK or (result.answer is Answer.MOOT and result.sends):
                self._names.took(job.session, chosen)
            if result.answer is not Answer.NAK:
                return result, None
            causes.add(result.cause)
            step = judge(job.rung, result.cause)
            if step is Step.STOP and chosen.names_nas:  # a name without the NAS in it cannot clash with that
                sets = [each for each in sets if not each.names_nas]
                if not sets:
                    return result, step
            elif step is Step.SMALLER:
                sets = [each for each in sets if len(each.kinds) < len(chosen.kinds)]
            elif step is Step.LARGER:
                sets = [each for each in sets if len(each.kinds) > len(chosen.kinds)]
            elif step is not Step.NEXT:
                return result, step
            if not sets:
                gone = causes == {ErrorCause.SESSION_CONTEXT_NOT_FOUND}
                return result, Step.GONE if gone else Step.DOWN

    def _count(self, job: Job, kind: str, result: Result) -> None:
        self.counts[(job.nas, kind, result.answer, cause_slug(result.cause))] += 1

    def _rendered(self, job: Job, profile: Speech) -> tuple[Rendered, ...] | None:
        """Return what to set so that it is right whichever of the changes sent before is in force."""
        wanted = job.intent.wanted
        assert wanted is not None
        applied = job.session.applied
        found: dict[bytes, Rendered] = {}
        for base in (_unknown(wanted) if applied is None else applied, *self._tried.get(job.session_uid, ())):
            change = profile.change(base, wanted)
            if change is None:
                return None
            for each in change:
                found.setdefault(each.octets, each)
        return tuple(found.values())

    def _try(self, job: Job, sent: tuple[Rendered, ...]) -> None:
        """Remember what is about to be sent, and look out for accounting that shows it."""
        wanted = job.intent.wanted
        tried = self._tried.get(job.session_uid, ())
        if wanted is not None and not any(alike(wanted, each) for each in tried):
            self._tried[job.session_uid] = (*tried, wanted)
        report = self._reports.get(job.id)
        if report is None or report[0].done():
            self._reports[job.id] = self._sessions.reporting(job.session_uid), sent

    def _seen(self, job: Job) -> bool:
        """Tell whether accounting shows a change whose answer was lost."""
        report, sent = self._reports.get(job.id, (None, ()))
        if report is None or not report.done() or report.cancelled():
            return False
        try:
            return shown(sent, decode(report.result())) is Shown.EQUAL
        except RadiusError:
            return False

    def _took(self, job: Job, turn: Turn) -> Turn:
        """The change is in force: nothing else that was tried is."""
        self._tried.pop(job.session_uid, None)
        return turn


def nobody(random: Random, at: float | None) -> bytes:
    """Return the attributes of a Disconnect-Request for a session that cannot exist."""
    name = f"coa-test-{random.getrandbits(64):016x}".encode()
    identification = attribute(Attr.USER_NAME, name) + attribute(Attr.ACCT_SESSION_ID, name[-16:])
    return request_attributes(identification, at)


def _refused(job: Job, result: Result, step: Step | None) -> Turn:
    """Return what follows from a NAK that no other name of the session gets around."""
    if step is Step.GONE:
        return Turn(next=Next.DONE, outcome=Outcome.NO_SESSION, cause=result.cause, heard=True)
    turn = Turn(next=Next.DOWN, outcome=Outcome.NAKED, cause=result.cause, heard=True)
    if step is Step.STOP:
        return replace(turn, next=Next.DONE, note=f"nas-identity {_box_text(job.session.box)}")
    if step is Step.BACK_OFF:
        job.busy += 1
        return replace(turn, next=Next.DOWN if job.busy >= _MOST_BUSY else Next.LATER)
    return turn


def _box_text(box: bytes) -> str:
    """Return what the NAS called itself in accounting, for people."""
    if box[:1] == bytes((Attr.NAS_IDENTIFIER,)):
        return box[1:].decode("utf-8", "backslashreplace")
    return str(ip_address(box[1:])) if len(box) in (5, 17) else box[1:].hex()


def _unknown(wanted: Grant) -> Grant:
    """Return the grant to start from where it is not known what the NAS was told.

    Addresses and the like are taken to be as wanted: no CoA changes them, and a session is not to lose its
    connection for our ignorance.
    """
    return Grant(
        access=wanted.access,
        vrf=wanted.vrf,
        ipv4_address=wanted.ipv4_address,
        ipv4_netmask=wanted.ipv4_netmask,
        ipv4_pool=wanted.ipv4_pool,
        ipv6_address=wanted.ipv6_address,
        ipv6_prefix=wanted.ipv6_prefix,
        ipv6_delegated=wanted.ipv6_delegated,
        ipv6_pool=wanted.ipv6_pool,
        ipv6_address_pool=wanted.ipv6_address_pool,
        ipv6_delegated_pool=wanted.ipv6_delegated_pool,
        routes=wanted.routes,
        dns4=wanted.dns4,
        dns6=wanted.dns6,
        vlan_id=wanted.vlan_id,
        inner_vlan_id=wanted.inner_vlan_id,
    )
