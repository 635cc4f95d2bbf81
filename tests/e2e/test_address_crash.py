"""Killed at any moment while it leases, the daemon knows every address that it ever told, and whose it is.

More subscribers than addresses come and go, so that addresses change hands as soon as their times let them.
"""

from __future__ import annotations

import random
import signal
import time
from itertools import pairwise
from pathlib import Path
from typing import Any

import httpx

from tests.e2e.conftest import Daemon
from tests.e2e.logins import Subscribers, Told, Truth, provider

KILLS = 6
USERS = 160
TENTATIVE_S, REUSE_S = 1.5, 1.0
SHORT_S, LONG_S = (
    (0.2, 0.6),
    (3.0, 4.0),
)  # how long a daemon lives; what waits has its whole time again in each
ADDRESSES = 64
TIMES = f"--tentative {TENTATIVE_S:g}s --hold {REUSE_S:g}s --quarantine {REUSE_S:g}s --min-reuse 1s"
POOLS = (
    f"pool add home --kind v4 --range 100.64.0.0-100.64.0.{ADDRESSES - 1} {TIMES}",
    f"pool add home-pd --kind pd --range 2001:db8:100::/50 --unit 56 {TIMES}",
    "selector add everybody --pool v4=home --pool pd=home-pd",
)


def ask(daemon: Daemon, method: str, path: str, **params: object) -> Any:
    """Ask the daemon what a command would, without the time that the start of one takes."""
    socket = str(daemon.directory / "state" / "admin.sock")
    with httpx.Client(transport=httpx.HTTPTransport(uds=socket), timeout=60) as client:
        answer = client.request(method, f"http://edge{path}", params={k: str(v) for k, v in params.items()})
    assert answer.status_code == httpx.codes.OK, answer.text
    return answer.json()


def whose(daemon: Daemon) -> dict[str, tuple[str, str]]:
    """Return who has each address in the book, and how."""
    items = ask(daemon, "GET", "/api/v1/ipam/leases", limit=1000)["items"]
    return {each["address"]: (each["subscriber"], each["state"]) for each in items}


def kept(told: Told, now: float) -> bool:
    """Say whether nobody else may have now what somebody was told."""
    return now < told.until + REUSE_S


def assert_known(daemon: Daemon, truth: Truth, stopped_at: float) -> int:
    """Hold the book of a daemon that has just started to what was told; return how much there was to know.

    `stopped_at` is when the requests ceased.
    """
    book = whose(daemon)
    now = time.monotonic()
    held = [(address, of[-1]) for address, of in truth.by_address.items() if kept(of[-1], now)]
    wrong = {address: (told, book.get(address)) for address, told in held if whose_wrong(book, address, told)}
    assert not wrong, f"requests ceased {now - stopped_at:.2f} s ago"
    return len(held)


def whose_wrong(book: dict[str, tuple[str, str]], address: str, told: Told) -> bool:
    user, state = book.get(address, ("", "free"))
    return user != told.user or (told.bound and state != "bound")


def assert_never_twice(truth: Truth) -> int:
    """Check that nobody was told of an address before it was over for the last one; return the changes of hands."""
    changes = 0
    for address, every in truth.by_address.items():
        for before, after in pairwise(every):
            if before.user != after.user:
                changes += 1
                early = before.until + REUSE_S - after.told_at
                assert early <= 0, f"{address}: {before.user}, and {early:.3f} s too early {after.user}"
    return changes


def assert_sticky(truth: Truth) -> int:
    """Check that who comes back in time gets back the same; return how often that was."""
    times = 0
    for every in truth.by_user.values():
        for before, after in pairwise(every):
            if after.told_at < before.until + REUSE_S:
                times += 1
                assert after.addresses == before.addresses, (before, after)
    return times


def test_no_address_is_ever_given_to_two_and_none_is_forgotten(make_daemon: Any, tmp_path: Path) -> None:
    dice = random.Random(5737)
    daemon: Daemon = make_daemon(**{"data.files": provider(tmp_path / "provider.json", USERS)})
    daemon.start()
    for line in POOLS:
        daemon.run(*line.split())
    nas = Subscribers((daemon.auth, daemon.acct), USERS, TENTATIVE_S, REUSE_S)
    nas.start()
    known = 0
    for kill in range(KILLS):
        time.sleep(dice.uniform(*LONG_S if kill % 4 == 3 else SHORT_S))
        daemon.end(signal.SIGKILL)
        stopped_at = time.monotonic()
        with nas.gate:
            daemon.start()
            known += assert_known(daemon, nas.truth, stopped_at)
        assert ask(daemon, "POST", "/api/v1/ipam/checks", deep=True)["findings"] == []
    nas.done.set()
    nas.join(timeout=30)
    assert not nas.is_alive()
    daemon.run("ipam", "check", "--deep")
    truth = nas.truth
    history = daemon.ask("lease", "history", "--pool", "home", "--limit", "1000000")["items"]
    noted = {(each["address"], each["subscriber"]) for each in history if each["cause"] == "login"}
    told = {(each.addresses[0], each.user) for of in truth.by_user.values() for each in of}
    assert told <= noted, "and it is known who had what"
    assert assert_never_twice(truth) > KILLS
    assert assert_sticky(truth) > 0
    assert known > 5 * KILLS
    assert truth.refused > 0, "there were not enough addresses for all"
    assert "Traceback" not in daemon.log.read_text()
