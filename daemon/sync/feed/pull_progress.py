"""What a source has done and how it stands: kept for people, told as events where it changes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Protocol

from daemon.clock import Clock
from daemon.sync.feed.model import Refused
from daemon.sync.feed.pull_options import PullOptions, PullState, PullStatus, Skew


class Tell(Protocol):
    """Takes one event; `daemon.events.Events.add` is one."""

    def __call__(self, kind: str, /, *, tenant: str = "", reason: str = "", **fields: object) -> object: ...


class Progress:
    """The status of one source, and what is told of it."""

    def __init__(self, feed: str, tenant: str, options: PullOptions, clock: Clock, tell: Tell) -> None:
        self._feed = feed
        self._tenant = tenant
        self._options = options
        self._clock = clock
        self._tell = tell
        self.status = PullStatus(since=clock.wall())

    def be(self, state: PullState) -> None:
        """Note what is being done now."""
        if state is not self.status.state:
            self.status = replace(self.status, state=state, since=self._clock.wall(), next_try_at=None)

    def connected(self, certificate_until: float | None) -> None:
        """Note that the platform has said hello."""
        if self.status.connected_at is None:
            self._say("feed-connected")
        at = self._clock.wall()
        self.status = replace(self.status, connected_at=at, certificate_until=certificate_until)

    def failed(self, detail: str, pause_s: float) -> None:
        """Note a failure, and how long it is until the next try; told once until there is a connection again."""
        at = self._clock.wall()
        if self.status.connected_at is not None or self.status.error != detail:
            self._say("feed-lost", reason="connection", detail=detail, pause_s=round(pause_s, 1))
        self.be(PullState.WAITING)
        self.status = replace(
            self.status,
            error=detail,
            error_at=at,
            failures=self.status.failures + 1,
            next_try_at=at + pause_s,
            connected_at=None,
        )

    def well(self) -> None:
        """Note that something came of it: the next pause is a short one again."""
        if self.status.failures or self.status.error:
            self.status = replace(self.status, failures=0, error="", error_at=None)

    def applied(self) -> None:
        """Count a batch."""
        self.status = replace(self.status, batches=self.status.batches + 1)
        self.well()

    def snapshot_begins(self, *, resumed: bool) -> None:
        """Note that a snapshot is read."""
        if not resumed:
            self.status = replace(self.status, pages=0, items=0)
        self._say("feed-snapshot", reason="resumed" if resumed else "begun")

    def page(self, items: int) -> None:
        """Count a page that is durable."""
        self.status = replace(self.status, pages=self.status.pages + 1, items=self.status.items + items)
        self.well()

    def snapshot_served(self) -> None:
        """Note that a snapshot is served."""
        self.status = replace(self.status, snapshots=self.status.snapshots + 1)
        self._say("feed-snapshot", reason="served", pages=self.status.pages, items=self.status.items)

    def repaired(self, buckets: int) -> None:
        """Count buckets that were not what the platform has, and are now."""
        self.status = replace(self.status, repairs=self.status.repairs + buckets)
        self._say("feed-repaired", reason="digests", buckets=buckets)

    def refused(self, refused: Refused) -> None:
        """Count what was not applied; a brake that is still the same one is told once."""
        refusals = dict(self.status.refused)
        refusals[refused.why] = refusals.get(refused.why, 0) + 1
        known = self.status.state is PullState.BRAKED and refused.why == "brake"
        self.status = replace(self.status, refused=refusals)
        if not known:
            self._say("feed-refused", reason=refused.why.value, detail=refused.detail)

    def clock_seen(self, server_time: float | None, asked_at: float, at: float) -> None:
        """Compare the clocks: the platform's is taken to be of the middle of the request."""
        if server_time is None:
            return
        skew_s = server_time - (asked_at + at) / 2
        found = self._skew(abs(skew_s))
        if found is not self.status.skew and (found, self.status.skew) != (Skew.FINE, Skew.UNKNOWN):
            self._say("feed-clock-skew", reason=found.value, skew_s=round(skew_s, 1))
        self.status = replace(self.status, skew_s=skew_s, skew=found)

    def _skew(self, apart_s: float) -> Skew:
        if apart_s >= self._options.skew_alarm_s:
            return Skew.ALARM
        return Skew.WARN if apart_s >= self._options.skew_warn_s else Skew.FINE

    def _say(self, kind: str, reason: str = "", **fields: object) -> None:
        named: Mapping[str, object] = fields
        self._tell(kind, tenant=self._tenant, reason=reason, feed=self._feed, **named)


KINDS = (
    ("feed-connected", "a feed's platform answers"),
    ("feed-lost", "a feed's platform cannot be reached, or does not answer as it should"),
    ("feed-snapshot", "all of a feed is read anew, or what was read is served now"),
    ("feed-refused", "what a feed brought was not applied"),
    ("feed-repaired", "objects were not what the platform has, and are again"),
    ("feed-clock-skew", "the platform's clock and ours are apart, or together again"),
)
"""The kinds of events that a source tells."""
