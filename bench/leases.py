"""Measure leases: the address book alone, then the daemon beside FreeRADIUS with sqlippool, and Kea.

    python bench/leases.py [--quick] [--only book|edge|sqlippool|kea ...] [--write]

One core for the server, another for the load; what is durable is kept on a disk (`--scratch`). Run it compiled
(`make compile`). Exit status: 0 measured, 1 something was lost, wrong or not stored, 2 it could not be measured.
"""

from __future__ import annotations

import argparse
import json
import shutil
import signal
import sys
import tempfile
from collections.abc import Iterable, Sequence
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import edge
import lease_book
import lease_kea
import lease_report
import lease_servers
import load
import machine
import peers
import report
from lease_book import Figure
from lease_report import Million, Result, Run
from lease_servers import OUT, SERVERS, Place, Server, say
from machine import BenchError

HERE = Path(__file__).resolve().parent
README = HERE / "README.md"
MARKERS = "<!-- leases: start -->", "<!-- leases: end -->"
PARTS = ("book", *SERVERS)


class Bench:
    """One benchmark, and what it has found so far."""

    def __init__(self, place: Place, parts: Sequence[str]) -> None:
        self.place = place
        self.parts = parts
        self.figures: list[Figure] = []
        self.runs: list[Run] = []
        self.missing: dict[str, str] = {}
        self.servers: list[Server] = []
        if place.cores[0] == place.cores[1]:
            place.notes.append("One core only: server and load shared it, so that rates mean little.")

    def run(self) -> None:
        """Measure everything that was asked for; servers take turns."""
        if "book" in self.parts:
            self._book()
        for name, kind in SERVERS.items():
            if name in self.parts:
                self._prepare(kind)
        for number in range(self.place.size.rounds):
            for server in self._well():
                self._keep(f"round {number + 1}", server, server.round())
        for server in self._well():
            self._keep("nearly full", server, server.full())

    def result(self, facts: machine.Facts, versions: dict[str, str]) -> Result:
        """Return what was found."""
        return Result(
            facts=facts,
            versions=versions,
            compiled=lease_book.compiled(),
            leases=self.place.size.leases,
            rounds=self.place.size.rounds,
            figures=self.figures,
            runs=self.runs,
            stored=[each for server in self.servers for each in server.stored],
            millions=self.place.millions,
            missing=self.missing,
            notes=self.place.notes,
        )

    def _prepare(self, kind: type[Server]) -> None:
        try:
            self.servers.append(kind(self.place))
        except (lease_kea.Missing, BenchError) as problem:
            self._miss(kind.name, problem)

    def _well(self) -> list[Server]:
        """Return the servers that have not failed so far: one that fails does not keep the others from it."""
        return [server for server in self.servers if server.name not in self.missing]

    def _keep(self, when: str, server: Server, runs: Iterable[Run]) -> None:
        try:
            for run in runs:
                self.runs.append(run)
                say(f"{when}: {_line(run)}")
        except BenchError as problem:
            self._miss(server.name, problem)

    def _miss(self, name: str, problem: Exception) -> None:
        say(f"{name} is not measured: {problem}")
        lines = [line for line in str(problem).splitlines() if line.strip()]
        self.missing[name] = " ".join(dict.fromkeys((lines[0], lines[-1])))  # what failed, and why

    def _book(self) -> None:
        place = self.place
        directory = place.scratch / "book"
        directory.mkdir()
        for part in lease_book.PARTS:
            say(f"the address book alone: {part}")
            command = ["taskset", "-c", str(place.cores[0]), sys.executable, lease_book.__file__, part]
            command += ["--leases", str(place.size.leases), "--directory", str(directory)]
            self.figures += (Figure(**each) for each in json.loads(machine.run(command, timeout_s=900)))
        found = {each.name: each.shown for each in self.figures}
        row = Million(report.EDGE, found["pool"], found["start"], found["start-memory"])
        place.millions.append(row)
        shutil.rmtree(directory)


def main(arguments: Sequence[str]) -> int:
    """Measure what the arguments ask for, write bench/out/leases.json, print the tables; the exit status."""
    asked = _parser().parse_args(arguments)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that servers are stopped on the way out
    OUT.mkdir(exist_ok=True)
    scratch = Path(tempfile.mkdtemp(prefix="dotmac-edge-leases-", dir=asked.scratch))
    scratch.chmod(0o755)  # PostgreSQL runs as another user
    try:
        size = lease_servers.QUICK_SIZE if asked.quick else lease_servers.FULL_SIZE
        place = Place(size, scratch, machine.cores(), load.build(HERE / "radload.c", OUT))
        bench = Bench(place, asked.only or PARTS)
        facts = machine.facts(scratch)
        bench.run()
        result = bench.result(facts, _versions(bench))
        lease_report.save(result, OUT / "leases.json")
        text = lease_report.markdown(result)
        print(text)
        if asked.write:
            report.replace(README, text, MARKERS)
    except BenchError as problem:
        say(str(problem))
        return 2
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
    if report.EDGE in result.missing:
        return 2
    return 0 if result.clean else 1


def _versions(bench: Bench) -> dict[str, str]:
    """Return the versions of what was measured."""
    found = {report.EDGE: edge.version()}
    kinds = {type(server) for server in bench.servers}
    if lease_servers.Sqlippool in kinds:
        found["FreeRADIUS"], found["PostgreSQL"] = peers.versions()
    if lease_servers.Kea in kinds:
        found["Kea"] = lease_kea.version()
    return found


def _line(run: Run) -> str:
    return (
        f"{run.server}, {run.work}, {run.load}: {run.rate:,.0f}/s, {run.cpu_us:,.0f} us, p99 {run.p99_ms:.1f} ms,"
        f" {run.lost:,} lost, {run.wrong:,} wrong"
    )


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="bench/leases.py", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--quick", action="store_true", help="one short round: a look, not a measurement")
    parser.add_argument("--only", choices=PARTS, nargs="+", help="some of the parts")
    parser.add_argument("--write", action="store_true", help="put the tables into bench/README.md")
    parser.add_argument(
        "--scratch",
        type=Path,
        default=Path("/var/tmp"),
        help="where servers keep their data meanwhile: a real disk, not tmpfs (%(default)s)",
    )
    return parser


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
