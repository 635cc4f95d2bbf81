"""What the lease benchmark found: the tables for README.md and the JSON for machines."""

from __future__ import annotations

import json
import statistics
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import NamedTuple

from lease_book import Figure
from load import Outcome
from machine import Facts
from report import EDGE, of_machine

NEW, AGAIN, FULL = "new", "again", "new, pool filled to 99.9 %"
"""What logins ask for: an address for a new owner; for one whose lease stands; nearly the last ones of a pool."""

STICKY_US, FULL_US, DURABLE_S = 2.0, 10.0, 50_000
# What a prototype of the book alone came to, as a limit for comparison.
_LIMITS = {
    "allocations": "1.5 million a second",
    "allocator-sticky": "0.3 us",
    "allocator-new": "p99 2 us",
    "allocator-memory": "91 MB",
    "durable-1024": "100,000/s",
    "start": "1.4 s",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """One run over the wire. `load` says how it was offered; Kea's exchange is two round trips, ours one."""

    server: str
    work: str
    load: str
    rate: float  # leases a second
    cpu_us: float  # of all processes of the server, for each lease
    p50_ms: float
    p99_ms: float
    memory_mib: float
    asked: int
    lost: int
    wrong: int

    @property
    def told(self) -> int:
        """How many clients were told an address."""
        return self.asked - self.lost - self.wrong


class Stored(NamedTuple):
    """What a server's own store has after its runs: so many clients were told an address, so many are stored."""

    server: str
    told: int
    owners: int
    addresses: int

    @property
    def sound(self) -> bool:
        """Tell whether each who was told an address has one there, and no address is there twice."""
        return self.told <= self.owners == self.addresses


@dataclass(frozen=True, slots=True)
class Million:
    """A pool and its leases as one server keeps them: words for a table, empty where there is nothing to say."""

    server: str
    pool: str
    start: str
    memory: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """One benchmark. `missing` says why a server could not be measured."""

    facts: Facts
    versions: Mapping[str, str]
    compiled: bool
    leases: int
    rounds: int
    figures: Sequence[Figure]
    runs: Sequence[Run]
    stored: Sequence[Stored]
    millions: Sequence[Million]
    missing: Mapping[str, str]
    notes: Sequence[str]

    @property
    def clean(self) -> bool:
        """Tell whether nothing was answered wrongly, and what was told is stored.

        What Kea drops when more is offered than it can do is its answer to overload, and no fault.
        """
        right = all(not run.wrong and (not run.lost or run.server == "Kea") for run in self.runs)
        return right and all(each.sound for each in self.stored)


def of_outcome(outcome: Outcome, work: str) -> Run:
    """Return a run of radload as a row."""
    return Run(
        server=outcome.server,
        work=work,
        load=f"window {outcome.window}",
        rate=outcome.rate,
        cpu_us=outcome.cpu_us,
        p50_ms=outcome.p50_ms,
        p99_ms=outcome.p99_ms,
        memory_mib=outcome.memory_mib,
        asked=outcome.sent,
        lost=outcome.lost,
        wrong=outcome.wrong + outcome.without_message_authenticator,
    )


def save(result: Result, path: Path) -> None:
    """Write every number as JSON."""
    path.write_text(json.dumps(asdict(result) | {"clean": result.clean}, indent=2) + "\n")


def markdown(result: Result) -> str:
    """Return facts, tables and targets as Markdown."""
    rows = medians(result.runs)
    parts = [
        "\n".join(_head(result)),
        "\n".join(_figures(result.figures)),
        "\n".join(_runs(rows, result.missing)),
        "\n".join(_stored(result.stored)),
        "\n".join(_millions(result)),
        "\n".join(_targets(result.figures, rows)),
        *result.notes,
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def medians(runs: Sequence[Run]) -> list[Run]:
    """Return one row for each server and work; what was asked, lost and wrong is summed up."""
    groups: dict[tuple[str, str, str], list[Run]] = {}
    for run in runs:
        groups.setdefault((run.work, run.load, run.server), []).append(run)
    works = list(dict.fromkeys(key[0] for key in groups))
    loads = list(dict.fromkeys(key[1] for key in groups))
    ordered = sorted(groups, key=lambda key: (works.index(key[0]), loads.index(key[1])))
    return [_median(groups[key]) for key in ordered]


def _median(runs: Sequence[Run]) -> Run:
    def middle(name: str) -> float:
        return float(statistics.median(getattr(run, name) for run in runs))

    return Run(
        server=runs[0].server,
        work=runs[0].work,
        load=runs[0].load,
        rate=middle("rate"),
        cpu_us=middle("cpu_us"),
        p50_ms=middle("p50_ms"),
        p99_ms=middle("p99_ms"),
        memory_mib=middle("memory_mib"),
        asked=sum(run.asked for run in runs),
        lost=sum(run.lost for run in runs),
        wrong=sum(run.wrong for run in runs),
    )


def _head(result: Result) -> Iterator[str]:
    rounds = f"{result.rounds} alternating round{'s' if result.rounds > 1 else ''}"
    yield f"{result.facts.date}, over the wire the median of {rounds}."
    yield from of_machine(result.facts)
    yield f"{', '.join(f'{name} {version}' for name, version in result.versions.items())}."
    yield f"The address book ran {'as machine code' if result.compiled else 'as Python, not compiled'}."


def _figures(figures: Sequence[Figure]) -> Iterator[str]:
    if not figures:
        return
    yield "| the address book alone, one core | measured | a prototype's limit |"
    yield "|---|---|---|"
    yield from (f"| {each.what} | {each.shown} | {_LIMITS.get(each.name, '')} |" for each in figures)


def _runs(rows: Sequence[Run], missing: Mapping[str, str]) -> Iterator[str]:
    if not rows and not missing:
        return
    yield "| lease for | load | server | leases/s | CPU us | p50 ms | p99 ms | memory MiB | lost | wrong |"
    yield "|---|---|---|---|---|---|---|---|---|---|"
    for row in rows:
        lost = f"{row.lost:,}" if row.lost == 0 else f"{row.lost:,} of {row.asked:,}"
        yield (
            f"| {row.work} | {row.load} | {row.server} | {row.rate:,.0f} | {row.cpu_us:,.0f} |"
            f" {row.p50_ms:.2f} | {row.p99_ms:.2f} | {row.memory_mib:.0f} | {lost} | {row.wrong:,} |"
        )
    yield from (f"| | | {server} | not measured: {why} | | | | | | |" for server, why in missing.items())


def _stored(stored: Sequence[Stored]) -> Iterator[str]:
    for server in dict.fromkeys(each.server for each in stored):
        mine = [each for each in stored if each.server == server]
        told, owners, addresses = (sum(counts) for counts in zip(*(each[1:] for each in mine), strict=True))
        each = Stored(server, told, owners, addresses)
        yield (
            f"{each.server}: {each.told:,} clients were told an address; in its store {each.owners:,} have"
            f" {each.addresses:,} addresses{'.' if each.sound else ': **not as it must be**.'}"
        )


def _millions(result: Result) -> Iterator[str]:
    if not result.millions:
        return
    yield f"| {result.leases:,} addresses, {result.leases:,} leases | the pool is made in | start | memory |"
    yield "|---|---|---|---|"
    yield from (f"| {each.server} | {each.pool} | {each.start} | {each.memory} |" for each in result.millions)


def _targets(figures: Sequence[Figure], rows: Sequence[Run]) -> Iterator[str]:
    judged = [*_of_book(figures), *_of_peers(rows)]
    if not judged:
        return
    yield "| target | wanted | measured | met |"
    yield "|---|---|---|---|"
    for what, wanted, got, met in judged:
        yield f"| {what} | {wanted} | {got} | {'yes' if met else '**no**'} |"


def _of_book(figures: Sequence[Figure]) -> Iterator[tuple[str, str, str, bool]]:
    value = {each.name: each.value for each in figures}
    for name, what, most in (
        ("allocator-sticky", "allocator, sticky", STICKY_US),
        ("allocator-new", "allocator, new owner at 99.9 % use", FULL_US),
    ):
        if name in value:
            yield what, f"<= {most:.0f} us", f"{value[name]:.1f} us", value[name] <= most
    rates = [value[name] for name in value if name.startswith("durable-")]
    if rates:
        best = max(rates)
        yield "durable leases, one core", f">= {DURABLE_S:,}/s", f"{best:,.0f}/s", best >= DURABLE_S


def _of_peers(rows: Sequence[Run]) -> Iterator[tuple[str, str, str, bool]]:
    for ours in rows:
        for peer in rows:
            alike = ours.load == peer.load or not peer.load.startswith("window")
            if ours.server == EDGE != peer.server and ours.work == peer.work and alike and peer.rate:
                if ours.work == FULL and not peer.load.startswith("window"):
                    continue  # Kea is offered few there, to see what one costs
                times, cheaper = ours.rate / peer.rate, peer.cpu_us / max(ours.cpu_us, 0.1)
                what = f"{ours.work}, {ours.load}: leases/s against {peer.server}"
                yield what, "> 1x", f"{times:.1f}x, for 1/{cheaper:.1f} of the CPU time", times > 1
