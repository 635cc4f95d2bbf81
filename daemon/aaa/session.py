"""One session: what its packets have told, folded together so that their order does not matter.

Every rule here depends on the set of packets, not on the order in which they came: the earliest Start gives
the start (else the earliest that any packet computes back to), counters are `aaa.counters`, an attribute's
value is the one with the latest event time, the earliest real Stop closes. A late packet never opens a closed
session again.
"""

from __future__ import annotations

from enum import StrEnum
from typing import NamedTuple

from daemon.aaa.counters import Counters, Sample
from ipam.address import Unit
from radius.codes import AcctStatus, Attr
from radius.grant import Grant


class State(StrEnum):
    """Where a session is in its life; a reserved one is a permit whose Start has not come yet."""

    RESERVED = "reserved"
    ACTIVE = "active"
    SUSPECT = "suspect"
    CLOSED = "closed"


class Closed(StrEnum):
    """What closed a session; a real Stop outweighs every conclusion of ours.

    A session that was only concluded to be gone is opened again by a later sign of life.
    """

    NOT = ""
    NAS_REBOOT = "nas-reboot"
    GHOST = "ghost"  # interims were missed, though its NAS was heard of
    NOT_ON_NAS = "not-on-nas"  # the NAS said that it knows no such session
    TAKEN_OVER = "taken-over"  # the same equipment connected again
    NAS_REMOVED = "nas-removed"  # its NAS is not in the data any more, and nothing was heard of it
    STOP = "stop"


_SLOWEST_S = 3600.0
_OUTLIVED_S = 60.0  # after a reboot: the clocks of NASes and delay times are not better than that
_STOP = int(AcctStatus.STOP)
_INTERIM = int(AcctStatus.INTERIM_UPDATE)
CONCLUDED = frozenset({Closed.GHOST, Closed.NOT_ON_NAS, Closed.TAKEN_OVER, Closed.NAS_REMOVED})


TRACKED = (
    int(Attr.FRAMED_IP_ADDRESS),
    int(Attr.CALLING_STATION_ID),
    int(Attr.CALLED_STATION_ID),
    int(Attr.NAS_PORT_ID),
    int(Attr.NAS_PORT),
    int(Attr.FRAMED_IPV6_PREFIX),
    int(Attr.DELEGATED_IPV6_PREFIX),
    int(Attr.FRAMED_IPV6_ADDRESS),
    int(Attr.FRAMED_INTERFACE_ID),
    int(Attr.ACCT_MULTI_SESSION_ID),
)
"""Attributes whose latest value a session keeps, raw."""


Line = tuple[bytes | None, bytes | None]
"""Circuit id and remote id, each None where it is not known."""
NO_LINE: Line = (None, None)


Had = tuple[str, Unit, str]
"""VRF, unit and owner of a lease."""


class Report(NamedTuple):
    """One accounting packet about one session, read.

    `began_at` is when the session began as this packet tells it, None when it does not. `key` is the place
    (NAS, box) and the Acct-Session-Id. `tracked` holds the raw values of TRACKED, None where absent.
    """

    seq: int
    key: bytes
    tenant: str
    nas: str
    box: bytes
    acct_session_id: bytes
    status: int
    at: float
    heard_at: float
    began_at: float | None
    username: str
    subscriber: str
    class_octets: bytes | None
    uid: int | None  # from our Class token
    session_time_s: int | None
    sample: Sample | None
    ipv6_octets: tuple[int, int] | None  # upload, download
    tracked: tuple[bytes | None, ...]
    terminate_cause: str | None


class Session:
    """The session itself. Only `aaa.sessions` changes it."""

    __slots__ = (
        "_at_of",
        "_latest",
        "_latest_at",
        "acct_session_id",
        "applied",
        "applied_reason",
        "box",
        "bundles",
        "class_octets",
        "closed_at",
        "closed_by",
        "count_gap",
        "counted",
        "counted_at",
        "counters",
        "had",
        "heard_at",
        "interim_s",
        "ipv6_octets",
        "key",
        "line",
        "moved",
        "nas",
        "others",
        "reopened_from",
        "session_time_s",
        "shown",
        "source",
        "start_seen",
        "started_at",
        "stranger",
        "subscriber",
        "suspect_since",
        "tenant",
        "terminate_cause",
        "told",
        "uid",
        "updated_at",
        "username",
    )

    def __init__(self, report: Report, uid: int) -> None:
        self.uid = uid
        self.key = report.key
        self.tenant = report.tenant
        self.nas = report.nas
        self.box = report.box
        self.acct_session_id = report.acct_session_id
        self.username = report.username
        self.subscriber = report.subscriber
        self.class_octets: bytes | None = None
        self.started_at = report.at if report.began_at is None else report.began_at
        self.start_seen = False
        self.updated_at = 0.0
        self.heard_at = 0.0
        self.closed_at: float | None = None
        self.closed_by = Closed.NOT
        self.reopened_from = Closed.NOT  # what we had concluded before it was heard of again
        self.terminate_cause: str | None = None
        self.counters = Counters()
        self.session_time_s = 0  # the longest that the NAS has said
        self.ipv6_octets = (0, 0)
        self.applied: Grant | None = None  # what the NAS was last told, None where that is not known
        self.applied_reason = ""  # why that was less than the plan
        self.line: Line = NO_LINE  # as its login has shown it; accounting says nothing of it
        self.moved = False  # it began at another NAS entry or box name than it is of now
        self.stranger = False  # let in without proof: of nobody, whatever its user name
        self.interim_s = 0.0  # how far apart its reports come, smoothed; 0 before the second
        self.suspect_since: float | None = None
        self.source = b""  # where its packets come from, 4 or 16 octets
        self.counted = (0, 0, 0)  # upload octets, download octets, seconds that `aaa.usage` has counted
        self.counted_at = 0.0  # event time up to which it has
        self.count_gap = ""
        self.others: list[
            tuple[int, bytes, float]
        ] = []  # tracked values that are not the latest, not yet stored
        self.bundles: tuple[int, ...] = ()  # of leases of ours that go with it
        self.shown: tuple[bytes | None, ...] = ()  # addresses that were compared with the book of leases
        self.had: tuple[Had, ...] = ()  # leases that ended when we concluded that it was gone
        self.told: object = None  # what the platform was last told of it: an `aaa.told.Told`
        self._latest: tuple[bytes | None, ...] = (None,) * len(TRACKED)
        self._latest_at = 0.0
        self._at_of: list[float] | None = None

    @property
    def state(self) -> State:
        """Active until something closes it, suspect when it should have been heard of and was not."""
        if self.closed_at is not None:
            return State.CLOSED
        return State.ACTIVE if self.suspect_since is None else State.SUSPECT

    @property
    def ipv4_octets(self) -> bytes | None:
        """The address that accounting reports, four octets."""
        return self._latest[0]

    @property
    def addresses(self) -> tuple[bytes | None, ...]:
        """The raw values of Framed-IP-Address, Framed-IPv6-Address, Framed-IPv6-Prefix, Delegated-IPv6-Prefix."""
        latest = self._latest
        return latest[0], latest[7], latest[5], latest[6]

    @property
    def latest(self) -> tuple[bytes | None, ...]:
        """The tracked values, in the order of TRACKED; the same object as long as none of them changes."""
        return self._latest

    def find(self, attr: Attr) -> bytes | None:
        """Return the latest raw value of a tracked attribute."""
        return self._latest[TRACKED.index(attr)]

    def tracked(self) -> tuple[tuple[bytes | None, ...], list[float]]:
        """Return the tracked values and the event time of each, in the order of TRACKED."""
        return self._latest, self._times()

    def restore_tracked(self, held: dict[int, tuple[bytes, float]]) -> None:
        """Take back what `tracked` gave, by attribute type."""
        self._latest = tuple(held[kind][0] if kind in held else None for kind in TRACKED)
        self._at_of = [held[kind][1] if kind in held else 0.0 for kind in TRACKED]
        self._latest_at = 0.0

    def fold(self, report: Report, start: bool, stop: bool) -> bool:
        """Take one packet into account; True when that changed anything but the time we heard of it."""
        changed = self._fold_times(report, start)
        if report.sample is not None and self.counters.add(report.sample):
            changed = True
        if report.ipv6_octets is not None:
            upload, download = self.ipv6_octets
            self.ipv6_octets = max(upload, report.ipv6_octets[0]), max(download, report.ipv6_octets[1])
            changed = changed or self.ipv6_octets != (upload, download)
        if self._fold_tracked(report.tracked, report.at):
            changed = True
        if stop:
            return self._close(report.at, Closed.STOP, report.terminate_cause) or changed
        if self.closed_at is not None and self._disproves(report, self.closed_at):
            self.closed_at = None
            self.reopened_from = self.closed_by
            self.closed_by = Closed.NOT
            self.terminate_cause = None
            return True
        return changed

    def _disproves(self, report: Report, closed_at: float) -> bool:
        """Tell whether a report shows that we were wrong to close this session.

        Some NASes say Accounting-On when their settings are changed, and drop nobody. An interim well after that
        proves it, where the session that it tells of had begun before.
        """
        if self.closed_by is not Closed.NAS_REBOOT:
            return self.closed_by in CONCLUDED and report.at > closed_at
        began = report.began_at
        outlived = report.status == _INTERIM and report.at > closed_at + _OUTLIVED_S
        return outlived and began is not None and began < closed_at

    def _fold_times(self, report: Report, start: bool) -> bool:
        changed = False
        began = report.at if report.began_at is None else report.began_at
        if start:
            if not self.start_seen or began < self.started_at:
                self.started_at = began
                self.start_seen = changed = True
        elif not self.start_seen and began < self.started_at:
            self.started_at = began
            changed = True
        if report.at > self.updated_at:
            if self.updated_at and report.status != _STOP:
                apart = report.at - self.updated_at
                apart = min(apart, max(2 * self.interim_s, _SLOWEST_S))  # an outage of a day is no new pace
                self.interim_s += (apart - self.interim_s) / 4 if self.interim_s else apart
            self.updated_at = report.at
            changed = True
        if report.session_time_s is not None and report.session_time_s > self.session_time_s:
            self.session_time_s = report.session_time_s
            changed = True
        self.heard_at = max(self.heard_at, report.heard_at)
        if report.class_octets is not None and self.class_octets is None:
            self.class_octets = report.class_octets
        if report.subscriber and not self.subscriber and not self.stranger:
            self.subscriber = report.subscriber
        return changed

    def _fold_tracked(self, tracked: tuple[bytes | None, ...], at: float) -> bool:
        if tracked == self._latest:
            self._latest_at = max(self._latest_at, at)
            return False
        times = self._times()
        latest = list(self._latest)
        for i, value in enumerate(tracked):
            if value is None:
                continue
            held = latest[i]
            if held is None or (at, value) > (times[i], held):
                if held is not None and held != value:
                    self.others.append((TRACKED[i], held, times[i]))
                latest[i] = value
                times[i] = at
            elif held != value:
                self.others.append((TRACKED[i], value, at))
        changed = tuple(latest) != self._latest
        self._latest = tuple(latest)
        self._latest_at = 0.0
        return changed

    def _times(self) -> list[float]:
        """Return the event time of each tracked value, settled up to now."""
        times = self._at_of
        if times is None:
            times = self._at_of = [0.0] * len(TRACKED)
        if self._latest_at:
            for i, value in enumerate(self._latest):
                if value is not None and times[i] < self._latest_at:
                    times[i] = self._latest_at
        return times

    def move(self, report: Report) -> None:
        """Take the place that a report comes from: its NAS entry was renamed, or the box has two."""
        self.key, self.nas, self.box = report.key, report.nas, report.box
        self.source = b""  # packets come from elsewhere perhaps
        self.moved = True

    def close_by_reboot(self, at: float) -> bool:
        """Close because the NAS said that it started or stopped accounting at `at`; False if already closed."""
        if self.closed_at is not None or self.started_at > at:
            return False
        return self._close(at, Closed.NAS_REBOOT, "nas-reboot")

    def conclude(self, by: Closed, cause: str) -> bool:
        """Close as of the last time its NAS told of it, because we conclude that it is gone; False if closed."""
        if self.closed_at is not None:
            return False
        return self._close(self.updated_at, by, cause)

    def _close(self, at: float, by: Closed, cause: str | None) -> bool:
        outweighs = self.closed_by is not Closed.STOP and by is Closed.STOP
        earlier = by is self.closed_by and (at, cause or "") < (
            self.closed_at or 0.0,
            self.terminate_cause or "",
        )
        if self.closed_at is None or outweighs or earlier:
            self.closed_at = at
            self.closed_by = by
            self.terminate_cause = cause
            return True
        return False
