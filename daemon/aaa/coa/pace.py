"""How fast CoA may go: token buckets and places in flight, for each NAS and for all; a dead NAS stalls nobody.

Pure: `now` is monotonic seconds.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import inf

_MANY = 1000


@dataclass(frozen=True, slots=True, kw_only=True)
class PaceOptions:
    """Rates are turns of jobs a second, mostly one request each; `in_flight` is how many wait at once.

    A burst is started in one go, so it must not hold up logins for long: a turn costs about a fifth of a
    millisecond.

    After `suspect_after` silences in a row a NAS gets one job at a time, `probe_s` apart.
    """

    nas_per_s: float = 50.0
    nas_burst: int = 32
    nas_in_flight: int = 32
    overall_per_s: float = 500.0
    overall_burst: int = 64
    overall_in_flight: int = 256
    suspect_after: int = 3
    probe_s: float = 10.0


class Bucket:
    """Tokens that come at a steady rate, up to a size."""

    __slots__ = ("_at", "_per_s", "_size", "_tokens")

    def __init__(self, per_s: float, size: int, now: float) -> None:
        self._per_s = per_s
        self._size = float(size)
        self._tokens = float(size)
        self._at = now

    def _fill(self, now: float) -> None:
        if now > self._at:
            self._tokens = min(self._size, self._tokens + (now - self._at) * self._per_s)
            self._at = now

    def ready_at(self, now: float) -> float:
        """Return when there is a whole token, `now` if there is one."""
        self._fill(now)
        # A rounding error must not make a token that is due a token that is nearly due for ever.
        return now if self._tokens >= 1 - 1e-9 else now + (1 - self._tokens) / self._per_s

    def take(self, now: float) -> None:
        """Take a token."""
        self._fill(now)
        self._tokens -= 1

    def full(self, now: float) -> bool:
        """Tell whether nothing is owed to it."""
        self._fill(now)
        return self._tokens >= self._size


class _Lane:
    """What is known of one box."""

    __slots__ = ("bucket", "in_flight", "not_before", "silences", "suspect")

    def __init__(self, bucket: Bucket) -> None:
        self.bucket = bucket
        self.in_flight = 0
        self.silences = 0
        self.suspect = False
        self.not_before = 0.0


class Pace:
    """Says when a box may get its next request. A box is a key of octets, see `aaa.sessions.place`."""

    def __init__(self, options: PaceOptions, now: float) -> None:
        self._options = options
        self._overall = Bucket(options.overall_per_s, options.overall_burst, now)
        self._lanes: dict[bytes, _Lane] = {}
        self._crowded = _MANY
        self.in_flight = 0

    def _lane(self, box: bytes, now: float) -> _Lane:
        lane = self._lanes.get(box)
        if lane is None:
            if len(self._lanes) >= self._crowded:
                self._sweep(now)
            options = self._options
            lane = self._lanes[box] = _Lane(Bucket(options.nas_per_s, options.nas_burst, now))
        return lane

    def overall_ready_at(self, now: float) -> float:
        """Return when anybody at all may send; infinity while all places are taken."""
        if self.in_flight >= self._options.overall_in_flight:
            return inf
        return self._overall.ready_at(now)

    def ready_at(self, box: bytes, now: float) -> float:
        """Return when this box may be sent to; infinity where that depends on something ending first."""
        lane = self._lane(box, now)
        most = 1 if lane.suspect else self._options.nas_in_flight
        if lane.in_flight >= most:
            return inf
        return max(self.overall_ready_at(now), lane.bucket.ready_at(now), lane.not_before)

    def start(self, box: bytes, now: float) -> None:
        """Note that a turn begins."""
        lane = self._lane(box, now)
        lane.bucket.take(now)
        self._overall.take(now)
        lane.in_flight += 1
        self.in_flight += 1

    def finish(self, box: bytes, heard: bool | None, now: float) -> bool | None:
        """Note that a turn ended; `heard` tells whether the box answered, None that it was not asked.

        Returns True where the box has become suspect by that, False where it is no longer, None for no change.
        """
        lane = self._lane(box, now)
        lane.in_flight -= 1
        self.in_flight -= 1
        if heard is None:
            return None
        was = lane.suspect
        lane.silences = 0 if heard else lane.silences + 1
        lane.suspect = lane.silences >= self._options.suspect_after
        lane.not_before = now + self._options.probe_s if lane.suspect else 0.0
        return None if lane.suspect is was else lane.suspect

    def suspects(self) -> tuple[bytes, ...]:
        """Return the boxes that do not answer."""
        return tuple(box for box, lane in self._lanes.items() if lane.suspect)

    def _sweep(self, now: float) -> None:
        """Drop the boxes of which nothing is remembered."""
        self._lanes = {
            box: lane
            for box, lane in self._lanes.items()
            if lane.in_flight or lane.silences or not lane.bucket.full(now)
        }
        self._crowded = max(_MANY, 2 * len(self._lanes))
