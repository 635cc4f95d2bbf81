"""Makes live sessions what the data want: after every change, and on a slow sweep over all of them.

A session that differs is told to the CoA engine, which does not rest until the NAS has been seen to obey, and
stands among `deviations` until then. The sweep also brings what no change of data announces: the hours of the
day, the turn of a month, a quota used up.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Any, Protocol, TypeVar

from daemon.aaa.authorize import Replies
from daemon.aaa.coa.job import Intent, Kind
from daemon.aaa.nas import Client, Clients
from daemon.aaa.session import Session
from daemon.aaa.standing import Books
from daemon.aaa.wanted import Difference, Wanted, difference, serves
from daemon.clock import Clock
from daemon.events import Events
from daemon.logs import logger
from daemon.replica.index import Index, Key
from radius.grant import Grant

OVERRIDDEN = "relay"
"""The reason of a session whose NAS was told something else than we have granted."""

_SLICE_S = 0.002  # of looking before requests get their turn
_SLICE = 200
_SLOWEST_S = 5.0
_FEW = 10_000  # changed subscribers that are looked at one by one
_ELSEWHERE = frozenset({"staff", "pool", "selector"})  # no live session follows from them
_SLIGHT = _ELSEWHERE | {"subscriber"}  # one object, few sessions

_Thing = TypeVar("_Thing")


class Unchangeable(StrEnum):
    """What is done where a NAS cannot change a live session: end it, or wait for the next login."""

    DISCONNECT = "disconnect"
    NEXT_LOGIN = "next-login"


class Job(Protocol):
    """What is at work for a session."""

    intent: Intent


class Enforcer(Protocol):
    """The CoA engine, as far as this needs it."""

    def submit(self, session: Session, intent: Intent) -> object:
        """Take on an intent; a newer one for the session replaces one that waits."""

    def find(self, session_uid: int) -> Job | None:
        """Return the newest job at work for a session."""

    def withdraw(self, session_uid: int) -> object:
        """Do not go on with what was submitted here; what is under way may still come to its end."""


@dataclass(frozen=True, slots=True)
class Deviation:
    """How a live session is not what it should be; `since` is epoch seconds, `found` what the last look has found.

    Without `found` it was told what it should be, and its job waits for the effect.
    """

    since: float
    reason: str
    fields: tuple[str, ...]
    live: bool
    found: Difference | None = None


class Reconciler:
    """Compares and submits. `deviations` is by session number; `faults` are looks that a fault of ours has ended."""

    def __init__(
        self,
        index: Index,
        clients: Clients,
        books: Books,
        replies: Replies,
        enforcer: Enforcer,
        events: Events,
        clock: Clock,
        *,
        sweep_s: float,
        unchangeable: Unchangeable,
    ) -> None:
        self._index = index
        self._clients = clients
        self._books = books
        self._replies = replies
        self._enforcer = enforcer
        self._clock = clock
        self.sweep_s = sweep_s
        self.unchangeable = unchangeable
        self.deviations: dict[int, Deviation] = {}
        self.faults = 0
        self._marked: set[tuple[str, str]] = set()
        self._all = True
        self._wake = asyncio.Event()
        self._events = events
        self._over = Overdrawn(clock.wall())
        self._touched: list[Sequence[Key]] = []

    def mark(self, subscribers: Iterable[tuple[str, str]]) -> None:
        """Look at the sessions of these subscribers, (tenant, id), at once."""
        self._marked.update(subscribers)
        self._wake.set()

    def changed(self, keys: Sequence[Key]) -> None:
        """Take note of changed or removed objects."""
        self._touched.append(keys)
        kinds = {kind for _, kind, _ in keys}
        if len(keys) <= _FEW and kinds <= _SLIGHT:
            self.mark((tenant, name) for tenant, kind, name in keys if kind == "subscriber")
        elif not kinds <= _ELSEWHERE:
            self.mark_all()

    def mark_all(self) -> None:
        """Look at every session at once: a plan, a NAS or a tenant has changed."""
        self._all = True
        self._wake.set()

    async def run(self) -> None:
        """Compare for ever; to be started once."""
        swept_at = self._clock.monotonic()
        while True:
            left_s = max(0.0, swept_at + self.sweep_s - self._clock.monotonic())
            await self._waken(min(left_s, _SLOWEST_S))
            await self._index.whole()
            sweep = self._all or self._clock.monotonic() - swept_at >= self.sweep_s
            if sweep:
                self._all = False
                swept_at = self._clock.monotonic()
            sessions = self._books.sessions.snapshot() if sweep else []
            await self._in_slices(self._queue(sessions), self._look_safely)
            if sweep:
                self._over.silent_before = None
            await self._in_slices(self._take_touched(), self._forget_removed)

    async def _waken(self, most_s: float) -> None:
        """Return when there is something to do, after `most_s` at the latest."""
        if not self._wake.is_set():
            waiting = asyncio.ensure_future(self._wake.wait())  # noqa: TID251 - ended below
            slept = asyncio.ensure_future(self._clock.sleep(most_s))  # noqa: TID251
            try:
                await asyncio.wait((waiting, slept), return_when=asyncio.FIRST_COMPLETED)
            finally:
                waiting.cancel()
                slept.cancel()
        self._wake.clear()

    def _queue(self, sessions: list[Session]) -> Iterator[Session]:
        """Yield sessions to be looked at; those of subscribers that are marked meanwhile go first."""
        live = self._books.sessions.live
        for session in sessions:
            while self._marked:
                yield from list(live.of_subscriber(*self._marked.pop()))
            yield session
        while self._marked:
            yield from list(live.of_subscriber(*self._marked.pop()))

    def _take_touched(self) -> Iterator[Key]:
        touched, self._touched = self._touched, []
        for keys in touched:
            yield from keys

    async def _in_slices(self, things: Iterator[_Thing], do: Callable[[_Thing], None]) -> None:
        """Do something for each; requests get their turn in between, and nothing is done while data are half there."""
        until, left = self._clock.monotonic() + _SLICE_S, _SLICE
        for each in things:
            do(each)
            left -= 1
            if not left or self._clock.monotonic() >= until:
                await asyncio.sleep(0)
                await self._index.whole()
                until, left = self._clock.monotonic() + _SLICE_S, _SLICE

    def _look_safely(self, session: Session) -> None:
        """Look at one session; a fault of ours in that must not cost the others."""
        try:
            if session.closed_at is None:
                self.look(session)
        except Exception:  # noqa: BLE001 - whatever it is, the rest of the sweep is still owed
            self.faults += 1
            if self.faults == 1:
                logger("reconcile").exception("look-fault", session=session.uid)

    def _forget_removed(self, key: Key) -> None:
        """Forget what is known of a subscriber that is no more."""
        tenant, kind, name = key
        index = self._index.tenants.get(tenant)
        if kind == "subscriber" and (index is None or name not in index.subscribers):
            self._over.forget(tenant, name)
            self._books.bindings.forget(tenant, name)

    def look(self, session: Session) -> None:
        """Compare one live session with what is wanted, and see to it that it becomes that."""
        self._clients.turn()
        client = self._clients.get(session.tenant, session.nas)
        if client is None:
            return  # its NAS is not in the data any more, or cannot be read: nobody to tell
        at = self._clock.wall()
        self._replies.turn(self._index.generation)
        before = self.deviations.get(session.uid)
        known = None if before is None else before.found
        found = difference(session, client, self._books, self._replies, at, known)
        if found is None:
            return
        if isinstance(found, Wanted):
            self._over_changed(session, found)
            self._matches(session, found, client)
            return
        self._over_changed(session, found.wanted)
        again = found is known
        if not again:
            self._deviates(session, found, before, at)
        if client.nas.coa and not (again and self._at_work(session)):
            self._enforce(session, found, client)

    def deviating(self) -> dict[int, Deviation]:
        """Return what deviates now; a session whose NAS has said yes, and whose effect is awaited, does not."""
        return {uid: each for uid, each in self.deviations.items() if each.found is not None}

    def deviates(self, uid: int) -> bool:
        """Tell whether a session deviates now."""
        known = self.deviations.get(uid)
        return known is not None and known.found is not None

    def _matches(self, session: Session, aim: Wanted, client: Client) -> None:
        if session.applied is None or session.applied_reason != aim.reason:
            session.applied = session.applied or aim.grant
            session.applied_reason = aim.reason
            self._books.sessions.dirty.add(session)
        elif session.applied == aim.grant:
            session.applied = aim.grant  # one object for many sessions, and quickly compared the next time
        job = self._enforcer.find(session.uid)
        if job is not None and not job.intent.urgent and not _brings(job.intent, aim, client):
            self._enforcer.withdraw(session.uid)  # the data have gone back
            job = self._enforcer.find(session.uid)
        before = self.deviations.get(session.uid)
        if before is None:
            return
        if job is not None:
            self.deviations[session.uid] = replace(before, found=None)
            return
        del self.deviations[session.uid]
        self._tell("session-matches", session, aim.reason)

    def _deviates(self, session: Session, found: Difference, before: Deviation | None, at: float) -> None:
        reason = found.wanted.reason
        since = at if before is None else before.since
        self.deviations[session.uid] = Deviation(since, reason, found.fields, found.live, found)
        if before is None:
            self._drop_when_ended(session)
            self._tell("session-deviates", session, reason, fields=", ".join(found.fields), live=found.live)

    def _at_work(self, session: Session) -> bool:
        """Tell whether the engine is at what the last look has asked for."""
        job = self._enforcer.find(session.uid)
        return job is not None and not job.intent.attributes

    def _enforce(self, session: Session, found: Difference, client: Client) -> None:
        aim = found.wanted
        must_end = aim.grant is None or bool(aim.reason)
        may_end = must_end or self.unchangeable is Unchangeable.DISCONNECT
        if session.applied_reason == OVERRIDDEN and client.profile.changes.issuperset(found.fields):
            may_end = must_end  # it may well be what it should be
        if found.live or may_end:
            self._enforcer.submit(session, _intent(found, may_end=may_end))

    def _drop_when_ended(self, session: Session) -> None:
        """See to it that a session which ends does not stand among the deviations any longer."""

        def ended(_: object) -> None:
            if session.closed_at is not None:
                self.deviations.pop(session.uid, None)

        self._books.sessions.closing(session.uid).add_done_callback(ended)

    def applied(self, session: Session, grant: Grant) -> None:
        """The engine has changed a session: look whether that is still what is wanted."""
        session.applied = grant
        self._books.sessions.dirty.add(session)
        self.look(session)

    def job_ended(self, session: Session) -> None:
        """A job of a session has ended: one that waited for its effect may be what it should be by now."""
        waiting = self.deviations.get(session.uid)
        if waiting is not None and waiting.found is None:
            self.mark([(session.tenant, session.subscriber)])

    def overridden(self, session: Session) -> None:
        """Somebody has told the NAS something else: what can be changed live is said anew with the next sweep."""
        self._clients.turn()
        client = self._clients.get(session.tenant, session.nas)
        if client is None or session.applied is None or session.closed_at is not None:
            return
        session.applied = _bare(session.applied, client.profile.changes)
        session.applied_reason = OVERRIDDEN
        self._books.sessions.dirty.add(session)

    def _over_changed(self, session: Session, aim: Wanted) -> None:
        """Tell of allowances that have been used up, or that count anew, since the last look."""
        if aim.over is None:
            return
        for kind, name in self._over.changed(session, tuple(each.name for each in aim.over)):
            self._tell(kind, session, aim.reason, allowance=name)

    def _tell(self, kind: str, session: Session, reason: str, **fields: object) -> None:
        self._events.add(
            kind,
            tenant=session.tenant,
            subscriber=session.subscriber,
            session=session.uid,
            nas=session.nas,
            reason=reason,
            **fields,
        )


class Overdrawn:
    """Which allowances of whom are used up, and what of that is news."""

    def __init__(self, silent_before: float | None) -> None:
        """Of sessions from before `silent_before`, epoch seconds, an earlier run of the daemon has told."""
        self.silent_before = silent_before
        self._names: dict[tuple[str, str], tuple[str, ...]] = {}

    def changed(self, session: Session, names: tuple[str, ...]) -> Iterator[tuple[str, str]]:
        """Take down what is used up now; yield an event and an allowance for each that has changed."""
        key = (session.tenant, session.subscriber)
        before = self._names.get(key, ())
        if before == names:
            return
        silent = self.silent_before is not None and session.started_at < self.silent_before
        known = key in self._names
        if names:
            self._names[key] = names
        else:
            del self._names[key]
        if silent and not known:
            return
        for name in names:
            if name not in before:
                yield "allowance-reached", name
        for name in before:
            if name not in names:
                yield "allowance-restored", name

    def forget(self, tenant: str, subscriber: str) -> None:
        """Forget a subscriber."""
        self._names.pop((tenant, subscriber), None)


def _bare(applied: Grant, changes: frozenset[str]) -> Grant:
    """Return a grant of which nothing is known that a CoA-Request can change."""
    empty = Grant()
    fields: dict[str, Any] = {name: getattr(empty, name) for name in changes}
    return replace(applied, **fields)


def _brings(intent: Intent, aim: Wanted, client: Client) -> bool:
    """Tell whether a job makes a session what it should be."""
    return intent.wanted is not None and serves(intent.wanted, aim, client)


def _intent(found: Difference, *, may_end: bool) -> Intent:
    """Return what the engine shall do about a difference."""
    aim = found.wanted
    why = f"differs in {', '.join(found.fields)}" if found.fields else "may not be online"
    reason = aim.reason or "data-changed"
    if found.live and aim.grant is not None:
        return Intent(kind=Kind.CHANGE, reason=reason, why=why, wanted=aim.grant, may_end=may_end)
    return Intent(kind=Kind.DISCONNECT, reason=reason, why=why)
