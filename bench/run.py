"""Measure DotMac Edge beside FreeRADIUS: same users, same answers, same load, one core for the server.

    python bench/run.py [--quick] [--only auth|acct] [--server edge|freeradius] [--write]

Exit status: 0 measured, 1 something was lost, wrong or not stored, 2 it could not be measured.
"""

from __future__ import annotations

import argparse
import shutil
import signal
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import edge
import load
import machine
import peers
import report
from load import Live, Load, Outcome
from machine import BenchError

HERE = Path(__file__).resolve().parent
OUT = HERE / "out"
README = HERE / "README.md"

LOGIN_THREADS = (0, 1, 4)  # 0: one thread does everything
SQL_THREADS = (8, 16, 32)
RECORD_USERS = 20_000  # five records each on average: most sessions start, report and stop within a run

Begin = Callable[[], AbstractContextManager[Live]]


@dataclass(frozen=True, slots=True)
class Size:
    """How much is measured."""

    rounds: int
    logins: int
    records: int


FULL = Size(rounds=3, logins=200_000, records=100_000)
QUICK = Size(rounds=1, logins=20_000, records=20_000)


class Bench:
    """One benchmark: where things are, and what it has found so far."""

    def __init__(self, size: Size, servers: Sequence[str], scratch: Path) -> None:
        self.size = size
        self.servers = servers
        self.scratch = scratch
        self.server_core, self.load_core = machine.cores()
        self.radload = load.build(HERE / "radload.c", OUT)
        self.edge = edge.prepare(OUT, scratch) if "edge" in servers else None
        self.outcomes: list[Outcome] = []
        self.threads: dict[str, int] = {}
        self.notes: list[str] = []
        if self.server_core == self.load_core:
            self.notes.append("One core only: server and load shared it, so that rates mean little.")

    def provision(self) -> None:
        """Give our server its users; FreeRADIUS gets its own with each start."""
        if self.edge:
            say(f"loading {load.USERS:,} subscribers into {report.EDGE}")
            self.edge.provision(self.server_core)

    def login(self) -> None:
        """Measure logins in alternating rounds, after FreeRADIUS has found its best thread pool."""
        loads = [
            Load(mode=mode, window=window, requests=self.size.logins)
            for mode, window in (("pap", 64), ("pap", 256), ("chap", 256))
        ]
        begin = self._ours()
        if "freeradius" in self.servers:
            probe = loads[:2]
            threads = self._best("login", LOGIN_THREADS, self._freeradius_login, probe)
            begin.append(lambda: self._freeradius_login(threads))
        self._same_answer(begin)
        self._rounds(begin, loads)

    def accounting(self) -> None:
        """Measure durable accounting in alternating rounds."""
        loads = [
            Load(mode="acct", window=window, requests=self.size.records, users=RECORD_USERS)
            for window in (64, 256)
        ]
        begin = self._ours()
        if "freeradius" in self.servers:
            threads = self._best("accounting", SQL_THREADS, self._freeradius_accounting, loads)
            begin.append(lambda: self._freeradius_accounting(threads))
        self._rounds(begin, loads)

    def _ours(self) -> list[Begin]:
        ours = self.edge
        return [] if ours is None else [lambda: ours.running(self.server_core)]

    def _freeradius_login(self, threads: int) -> AbstractContextManager[Live]:
        return peers.freeradius_login(OUT, self.server_core, threads)

    @contextmanager
    def _freeradius_accounting(self, threads: int) -> Iterator[Live]:
        with ExitStack() as stack:
            database = stack.enter_context(peers.postgres(self.scratch, self.server_core))
            yield stack.enter_context(peers.freeradius_accounting(OUT, self.server_core, threads, database))

    def _best(
        self,
        work: str,
        candidates: Sequence[int],
        begin: Callable[[int], AbstractContextManager[Live]],
        loads: Sequence[Load],
    ) -> int:
        """Return the number of threads with the best rates in short runs, so that the peer is at its best."""
        seconds: dict[int, float] = {}
        for threads in candidates:
            with begin(threads) as live:
                rates = [self._fastest(live, _short(each)) for each in loads]
            seconds[threads] = sum(1 / max(1.0, rate) for rate in rates)  # for one request of each load
            say(f"FreeRADIUS, {work}, {threads} threads: {', '.join(f'{rate:,.0f}/s' for rate in rates)}")
        best = min(seconds, key=seconds.__getitem__)
        self.threads[work] = best
        return best

    def _fastest(self, live: Live, wanted: Load) -> float:
        """Return the better rate of two runs; the first one also warms up."""
        return max(self._measure(live, wanted).rate for _ in range(2))

    def _same_answer(self, begin: Sequence[Begin]) -> None:
        """Note where the servers' replies to one login differ; equal work is the point of the exercise."""
        answers: dict[str, tuple[str, ...]] = {}
        for each in begin:
            with each() as live:
                answers[live.name] = load.answer(live)
        if len(set(answers.values())) > 1:
            texts = (f"{name}: {', '.join(lines)}" for name, lines in answers.items())
            self.notes.append("The replies differ. " + "; ".join(texts) + ".")
        elif len(answers) > 1:
            self.notes.append(f"Both answered: {', '.join(next(iter(answers.values())))}.")

    def _rounds(self, begin: Sequence[Begin], loads: Sequence[Load]) -> None:
        for number in range(self.size.rounds):
            for each in begin:
                with each() as live:
                    self._measure(live, _short(loads[0]))  # to warm up; not kept
                    for wanted in loads:
                        outcome = self._measure(live, wanted)
                        self.outcomes.append(outcome)
                        say(f"round {number + 1}: {_line(outcome)}")

    def _measure(self, live: Live, wanted: Load) -> Outcome:
        return load.measure(self.radload, self.load_core, live, wanted)


def main(arguments: Sequence[str]) -> int:
    """Measure what the arguments ask for, write bench/out/result.json, print the table; the exit status."""
    asked = _parser().parse_args(arguments)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that servers are stopped on the way out
    OUT.mkdir(exist_ok=True)
    scratch: Path | None = None
    try:
        scratch = Path(tempfile.mkdtemp(prefix="dotmac-edge-bench-", dir=asked.scratch))
        scratch.chmod(0o755)  # PostgreSQL runs as another user
        result = _measure_all(asked, scratch)
        report.save(result, OUT / "result.json")
        text = report.markdown(result)
        print(text)
        if asked.write:
            report.replace(README, text)
    except BenchError as problem:
        say(str(problem))
        return 2
    finally:
        if scratch:
            shutil.rmtree(scratch, ignore_errors=True)
    return 0 if result.clean else 1


def say(text: str) -> None:
    """Tell whoever waits what is going on; the results alone go to standard output."""
    print(text, file=sys.stderr, flush=True)


def _measure_all(asked: argparse.Namespace, scratch: Path) -> report.Result:
    servers = [asked.server] if asked.server else ["edge", "freeradius"]
    versions = {}
    peers.install()
    if "edge" in servers:
        versions[report.EDGE] = edge.version()
    if "freeradius" in servers:
        versions["FreeRADIUS"], versions["PostgreSQL"] = peers.versions()
    size = QUICK if asked.quick else FULL
    facts = machine.facts(scratch)
    bench = Bench(size, servers, scratch)
    bench.provision()
    if asked.only != "acct":
        bench.login()
    if asked.only != "auth":
        bench.accounting()
    return report.Result(
        facts=facts,
        versions=versions,
        threads=bench.threads,
        rounds=size.rounds,
        outcomes=bench.outcomes,
        notes=bench.notes,
    )


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="bench/run.py", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--quick", action="store_true", help="one short round: a look, not a measurement")
    parser.add_argument("--only", choices=("auth", "acct"), help="one of the two halves")
    parser.add_argument("--server", choices=("edge", "freeradius"), help="one of the two servers")
    parser.add_argument("--write", action="store_true", help="put the table into bench/README.md")
    parser.add_argument(
        "--scratch",
        type=Path,
        default=Path("/var/tmp"),
        help="where both servers keep their data meanwhile: a real disk, not tmpfs (%(default)s)",
    )
    return parser


def _short(wanted: Load) -> Load:
    """Return the same load cut down, for warming up and for trying settings out."""
    return replace(wanted, requests=min(wanted.requests, 20_000 if wanted.mode != "acct" else 5_000))


def _line(outcome: Outcome) -> str:
    state = "" if outcome.clean else f"; NOT CLEAN: {outcome}"
    return (
        f"{outcome.server}, {outcome.mode}, window {outcome.window}: {outcome.rate:,.0f}/s,"
        f" {outcome.cpu_us:.1f} us, p99 {outcome.p99_ms:.1f} ms{state}"
    )


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
