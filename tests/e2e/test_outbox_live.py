"""From a NAS's packet to the platform's table: what was acknowledged is there once, whoever is killed on the way."""

from __future__ import annotations

import asyncio
import random
import signal
import sqlite3
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from tests.daemon.sinks.stage import EDGE, KEY, Receiver
from tests.e2e.central import get
from tests.e2e.conftest import Daemon
from tests.e2e.netns import until
from tests.e2e.test_radclient import radclient

NASES = 3
KILLS = 2


class Reporter(threading.Thread):
    """A NAS that is radclient: reports Starts, an Interim and a Stop of each session, until told to stop."""

    def __init__(self, edge: Daemon, name: str) -> None:
        super().__init__(daemon=True)
        self.acknowledged: list[tuple[str, str]] = []
        self.done = threading.Event()
        self._edge, self._name = edge, name

    def run(self) -> None:
        number = 0
        while not self.done.is_set():
            number += 1
            session = f"{self._name}-{number}"
            for status in ("Start", "Interim-Update", "Stop"):
                said = f'Acct-Status-Type = {status}\nAcct-Session-Id = "{session}"\nUser-Name = "alice"\n'
                said += f"Acct-Input-Octets = {1000 + number}\nAcct-Output-Octets = {90_000 + number}"
                if radclient(self._edge.acct, "acct", said).returncode == 0:
                    self.acknowledged.append((session, status))


@pytest.fixture
def receiver(tmp_path: Path) -> Iterator[Receiver]:
    running = Receiver(tmp_path, f"sqlite+aiosqlite:///{tmp_path}/events.db")
    asyncio.run(running.start())
    yield running
    running.kill()


@pytest.fixture
def edge(make_daemon: Any, receiver: Receiver, monkeypatch: pytest.MonkeyPatch) -> Daemon:
    monkeypatch.setenv("RECEIVER_SECRET", KEY)
    sink = {"target": '"platform"', "url": f'"{receiver.url}"', "plain_http": "true"}
    sink["signing_secret"] = '"env:RECEIVER_SECRET"'
    settings = {f"sinks.platform.{name}": value for name, value in sink.items()}
    running: Daemon = make_daemon(
        **{"edge.name": f'"{EDGE}"', "accounting.session_flush_s": "0.2"} | settings
    )
    running.start()
    return running


def received(tmp_path: Path, what: str = "accounting_record") -> list[tuple[Any, ...]]:
    with closing(sqlite3.connect(tmp_path / "events.db")) as database:
        columns = {"accounting_record": "session, type", "event": "stream, incarnation, seq"}[what]
        return list(database.execute(f"select {columns} from {what}"))


def waiting(edge: Daemon) -> int:
    """Return how many events no sink has acknowledged."""
    streams = get(edge, "outbox")["items"]
    return sum(sink["backlog"] for stream in streams for sink in stream["sinks"])


def test_each_acknowledged_record_is_with_the_platform_once(
    edge: Daemon, receiver: Receiver, tmp_path: Path
) -> None:
    boxes = [Reporter(edge, f"box{number}") for number in range(NASES)]
    for each in boxes:
        each.start()
    dice = random.Random(5)
    for _ in range(KILLS):
        time.sleep(dice.uniform(0.5, 1.5))
        edge.end(signal.SIGKILL)
        edge.start()
        time.sleep(dice.uniform(0.2, 1.0))
        receiver.kill()
        time.sleep(dice.uniform(0.2, 1.0))
        asyncio.run(receiver.start())
    for each in boxes:
        each.done.set()
    for each in boxes:
        each.join(30)
    until(lambda: waiting(edge) == 0, "everything is delivered", 90, 0.5)
    acknowledged = {each for box in boxes for each in box.acknowledged}
    assert len(acknowledged) > 50
    names = {"Start": "accounting.start", "Interim-Update": "accounting.interim", "Stop": "accounting.stop"}
    found = Counter(received(tmp_path))
    lost = {(session, status) for session, status in acknowledged if found[session, names[status]] != 1}
    assert lost == set(), "lost or twice"
    assert set(found.values()) == {1}
    numbers: dict[tuple[str, str], list[int]] = {}
    for stream, incarnation, seq in received(tmp_path, "event"):
        numbers.setdefault((stream, incarnation), []).append(seq)
    assert {stream for stream, _ in numbers} >= {"accounting", "sessions"}
    assert {stream: sorted(each) for stream, each in numbers.items()} == {
        stream: list(range(1, len(each) + 1)) for stream, each in numbers.items()
    }
    assert edge.run("outbox", "status").returncode == 0
    metrics = edge.metrics()
    assert 'dotmac_edge_outbox_backlog_events{sink="platform",stream="accounting"} 0.0' in metrics
    assert edge.end() == 0
    assert "Traceback" not in edge.log.read_text()


def test_while_the_platform_is_away_the_backlog_grows_and_is_told(
    edge: Daemon, receiver: Receiver, tmp_path: Path
) -> None:
    receiver.kill()
    said = 'Acct-Status-Type = Start\nAcct-Session-Id = "s1"\nUser-Name = "alice"'
    assert radclient(edge.acct, "acct", said).returncode == 0
    until(
        lambda: any("does not reach platform" in each for each in get(edge, "status")["degraded"]),
        "it is said",
    )
    shown = edge.run("outbox", "status", check=False)
    assert shown.returncode == 7
    assert 'dotmac_edge_outbox_failing{sink="platform",stream="accounting"} 1.0' in edge.metrics()
    assert edge.run("outbox", "tail", "accounting", "--last", "5").returncode == 0
    asyncio.run(receiver.start())
    until(lambda: waiting(edge) == 0, "and delivered", 90, 0.5)
    assert ("s1", "accounting.start") in received(tmp_path)
    until(lambda: get(edge, "status")["degraded"] == [], "all is well again", 30)
