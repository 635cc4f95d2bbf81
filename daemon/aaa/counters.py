"""Traffic counters of one session, whatever order its samples come in.

A NAS reports totals since the start of the session. Between two samples a total may fall for three reasons:
it wrapped at 32 bits (no gigawords), the NAS began again at zero, or the samples came out of order. Samples
are therefore kept as runs that only rise, sorted by the time of the event: the usual session is one run, held
as its first and last sample, and an update costs one comparison. The totals are a function of the *set* of
samples, not of their order of arrival.
"""

from __future__ import annotations

from itertools import pairwise
from typing import NamedTuple

WRAP = 1 << 32
_NEAR_WRAP = 1 << 31
_MOST_RUNS = 64  # a NAS whose counters fall again and again does not grow a session without end


class Sample(NamedTuple):
    """What one packet says; it sorts by event time, then by the NAS's own session time."""

    at: float
    session_time_s: int
    upload_octets: int
    download_octets: int
    upload_packets: int
    download_packets: int
    gigawords: bool


class Totals(NamedTuple):
    """Counters of the whole session."""

    upload_octets: int
    download_octets: int
    upload_packets: int
    download_packets: int


NOTHING = Totals(0, 0, 0, 0)


class Counters:
    """The runs of one session, oldest first; each is (first sample, last sample)."""

    __slots__ = ("base", "runs")

    def __init__(self, runs: list[tuple[Sample, Sample]] | None = None, base: Totals = NOTHING) -> None:
        self.runs = runs or []
        self.base = base  # of runs merged away

    @property
    def totals(self) -> Totals:
        """The counters of the whole session."""
        return _sum(self.base, _totals(self.runs))

    def add(self, sample: Sample) -> bool:
        """Take a sample into account; False when it changes nothing."""
        runs = self.runs
        if not runs:
            runs.append((sample, sample))
            return True
        first, last = runs[-1]
        if sample > last and _rises(last, sample):  # the usual case
            runs[-1] = (first, sample)
            return sample[2:6] != last[2:6]
        before = self.totals
        _insert(runs, sample)
        if len(runs) > _MOST_RUNS:
            self.base = _sum(self.base, _lost_between(runs[0][1], runs[1][0]))
            del runs[0]
        return self.totals != before


def _rises(earlier: Sample, later: Sample) -> bool:
    return (
        later[1] >= earlier[1]
        and later[2] >= earlier[2]
        and later[3] >= earlier[3]
        and later[4] >= earlier[4]
        and later[5] >= earlier[5]
    )


def _insert(runs: list[tuple[Sample, Sample]], sample: Sample) -> None:
    """Put a sample that is not simply the next one in its place."""
    place = 0
    while place < len(runs) and runs[place][1] < sample:
        place += 1
    if place < len(runs):
        first, last = runs[place]
        if first <= sample:
            if not (_rises(first, sample) and _rises(sample, last)):
                runs[place : place + 1] = _split(first, last, sample)
            return
    before = runs[place - 1] if place else None
    after = runs[place] if place < len(runs) else None
    if before is not None and _rises(before[1], sample):
        runs[place - 1] = (before[0], sample)
    elif after is not None and _rises(sample, after[0]):
        runs[place] = (sample, after[1])
    else:
        runs.insert(place, (sample, sample))


def _split(first: Sample, last: Sample, sample: Sample) -> list[tuple[Sample, Sample]]:
    """Return the runs that a sample inside a run makes of it, when it does not fit between its ends."""
    if _rises(first, sample):
        return [(first, sample), (last, last)]
    if _rises(sample, last):
        return [(first, first), (sample, last)]
    return [(first, first), (sample, sample), (last, last)]


def _totals(runs: list[tuple[Sample, Sample]]) -> Totals:
    if not runs:
        return NOTHING
    totals = Totals(*runs[-1][1][2:6])
    for (_, end), (start, _) in pairwise(runs):
        totals = _sum(totals, _lost_between(end, start))
    return totals


def _sum(one: Totals, other: Totals) -> Totals:
    return Totals(*(a + b for a, b in zip(one, other, strict=True)))


def _lost_between(end: Sample, start: Sample) -> Totals:
    """Return what the counters had reached before they fell between two runs."""
    again = start.session_time_s < end.session_time_s
    return Totals(*(_lost_at_boundary(end, start, field, began_again=again) for field in range(2, 6)))


def _lost_at_boundary(end: Sample, start: Sample, field: int, *, began_again: bool) -> int:
    """Return what a counter had reached before it fell between two runs."""
    before, after = int(end[field]), int(start[field])
    if began_again:
        return before
    if after >= before:
        return 0
    if before >= _NEAR_WRAP and before < WRAP and not (end.gigawords or start.gigawords):
        return WRAP
    return before
