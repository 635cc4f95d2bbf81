"""Measure a reconnect storm: a BRAS reboots, all its subscribers log in and start a session at once.

    python bench/storm.py [--subscribers N] [--window N] [--rounds N] [--write]

First everybody comes online for the first time; then, in each round, the BRAS says Accounting-On and everybody
comes back. Afterwards the daemon is killed and started again, and must know every session that it acknowledged.
Exit status: 0 measured, 1 somebody gave up or something acknowledged is missing, 2 it could not be measured.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import edge
import load
import machine
import report
from edge import Edge
from load import Live
from machine import BenchError, cpu_s, memory_mib

HERE = Path(__file__).resolve().parent
OUT = HERE / "out"
README = HERE / "README.md"
MARKERS = "<!-- storm: start -->", "<!-- storm: end -->"

SUBSCRIBERS = 100_000
WINDOW = 3_000  # logins and Starts that the BRAS has outstanding
TIMEOUT_S = 1.0
TRIES = 5
LONGEST_S = 300  # nobody begins to log in after that
CLOSE_S = 120.0  # in which the sessions before a reboot must be closed
WANTED_S, GOAL_S = 30.0, 10.0  # until 100,000 subscribers are online


@dataclass(frozen=True, slots=True, kw_only=True)
class Storm:
    """One storm, as the BRAS saw it, and what the daemon kept of it.

    `stored` are the records that it added to the journal, of `acknowledged` ones; `live` and `closed` count its
    sessions when it had settled, `closed_s` after the last Start was acknowledged.
    """

    reboot: bool
    subscribers: int
    window: int
    online: int
    all_online_s: float
    logins_per_s: float
    login_p50_ms: float
    login_p99_ms: float
    start_p50_ms: float
    start_p99_ms: float
    on_ms: float  # until Accounting-On was acknowledged
    retransmits: int
    gave_up: int
    wrong: int
    kernel_drops: int
    cpu_s: float
    memory_mib: float
    acknowledged: int
    stored: int
    live: int
    closed: int
    closed_s: float

    @property
    def clean(self) -> bool:
        """Tell whether everybody is online, and just what was acknowledged is kept, once."""
        all_on = self.online == self.live == self.subscribers
        return all_on and not self.gave_up and not self.wrong and self.stored == self.acknowledged


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """All storms of one benchmark, and how many sessions lived before and after the daemon was killed."""

    facts: machine.Facts
    version: str
    storms: Sequence[Storm]
    live_before: int
    live_after: int
    closed_before: int
    closed_after: int

    @property
    def clean(self) -> bool:
        """Tell whether nothing was lost, in no storm and not by the kill."""
        kept = (self.live_before, self.closed_before) == (self.live_after, self.closed_after)
        return kept and all(storm.clean for storm in self.storms)


class Bench:
    """One daemon, and the storms that it goes through."""

    def __init__(self, subscribers: int, window: int, scratch: Path) -> None:
        self.subscribers = subscribers
        self.window = window
        self.server_core, self.load_core = machine.cores()
        self.radload = load.build(HERE / "radload.c", OUT)
        self.edge: Edge = edge.prepare(OUT, scratch)
        self.closed = 0  # sessions that reboots should have closed so far

    def run(self, facts: machine.Facts, rounds: int) -> Result:
        """Provision, let the storms come, kill, start again, count."""
        say(f"loading {self.subscribers:,} subscribers")
        self.edge.provision(self.server_core, self.subscribers)
        storms: list[Storm] = []
        with self.edge.running(self.server_core) as live:
            for number in range(rounds + 1):
                storms.append(self._storm(live, reboot=number > 0))
                say(_line(storms[-1]))
            before = self.edge.sessions()
            os.kill(live.roots[0], signal.SIGKILL)
        with self.edge.running(self.server_core):
            self._settle(before.get("active", 0), before.get("closed", 0))
            after = self.edge.sessions()
        return Result(
            facts=facts,
            version=edge.version(),
            storms=storms,
            live_before=before.get("active", 0),
            live_after=after.get("active", 0),
            closed_before=before.get("closed", 0),
            closed_after=after.get("closed", 0),
        )

    def _storm(self, live: Live, *, reboot: bool) -> Storm:
        stored, drops, cpu = live.stored(), self.edge.kernel_drops(), cpu_s(live.roots)
        seen = self._radload(live, reboot=reboot)
        began = time.monotonic()
        self.closed += self.subscribers if reboot else 0
        self._settle(int(seen["online"]), self.closed)
        closed_s = time.monotonic() - began
        sessions = self.edge.sessions()
        return Storm(
            reboot=reboot,
            subscribers=self.subscribers,
            window=self.window,
            online=int(seen["online"]),
            all_online_s=seen["wall_s"],
            logins_per_s=seen["logins_per_s"],
            login_p50_ms=seen["login_p50_us"] / 1000,
            login_p99_ms=seen["login_p99_us"] / 1000,
            start_p50_ms=seen["start_p50_us"] / 1000,
            start_p99_ms=seen["start_p99_us"] / 1000,
            on_ms=seen["on_us"] / 1000,
            retransmits=int(seen["login_retransmits"] + seen["start_retransmits"]),
            gave_up=int(seen["login_gave_up"] + seen["start_gave_up"]),
            wrong=int(seen["bad_auth"] + seen["other"] + seen["rejected"] + seen["without_ma"]),
            kernel_drops=self.edge.kernel_drops() - drops,
            cpu_s=cpu_s(live.roots) - cpu,
            memory_mib=memory_mib(live.roots),
            acknowledged=int(seen["starts"]) + reboot,
            stored=live.stored() - stored,
            live=sessions.get("active", 0),
            closed=sessions.get("closed", 0),
            closed_s=closed_s,
        )

    def _settle(self, live: int, closed: int) -> None:
        """Wait until the daemon has closed what a reboot ended; the counts afterwards say whether it has."""
        until = time.monotonic() + CLOSE_S
        while time.monotonic() < until:
            sessions = self.edge.sessions()
            if (sessions.get("active", 0), sessions.get("closed", 0)) == (live, closed):
                return
            time.sleep(0.2)

    def _radload(self, live: Live, *, reboot: bool) -> dict[str, float]:
        options = {
            "--mode": "storm",
            "--port": live.auth_port,
            "--acct-port": live.acct_port,
            "--secret": load.SECRET,
            "--range": self.subscribers,
            "--window": self.window,
            "--timeout": TIMEOUT_S,
            "--tries": TRIES,
            "--max-time": LONGEST_S,
        }
        command = ["setpriv", "--pdeathsig", "TERM", "taskset", "-c", str(self.load_core), str(self.radload)]
        command += [f"{option}={value}" for option, value in options.items()]
        command += ["--reboot"] if reboot else []
        done = subprocess.run(command, capture_output=True, text=True, timeout=LONGEST_S + 60, check=False)
        if done.returncode > 1:  # 1: somebody is not online, which the counts say
            raise BenchError(f"radload: status {done.returncode}\n{done.stderr}")
        found: dict[str, float] = {
            key: value for key, value in json.loads(done.stdout).items() if key != "mode"
        }
        return found


def main(arguments: Sequence[str]) -> int:
    """Measure what the arguments ask for, write bench/out/storm.json, print the table; the exit status."""
    asked = _parser().parse_args(arguments)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that the daemon is stopped on the way out
    OUT.mkdir(exist_ok=True)
    scratch = Path(tempfile.mkdtemp(prefix="dotmac-edge-storm-", dir=asked.scratch))
    try:
        bench = Bench(asked.subscribers, asked.window, scratch)
        result = bench.run(machine.facts(scratch), asked.rounds)
        document = asdict(result) | {"clean": result.clean}
        (OUT / "storm.json").write_text(json.dumps(document, indent=2) + "\n")
        text = "\n".join(markdown(result)) + "\n"
        print(text)
        if asked.write:
            report.replace(README, text, MARKERS)
    except BenchError as problem:
        say(str(problem))
        return 2
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
    return 0 if result.clean else 1


def say(text: str) -> None:
    """Tell whoever waits what is going on; the results alone go to standard output."""
    print(text, file=sys.stderr, flush=True)


def markdown(result: Result) -> Iterator[str]:
    """Yield the facts, the table and the target as lines of Markdown."""
    again = [storm for storm in result.storms if storm.reboot]
    rounds = f"; after a reboot: median of {len(again)} rounds, the sums of what went wrong" if again else ""
    yield f"{result.facts.date}, {report.EDGE} {result.version}{rounds}."
    yield from report.of_machine(result.facts)
    yield ""
    yield (
        "| storm | subscribers | window | all online s | logins/s | login p50 ms | p99 ms | Start p50 ms | p99 ms |"
        " CPU s | memory MiB | repeats | gave up | wrong | acknowledged | stored |"
    )
    yield f"|{'---|' * 16}"
    yield from (_row(what, storms) for what, storms in _groups(result.storms) if storms)
    yield ""
    yield (
        f"Killed (SIGKILL) and started again: of {result.live_before:,} live and {result.closed_before:,} closed"
        f" sessions {result.live_after:,} and {result.closed_after:,} are there."
    )
    if again:
        yield (
            f"Accounting-On was acknowledged within {max(storm.on_ms for storm in again):.1f} ms, the sessions"
            f" before it were closed {max(storm.closed_s for storm in again):.1f} s after the last Start, at the most."
        )
        yield ""
        yield from _target(again, result.clean)


def _groups(storms: Sequence[Storm]) -> Iterator[tuple[str, list[Storm]]]:
    yield "first time online", [storm for storm in storms if not storm.reboot]
    yield "after a BRAS reboot", [storm for storm in storms if storm.reboot]


def _row(what: str, storms: Sequence[Storm]) -> str:
    def median(name: str) -> float:
        return float(statistics.median(getattr(storm, name) for storm in storms))

    def total(name: str) -> int:
        return sum(getattr(storm, name) for storm in storms)

    return (
        f"| {what} | {storms[0].subscribers:,} | {storms[0].window:,} | {median('all_online_s'):.1f} |"
        f" {median('logins_per_s'):,.0f} | {median('login_p50_ms'):.1f} | {median('login_p99_ms'):.1f} |"
        f" {median('start_p50_ms'):.1f} | {median('start_p99_ms'):.1f} | {median('cpu_s'):.1f} |"
        f" {median('memory_mib'):.0f} | {total('retransmits'):,} | {total('gave_up'):,} | {total('wrong'):,} |"
        f" {total('acknowledged'):,} | {total('stored'):,} |"
    )


def _target(storms: Sequence[Storm], clean: bool) -> Iterator[str]:
    """Yield the target, for the number of subscribers that it is set for."""
    if storms[0].subscribers != SUBSCRIBERS:
        return
    took_s = statistics.median(storm.all_online_s for storm in storms)
    gave_up = sum(storm.gave_up for storm in storms)
    met = clean and took_s < WANTED_S
    yield "| target | wanted | measured | met |"
    yield "|---|---|---|---|"
    yield (
        f"| {SUBSCRIBERS:,} subscribers back after a reboot | < {WANTED_S:.0f} s (goal {GOAL_S:.0f} s), 0 lost,"
        f" 0 gave up | {took_s:.1f} s, {'0' if clean else 'some'} lost, {gave_up} gave up |"
        f" {'yes' if met else '**no**'} |"
    )


def _line(storm: Storm) -> str:
    state = "" if storm.clean else f"; NOT CLEAN: {storm}"
    return (
        f"{'reboot' if storm.reboot else 'first'}: {storm.online:,} online in {storm.all_online_s:.1f} s,"
        f" login p99 {storm.login_p99_ms:.0f} ms, Start p99 {storm.start_p99_ms:.0f} ms,"
        f" {storm.retransmits} repeats{state}"
    )


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="bench/storm.py", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--subscribers", type=int, default=SUBSCRIBERS, help="of the BRAS (%(default)s)")
    parser.add_argument("--window", type=int, default=WINDOW, help="outstanding at one time (%(default)s)")
    parser.add_argument(
        "--rounds", type=int, default=3, help="reboots; 0 for the first storm alone (%(default)s)"
    )
    parser.add_argument("--write", action="store_true", help="put the table into bench/README.md")
    parser.add_argument(
        "--scratch",
        type=Path,
        default=Path("/var/tmp"),
        help="where the daemon keeps its data meanwhile: a real disk, not tmpfs (%(default)s)",
    )
    return parser


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
