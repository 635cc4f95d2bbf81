"""Makes live sessions what the data want: after every change, and on a slow sweep over all of them.

A session that differs is told to the CoA engine, which does not rest until the NAS has been seen to obey, and
stands among `deviations` until then. The sweep also brings what no change of data announces: the hours of the
day, the turn of a month, a quota used up.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol

from daemon.aaa.authorize import Replies
from daemon.aaa.coa_job import Intent, Kind
from daemon.aaa.nas import Clients
from daemon.aaa.session import Session
from daemon.aaa.standing import Books
from daemon.aaa.wanted import Difference, Wanted, difference
from daemon.clock import Clock
from daemon.events import Events
from daemon.replica.index import Index
from radius.grant import Grant

_SLICE = 200  # sessions looked at before requests get their turn
_SLOWEST_S = 5.0
_LOADING_S = 0.1


class Unchangeable(StrEnum):
    """What is done where a NAS cannot change a live session: end it, or wait for the next login."""

    DISCONNECT = "disconnect"
    NEXT_LOGIN = "next-login"


class Enforcer(Protocol):
    """The CoA engine, as far as this needs it."""

    def submit(self, session: Session, intent: Intent) -> object:
        """Take on an intent; a newer one for the session replaces one that waits."""


@dataclass(frozen=True, slots=True)
class Deviation:
    """How a live session is not what it should be; `since` is epoch seconds."""

    since: float
    reason: str
    fields: tuple[str, ...]
    live: bool


class Reconciler:
    """Compares and submits. `deviations` is by session number."""

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
        self._events = events
        self._clock = clock
        self.sweep_s = sweep_s
        self.unchangeable = unchangeable
        self.deviations: dict[int, Deviation] = {}
        self._marked: set[tuple[str, str]] = set()
        self._all = True
        self._wake = asyncio.Event()
        self._over: dict[tuple[str, str], tuple[str, ...]] = {}

    def mark(self, subscribers: Iterable[tuple[str, str]]) -> None:
        """Look at the sessions of these subscribers, (tenant, id), at once."""
        self._marked.update(subscribers)
        self._wake.set()

    def changed(self, keys: Iterable[tuple[str, str, str]]) -> None:
        """Take note of changed objects, (tenant, kind, id)."""
        keys = list(keys)
        if all(kind in ("subscriber", "staff") for _, kind, _ in keys):
            self.mark((tenant, name) for tenant, kind, name in keys if kind == "subscriber")
        else:
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
            while self._index.loading:
                await self._clock.sleep(_LOADING_S)
            marked, self._marked = self._marked, set()
            if self._all or self._clock.monotonic() - swept_at >= self.sweep_s:
                self._all = False
                swept_at = self._clock.monotonic()
                await self._look_at(self._books.sessions.snapshot())
            elif marked:
                live = self._books.sessions.live
                await self._look_at([each for key in marked for each in live.of_subscriber(*key)])

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

    async def _look_at(self, sessions: list[Session]) -> None:
        self._clients.turn()
        for i, session in enumerate(sessions):
            if session.closed_at is None and not self._index.loading:
                self.look(session)
            if i % _SLICE == _SLICE - 1:
                await asyncio.sleep(0)

    def look(self, session: Session) -> None:
        """Compare one live session with what is wanted, and see to it that it becomes that."""
        client = self._clients.get(session.tenant, session.nas)
        if client is None:
            return  # its NAS is not in the data any more: nobody to tell
        at = self._clock.wall()
        self._replies.turn(self._index.generation)
        found = difference(session, client, self._books, self._replies, at)
        if found is None:
            return
        if isinstance(found, Wanted):
            self._over_changed(session, found)
            self._matches(session, found)
        else:
            self._over_changed(session, found.wanted)
            self._deviates(session, found, at, reachable=client.nas.coa)

    def _matches(self, session: Session, aim: Wanted) -> None:
        if session.applied is None or session.applied_reason != aim.reason:
            session.applied = session.applied or aim.grant
            session.applied_reason = aim.reason
            self._books.sessions.dirty.add(session)
        elif session.applied == aim.grant:
            session.applied = aim.grant  # one object for many sessions, and quickly compared the next time
        if self.deviations.pop(session.uid, None) is not None:
            self._tell("session-matches", session, aim.reason)

    def _deviates(self, session: Session, found: Difference, at: float, *, reachable: bool) -> None:
        aim = found.wanted
        before = self.deviations.get(session.uid)
        now = Deviation(before.since if before is not None else at, aim.reason, found.fields, found.live)
        self.deviations[session.uid] = now
        if before is None:
            self._drop_when_ended(session)
            self._tell(
                "session-deviates", session, aim.reason, fields=", ".join(found.fields), live=found.live
            )
        if not reachable:
            return
        must_end = aim.grant is None or bool(aim.reason)
        if not found.live and not must_end and self.unchangeable is Unchangeable.NEXT_LOGIN:
            return
        self._enforcer.submit(session, _intent(found))

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

    def _over_changed(self, session: Session, aim: Wanted) -> None:
        """Tell of allowances that have been used up, or that count anew, since the last look."""
        if aim.over is None:
            return
        key = (session.tenant, session.subscriber)
        names = tuple(each.name for each in aim.over)
        before = self._over.get(key, ())
        if names == before:
            return
        for name in names:
            if name not in before:
                self._tell("allowance-reached", session, aim.reason, allowance=name)
        for name in before:
            if name not in names:
                self._tell("allowance-restored", session, aim.reason, allowance=name)
        if names:
            self._over[key] = names
        else:
            del self._over[key]

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


def _intent(found: Difference) -> Intent:
    """Return what the engine shall do about a difference."""
    aim = found.wanted
    why = f"differs in {', '.join(found.fields)}" if found.fields else "may not be online"
    reason = aim.reason or "data-changed"
    if found.live and aim.grant is not None:
        return Intent(kind=Kind.CHANGE, reason=reason, why=why, wanted=aim.grant)
    return Intent(kind=Kind.DISCONNECT, reason=reason, why=why)
