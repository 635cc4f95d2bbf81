"""strongSwan as the NAS of an IPsec tunnel: CoA by way of the relay, Disconnect by a change of data.

FreeRADIUS authenticates (EAP-MSCHAPv2), since our daemon speaks no EAP; accounting, CoA and Disconnect are between the
gateway and our daemon.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.e2e import tunnel
from tests.e2e.conftest import Daemon
from tests.e2e.netns import Lab, Platform, finished_job, listen_on, needs, session_of, until, write_data
from tests.e2e.tunnel import ADDRESS, GATEWAY, Tunnel

DATAGRAMS, OCTETS = 40, 1000


@pytest.fixture
def lab(tmp_path: Path) -> Iterator[Lab]:
    needs(tunnel.PROGRAMS)
    with Lab(tmp_path) as lab:
        yield lab


def test_takes_a_change_from_the_platform_and_a_disconnect_from_us(lab: Lab, make_daemon: Any) -> None:
    platform = Platform(lab.directory)
    loaded = write_data(lab.directory / "data.json", tunnel.data(lab))
    edge: Daemon = make_daemon(**{"data.files": json.dumps([str(loaded)])}, **platform.settings)
    vpn = Tunnel(lab, edge)
    listen_on(edge, lab.near)
    edge.start()
    gateway, home = vpn.set_up()
    first = session_of(edge, "alice", "active")
    assert (first["subscriber"], first["nas"], first["framed_ip_address"]) == ("4711", GATEWAY, ADDRESS)
    tested = json.loads(edge.run("coa", "test", GATEWAY, "--output", "json", check=False).stdout)
    assert (
        tested["rtt_ms"] is not None
    )  # it shares our secret; to a session it does not know it says no, not why
    assert tested["bad_replies"] == 0
    vpn.upload(DATAGRAMS, OCTETS)

    # strongSwan asks its peer to authenticate again as soon as it is told a Session-Timeout: another session.
    number = first["acct_session_id"]
    said = platform.ask("coa", f'User-Name = "alice"\nAcct-Session-Id = "{number}"\nSession-Timeout = 60\n')
    assert "Received CoA-ACK" in said, said
    gateway.tells("matching CoA-Request, sending CoA-ACK")
    home.tells("starting reauthentication")
    closed = session_of(edge, "alice", "closed")
    assert (closed["uid"], closed["closed_by"]) == (first["uid"], "stop")
    # Seen from the subscriber: what it has sent is upload.
    assert closed["octets_upload"] >= DATAGRAMS * OCTETS
    assert closed["octets_download"] < DATAGRAMS * OCTETS
    second = session_of(edge, "alice", "active", but=number)
    assert second["framed_ip_address"] == ADDRESS
    assert finished_job(edge, "relay-request")["outcome"] == "acked"

    edge.run("data", "load", str(write_data(lab.directory / "reject.json", tunnel.data(lab, "reject"))))
    gateway.tells("matching Disconnect-Request, sending Disconnect-ACK")
    until(lambda: not vpn.is_up(), "the IKE_SA to be gone")
    home.tells("received DELETE for IKE_SA")
    ended = session_of(edge, "alice", "closed", but=number)
    assert (ended["uid"], ended["closed_by"]) == (second["uid"], "stop")
    assert finished_job(edge, "access-reject")["outcome"] == "verified"
