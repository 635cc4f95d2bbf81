"""Killed at any moment, the daemon has every record that it acknowledged, exactly once."""

from __future__ import annotations

import asyncio
import random
import signal
import socket
import threading
import time
from collections import Counter
from pathlib import Path
from typing import Any

from daemon.store import journal
from daemon.store.engine import open_engine
from radius.authenticator import Key
from radius.codes import Attr
from radius.errors import Malformed, NotAuthentic
from radius.exchange import Request, accounting_request, check_reply
from radius.packet import attribute, decode
from tests.e2e.conftest import Daemon

KEY = Key(b"testing123")
KILLS = 6
WINDOW = 64


def start_of(session: str, identifier: int) -> Request:
    """Return the Accounting-Start of a session that is like no other."""
    attributes = attribute(Attr.ACCT_STATUS_TYPE, bytes((0, 0, 0, 1)))
    attributes += attribute(Attr.ACCT_SESSION_ID, session.encode()) + attribute(Attr.USER_NAME, b"alice")
    return accounting_request(identifier, attributes, KEY)


class Sender(threading.Thread):
    """Keeps a window of records outstanding; what is not acknowledged is sent again unchanged."""

    def __init__(self, port: int) -> None:
        super().__init__(daemon=True)
        self.acknowledged: set[str] = set()
        self.sent = 0
        self.done = threading.Event()
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.connect(("127.0.0.1", port))
        self._socket.settimeout(0.2)

    def run(self) -> None:
        waiting: dict[int, tuple[str, Request]] = {}
        while not self.done.is_set() or waiting:
            for identifier in range(WINDOW):
                if identifier not in waiting and not self.done.is_set():
                    self.sent += 1
                    session = f"s{self.sent:07d}"
                    waiting[identifier] = (session, start_of(session, identifier))
                    self._send(waiting[identifier][1])
            try:
                octets = self._socket.recv(4096)
            except TimeoutError:
                for _, request in waiting.values():
                    self._send(request)
                continue
            except ConnectionRefusedError:
                time.sleep(0.02)
                continue
            self._take(octets, waiting)
        self._socket.close()

    def _send(self, request: Request) -> None:
        try:
            self._socket.send(request.octets)
        except ConnectionRefusedError:
            time.sleep(0.01)

    def _take(self, octets: bytes, waiting: dict[int, tuple[str, Request]]) -> None:
        known = waiting.get(octets[1])
        if known is None:
            return
        try:
            check_reply(known[1], octets, KEY)
        except (Malformed, NotAuthentic):
            return  # a second answer to an earlier request with that identifier
        self.acknowledged.add(known[0])
        del waiting[octets[1]]


async def stored(path: Path) -> Counter[str]:
    """Return how often each session's Start is in the journal."""
    engine = open_engine(path, busy_timeout_s=5.0, wal_checkpoint_pages=1000)
    counts: Counter[str] = Counter()
    seqs: list[int] = []
    async for batch in journal.read(engine):
        for numbered in batch:
            seqs.append(numbered.seq)
            counts[decode(numbered.record.octets).find_text(Attr.ACCT_SESSION_ID) or ""] += 1
    await engine.dispose()
    assert seqs == list(range(1, len(seqs) + 1)), "numbers are dense"
    return counts


def test_kill_dash_nine_loses_nothing_and_stores_nothing_twice(make_daemon: Any) -> None:
    dice = random.Random(2866)
    daemon: Daemon = make_daemon(**{"accounting.session_flush_s": "0.2"})
    daemon.start()
    sender = Sender(daemon.acct)
    sender.start()
    for _ in range(KILLS):
        time.sleep(dice.uniform(0.2, 1.2))
        daemon.end(signal.SIGKILL)
        daemon.start()
    time.sleep(0.5)
    sender.done.set()
    sender.join(timeout=30)
    assert not sender.is_alive()
    assert len(sender.acknowledged) == sender.sent > 1000
    page = daemon.ask("session", "list", "--state", "active", "--limit", "1")
    assert page["count"] == sender.sent, "one session for each Start, none twice"
    daemon.end(signal.SIGKILL)
    counts = asyncio.run(stored(daemon.directory / "state" / "edge.db"))
    assert sender.acknowledged <= set(counts)
    assert {session: count for session, count in counts.items() if count != 1} == {}


def test_a_graceful_stop_leaves_nothing_to_fold_in(make_daemon: Any) -> None:
    daemon: Daemon = make_daemon()
    daemon.start()
    daemon.run(
        "radius", "acct", "start", "alice", "--session-id", "x1", "--server", f"127.0.0.1:{daemon.acct}"
    )
    assert daemon.end() == 0
    daemon.start()
    assert '"records_folded": 0' in daemon.log.read_text().splitlines()[-1]
    assert daemon.ask("session", "list")["count"] == 1
