"""A snapshot of very many subscribers, and batches of changes, while thousands of logins a second go on.

    python bench/feed.py [--users 1000000] [--rate 5000]

Prints one JSON line. Times before and during alternate with nothing else on the machine; compare their ratio.
"""

from __future__ import annotations

import argparse
import json
import socket
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import IO

from edge import _SETTINGS
from load import SECRET, build
from machine import BenchError, free_port, memory_mib

_RUN_S = 5
_RUNS = 4


class Driver:
    """A server that takes lines, and the load against it."""

    def __init__(self, scratch: Path, radload: Path, users: int, rate: int) -> None:
        self.auth_port, acct = free_port(socket.SOCK_DGRAM), free_port(socket.SOCK_DGRAM)
        text = _SETTINGS.format(
            state=scratch / "edge",
            auth_port=self.auth_port,
            acct_port=acct,
            api_port=free_port(socket.SOCK_STREAM),
        )
        (scratch / "edge").mkdir()
        settings = scratch / "edge.toml"
        settings.write_text(text)
        self.log = (scratch / "server.log").open("wb")
        program = Path(__file__).with_name("feed_server.py")
        self.process = subprocess.Popen(
            [sys.executable, str(program), str(settings)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self.log,
            text=True,
        )
        self._radload, self._users, self._rate = radload, users, rate
        self.answer()

    def tell(self, line: str) -> None:
        """Send one line."""
        assert self.process.stdin is not None
        print(line, file=self.process.stdin, flush=True)

    def answer(self) -> Mapping[str, object]:
        """Return the answer to the last line."""
        output: IO[str] | None = self.process.stdout
        assert output is not None
        if line := output.readline():
            return dict(json.loads(line))
        raise BenchError("the server has ended; see its log")

    def logins(self) -> Mapping[str, float]:
        """Run the load for some seconds and return what it saw."""
        command = [
            str(self._radload), f"--port={self.auth_port}", f"--secret={SECRET}", "--mode=pap",
            f"--rate={self._rate}", f"--requests={self._rate * _RUN_S}", f"--range={self._users}",
            "--window=2000", f"--max-time={_RUN_S * 3}",
        ]  # fmt: skip
        done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
        if done.returncode > 1:
            raise BenchError(done.stderr)
        return {key: value for key, value in json.loads(done.stdout).items() if key != "mode"}


def lines(users: int, epoch: int) -> Iterator[str]:
    """Yield the items of a provider; each subscriber differs from that of another epoch."""
    plan = {"download": "100M", "upload": "20M", "interim_interval_s": 600, "access": "ppp"}
    nas = {"address": "127.0.0.1", "secret": SECRET, "vendor": "mikrotik"}
    yield json.dumps({"k": "plan", "id": "home-100", "op": "put", "body": plan})
    yield json.dumps({"k": "nas", "id": "load", "op": "put", "body": nas})
    for number in range(users):
        body = {
            "username": f"user{number:07d}",
            "password": f"pw{number:07d}",
            "plan": "home-100",
            "access_mode": "active",
            "status": f"active-{epoch}",
        }
        yield json.dumps({"k": "subscriber", "id": f"s{number:07d}", "op": "put", "body": body})


def write(file: Path, users: int, epoch: int) -> Path:
    """Write the items of a provider into a file."""
    with file.open("w") as out:
        out.writelines(f"{line}\n" for line in lines(users, epoch))
    return file


def measure(users: int, rate: int) -> Mapping[str, object]:
    """Return what was measured."""
    here = Path(__file__).parent
    (here / "out").mkdir(exist_ok=True)
    radload = build(here / "radload.c", here / "out")
    with tempfile.TemporaryDirectory(prefix="feed-bench-") as name:
        scratch = Path(name)
        driver = Driver(scratch, radload, users, rate)
        try:
            driver.tell(f"snapshot e1 {write(scratch / 'first.ndjson', users, 1)}")
            first = driver.answer()
            before = [driver.logins() for _ in range(_RUNS)]
            resting = memory_mib([driver.process.pid])
            driver.tell(f"snapshot e2 {write(scratch / 'second.ndjson', users, 2)}")
            during, peak, second = _while(driver)
            after = [driver.logins() for _ in range(_RUNS)]
            driver.tell(f"batches {write(scratch / 'third.ndjson', min(users, 20_000), 3)}")
            batching, _, batches = _while(driver)
        finally:
            driver.process.kill()
            driver.process.wait()
            print((scratch / "server.log").read_text(errors="replace")[-2000:], file=sys.stderr)
    quiet = statistics.median(each["p99_us"] for each in [*before, *after])
    return {
        "users": users,
        "rate": rate,
        "first_snapshot": first,
        "second_snapshot_under_load": second,
        "batches_under_load": batches,
        "p99_us": {
            "before": [each["p99_us"] for each in before],
            "during_snapshot": [each["p99_us"] for each in during],
            "after": [each["p99_us"] for each in after],
            "during_batches": [each["p99_us"] for each in batching],
        },
        "p50_us": {"before": [e["p50_us"] for e in before], "during_snapshot": [e["p50_us"] for e in during]},
        "p99_ratio_snapshot": statistics.median(each["p99_us"] for each in during) / quiet,
        "lost": sum(each["lost"] for each in [*before, *during, *after, *batching]),
        "memory_mib": {"before": resting, "peak_with_worker": peak},
    }


def _while(driver: Driver) -> tuple[list[Mapping[str, float]], float, Mapping[str, object]]:
    """Run the load until the server has answered; return what it saw, the most memory, and the answer."""
    import select  # noqa: PLC0415 - only here

    seen: list[Mapping[str, float]] = []
    peak = 0.0
    assert driver.process.stdout is not None
    while not select.select([driver.process.stdout], [], [], 0)[0]:
        seen.append(driver.logins())
        peak = max(peak, memory_mib([driver.process.pid]))
    return seen, peak, driver.answer()


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--users", type=int, default=1_000_000)
    parser.add_argument("--rate", type=int, default=5000)
    given = parser.parse_args()
    print(json.dumps(measure(given.users, given.rate)))


if __name__ == "__main__":
    main()
