"""Finds ghosts: sessions whose Stop was lost, told by the interims that did not come.

A session is suspect after two missed reports of its own interval, and closed after three, but only time during
which its box was demonstrably heard of counts towards the close: a silent NAS is not users leaving. Nothing
counts as missed from before this daemon listened, before a step of the clock, during a storm, or before a silent
NAS was back. What is closed here is opened again by the next report (`aaa.session`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from enum import StrEnum
from ipaddress import ip_address
from itertools import islice
from math import inf
from statistics import median
from typing import Protocol

from daemon.aaa.session import Closed, Session, State
from daemon.aaa.sessions import SessionTable
from daemon.clock import Clock
from radius.codes import Attr

EVERY_S = 15.0
CAUSE = "lost-service"
_SLICE = 300  # sessions looked at in one go, about a millisecond
_STEP_S = 5.0  # of the wall clock against the monotonic one; less is within `late_s`
_FORGET_S = 86_400.0  # after which a silent box without sessions is no longer remembered
_MOST_HUSHES = 64
_MANY = 10  # sessions of one box
_MOST_PACES = 500  # of one box, for their median
_PROVEN_SHARE = 0.05  # of a box's sessions; a few lone reports do not make a box that sends interims


class Confidence(StrEnum):
    """How sure it is that a session closed as a ghost is gone; low where it never sent a report but its Start."""

    HIGH = "high"
    LOW = "low"


class OnEvent(Protocol):
    """Told of `session-suspect`, `session-ghost-closed`, `nas-silent` and `nas-back`."""

    def __call__(self, kind: str, session: Session | None, /, **fields: object) -> None: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """How patient the reaper is. A report may come late by `late_share` of an interval, plus `late_s` in all."""

    default_interim_s: float  # for sessions of which it is not known what they were granted
    suspect_after: int = 2  # intervals
    close_after: int = 3
    late_share: float = 0.1
    late_s: float = 10.0
    asleep_s: float = 90.0  # looks farther apart mean that nobody listened meanwhile


@dataclass(slots=True)
class _Box:
    """What is known of one box. Times are epoch seconds."""

    heard_at: float  # its latest sign of life
    floor: float = 0.0  # nothing counts as missed before this
    hushes: list[tuple[float, float]] = field(
        default_factory=list
    )  # stretches in which it should have been heard
    silent: bool = False  # and said to be so
    capable: bool = False  # of interims
    gap_s: float = inf  # between two signs of life, as they usually come
    pace_s: float = 0.0  # how far apart the reports of its sessions usually come
    spoke: tuple[float, float] | None = None  # first and last sign of life beside reports of live sessions

    def was_hushed(self, first: float, due_at: float) -> bool:
        """Tell whether the box may have been out of hearing until its sign of life at `first`.

        So it may if a report was due meanwhile that had not been missing before, or if it is usually heard of
        far more often. What is usual is learned slowly from what is not, so that no failure passes for it.
        """
        gap_s, usual_s = first - self.heard_at, self.gap_s
        if gap_s <= usual_s:
            self.gap_s = max(gap_s, 0.95 * usual_s) if usual_s < inf else gap_s
        else:
            self.gap_s = min(gap_s, 2.0 * usual_s + EVERY_S)
        return gap_s > EVERY_S and (due_at <= first or gap_s > 3.0 * usual_s + EVERY_S)

    def heard_since(self, at: float) -> float:
        """Return for how many of the seconds from `at` to its latest sign of life it was within hearing."""
        hushed = sum(max(0.0, end - max(start, at)) for start, end in self.hushes)
        return max(0.0, self.heard_at - at - hushed)


@dataclass(slots=True)
class _Survey:
    """What the sessions of one box show, taken together."""

    first: float = inf  # sign of life since the box was last looked at
    latest: float = 0.0
    due_at: float = inf  # of the first report that was missing since then
    paces_s: list[float] = field(default_factory=list)  # of some sessions
    proven: int = 0  # sessions that have sent interims, and not just at their beginning
    unproven: int = 0  # sessions that should have and have not
    recent: int = 0
    overdue: list[Session] = field(default_factory=list)


class Reaper:
    """Looks at all live sessions again and again, in slices. Pure in time, but for `run`.

    `hindered` says that reports may get lost on our side: a storm, or a store that takes no records. While it
    is so nothing is closed, and nothing counts as missed. `on_event` must not await.
    """

    def __init__(
        self, sessions: SessionTable, options: Options, on_event: OnEvent, hindered: Callable[[], bool]
    ) -> None:
        self._sessions = sessions
        self.options = options
        self._on_event = on_event
        self._hindered = hindered
        self._boxes: dict[bytes, _Box] = {}
        self._floor = 0.0
        self._looked_now: float | None = None
        self._ahead_s = 0.0  # of the wall clock against the monotonic one
        self._old_seq = 0  # sessions up to this number may have times from before the clock was set back,
        self._old_until = 0.0  # which go up to this
        self._pass: Iterator[None] | None = None
        self._without = 0
        self.without_interims = 0
        """Live sessions of boxes that send no interims, as of the last pass: they are never suspected."""

    @property
    def silent_boxes(self) -> int:
        """How many boxes with live sessions are silent."""
        return sum(box.silent for box in self._boxes.values())

    async def run(self, clock: Clock) -> None:
        """Reap for ever; to be started once."""
        while True:
            await clock.sleep(EVERY_S)
            while self.look(clock.wall(), clock.monotonic(), _SLICE):
                await clock.sleep(0)

    def heard_box(self, key: bytes, at: float) -> None:
        """Note a sign of life of a box that is no report of a live session: an Access-Request, a Stop.

        `key` is its `place`, `at` epoch seconds. Boxes without live sessions are ignored.
        """
        box = self._boxes.get(key)
        if box is not None:
            first, last = box.spoke or (at, at)
            box.spoke = min(first, at), max(last, at)

    def look(self, at: float, now: float, most: int) -> bool:
        """Look at up to `most` sessions; True while a pass over all of them is not at its end.

        `at` is epoch seconds, `now` monotonic seconds of the same moment. A pass takes the time as it was at
        its begin; to be called again at once while True, else every `EVERY_S`.
        """
        last, self._looked_now = self._looked_now, now
        stepped = abs(at - now - self._ahead_s) > _STEP_S
        self._ahead_s = at - now
        if last is None or stepped:
            self._distrust(at)
        if last is None or stepped or now - last > self.options.asleep_s or self._hindered():
            self._begin_anew(at)
            return False
        if self._pass is None:
            self._pass = self._look_at_all(at)
        if sum(1 for _ in islice(self._pass, most)) == most:
            return True
        self._pass = None
        return False

    def _distrust(self, at: float) -> None:
        """Note whether the clock was set back: then the times of sessions say nothing until they are over again."""
        heard = (session.heard_at for sessions in self._sessions.boxes().values() for session in sessions)
        latest = max(heard, default=0.0)
        if latest > at:
            self._old_seq, self._old_until = self._sessions.folded_seq, latest

    def _begin_anew(self, at: float) -> None:
        """Count nothing as missed from before now: we may not have heard it, or the clock was another."""
        self._floor = at
        self._pass = None
        for box in self._boxes.values():
            box.heard_at = min(box.heard_at, at)
            box.floor = min(box.floor, at)
            box.hushes.clear()
            box.spoke = None

    def _look_at_all(self, at: float) -> Iterator[None]:
        """Yield after each session that was looked at."""
        self._without = 0
        boxes = self._sessions.boxes()
        for key in list(boxes):
            sessions = boxes.get(key)
            if sessions is None:
                continue
            box = self._boxes.get(key)
            fresh = box is None
            if box is None:
                box = self._boxes[key] = _Box(heard_at=0.0)
            survey = _Survey()
            for session in list(sessions):
                self._take_in(survey, box, session, at)
                yield
            self._hear(key, box, survey, fresh=fresh)
            if not fresh:  # whether it sends interims, and how often, is known from the second time on
                self._tell_silence(key, box, survey, at)
                for session in survey.overdue:
                    self._judge(session, box, at)
                    yield
        for key in [key for key, box in self._boxes.items() if key not in boxes]:
            if not self._boxes[key].silent or at - self._boxes[key].heard_at > _FORGET_S:
                del self._boxes[key]
        self.without_interims = self._without

    def _take_in(self, survey: _Survey, box: _Box, session: Session, at: float) -> None:
        if session.closed_at is not None:
            return  # since the pass came to this box
        heard_at = session.heard_at
        spoke = heard_at > box.heard_at and (session.uid > self._old_seq or heard_at > self._old_until)
        if spoke:
            survey.first = min(survey.first, heard_at)
            survey.latest = max(survey.latest, heard_at)
        if session.interim_s and len(survey.paces_s) < _MOST_PACES:
            survey.paces_s.append(session.interim_s)
        since = self._since(session, box)
        told_s = self._told_s(session)
        interval_s = self._interval_s(session, box, told_s)
        due_at = since + self._patience_s(1, interval_s)
        if not spoke and box.heard_at < due_at < survey.due_at:
            survey.due_at = due_at
        proven = _proven(session, told_s)
        if proven:
            survey.proven += 1
        elif due_at < at:
            survey.unproven += 1
        if at - since < self._patience_s(self.options.suspect_after, interval_s):
            survey.recent += 1
        elif proven or box.capable:
            survey.overdue.append(session)

    def _since(self, session: Session, box: _Box) -> float:
        """Return from when on reports of a session count as missed; may lie ahead where the clock was set back."""
        since = max(session.heard_at, self._floor, box.floor)
        return max(since, self._old_until) if session.uid <= self._old_seq else since

    def _interval_s(self, session: Session, box: _Box, told_s: float) -> float:
        """Return how far apart the reports of a session should come.

        A NAS may know better than what it is told. Until a session has shown its own pace, it is taken to be
        no quicker than its box usually is.
        """
        seen_s = session.interim_s
        own = max(told_s, seen_s)
        if box.pace_s <= own or 0.5 * told_s <= seen_s <= 1.25 * told_s:
            return own
        if seen_s and session.updated_at - session.started_at >= self.options.close_after * box.pace_s:
            return own
        return box.pace_s

    def _told_s(self, session: Session) -> float:
        applied = session.applied
        told = None if applied is None else applied.interim_interval_s
        return float(told or self.options.default_interim_s)

    def _hear(self, key: bytes, box: _Box, survey: _Survey, *, fresh: bool) -> None:
        """Take up what the survey shows of the box: signs of life, and whether it sends interims at all."""
        first, latest = survey.first, survey.latest
        if box.spoke is not None:
            first, latest = min(first, box.spoke[0]), max(latest, box.spoke[1])
            box.spoke = None
        if latest > box.heard_at:
            if box.silent:
                box.silent = False
                box.floor = latest
                box.hushes.clear()
                self._tell("nas-back", key, silent_s=round(first - box.heard_at))
            elif not fresh and box.was_hushed(first, survey.due_at):
                self._hush(box, box.heard_at, first)
            box.heard_at = latest
        box.pace_s = median(survey.paces_s) if survey.paces_s else 0.0
        box.capable = survey.proven > _PROVEN_SHARE * (survey.proven + survey.unproven)
        if not box.capable:
            self._without += survey.unproven

    @staticmethod
    def _hush(box: _Box, start: float, end: float) -> None:
        """Remember a stretch of which it is not known whether anything could have been heard."""
        box.hushes.append((start, end))
        if len(box.hushes) > _MOST_HUSHES:
            box.floor = max(box.floor, box.hushes.pop(0)[1])

    def _tell_silence(self, key: bytes, box: _Box, survey: _Survey, at: float) -> None:
        """Say once that nothing is heard of a box.

        The reports of all its sessions must be missing, two at least; of many sessions those of half will do,
        where the others are slower.
        """
        missing, recent = len(survey.overdue), survey.recent
        most = missing > 1 and (not recent or (missing >= recent and missing + recent >= _MANY))
        quiet_s = at - max(box.heard_at, box.floor, self._floor)
        if most and not box.silent and quiet_s >= self._patience_s(self.options.suspect_after, box.pace_s):
            box.silent = True
            self._tell("nas-silent", key, sessions=missing + recent, heard_at=box.heard_at)

    def _patience_s(self, intervals: int, interval_s: float) -> float:
        """Return how long that many reports in a row may take."""
        return intervals * interval_s * (1.0 + self.options.late_share) + self.options.late_s

    def _judge(self, session: Session, box: _Box, at: float) -> None:
        """Suspect a session that is overdue; close it where its box was heard of for long enough meanwhile."""
        options = self.options
        since = self._since(session, box)
        interval_s = self._interval_s(session, box, self._told_s(session))
        patience_s = self._patience_s(options.suspect_after, interval_s)
        if session.closed_at is not None or at - since < patience_s:
            return  # it was heard of since the survey
        told: dict[str, object] = {
            "interval_s": round(interval_s),
            "missed": int((at - since) / interval_s),
            "heard_at": session.heard_at,
        }
        if session.state is State.ACTIVE:
            self._sessions.suspect(session, at)
            self._on_event("session-suspect", session, **told)
        if box.silent or box.heard_since(since) < self._patience_s(options.close_after, interval_s):
            return
        confidence = Confidence.HIGH if _reported(session) else Confidence.LOW
        if self._sessions.conclude(session, Closed.GHOST, CAUSE):
            self._on_event("session-ghost-closed", session, cause=CAUSE, confidence=confidence, **told)

    def _tell(self, kind: str, key: bytes, **fields: object) -> None:
        tenant, nas, name = key.split(b"\0", 2)
        self._on_event(kind, None, tenant=tenant.decode(), nas=nas.decode(), box=box_text(name), **fields)


def box_text(box: bytes) -> str:
    """Return the name or address in what `aaa.report.box_of` returns."""
    if box[:1] == bytes((Attr.NAS_IDENTIFIER,)):
        return box[1:].decode("utf-8", "backslashreplace")
    return str(ip_address(box[1:])) if len(box) in (5, 17) else box[1:].hex()


def _reported(session: Session) -> bool:
    """Tell whether a session has sent anything beside its Start."""
    return session.session_time_s > 0 or bool(session.counters.runs)


def _proven(session: Session, told_s: float) -> bool:
    """Tell whether a session has sent interims for a while.

    One right after the Start is no proof: some NASes send an interim when the address is known, and no more.
    """
    lasted_s = session.updated_at - session.started_at
    return session.interim_s > 0.0 and lasted_s >= told_s / 2 and _reported(session)
