"""What a benchmark found: medians, targets, the Markdown for README.md, the JSON for machines."""

from __future__ import annotations

import json
import statistics
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from load import Outcome
from machine import BenchError, Facts

START, END = "<!-- results: start -->", "<!-- results: end -->"
EDGE = "DotMac Edge"

LOGIN_CPU_US = 13.0  # CPU time of a login
LOGIN_TIMES = 2.0  # our logins a second for each of FreeRADIUS
RECORD_TIMES = 10.0  # our durable records a second for each of FreeRADIUS with PostgreSQL
RECORD_P99_MS = 20.0  # at the window of 256
_WORK = {"pap": "login, PAP", "chap": "login, CHAP", "acct": "accounting, durable"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """One benchmark: the machine, the versions, how FreeRADIUS was set, every single run, what was odd."""

    facts: Facts
    versions: Mapping[str, str]
    threads: Mapping[str, int]  # FreeRADIUS: the pool that was fastest of those tried; 0 is `-s`
    rounds: int
    outcomes: Sequence[Outcome]
    notes: Sequence[str]

    @property
    def clean(self) -> bool:
        """Tell whether every run was answered completely and rightly, and kept all it acknowledged."""
        return all(outcome.clean for outcome in self.outcomes)


@dataclass(frozen=True, slots=True)
class Row:
    """The medians of the runs of one load against one server; what went wrong is summed up."""

    server: str
    mode: str
    window: int
    rate: float
    cpu_us: float
    p50_ms: float
    p99_ms: float
    memory_mib: float
    lost: int
    wrong: int
    acknowledged: int
    stored: int | None


@dataclass(frozen=True, slots=True)
class Target:
    """A number that was aimed at, and what came out."""

    what: str
    wanted: str
    got: str
    met: bool


def rows(outcomes: Sequence[Outcome]) -> list[Row]:
    """Return one row for each server and load, in the order in which they first ran, loads together."""
    groups: dict[tuple[str, int, str], list[Outcome]] = {}
    for outcome in outcomes:
        groups.setdefault((outcome.mode, outcome.window, outcome.server), []).append(outcome)
    loads = list(dict.fromkeys(key[:2] for key in groups))
    ordered = sorted(groups, key=lambda key: loads.index(key[:2]))
    return [_row(groups[key]) for key in ordered]


def targets(table: Sequence[Row]) -> list[Target]:
    """Return what was reached of each target that the rows can judge."""
    return [target for ours, peer in _pairs(table) for target in _judge(ours, peer)]


def markdown(result: Result) -> str:
    """Return the facts, the table and the targets as Markdown."""
    table = rows(result.outcomes)
    parts = ["\n".join(_head(result)), "\n".join(_table(table)), *_stored(table)]
    judged = targets(table)
    if judged:
        lines = ["| target | wanted | measured | met |", "|---|---|---|---|"]
        lines += [
            f"| {each.what} | {each.wanted} | {each.got} | {'yes' if each.met else '**no**'} |"
            for each in judged
        ]
        parts.append("\n".join(lines))
    parts += result.notes
    return "\n\n".join(parts) + "\n"


def save(result: Result, path: Path) -> None:
    """Write every number, single runs and medians, as JSON."""
    table = rows(result.outcomes)
    document = asdict(result) | {
        "medians": [asdict(row) for row in table],
        "targets": [asdict(target) for target in targets(table)],
        "clean": result.clean,
    }
    path.write_text(json.dumps(document, indent=2) + "\n")


def replace(page: Path, text: str, between: tuple[str, str] = (START, END)) -> None:
    """Put `text` between two markers of a page; raises BenchError where they are missing."""
    before, start, rest = page.read_text().partition(between[0])
    _, end, after = rest.partition(between[1])
    if not start or not end:
        raise BenchError(f"{page}: no {between[0]} and {between[1]}")
    page.write_text(f"{before}{start}\n\n{text}\n{end}{after}")


def _row(runs: Sequence[Outcome]) -> Row:
    first = runs[0]
    kept = [run.stored for run in runs if run.stored is not None]
    return Row(
        server=first.server,
        mode=first.mode,
        window=first.window,
        rate=statistics.median(run.rate for run in runs),
        cpu_us=statistics.median(run.cpu_us for run in runs),
        p50_ms=statistics.median(run.p50_ms for run in runs),
        p99_ms=statistics.median(run.p99_ms for run in runs),
        memory_mib=statistics.median(run.memory_mib for run in runs),
        lost=sum(run.lost for run in runs),
        wrong=sum(run.wrong + run.without_message_authenticator for run in runs),
        acknowledged=sum(run.answered for run in runs),
        stored=sum(kept) if kept else None,
    )


def _pairs(table: Sequence[Row]) -> Iterator[tuple[Row, Row]]:
    """Yield our row and the peer's for each load that both have run."""
    for ours in table:
        for peer in table:
            same = (ours.mode, ours.window) == (peer.mode, peer.window)
            if same and ours.server == EDGE != peer.server:
                yield ours, peer


def _judge(ours: Row, peer: Row) -> Iterator[Target]:
    load = f"{_WORK[ours.mode]}, window {ours.window}"
    times = ours.rate / peer.rate if peer.rate else 0.0
    least = RECORD_TIMES if ours.mode == "acct" else LOGIN_TIMES
    yield Target(f"{load}: rate against {peer.server}", f">= {least:.0f}x", f"{times:.1f}x", times >= least)
    if ours.mode == "pap":
        met = ours.cpu_us <= LOGIN_CPU_US
        yield Target(f"{load}: CPU", f"<= {LOGIN_CPU_US:.0f} us", f"{ours.cpu_us:.1f} us", met)
    if ours.mode == "acct" and ours.window == 256:
        met = ours.p99_ms < RECORD_P99_MS
        yield Target(f"{load}: p99", f"< {RECORD_P99_MS:.0f} ms", f"{ours.p99_ms:.1f} ms", met)


def _head(result: Result) -> Iterator[str]:
    facts = result.facts
    yield f"{facts.date}, median of {result.rounds} alternating round{'s' if result.rounds > 1 else ''}."
    yield from of_machine(facts)
    yield f"{', '.join(f'{name} {version}' for name, version in result.versions.items())}."
    if result.threads:
        kept = (f"{work} {count or 'none (`-s`)'}" for work, count in result.threads.items())
        yield f"FreeRADIUS worker threads, the fastest of those tried: {', '.join(kept)}."


def of_machine(facts: Facts) -> Iterator[str]:
    """Say what was measured on, in two lines."""
    yield f"Machine: {facts.cpu}, {facts.cores} cores, Linux {facts.kernel}, {facts.filesystem},"
    yield f"append and fsync of 4 KiB {facts.fsync_us:.0f} us. {facts.python}."


def _table(table: Sequence[Row]) -> Iterator[str]:
    yield "| work | window | server | rate/s | CPU us | p50 ms | p99 ms | memory MiB | lost | wrong |"
    yield "|---|---|---|---|---|---|---|---|---|---|"
    for row in table:
        yield (
            f"| {_WORK[row.mode]} | {row.window} | {row.server} | {row.rate:,.0f} | {row.cpu_us:.1f} |"
            f" {row.p50_ms:.2f} | {row.p99_ms:.2f} | {row.memory_mib:.0f} | {row.lost} | {row.wrong} |"
        )


def _stored(table: Sequence[Row]) -> list[str]:
    """Say for each server how many of the records that it acknowledged are in its store."""
    said = []
    for server in dict.fromkeys(row.server for row in table if row.stored is not None):
        mine = [row for row in table if row.server == server and row.stored is not None]
        acknowledged = sum(row.acknowledged for row in mine)
        stored = sum(row.stored or 0 for row in mine)
        said.append(f"{server}: {acknowledged:,} records acknowledged, {stored:,} found in its store.")
    return ["\n".join(said)] if said else []
