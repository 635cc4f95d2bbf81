"""strongSwan as a NAS that gives out what our pools lease: the tunnel has the address, and its accounting the lease.

The gateway asks our daemon alone, by PAP, and tells it of the tunnel's life. Nothing between is ours.
"""

from __future__ import annotations

import json
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.e2e import xauth
from tests.e2e.conftest import Daemon
from tests.e2e.netns import Lab, listen_on, needs, session_of, until, write_data
from tests.e2e.tunnel import GATEWAY, PASSWORD, SECRET
from tests.e2e.xauth import ITS_OWN, XauthTunnel

V4, V6 = "100.64.0.1", "2001:db8:7::1"
POOLS = (
    "pool add road --kind v4 --range 100.64.0.0/24 --exclude 100.64.0.0",
    "pool add road6 --kind v6-na --range 2001:db8:7::/112 --exclude 2001:db8:7::",
    "selector add road --pool v4=road --pool v6-na=road6",
)


@pytest.fixture
def lab(tmp_path: Path) -> Iterator[Lab]:
    needs(xauth.PROGRAMS)
    with Lab(tmp_path) as lab:
        yield lab


def started(lab: Lab, make_daemon: Any, **settings: str) -> tuple[Daemon, XauthTunnel]:
    """Return a daemon that leases from two pools, and the tunnel's ends, not started."""
    loaded = write_data(lab.directory / "data.json", xauth.data(lab))
    edge: Daemon = make_daemon(**{"data.files": json.dumps([str(loaded)])}, **settings)
    vpn = XauthTunnel(lab, edge)
    listen_on(edge, lab.near)
    edge.start()
    for line in POOLS:
        edge.run(*line.split())
    return edge, vpn


def leases(edge: Daemon) -> dict[str, tuple[str, str]]:
    """Return the state and the subscriber of every lease, by address."""
    items = edge.ask("lease", "list")["items"]
    return {each["address"]: (each["state"], each["subscriber"]) for each in items}


def both(state: str) -> dict[str, tuple[str, str]]:
    return dict.fromkeys((V4, V6), (state, "4711"))


def becomes(edge: Daemon, wanted: dict[str, tuple[str, str]]) -> None:
    """Wait until the leases are these."""
    until(lambda: leases(edge) == wanted, f"the leases {wanted}")


def test_the_tunnel_has_what_was_leased_and_its_life_is_that_of_the_lease(lab: Lab, make_daemon: Any) -> None:
    edge, vpn = started(lab, make_daemon)
    gateway, _ = vpn.set_up()
    assert vpn.addresses() == [V4, V6]
    assert vpn.source_of(V4) == V4
    first = session_of(edge, "alice", "active")
    assert first["framed_ip_address"] == V4
    assert leases(edge) == both("bound")
    shown = edge.ask("lease", "show", V6)
    assert (shown["lease"]["session"], shown["lease"]["nas"]) == (str(first["uid"]), GATEWAY)
    assert [each["address"] for each in shown["with_it"]] == [V4]

    edge.end(signal.SIGKILL)
    edge.start()
    assert leases(edge) == both("bound"), "the tunnel has gone on"
    edge.run("ipam", "check", "--deep")

    vpn.hang_up()
    becomes(edge, both("held"))
    vpn.dial()
    assert vpn.addresses() == [V4, V6], "what it had before"
    second = session_of(edge, "alice", "active")
    becomes(edge, both("bound"))
    assert second["uid"] != first["uid"]

    done = edge.run("lease", "release", V4, "--disconnect", "--reason", "ticket 4711")
    assert "Disconnect-ACK" in gateway.said, done.stdout
    until(lambda: not vpn.is_up(), "the IKE_SA to be gone")
    becomes(edge, both("held"))
    causes = [each["cause"] for each in edge.ask("lease", "history", V4)["items"]]
    assert causes == ["stop", "start", "login", "stop", "start", "login"], "the latest first"
    found = edge.ask("who-had", V4, "--at", "now", "--reason", "case 17/26")
    assert {each["subscriber"] for each in found["holders"]} == {"4711"}
    edge.run("ipam", "check", "--deep")


def test_a_gateway_that_gives_out_what_it_likes_is_found_out_and_put_right(
    lab: Lab, make_daemon: Any
) -> None:
    edge, vpn = started(lab, make_daemon, **{"ipam.on_conflict": '"disconnect"'})
    edge.run("reservation", "add", ITS_OWN, "4712")
    edge.run("radius", "auth", "bob", PASSWORD, "--secret", SECRET)
    assert leases(edge)[ITS_OWN] == ("tentative", "4712")
    gateway, _ = vpn.set_up(obeys=False)
    gateway.tells("sending Disconnect-ACK")
    (event,) = edge.ask("event", "list", "--kind", "address-conflict")["items"]
    assert ITS_OWN in json.dumps(event)
    assert "4712" in json.dumps(event)
    until(lambda: not vpn.is_up(), "the IKE_SA to be gone")
    assert leases(edge)[ITS_OWN][1] == "4712", "it is still bob's"


def test_without_a_pool_to_lease_from_there_is_no_tunnel(lab: Lab, make_daemon: Any) -> None:
    edge, vpn = started(lab, make_daemon)
    edge.run("pool", "disable", "road6")
    with pytest.raises(AssertionError, match=r"XAuth authentication of 'alice' .* failed"):
        vpn.set_up()
    (decision,) = edge.ask("why", "alice")["items"]
    assert (decision["outcome"], decision["reason"]) == ("reject", "pool-disabled")
    assert leases(edge) == {}, "neither has been taken"
    edge.run("pool", "enable", "road6")
    vpn.dial()
    assert vpn.addresses() == list(leases(edge))
