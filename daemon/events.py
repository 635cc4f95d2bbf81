"""What happened lately, one event for each decision: kept in a bounded ring, counted, logged without flooding.

An event names whom and what it is about and why; it never holds a secret.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from itertools import islice
from typing import Protocol

from daemon import logs

KINDS = (
    ("session-suspect", "a session was not heard of when it should have been"),
    (
        "session-ghost-closed",
        "a session was closed as gone: its NAS tells of others, or knows no such session",
    ),
    ("session-reopened", "a session that had been concluded to be gone was heard of again"),
    ("nas-silent", "nothing was heard of a NAS that has live sessions"),
    ("nas-back", "a silent NAS was heard of again"),
    ("simultaneous-denied", "a login was refused, because as many sessions as allowed are online"),
    ("simultaneous-kicked", "an older session is disconnected to make room for a new login"),
    ("simultaneous-reported", "more sessions than allowed are online, and the plan says only to tell"),
    ("simultaneous-shadow", "a login would have been refused, had the limit been in force"),
    ("allowance-reached", "a subscriber has used up an allowance"),
    ("allowance-restored", "a subscriber may use its plan in full again"),
    ("allowance-gap", "an allowance seems used up, but its count has gaps and the plan does not act on that"),
    ("binding-learned", "a first login has tied a subscriber to where it came from"),
    ("line-mismatch", "a subscriber came from another line, VLAN, port or equipment than it is tied to"),
    ("coa-outcome", "a CoA or Disconnect of ours has come to its end"),
    ("coa-nas-suspect", "a NAS has not answered several CoA or Disconnect requests in a row"),
    ("coa-nas-back", "a NAS answers CoA and Disconnect requests again"),
    ("session-deviates", "a live session is not what the replica wants"),
    ("session-matches", "a session that deviated is what the replica wants"),
    ("storm-began", "many more logins come than usual: work that can wait does"),
    ("storm-ended", "logins come as usual again"),
    ("retry-loop", "the same login is refused again and again"),
    ("lease-refused", "a login was refused, because there is no address for it"),
    ("lease-adopted", "a session reported an address that nobody had, and has it leased now"),
    ("pool-low", "a pool has few free addresses"),
    ("pool-critical", "a pool is about to run out of free addresses"),
    ("pool-recovered", "a pool that was low has enough free addresses again"),
    ("definition-refused", "the platform wants a pool or selector that cannot be as it wants it"),
    ("address-conflict", "an address is in use by somebody whose it is not"),
    ("staff-login", "somebody of the staff logged in to a device, or was refused"),
    ("feed-connected", "a feed's platform answers"),
    ("feed-lost", "a feed's platform cannot be reached, or does not answer as it should"),
    ("feed-snapshot", "all of a feed is read anew, or what was read is served now"),
    ("feed-refused", "what a feed brought was not applied"),
    ("feed-repaired", "objects were not what the platform has, and are again"),
    ("feed-clock-skew", "the platform's clock and ours are apart, or together again"),
    ("data-older", "a platform has been silent for so long that its tenant's data are older by a step"),
    ("data-fresh", "a tenant's data are up to date again"),
    ("outbox-replay", "a sink is told again what it had acknowledged, or skips what it has"),
    ("outbox-incarnation", "a sink has what this edge never told, or has lost: numbers begin anew"),
    ("outbox-pressure", "the database or its disk fills, or has room again"),
    ("relay-request", "a client of the CoA relay has asked for a Disconnect or a change, and was answered"),
)
"""Every kind of event, with what it means."""

_NAMES = frozenset(name for name, _ in KINDS)
_LOGGED_PER_S = 1.0  # of each kind; the ring has them all
_NUMBERS_PER_S = 1_000_000

Value = str | int | float


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """Something that happened at `at`, epoch seconds; `seq` only rises. Empty text: not about one."""

    seq: int
    at: float
    kind: str
    tenant: str = ""
    subscriber: str = ""
    session: int | None = None
    nas: str = ""
    reason: str = ""
    fields: tuple[tuple[str, Value], ...] = ()


class Log(Protocol):
    """Takes one event for the log."""

    def __call__(self, event: str, /, **fields: object) -> None: ...


class Events:
    """The latest events. `counts` says how many there were of each kind since the start."""

    def __init__(
        self, most: int, wall: Callable[[], float], log: Log, monotonic: Callable[[], float]
    ) -> None:
        """Keep `most` events; numbers begin with the time, so that they rise over a restart, too."""
        self._ring: deque[Event] = deque(maxlen=most)
        self._wall = wall
        self._monotonic = monotonic
        self._log = log
        self._limiter = logs.Limiter(_LOGGED_PER_S)
        self._last_seq = int(wall()) * _NUMBERS_PER_S
        self.counts: dict[str, int] = {name: 0 for name, _ in KINDS}
        self.listeners: list[Callable[[Event], None]] = []  # each is told of every event, in their order

    @property
    def last_seq(self) -> int:
        """The number of the latest event, or one below that of the first."""
        return self._last_seq

    def add(
        self,
        kind: str,
        /,
        *,
        tenant: str = "",
        subscriber: str = "",
        session: int | None = None,
        nas: str = "",
        reason: str = "",
        **fields: object,
    ) -> Event:
        """Keep, count and log one event. Raises ValueError for a kind that is not in KINDS.

        A field that is None is left out; octets and names that speak of secrets do not get in.
        """
        if kind not in _NAMES:
            raise ValueError(f"{kind} is no kind of event")
        self._last_seq += 1
        event = Event(
            seq=self._last_seq,
            at=self._wall(),
            kind=kind,
            tenant=tenant,
            subscriber=subscriber,
            session=session,
            nas=nas,
            reason=str(reason),
            fields=_clean(fields),
        )
        self._ring.append(event)
        self.counts[kind] += 1
        held = self._limiter.allow(kind, self._monotonic())
        if held is not None:
            self._log(kind, **_line(event, held))
        for listener in self.listeners:
            listener(event)
        return event

    def newest_first(
        self,
        most: int,
        *,
        kind: str = "",
        tenant: str = "",
        subscriber: str = "",
        session: int | None = None,
        nas: str = "",
        since_at: float = 0.0,
    ) -> list[Event]:
        """Return up to `most` events that fit everything that is given, the latest first."""
        found = (
            event
            for event in reversed(self._ring)
            if (not kind or event.kind == kind)
            and (not tenant or event.tenant == tenant)
            and (not subscriber or event.subscriber == subscriber)
            and (session is None or event.session == session)
            and (not nas or event.nas == nas)
            and event.at >= since_at
        )
        return list(islice(found, most))

    def since(self, seq: int) -> list[Event]:
        """Return the events after number `seq`, the oldest first; those that the ring has lost are missing."""
        later = max(0, self._last_seq - seq)
        return list(islice(self._ring, max(0, len(self._ring) - later), None))


def _clean(fields: dict[str, object]) -> tuple[tuple[str, Value], ...]:
    """Return the fields as plain values, with what may be a secret taken out as in the log."""
    shown = logs.redact(None, "", dict(fields))
    return tuple(
        (name, value if isinstance(value, str | int | float) else str(value))
        for name, value in shown.items()
        if value is not None
    )


def _line(event: Event, held: int) -> dict[str, object]:
    """Return what the log says of an event: what it has, and how many of its kind were not logged before it."""
    named: dict[str, object] = {
        "tenant": event.tenant,
        "subscriber": event.subscriber,
        "session": event.session,
        "nas": event.nas,
        "reason": event.reason,
        "suppressed": held,
    }
    return dict(event.fields) | {name: value for name, value in named.items() if value}
