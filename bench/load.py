"""The load: building radload, running it against a server, and what came out."""

from __future__ import annotations

import json
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from machine import BenchError, cpu_s, memory_mib, run

SECRET = "testing123"
USERS = 100_000
LONGEST_S = 180  # radload issues nothing after this many seconds
INTERIMS = 3
# Most requests outstanding at one source port. FreeRADIUS proves logins fastest with all 256 identifiers of
# one port in use. With a database it takes an identifier that is used again at once for a conflict with the
# request it is just finishing, and drops it; so accounting leaves three identifiers in four at rest.
PER_SOCKET = {"pap": 256, "chap": 256, "acct": 64}
SETTLE_S = 1.0  # work that a server puts off until after its replies is counted too


@dataclass(frozen=True, slots=True, kw_only=True)
class Live:
    """A server that is ready; `stored` counts the accounting records that it keeps, from its own store."""

    name: str
    auth_port: int
    acct_port: int
    roots: tuple[int, ...]  # its processes: all CPU time below them is the server's
    stored: Callable[[], int]


@dataclass(frozen=True, slots=True, kw_only=True)
class Load:
    """One run of radload."""

    mode: str  # pap, chap or acct
    window: int  # requests outstanding at one time
    requests: int
    users: int = USERS


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What one run measured. `wrong` counts forged or malformed answers and wrong verdicts."""

    server: str
    mode: str
    window: int
    sent: int
    answered: int
    lost: int
    retransmits: int
    wrong: int
    without_message_authenticator: int
    rate: float  # answers a second
    cpu_us: float  # CPU time of all processes of the server, for each answer
    p50_ms: float
    p99_ms: float
    load_cpu_us: float  # of radload itself, to see that it was not the limit
    memory_mib: float
    stored: int | None  # accounting records that the run added to the server's store

    @property
    def clean(self) -> bool:
        """Tell whether all was answered rightly, and every acknowledged record is stored, once."""
        kept = self.stored is None or self.answered <= self.stored <= self.sent
        return not (self.lost or self.wrong or self.without_message_authenticator) and kept


def build(source: Path, out: Path) -> Path:
    """Compile radload into `out` unless it is there and newer than its source; return the program's path."""
    program = out / "radload"
    if not program.exists() or program.stat().st_mtime < source.stat().st_mtime:
        run(["cc", "-O2", "-Wall", "-Wextra", "-o", program, source])
    return program


def measure(radload: Path, core: int, live: Live, load: Load) -> Outcome:
    """Run one load against a server and return what it measured; raises BenchError if radload cannot run."""
    accounting = load.mode == "acct"
    before = live.stored() if accounting else 0
    cpu = -cpu_s(live.roots)
    seen = _radload(radload, core, live, load)
    if accounting:
        time.sleep(SETTLE_S)
    cpu += cpu_s(live.roots)
    answered = seen["accepted"] + seen["rejected"] + seen["acct_responses"]
    return Outcome(
        server=live.name,
        mode=load.mode,
        window=load.window,
        sent=int(seen["sent"]),
        answered=int(answered),
        lost=int(seen["lost"]),
        retransmits=int(seen["retransmits"]),
        wrong=int(seen["bad_auth"] + seen["wrong_verdict"] + seen["other"]),
        without_message_authenticator=0 if accounting else int(answered - seen["answers_with_ma"]),
        rate=seen["rate"],
        cpu_us=cpu * 1e6 / max(1, answered),
        p50_ms=seen["p50_us"] / 1000,
        p99_ms=seen["p99_us"] / 1000,
        load_cpu_us=seen["own_cpu_us_per_req"],
        memory_mib=memory_mib(live.roots),
        stored=live.stored() - before if accounting else None,
    )


def answer(live: Live) -> tuple[str, ...]:
    """Return the attributes of an Access-Accept for one user as radclient prints them, sorted.

    Message-Authenticator and Class differ in each answer and are left out. Raises BenchError for another
    answer, or none.
    """
    request = (
        'User-Name = "user0000007", User-Password = "pw0000007", NAS-IP-Address = 192.0.2.1\n'
        "Service-Type = Framed-User, Framed-Protocol = PPP, Message-Authenticator = 0x00\n"
    )
    command = ["radclient", "-x", "-r", "2", "-t", "2", f"127.0.0.1:{live.auth_port}", "auth", SECRET]
    printed = run(command, given=request.replace("\n", ", ", 1))
    _, accepted, reply = printed.partition("Received Access-Accept")
    if not accepted:
        raise BenchError(f"{live.name} did not accept a user:\n{printed}")
    lines = (line.strip() for line in reply.splitlines()[1:] if line.startswith("\t"))
    return tuple(sorted(line for line in lines if not line.startswith(("Message-Authenticator", "Class "))))


def _radload(radload: Path, core: int, live: Live, load: Load) -> dict[str, float]:
    port = live.acct_port if load.mode == "acct" else live.auth_port
    options = {
        "--port": port,
        "--secret": SECRET,
        "--mode": load.mode,
        "--window": load.window,
        "--sockets": -(-load.window // PER_SOCKET[load.mode]),
        "--requests": load.requests,
        "--range": load.users,
        "--interims": INTERIMS,
        "--max-time": LONGEST_S,
    }
    command = ["setpriv", "--pdeathsig", "TERM", "taskset", "-c", str(core), str(radload)]
    command += [f"{option}={value}" for option, value in options.items()]
    done = subprocess.run(command, capture_output=True, text=True, timeout=LONGEST_S + 30, check=False)
    if done.returncode > 1:  # 1: something was lost or wrong, which the counts say
        raise BenchError(f"radload: status {done.returncode}\n{done.stderr}")
    seen: dict[str, float] = {key: value for key, value in json.loads(done.stdout).items() if key != "mode"}
    return seen
