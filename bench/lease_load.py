"""Logins in order, one user after the other, so that each is new to the pool, or was there before."""

from __future__ import annotations

import json
import subprocess
from dataclasses import dataclass
from pathlib import Path

from load import LONGEST_S, SECRET, Live, Outcome
from machine import BenchError, cpu_s, memory_mib

# FreeRADIUS with a database takes an identifier that is used again at once for a conflict, see load.PER_SOCKET.
PER_SOCKET = 64
TIMEOUT_S = 2.0
TRIES = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Logins:
    """One run: each of the first `requests` users of a block logs in once (PAP), `window` at a time.

    A block is ten to the power of `digits` users whose names begin alike. `own_password` says whether users have
    passwords of their own, or all have the same.
    """

    block: int
    requests: int
    window: int
    digits: int = 5
    own_password: bool = True

    @property
    def users(self) -> str:
        """The pattern of their names, user0000000 being the first of block 0."""
        return f"user{self.block:0{7 - self.digits}d}%0{self.digits}d"

    @property
    def password(self) -> str:
        """The pattern of their passwords."""
        return self.users.replace("user", "pw", 1) if self.own_password else "pw"

    @property
    def nas_ip(self) -> str:
        """Whose users they are: radload makes NAS-Port of a user's number, and a NAS uses each port once."""
        return f"192.0.2.{1 + self.block}"


def measure(radload: Path, core: int, live: Live, logins: Logins) -> Outcome:
    """Let the users log in and return what was measured; raises BenchError if radload cannot run."""
    cpu = -cpu_s(live.roots)
    seen = _radload(radload, core, live.auth_port, logins)
    cpu += cpu_s(live.roots)
    answered = seen["accepted"] + seen["rejected"]
    return Outcome(
        server=live.name,
        mode="pap",
        window=logins.window,
        sent=int(seen["sent"]),
        answered=int(answered),
        lost=int(seen["lost"]),
        retransmits=int(seen["retransmits"]),
        wrong=int(seen["bad_auth"] + seen["wrong_verdict"] + seen["other"]),
        without_message_authenticator=int(answered - seen["answers_with_ma"]),
        rate=seen["rate"],
        cpu_us=cpu * 1e6 / max(1, answered),
        p50_ms=seen["p50_us"] / 1000,
        p99_ms=seen["p99_us"] / 1000,
        load_cpu_us=seen["own_cpu_us_per_req"],
        memory_mib=memory_mib(live.roots),
        stored=None,
    )


def _radload(radload: Path, core: int, port: int, logins: Logins) -> dict[str, float]:
    options = {
        "--port": port,
        "--secret": SECRET,
        "--mode": "pap",
        "--order": "seq",
        "--user": logins.users,
        "--password": logins.password,
        "--nas-ip": logins.nas_ip,
        "--requests": logins.requests,
        "--range": logins.requests,
        "--window": logins.window,
        "--sockets": -(-logins.window // PER_SOCKET),
        "--timeout": TIMEOUT_S,
        "--tries": TRIES,
        "--max-time": LONGEST_S,
    }
    command = ["setpriv", "--pdeathsig", "TERM", "taskset", "-c", str(core), str(radload)]
    command += [f"{option}={value}" for option, value in options.items()]
    done = subprocess.run(command, capture_output=True, text=True, timeout=LONGEST_S + 30, check=False)
    if done.returncode > 1:  # 1: something was lost or wrong, which the counts say
        raise BenchError(f"radload: status {done.returncode}\n{done.stderr}")
    seen: dict[str, float] = {key: value for key, value in json.loads(done.stdout).items() if key != "mode"}
    return seen
