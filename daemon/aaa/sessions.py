"""All sessions that we know of in memory: the live ones and those closed lately. The only writer of sessions.

A report finds its session by place (NAS and box) and Acct-Session-Id, and among several of that name by our
Class token, else by the user and the start that the report computes back to: an id used again after a reboot
is a new session, a late packet of the old one finds the old one. A session whose NAS entry is renamed, or whose
box has two, goes where its latest report comes from.
"""

from __future__ import annotations

from asyncio import Future, get_running_loop
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from enum import StrEnum

from daemon.aaa import token
from daemon.aaa.live import Live
from daemon.aaa.session import Closed, Report, Session, State
from daemon.aaa.session_match import closest, elsewhere
from radius.codes import AcctStatus

_START = int(AcctStatus.START)
_STOP = int(AcctStatus.STOP)


class Effect(StrEnum):
    """What a report did; the metric's reason for an acknowledged record."""

    OPENED = "opened"
    RECOVERED = "recovered"  # opened by an interim or stop whose start we never saw
    UPDATED = "updated"
    CLOSED = "closed"
    REOPENED = "reopened"  # a session that we had concluded to be gone
    LATE = "late"  # came after the close; folded in, never reopens
    REPEATED = "repeated"  # told nothing new


@dataclass(frozen=True, slots=True)
class Reboot:
    """A NAS started or stopped accounting: what ran on that box before `at` is over."""

    seq: int
    tenant: str
    nas: str
    box: bytes
    at: float


@dataclass(slots=True)
class _Reboots:
    """Reboots whose sessions are still being closed, in slices."""

    waiting: list[tuple[Reboot, Iterator[Session]]] = field(default_factory=list)


class SessionTable:
    """Sessions by key, by Class token and by NAS; `dirty` are those not yet written to the store.

    `on_closed` is told of each session that was live and is not any more.
    """

    def __init__(self) -> None:
        self._by_key: dict[bytes, list[Session]] = {}
        self._by_uid: dict[int, Session] = {}
        self._by_token: dict[int, Session] = {}
        self._rebooted_at: dict[bytes, float] = {}
        self._by_place: dict[bytes, set[Session]] = {}
        self._counts: dict[tuple[str, str, State], int] = {}
        self._reboots = _Reboots()
        self._closed_order: deque[tuple[float, Session]] = deque()  # with when it was last heard of
        self._closings: dict[int, Future[None]] = {}
        self._reportings: dict[int, list[Future[bytes]]] = {}
        self.live = Live()
        self.on_closed: Callable[[Session], None] = _ignore
        self.dirty: set[Session] = set()
        self.folded_seq = 0
        self.forgotten_before = 0.0  # sessions closed before this are only in the store

    def __iter__(self) -> Iterator[Session]:
        return iter(self._by_uid.values())

    def __len__(self) -> int:
        return len(self._by_uid)

    def counts(self) -> dict[tuple[str, str, State], int]:
        """Return how many sessions there are by tenant, NAS and state."""
        return dict(self._counts)

    def live_of(self, nas: str) -> int:
        """Return how many sessions live at the NASes of that id, of whatever tenant."""
        return sum(
            count
            for (_, name, state), count in self._counts.items()
            if name == nas and state is not State.CLOSED
        )

    def snapshot(self) -> list[Session]:
        """Return the sessions as a list, for a reader that works in slices."""
        return list(self._by_uid.values())

    def find_uid(self, uid: int) -> Session | None:
        """Return the session with this number."""
        return self._by_uid.get(uid)

    def add(self, session: Session) -> None:
        """Take in a session read from the store, at start or because a late packet asks for it."""
        if session.uid in self._by_uid:
            return
        self._by_uid[session.uid] = session
        uid = token.read(session.class_octets)
        if uid is not None:
            self._by_token[uid] = session
        self._by_key.setdefault(session.key, []).append(session)
        if session.closed_at is not None:
            self._closed_order.append((session.heard_at, session))
        else:
            self._live(session)
        self._count(session.tenant, session.nas, session.state, 1)

    def _live(self, session: Session) -> None:
        self._by_place.setdefault(place(session.tenant, session.nas, session.box), set()).add(session)
        self.live.add(session)

    def boxes(self) -> dict[bytes, set[Session]]:
        """Return the live sessions of each box, by `place`; not to be changed."""
        return self._by_place

    def knows(self, report: Report) -> bool:
        """Tell whether the session of a report must be in memory, if there is one at all.

        False where the session may have been forgotten here: ask the store first. A Start that is not late
        makes a new session; an interim or stop of an unknown one may be of a session closed long ago.
        """
        if report.status == _START and report.at >= self.forgotten_before:
            return True
        return self.find(report) is not None

    def find(self, report: Report) -> Session | None:
        """Return the session that a report is about, None when it is about a new one."""
        candidates = self._by_key.get(report.key, ())
        if report.uid is not None:
            for session in candidates:
                if session.class_octets == report.class_octets:
                    return session
            moved = self._by_token.get(report.uid)
            named = (report.tenant, report.acct_session_id)
            if moved is not None and (moved.tenant, moved.acct_session_id) == named:
                return moved
        found = closest(candidates, report) if candidates else None
        if found is None:
            live = self.live.of_acct_session_id(report.tenant, report.acct_session_id)
            found = elsewhere(live, report) if live else None
        return found

    def apply(self, report: Report) -> tuple[Effect, Session]:
        """Fold one report into its session, which is made where there is none."""
        self.folded_seq = max(self.folded_seq, report.seq)
        status = report.status
        session = self.find(report)
        if session is None:
            session = self._open(report)
            effect = Effect.OPENED if status == _START else Effect.RECOVERED
        else:
            effect = self._update(session, report)
        if session.closed_at is None and self._rebooted_at:
            self._close_if_rebooted(session, report)
        if report.uid is not None and session.tenant == report.tenant:
            self._by_token[report.uid] = session
        self.dirty.add(session)
        return effect, session

    def _update(self, session: Session, report: Report) -> Effect:
        """Fold a report into a session that is there already."""
        if session.key != report.key and report.at >= session.updated_at:
            self._move(session, report)
        state, address, subscriber = session.state, session.ipv4_octets, session.subscriber
        moved = state is not State.CLOSED and (
            (report.tracked[0] is not None and report.tracked[0] != address)
            or (report.subscriber != subscriber and not subscriber)
        )
        if moved:
            self.live.remove(session)
        changed = session.fold(report, report.status == _START, report.status == _STOP)
        if moved:
            self.live.add(session)
        self._settle_suspect(session, state)
        if state is State.CLOSED:
            if session.closed_at is not None:
                return Effect.LATE
            self._live(session)
            self._count(session.tenant, session.nas, State.CLOSED, -1)
            self._count(session.tenant, session.nas, State.ACTIVE, 1)
            return Effect.REOPENED
        if session.closed_at is not None:
            self._closed(session)
            return Effect.CLOSED
        return Effect.UPDATED if changed else Effect.REPEATED

    def _move(self, session: Session, report: Report) -> None:
        """Let a session go on at the place that a report comes from."""
        state = session.state
        self._leave_key(session)
        self._leave_place(session)
        self._count(session.tenant, session.nas, state, -1)
        session.move(report)
        self._by_key.setdefault(session.key, []).append(session)
        if state is not State.CLOSED:
            self._by_place.setdefault(place(session.tenant, session.nas, session.box), set()).add(session)
        self._count(session.tenant, session.nas, state, 1)

    def _leave_key(self, session: Session) -> None:
        siblings = self._by_key[session.key]
        siblings.remove(session)
        if not siblings:
            del self._by_key[session.key]

    def _leave_place(self, session: Session) -> None:
        key = place(session.tenant, session.nas, session.box)
        sessions = self._by_place.get(key)
        if sessions is not None:
            sessions.discard(session)
            if not sessions:
                del self._by_place[key]

    def suspect(self, session: Session, at: float) -> None:
        """Note that a live session has not been heard of when it should have been."""
        if session.state is State.ACTIVE:
            session.suspect_since = at
            self._count(session.tenant, session.nas, State.ACTIVE, -1)
            self._count(session.tenant, session.nas, State.SUSPECT, 1)
            self.dirty.add(session)

    def conclude(self, session: Session, by: Closed, cause: str) -> bool:
        """Close a session that we conclude to be gone, as of its last report; False where it is closed."""
        state = session.state
        if not session.conclude(by, cause):
            return False
        self._settle_suspect(session, state)
        self._closed(session)
        self.dirty.add(session)
        return True

    def _settle_suspect(self, session: Session, state: State) -> None:
        """Count a session that was suspect as active again, because something is known of it now."""
        if state is State.SUSPECT:
            session.suspect_since = None
            self._count(session.tenant, session.nas, State.SUSPECT, -1)
            self._count(session.tenant, session.nas, State.ACTIVE, 1)

    def closing(self, uid: int) -> Future[None]:
        """Return a future that is done when the session with that number is closed, or is not known.

        All who ask share it: nobody cancels it, and whoever stops waiting takes its callback away.
        """
        session = self._by_uid.get(uid)
        lives = session is not None and session.closed_at is None
        future = self._closings.get(uid) if lives else None
        if future is None:
            future = get_running_loop().create_future()
            if lives:
                self._closings[uid] = future
            else:
                future.set_result(None)
        return future

    def reporting(self, uid: int) -> Future[bytes]:
        """Return a future that gets the octets of the next accounting packet of that session.

        It belongs to the caller, who cancels it when it is not wanted any more.
        """
        future: Future[bytes] = get_running_loop().create_future()
        waiting = [each for each in self._reportings.get(uid, ()) if not each.done()]
        self._reportings[uid] = [*waiting, future]
        return future

    def reported(self, session: Session, octets: bytes) -> None:
        """Tell those who wait for a packet of the session."""
        if self._reportings:
            for future in self._reportings.pop(session.uid, ()):
                if not future.done():
                    future.set_result(octets)

    def _open(self, report: Report) -> Session:
        """Make a session; its number is that of the record that opened it, which no other session can have."""
        session = Session(report, report.seq)
        session.fold(report, report.status == _START, report.status == _STOP)
        self.add(session)  # only now: it is found by what it has, its address for one
        self._count(session.tenant, session.nas, State.ACTIVE, 0)  # a NAS without live ones is shown, too
        return session

    def _close_if_rebooted(self, session: Session, report: Report) -> None:
        """Close a session whose packet was overtaken by its box's Accounting-On or -Off."""
        at = self._rebooted_at.get(place(session.tenant, session.nas, session.box))
        if at is not None and report.at < at and session.updated_at < at and session.close_by_reboot(at):
            self._closed(session)  # it is not suspect: it has just reported

    def _closed(self, session: Session) -> None:
        self._leave_place(session)
        self.live.remove(session)
        future = self._closings.pop(session.uid, None)
        if future is not None and not future.done():
            future.set_result(None)
        if session.uid in self._reportings:  # the packet that closed it is told of first
            get_running_loop().call_soon(self._reportings.pop, session.uid, None)
        self._closed_order.append((session.heard_at, session))
        self._count(session.tenant, session.nas, State.ACTIVE, -1)
        self._count(session.tenant, session.nas, State.CLOSED, 1)
        self.on_closed(session)

    def _count(self, tenant: str, nas: str, state: State, by: int) -> None:
        key = (tenant, nas, state)
        self._counts[key] = self._counts.get(key, 0) + by

    def reboot(self, reboot: Reboot) -> None:
        """Note that a box began or ended accounting; `close_some` does the work, off the request path."""
        self.folded_seq = max(self.folded_seq, reboot.seq)
        where = place(reboot.tenant, reboot.nas, reboot.box)
        self._rebooted_at[where] = max(reboot.at, self._rebooted_at.get(where, 0.0))
        sessions = self._by_place.get(where)
        if sessions:
            self._reboots.waiting.append((reboot, iter(list(sessions))))

    def close_some(self, most: int) -> list[Session]:
        """Close up to `most` sessions of boxes that rebooted; return those that this call closed."""
        closed: list[Session] = []
        waiting = self._reboots.waiting
        looked = 0
        while waiting and looked < most:
            reboot, sessions = waiting[0]
            session = next(sessions, None)
            if session is None:
                waiting.pop(0)
                continue
            looked += 1
            state = session.state
            # One that was opened by a later record is new, whatever its clock of whole seconds says.
            if session.uid < reboot.seq and session.close_by_reboot(reboot.at):
                self._settle_suspect(session, state)
                self._closed(session)
                self.dirty.add(session)
                closed.append(session)
        return closed

    @property
    def rebooting(self) -> bool:
        """Tell whether sessions wait to be closed because of a reboot."""
        return bool(self._reboots.waiting)

    @property
    def settled_seq(self) -> int:
        """The last sequence number whose every effect is in the sessions (dirty ones included)."""
        waiting = self._reboots.waiting
        return min((reboot.seq - 1 for reboot, _ in waiting), default=self.folded_seq)

    def forget(self, closed_before: float, most: int) -> int:
        """Drop clean closed sessions not heard of since `closed_before`; the store keeps them.

        Looks at `most` of them, oldest first; one still heard of goes to the end. Returns how many went.
        """
        forgotten = 0
        for _ in range(min(most, len(self._closed_order))):
            noted_at, session = self._closed_order[0]
            if noted_at >= closed_before:
                break  # and so were all behind it
            self._closed_order.popleft()
            if session.closed_at is None or session.uid not in self._by_uid:
                continue  # opened again meanwhile, or here twice because of that
            if session.heard_at >= closed_before or session in self.dirty:
                self._closed_order.append((session.heard_at, session))
                continue
            forgotten += 1
            self.forgotten_before = max(self.forgotten_before, session.heard_at)
            del self._by_uid[session.uid]
            uid = token.read(session.class_octets)
            if uid is not None and self._by_token.get(uid) is session:
                del self._by_token[uid]
            self._leave_key(session)
            self._count(session.tenant, session.nas, State.CLOSED, -1)
        return forgotten


def _ignore(_session: Session) -> None:
    return None


def place(tenant: str, nas: str, box: bytes) -> bytes:
    """Return the key of one box behind one NAS entry."""
    return f"{tenant}\0{nas}\0".encode() + box
