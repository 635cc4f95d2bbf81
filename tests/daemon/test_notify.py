"""What systemd hears, taken from a real datagram socket."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from daemon.notify import Notifier, watchdog_interval_s

Manager = tuple[Notifier, socket.socket]


@pytest.fixture(params=["path", "abstract"])
def manager(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Manager]:
    path = str(tmp_path / "notify")
    name, address = (path, path) if request.param == "path" else (f"@{path}", f"\0{path}")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
        sock.bind(address)
        sock.settimeout(2)
        yield Notifier.from_environ({"NOTIFY_SOCKET": name}), sock


def test_each_state_is_one_datagram(manager: Manager) -> None:
    notifier, sock = manager
    sent = (
        notifier.ready(),
        notifier.status("3 sessions\nREADY=0"),
        notifier.reloading(12.345678),
        notifier.watchdog(),
        notifier.stopping(),
    )
    assert sent == (True,) * 5
    assert [sock.recv(1000) for _ in sent] == [
        b"READY=1",
        b"STATUS=3 sessions READY=0",
        b"RELOADING=1\nMONOTONIC_USEC=12345678",
        b"WATCHDOG=1",
        b"STOPPING=1",
    ]


@pytest.mark.parametrize("environ", [{}, {"NOTIFY_SOCKET": ""}, {"NOTIFY_SOCKET": "vsock:2:1234"}])
def test_without_a_socket_nothing_is_sent(environ: dict[str, str]) -> None:
    assert Notifier.from_environ(environ).ready() is False


def test_a_manager_that_has_gone_is_no_error(tmp_path: Path) -> None:
    assert Notifier(str(tmp_path / "gone")).watchdog() is False
    assert Notifier("/" + "x" * 300).watchdog() is False


def test_a_manager_that_does_not_read_holds_nobody_up(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
        sock.bind(str(tmp_path / "full"))
        notifier = Notifier(str(tmp_path / "full"))
        assert not all(notifier.watchdog() for _ in range(5_000))  # the queue of the socket is shorter


@pytest.mark.parametrize(
    ("environ", "interval_s"),
    [
        ({"WATCHDOG_USEC": "30000000"}, 30.0),
        ({"WATCHDOG_USEC": "1500000", "WATCHDOG_PID": str(os.getpid())}, 1.5),
        ({"WATCHDOG_USEC": "30000000", "WATCHDOG_PID": "1"}, None),
        ({"WATCHDOG_USEC": "0"}, None),
        ({"WATCHDOG_USEC": "soon"}, None),
        ({}, None),
    ],
)
def test_the_watchdog_interval_is_for_this_process(environ: dict[str, str], interval_s: float | None) -> None:
    assert watchdog_interval_s(environ) == interval_s
