"""Measure the outbox: accounting records from the journal to the reference receiver, beside FreeRADIUS into PostgreSQL.

    python bench/outbox.py [--full] [--only sqlite|postgresql|freeradius ...] [--delivery N] [--write]

The edge has one core, the receiver and its database have the other; FreeRADIUS and its database have that core, too,
and radload the first. Both store each record for good before they say so. Exit status: 0 measured, 1 something was lost
or not stored, 2 it could not be measured.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import signal
import socket
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

import load
import machine
import peers
import report
from load import Load
from machine import BenchError, cpu_s, free_port, run, start, stop, wait_until
from outbox_edge import EDGE

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent
README = HERE / "README.md"
OUT = HERE / "out"
MARKERS = "<!-- outbox: start -->", "<!-- outbox: end -->"
PARTS = ("sqlite", "postgresql", "freeradius")
_THREADS = 16  # connections of FreeRADIUS: the best of 8, 16 and 32 in run.py
_STORED = "SELECT count(*) FROM event; SELECT count(*) FROM accounting_record"


@dataclass(frozen=True, slots=True)
class Size:
    """How much is measured."""

    rounds: int
    events: int
    records: int  # of FreeRADIUS


FULL = Size(rounds=3, events=400_000, records=60_000)
QUICK = Size(rounds=1, events=60_000, records=15_000)


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What one run measured; CPU times are for each event. `stored` is by the database's own count."""

    work: str
    events: int
    stored: int
    rate: float
    edge_us: float | None  # of the edge that reads, encodes, signs and posts
    there_us: float  # of the receiver, or FreeRADIUS, with its database

    @property
    def clean(self) -> bool:
        """Tell whether each event is there, once."""
        return self.stored == self.events


class Bench:
    """One benchmark, and what it has found so far."""

    def __init__(self, size: Size, scratch: Path, delivery: int) -> None:
        self.size = size
        self.scratch = scratch
        self.delivery = delivery
        self.there_core, self.edge_core = machine.cores()
        self.outcomes: list[Outcome] = []
        self._count = 0

    def round(self, part: str) -> Outcome:
        """Measure one part once."""
        self._count += 1
        home = self.scratch / f"round{self._count}"
        home.mkdir(mode=0o755)
        outcome = self._freeradius(home) if part == "freeradius" else self._outbox(home, part)
        self.outcomes.append(outcome)
        return outcome

    def _outbox(self, home: Path, part: str) -> Outcome:
        with ExitStack() as stack:
            if part == "postgresql":
                database = stack.enter_context(peers.postgres(home, self.there_core))
                database.ask("CREATE DATABASE events", "postgres")
                url = f"postgresql+asyncpg://bench@/events?host={database.directory}&port={database.port}"
                roots = [database.pid]
            else:
                url, roots = f"sqlite+aiosqlite:///{home}/events.db", []
            port, pid = stack.enter_context(self._receiver(home, url))
            roots.append(pid)
            before = cpu_s(roots)
            words = ["taskset", "-c", str(self.edge_core), sys.executable, HERE / "outbox_edge.py"]
            words += ["--directory", home, "--url", f"http://127.0.0.1:{port}"]
            words += ["--records", str(self.size.events), "--delivery", str(self.delivery)]
            seen = json.loads(run(words, timeout_s=900))
            there = cpu_s(roots) - before
            if part == "postgresql":
                counts = database.ask(_STORED, "events").split()
            else:
                counts = run(["sqlite3", home / "events.db", _STORED]).split()
        return Outcome(
            work=f"outbox to the receiver on {'PostgreSQL' if part == 'postgresql' else 'SQLite'}",
            events=self.size.events,
            stored=min(map(int, counts)),
            rate=seen["events"] / seen["took_s"],
            edge_us=seen["cpu_s"] * 1e6 / seen["events"],
            there_us=there * 1e6 / seen["events"],
        )

    def _freeradius(self, home: Path) -> Outcome:
        radload = load.build(HERE / "radload.c", OUT)
        wanted = Load(mode="acct", window=256, requests=self.size.records, users=self.size.records // 5)
        with ExitStack() as stack:
            database = stack.enter_context(peers.postgres(home, self.there_core))
            live = stack.enter_context(peers.freeradius_accounting(OUT, self.there_core, _THREADS, database))
            found = load.measure(radload, self.edge_core, live, wanted)
        if found.lost or found.wrong:
            raise BenchError(f"FreeRADIUS: {found}")
        return Outcome(
            work="FreeRADIUS, rlm_sql into PostgreSQL",
            events=found.answered,
            stored=found.stored or 0,
            rate=found.rate,
            edge_us=None,
            there_us=found.cpu_us,
        )

    @contextmanager
    def _receiver(self, home: Path, url: str) -> Iterator[tuple[int, int]]:
        """The example of the documentation; its port and process."""
        port, log = free_port(socket.SOCK_STREAM), home / "receiver.log"
        words = [sys.executable, ROOT / "docs/examples/receiver.py", "--database", url, "--port", str(port)]
        keys = {"RECEIVER_KEYS": json.dumps({EDGE: EDGE})}
        process = start(words, log, self.there_core, environ=os.environ | keys)
        try:
            wait_until(lambda: "Uvicorn running" in log.read_text(), process, log, timeout_s=60)
            yield port, process.pid
        finally:
            stop(process)


def markdown(facts: machine.Facts, outcomes: Sequence[Outcome]) -> str:
    """Return the table: the median round of each work by its rate."""
    where = f"{facts.date}, {facts.cpu}, {facts.python}, {facts.filesystem}"
    lines = [
        f"{where}; append and fsync of 4 KiB {facts.fsync_us:.0f} us. One core for the edge, one for what receives.",
        "",
        "| work | events/s | CPU of the edge, us an event | CPU there, us an event | stored once |",
        "|---|---|---|---|---|",
    ]
    for work in dict.fromkeys(each.work for each in outcomes):
        runs = sorted((each for each in outcomes if each.work == work), key=lambda each: each.rate)
        middle = runs[len(runs) // 2]
        edge = "" if middle.edge_us is None else f"{middle.edge_us:.1f}"
        whole = "all" if all(each.clean for each in runs) else "NOT ALL"
        lines.append(f"| {work} | {middle.rate:,.0f} | {edge} | {middle.there_us:.1f} | {whole} |")
    return "\n".join(lines)


def main(arguments: Sequence[str]) -> int:
    """Measure what the arguments ask for, write bench/out/outbox.json, print the table; the exit status."""
    asked = _parser().parse_args(arguments)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that servers are stopped on the way out
    OUT.mkdir(exist_ok=True)
    scratch = Path(tempfile.mkdtemp(prefix="dotmac-edge-outbox-", dir=asked.scratch))
    scratch.chmod(0o755)  # PostgreSQL runs as another user
    try:
        peers.install()
        size = FULL if asked.full else QUICK
        bench = Bench(size, scratch, asked.delivery)
        facts = machine.facts(scratch)
        for number in range(size.rounds):
            for part in asked.only or PARTS:
                print(f"round {number + 1}: {bench.round(part)}", file=sys.stderr, flush=True)
        text = markdown(facts, bench.outcomes)
        kept = {"facts": asdict(facts), "outcomes": [asdict(each) for each in bench.outcomes]}
        (OUT / "outbox.json").write_text(json.dumps(kept, indent=2))
        print(text)
        if asked.write:
            report.replace(README, text, MARKERS)
    except BenchError as problem:
        print(problem, file=sys.stderr)
        return 2
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
    return 0 if all(each.clean for each in bench.outcomes) else 1


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="bench/outbox.py", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument(
        "--full", action="store_true", help="three long rounds: else it is a look, not a measurement"
    )
    parser.add_argument("--only", choices=PARTS, nargs="+", help="some of the parts")
    parser.add_argument(
        "--delivery", type=int, default=500, help="events handed to the sink at once (%(default)s)"
    )
    parser.add_argument("--write", action="store_true", help="put the table into bench/README.md")
    parser.add_argument(
        "--scratch",
        type=Path,
        default=Path("/var/tmp"),
        help="where both keep their data meanwhile: a real disk, not tmpfs (%(default)s)",
    )
    return parser


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
