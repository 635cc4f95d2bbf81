"""Gathers the records of an import, joins single units to ranges, and refuses what contradicts itself."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address

from ipam.imports.records import (
    Address,
    Block,
    Finding,
    Imported,
    LeaseRecord,
    PrefixRecord,
    RangeRecord,
    Refused,
    ReservationRecord,
)

MAX_PROBLEMS = 1_000

_Placed = PrefixRecord | ReservationRecord | LeaseRecord


@dataclass(slots=True)
class _Run:
    """Units that follow one another, counted in units; where the first of them stands."""

    first: int
    last: int
    file: str
    line: int
    pool: str
    whole: bool = False  # written as a range, so that single units of it may be named as well


class Collector:
    """The result of an import while it is read; `finish` makes it complete or refuses it."""

    def __init__(self) -> None:
        self.problems: list[Finding] = []
        self.problem_count = 0
        self.notes: list[Finding] = []
        self._prefixes: dict[tuple[str, Block], PrefixRecord] = {}
        self._reservations: dict[tuple[str, Block], ReservationRecord] = {}
        self._leases: dict[tuple[str, Block], LeaseRecord] = {}
        self._runs: dict[tuple[str, int, int], list[_Run]] = {}

    def problem(self, finding: Finding) -> None:
        """Take what makes the import impossible."""
        self.problem_count += 1
        if len(self.problems) < MAX_PROBLEMS:
            self.problems.append(finding)

    def note(self, finding: Finding) -> None:
        """Take what the files say and the records cannot."""
        if len(self.notes) < MAX_PROBLEMS:
            self.notes.append(finding)

    def prefix(self, record: PrefixRecord) -> None:
        known = self._prefixes.setdefault((record.vrf, record.prefix), record)
        if known is not record:
            self._twice(record.prefix, record, known)

    def reservation(self, record: ReservationRecord) -> None:
        known = self._reservations.setdefault((record.vrf, record.block), record)
        if known is not record:
            self._twice(record.block, record, known)

    def lease(self, record: LeaseRecord) -> None:
        known = self._leases.setdefault((record.vrf, record.block), record)
        if known is not record:
            self._twice(record.block, record, known)

    def unit(self, pool: str, vrf: str, block: Block, file: str, line: int) -> None:
        """Take one unit of a pool; units in order cost no memory."""
        number = int(block.network_address) >> (block.max_prefixlen - block.prefixlen)
        runs = self._runs.setdefault((vrf, block.version, block.prefixlen), [])
        if runs and runs[-1].pool == pool and runs[-1].last + 1 == number and not runs[-1].whole:
            runs[-1].last = number
        else:
            runs.append(_Run(number, number, file, line, pool))

    def range(self, pool: str, vrf: str, first: Block, last: Block, file: str, line: int) -> None:
        """Take the units of a pool from a first to a last one of the same length."""
        shift = first.max_prefixlen - first.prefixlen
        run = _Run(
            int(first.network_address) >> shift, int(last.network_address) >> shift, file, line, pool, True
        )
        self._runs.setdefault((vrf, first.version, first.prefixlen), []).append(run)

    def finish(self) -> Imported | Refused:
        """Return everything, or every problem."""
        ranges = self._ranges()
        if self.problem_count:
            return Refused(tuple(self.problems), self.problem_count)
        return Imported(
            prefixes=tuple(self._prefixes.values()),
            ranges=tuple(ranges),
            reservations=tuple(self._reservations.values()),
            leases=tuple(self._leases.values()),
            notes=tuple(self.notes),
        )

    def _twice(self, block: Block, record: _Placed, known: _Placed) -> None:
        self.problem(
            Finding(
                file=record.file,
                line=record.line,
                field="address",
                got=str(block),
                expected=f"each block once in a VRF; it stands in {known.file}:{known.line} already",
                remedy="remove one of the two, or put them in different VRFs",
            )
        )

    def _ranges(self) -> list[RangeRecord]:
        found: list[RangeRecord] = []
        for (vrf, version, length), runs in sorted(self._runs.items()):
            runs.sort(key=lambda run: (run.first, run.last))
            for lower, upper in _overlapping(runs):
                self._overlap(lower, upper, version, length)
            shift = (32 if version == 4 else 128) - length
            found += [
                RangeRecord(
                    pool=run.pool,
                    first=_address(version, run.first << shift),
                    last=_address(version, ((run.last + 1) << shift) - 1 if shift else run.last),
                    length=length,
                    vrf=vrf,
                    file=run.file,
                    line=run.line,
                )
                for run in _joined(runs)
            ]
        found.sort(key=lambda record: record.pool)
        return found

    def _overlap(self, lower: _Run, upper: _Run, version: int, length: int) -> None:
        shift = (32 if version == 4 else 128) - length
        both = "twice in pool" if lower.pool == upper.pool else f"in pool {lower.pool} and in pool"
        self.problem(
            Finding(
                file=upper.file,
                line=upper.line,
                field="pool",
                got=f"{_address(version, upper.first << shift)} {both} {upper.pool}",
                expected=f"each address in one pool of a VRF; the other is in the rows from {lower.file}:{lower.line}",
                remedy="remove one of the two, or name a VRF for one of the pools",
            )
        )


def _overlapping(runs: list[_Run]) -> Iterator[tuple[_Run, _Run]]:
    """Yield each run with the one before it that it must not overlap; `runs` are sorted."""
    furthest: dict[bool, _Run] = {}  # of runs written as ranges, and of units
    for run in runs:
        for whole, lower in furthest.items():
            both = lower.pool == run.pool and whole is not run.whole
            if run.first <= lower.last and not both:
                yield lower, run
        known = furthest.get(run.whole)
        if known is None or known.last < run.last:
            furthest[run.whole] = run


def _joined(runs: list[_Run]) -> list[_Run]:
    joined: list[_Run] = []
    for run in runs:
        if joined and joined[-1].pool == run.pool and joined[-1].last + 1 >= run.first:
            joined[-1].last = max(joined[-1].last, run.last)
        else:
            joined.append(run)
    return joined


def _address(version: int, value: int) -> Address:
    return IPv4Address(value) if version == 4 else IPv6Address(value)
