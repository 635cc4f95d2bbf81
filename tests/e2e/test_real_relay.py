"""radclient as the platform, the relay, and hostapd behind it: what the NAS says is what the platform is told.

FreeRADIUS authenticates (EAP-MD5), since our daemon speaks no EAP.
"""

from __future__ import annotations

import json
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.e2e import wired
from tests.e2e.conftest import Daemon
from tests.e2e.netns import Lab, Platform, listen_on, needs, session_of, write_data
from tests.e2e.wired import Wire


@pytest.fixture
def lab(tmp_path: Path) -> Iterator[Lab]:
    needs(wired.PROGRAMS)
    with Lab(tmp_path) as lab:
        yield lab


@pytest.fixture
def platform(tmp_path: Path) -> Platform:
    return Platform(tmp_path)


def started(lab: Lab, platform: Platform, make_daemon: Any) -> tuple[Daemon, Wire]:
    """Return a daemon that runs, and the wire, laid and not plugged in."""
    loaded = write_data(lab.directory / "data.json", wired.data(lab))
    edge: Daemon = make_daemon(**{"data.files": json.dumps([str(loaded)])}, **platform.settings)
    wire = Wire(lab, edge)
    listen_on(edge, lab.near)
    edge.start()
    return edge, wire


def test_the_platform_is_told_what_the_nas_says(lab: Lab, platform: Platform, make_daemon: Any) -> None:
    edge, wire = started(lab, platform, make_daemon)
    hostapd, _ = wire.plug_in()
    number = session_of(edge, "alice", "active")["acct_session_id"]
    alice = f'User-Name = "alice"\nAcct-Session-Id = "{number}"\n'

    said = platform.ask("disconnect", 'User-Name = "alice"\nAcct-Session-Id = "0000000000000000"\n')
    assert "Received Disconnect-NAK" in said, said
    assert "Error-Cause = Session-Context-Not-Found" in said
    said = platform.ask("disconnect", alice, secret="not-the-secret", wait_s=1)
    assert "No reply" in said, said
    assert "DAS: Received" not in hostapd.said

    said = platform.ask(
        "coa", alice + "Session-Timeout = 60\n"
    )  # hostapd 2.10 has no CoA but for Hotspot 2.0
    assert "Received CoA-NAK" in said, said
    assert "Error-Cause = Unsupported-Attribute" in said
    assert session_of(edge, "alice", "active")["acct_session_id"] == number
    answers = [
        each["fields"]["answer"] for each in edge.ask("event", "list", "--kind", "relay-request")["items"]
    ]
    assert answers == ["nak", "nak"]


def test_a_disconnect_is_acknowledged_after_the_nas_has_done_it(
    lab: Lab, platform: Platform, make_daemon: Any
) -> None:
    edge, wire = started(lab, platform, make_daemon)
    hostapd, _ = wire.plug_in()
    number = session_of(edge, "alice", "active")["acct_session_id"]
    hostapd.process.send_signal(signal.SIGSTOP)  # a NAS that takes its time
    try:
        asking = platform.asking(
            "disconnect", f'User-Name = "alice"\nAcct-Session-Id = "{number}"\n', wait_s=10
        )
        with pytest.raises(subprocess.TimeoutExpired):
            asking.communicate(timeout=2)
        assert session_of(edge, "alice", "active")["acct_session_id"] == number
    finally:
        hostapd.process.send_signal(signal.SIGCONT)
    said, _ = asking.communicate(timeout=15)
    assert "Received Disconnect-ACK" in said, said
    assert "AP-STA-DISCONNECTED" in hostapd.said
    assert session_of(edge, "alice", "closed")["closed_by"] == "stop"
    (event,) = edge.ask("event", "list", "--kind", "relay-request")["items"]
    assert (event["fields"]["request"], event["fields"]["answer"]) == ("disconnect", "ack")
    again = platform.ask("disconnect", f'User-Name = "alice"\nAcct-Session-Id = "{number}"\n')
    assert "Error-Cause = Session-Context-Not-Found" in again, again
