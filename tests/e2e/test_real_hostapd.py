"""hostapd and wpa_supplicant on a wire: their session is known from accounting, and ends when we say so.

FreeRADIUS authenticates (EAP-MD5), since our daemon speaks no EAP; accounting and Disconnects are between hostapd and
our daemon.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.e2e import wired
from tests.e2e.conftest import Daemon
from tests.e2e.netns import Lab, finished_job, listen_on, needs, session_of, until, write_data
from tests.e2e.wired import SWITCH, Wire

UNREACHABLE = 6


@pytest.fixture
def lab(tmp_path: Path) -> Iterator[Lab]:
    needs(wired.PROGRAMS)
    with Lab(tmp_path) as lab:
        yield lab


def started(lab: Lab, make_daemon: Any, das_secret: str = wired.SECRET) -> tuple[Daemon, Wire]:
    """Return a daemon that runs, and the wire, laid and not plugged in."""
    loaded = write_data(lab.directory / "data.json", wired.data(lab))
    edge: Daemon = make_daemon(**{"data.files": json.dumps([str(loaded)])})
    wire = Wire(lab, edge, das_secret)
    listen_on(edge, lab.near)
    edge.start()
    return edge, wire


def reject(edge: Daemon, lab: Lab) -> None:
    """Let the platform decide that alice may not be online any more."""
    edge.run("data", "load", str(write_data(lab.directory / "reject.json", wired.data(lab, "reject"))))


def test_ends_the_session_of_a_subscriber_who_may_not_be_online_any_more(lab: Lab, make_daemon: Any) -> None:
    edge, wire = started(lab, make_daemon)
    hostapd, _ = wire.plug_in()
    session = session_of(edge, "alice", "active")
    assert session["subscriber"] == "4711"
    assert session["nas"] == SWITCH
    assert session["calling_station_id"] == wire.mac
    assert session["start_seen"] is True
    assert edge.ask("coa", "test", SWITCH)["verdict"] == "ok"
    assert session_of(edge, "alice", "active")["uid"] == session["uid"]
    reject(edge, lab)
    hostapd.tells("RADIUS DAS: Found a matching session")
    hostapd.tells(f"stopped accounting session {session['acct_session_id']}")
    closed = session_of(edge, "alice", "closed")
    assert closed["uid"] == session["uid"]
    assert closed["closed_by"] == "stop"
    job = finished_job(edge, "access-reject")
    assert (job["kind"], job["outcome"], job["attempts"]) == ("disconnect", "verified", 1)
    (event,) = edge.ask("event", "list", "--kind", "coa-outcome")["items"]
    assert event["session"] == session["uid"]
    assert event["fields"]["outcome"] == "verified"


def test_tells_of_a_wrong_secret_and_leaves_the_session_as_it_is(lab: Lab, make_daemon: Any) -> None:
    edge, wire = started(lab, make_daemon, das_secret="another-secret")
    hostapd, _ = wire.plug_in()
    session = session_of(edge, "alice", "active")
    reject(edge, lab)
    tested = edge.run("coa", "test", SWITCH, "--output", "json", check=False)
    assert tested.returncode == UNREACHABLE
    found = json.loads(tested.stdout)
    assert found["verdict"] == "silent"
    assert "wrong secret" in found["says"]
    assert "radius_das_client" in found["advice"]

    def job() -> dict[str, Any] | None:
        (only,) = edge.ask("coa", "list")["items"]
        return only if only["outcome"] else None

    tried = until(job, "the outcome of the Disconnect", 35.0, every_s=1.0)
    assert (tried["outcome"], tried["state"]) == ("timeout", "waiting")
    assert edge.ask("coa", "list", "--finished")["items"] == []
    assert session_of(edge, "alice", "active")["uid"] == session["uid"]
    assert "Found a matching session" not in hostapd.said
