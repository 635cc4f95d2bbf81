"""Boxes in memory: lines that report to a session table over a link that loses packets, in a time of their own."""

from __future__ import annotations

import heapq
from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import count
from random import Random

from daemon.aaa import token
from daemon.aaa.counters import Sample
from daemon.aaa.reaper import Options, Reaper
from daemon.aaa.session import TRACKED, Report, Session
from daemon.aaa.session_codec import from_row, to_row
from daemon.aaa.sessions import Effect, Reboot, SessionTable, place
from radius.grant import Grant

START, STOP, INTERIM = 1, 2, 3
EPOCH = 1_700_000_000.0
TRIES = 4  # the first and three repeats
REPEAT_S = 3.0
LOOK_S = 15.0
_NO_VALUES = (None,) * len(TRACKED)


@dataclass(eq=False)
class BoxTwin:
    """One box behind a NAS entry. `stamps` says whether it sends Event-Timestamp."""

    nas: str
    name: str
    loss: float = 0.0  # share of packets
    up: bool = True  # its link to us
    stamps: bool = True
    interims: bool = True
    back_at: float = 0.0

    @property
    def key(self) -> bytes:
        return place("demo", self.nas, b"\x20" + self.name.encode())


@dataclass(eq=False)
class LineTwin:
    """One connection of a subscriber, as its NAS knows it."""

    box: BoxTwin
    number: int
    interval_s: float
    began: float
    told: bool = True  # we know what interval it was granted
    alive: bool = True
    died: float = 0.0
    lost: int = 0  # reports in a row
    stops: bool = True  # its Stop is sent


@dataclass
class World:
    """`t` is true time in seconds, and monotonic; the edge's wall clock is `ahead` of it."""

    options: Options = field(default_factory=lambda: Options(default_interim_s=600.0))
    dice: Random = field(default_factory=lambda: Random(1))
    look_s: float = LOOK_S
    jitter: float = 0.1

    def __post_init__(self) -> None:
        self.t = 0.0
        self.ahead = EPOCH
        self.seq = 0
        self.running = True
        self.hindered = False
        self.events: list[tuple[str, Session | None, dict[str, object]]] = []
        self.watch: Callable[[str, Session | None], None] = lambda _kind, _session: None
        self.lines: dict[int, LineTwin] = {}
        self.reopened = 0
        self._numbers = count(1)
        self._turns = count()
        self._todo: list[tuple[float, int, Callable[[], None]]] = []
        self.table = SessionTable()
        self.start_edge()
        self._look()

    def start_edge(self) -> None:
        """Begin with the sessions that the rows have."""
        rows = [to_row(session) for session in self.table]
        self.table = SessionTable()
        self.table.folded_seq = self.seq
        for row in rows:
            self.table.add(from_row(row))
        self.reaper = Reaper(self.table, self.options, self._told, lambda: self.hindered)
        self.running = True

    def _told(self, kind: str, session: Session | None, /, **fields: object) -> None:
        self.events.append((kind, session, fields))
        self.watch(kind, session)

    def kinds(self) -> list[str]:
        return [kind for kind, _, _ in self.events]

    def fields(self, kind: str) -> list[dict[str, object]]:
        return [fields for each, _, fields in self.events if each == kind]

    def after(self, seconds: float, do: Callable[[], None]) -> None:
        heapq.heappush(self._todo, (self.t + seconds, next(self._turns), do))

    def run(self, seconds: float) -> None:
        """Let time pass."""
        end = self.t + seconds
        while self._todo and self._todo[0][0] <= end:
            self.t, _, do = heapq.heappop(self._todo)
            do()
        self.t = end

    def _look(self) -> None:
        self.after(self.look_s, self._look)
        if self.running:
            while self.reaper.look(self.t + self.ahead, self.t, 997):
                pass

    def begin(self, box: BoxTwin, interval_s: float, told: bool = True) -> LineTwin:
        """Connect a subscriber: Start, then interims until it dies."""
        line = LineTwin(box, next(self._numbers), interval_s, self.t, told)
        self.lines[line.number] = line
        self.send(line, START)
        self._next_interim(line)
        return line

    def end(self, line: LineTwin, *, stop: bool) -> None:
        """Disconnect a subscriber."""
        line.alive = False
        line.died = self.t
        if stop:
            self.send(line, STOP)

    def _next_interim(self, line: LineTwin) -> None:
        if line.box.interims:
            late = self.dice.uniform(-self.jitter, self.jitter)
            self.after(line.interval_s * (1.0 + late), lambda: self._interim(line))

    def _interim(self, line: LineTwin) -> None:
        if line.alive:
            self.send(line, INTERIM)
            self._next_interim(line)

    def send(self, line: LineTwin, status: int, tries: int = TRIES, happened: float | None = None) -> None:
        """Send a packet now, and again while it is lost and there are tries left."""
        happened = self.t if happened is None else happened
        box = line.box
        # Three reports in a row that are lost by chance cannot be told from a ghost.
        unlucky = self.dice.random() < box.loss and line.lost < 2
        if box.up and self.running and not unlucky:
            line.lost = 0
            self.arrive(line, status, happened)
        elif tries > 1:
            self.after(REPEAT_S, lambda: self.send(line, status, tries - 1, happened))
        else:
            line.lost += 1

    def arrive(self, line: LineTwin, status: int, happened: float) -> Session:
        """Fold a packet that tells of the true time `happened`."""
        effect, session = self.table.apply(self.report(line, status, happened))
        if effect in (Effect.OPENED, Effect.RECOVERED) and line.told:
            session.applied = Grant(interim_interval_s=int(line.interval_s))
        self.reopened += effect is Effect.REOPENED
        return session

    def report(self, line: LineTwin, status: int, happened: float) -> Report:
        """Return what arrives now."""
        box, heard_at = line.box, self.t + self.ahead
        at = self.event_time(box, happened)
        lasted_s = None if status == START else int(happened - line.began)
        octets = 0 if lasted_s is None else lasted_s * 1000
        class_octets = token.class_attribute(line.number, b"abcd")[2:]
        self.seq += 1
        session_id = b"%08x" % line.number
        return Report(
            seq=self.seq,
            key=box.key + b"\0" + session_id,
            tenant="demo",
            nas=box.nas,
            box=b"\x20" + box.name.encode(),
            acct_session_id=session_id,
            status=status,
            at=at,
            heard_at=heard_at,
            began_at=at - (lasted_s or 0),
            username=f"user{line.number}",
            subscriber=f"S{line.number}",
            class_octets=class_octets,
            uid=line.number,
            session_time_s=lasted_s,
            sample=None if lasted_s is None else Sample(at, lasted_s, octets, octets, 0, 0, gigawords=True),
            ipv6_octets=None,
            tracked=_NO_VALUES,
            terminate_cause="user-request" if status == STOP else None,
        )

    def event_time(self, box: BoxTwin, happened: float) -> float:
        """Return when a packet that arrives now says that it happened, as the edge believes it."""
        heard_at, stamp = self.t + self.ahead, happened + EPOCH
        if box.stamps and heard_at - 86_400.0 <= stamp <= heard_at + 300.0:
            return stamp
        return heard_at - (self.t - happened)

    def reboot(self, box: BoxTwin) -> None:
        """Let an Accounting-On arrive."""
        self.seq += 1
        at = self.event_time(box, self.t)
        self.table.reboot(Reboot(self.seq, "demo", box.nas, b"\x20" + box.name.encode(), at))
        while self.table.rebooting:
            self.table.close_some(1000)

    def line_of(self, session: Session) -> LineTwin:
        """Return whose session it is."""
        return self.lines[int(session.acct_session_id, 16)]

    def session_of(self, line: LineTwin) -> Session:
        """Return the session of a line that has been heard of."""
        (session,) = (each for each in self.table if each.acct_session_id == b"%08x" % line.number)
        return session
