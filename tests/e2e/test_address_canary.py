"""The secrets of the address work are found nowhere but where they are kept.

They are the password of the shared store, the key that signs answers, and the key of a shuffled pool.
"""

from __future__ import annotations

import asyncio
import json
import signal
import urllib.parse
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest

from daemon.leases.export import KEY_FILE
from daemon.store.engine import open_engine
from ipam import definition_rows
from tests.e2e.conftest import Daemon, free_port
from tests.e2e.nas import Nas
from tests.e2e.test_canary import forms

STORE_PASSWORD = "Kanarie/store-a94f"


def everything(daemon: Daemon, commands: Iterable[str]) -> dict[str, bytes]:
    """Run commands; return what they print, what is logged and what is scraped."""
    said = {}
    for line in commands:
        done = daemon.run(*line.split(), check=False)
        said[line] = (done.stdout + done.stderr).encode()
    said["metrics"] = daemon.metrics().encode()
    said["log"] = daemon.log.read_bytes()
    return said


def found(said: dict[str, bytes], secrets: dict[str, bytes]) -> dict[str, list[str]]:
    """Return which secrets stand where, in whatever form."""
    where = {
        name: [at for at, octets in said.items() if any(shape in octets for shape in forms(secret))]
        for name, secret in secrets.items()
    }
    return {name: places for name, places in where.items() if places}


async def shuffle_keys(database: Path) -> list[bytes]:
    engine = open_engine(database, busy_timeout_s=5.0, wal_checkpoint_pages=1000)
    async with engine.connect() as connection:
        pools = await definition_rows.load_pools(connection)
    await engine.dispose()
    return [pool.key for pool in pools if pool.key]


def test_neither_the_signing_key_nor_that_of_a_shuffled_pool_is_told(
    make_daemon: Any, tmp_path: Path
) -> None:
    daemon: Daemon = make_daemon(**{"log.level": '"debug"'})
    daemon.start()
    signed = tmp_path / "case.json"
    ask = "who-had 100.64.0.1 --at now --reason x"
    commands = [
        "pool add home --kind v4 --range 100.64.0.0/24 --order shuffled --output json",
        "selector add everybody --pool v4=home",
        "radius auth alice wonderland",
        "pool list --output json",
        "pool show home --output json",
        "pool change home --hold 2h --output json",
        "lease list --output json",
        "lease history --pool home --output json",
        f"{ask} --export {signed}",
        f"{ask} --verify 10 --output json",
        "who-had key --output json",
        "data export",
        "ipam check --deep --output json",
        "event list --output json",
        "audit list --output json",
        "why alice --output json",
        "config show --output json",
    ]
    said = everything(daemon, commands)
    said["signed answer"] = signed.read_bytes()
    assert daemon.end(signal.SIGTERM) == 0
    state = daemon.directory / "state"
    (shuffle,) = asyncio.run(shuffle_keys(state / "edge.db"))
    file = state / KEY_FILE
    assert file.stat().st_mode & 0o077 == 0
    signing = file.read_bytes()
    secrets = {"shuffle": shuffle, "signing": signing}
    assert found({"it": shuffle.hex().encode() + signing}, secrets).keys() == secrets.keys(), "would be found"
    assert found(said, secrets) == {}
    files = {path.name: path.read_bytes() for path in state.iterdir() if path.is_file() and path != file}
    assert found(files, {"signing": signing}) == {}


def with_store(make_daemon: Any, monkeypatch: pytest.MonkeyPatch, url: str) -> Daemon:
    """Return a daemon, not started, whose shared store is said to be there."""
    monkeypatch.setenv("CANARY_STORE", url)
    settings = {"log.level": '"debug"', "ipam.shared_store": '"env:CANARY_STORE"', "ipam.node": '"a"'}
    daemon: Daemon = make_daemon(**settings)
    return daemon


QUOTED = urllib.parse.quote(STORE_PASSWORD, safe="")
OF_STORE = {"password": STORE_PASSWORD.encode(), "in the URL": QUOTED.encode()}


def test_the_password_of_a_shared_store_that_is_away_is_told_by_nobody(
    make_daemon: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    port = free_port()  # where nobody listens
    daemon = with_store(make_daemon, monkeypatch, f"postgresql://edge:{QUOTED}@127.0.0.1:{port}/edge")
    daemon.start()
    with Nas(daemon) as nas:
        assert nas.is_accepted(b"dave", b"dragonfly"), "his address is the platform's"
    commands = [
        "status --output json",
        "config show --output json",
        "config check",
        "pool add home --kind v4 --range 100.64.0.0/24",
        "pool list",
        "lease list",
        "ipam nodes",
        "ipam check --deep",
        "who-had 100.64.0.1 --at now --reason x",
        "event list --output json",
        "why dave --output json",
        "data export",
    ]
    said = everything(daemon, commands)
    told = json.loads(said["status --output json"])
    assert told["degraded"], "it is known that the store is away"
    assert found(said, OF_STORE) == {}


@pytest.mark.parametrize("at", ["edge:{}@127.0.0.1/edge", "postgresql://edge:{}@127.0.0.1:port/edge"])
def test_nor_is_that_of_a_url_that_is_none(
    make_daemon: Any, monkeypatch: pytest.MonkeyPatch, at: str
) -> None:
    daemon = with_store(make_daemon, monkeypatch, at.format(QUOTED))
    done = daemon.run("run", "--quiet", check=False)
    assert done.returncode == 1, done.stdout + done.stderr
    assert "Traceback" not in done.stderr
    assert found({"said": (done.stdout + done.stderr).encode()}, OF_STORE) == {}
