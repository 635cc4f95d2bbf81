"""A feed from the platform to a daemon that is a process: what changes there changes here, whatever the link does."""

from __future__ import annotations

import signal
import time
from collections.abc import Iterator
from typing import Any

import pytest

from tests.e2e.box import Box
from tests.e2e.central import BOX, FEED, Central, digest_of, fill, get, line, status
from tests.e2e.conftest import Daemon
from tests.e2e.netns import until
from tests.e2e.test_radclient import radclient
from tests.twins.fault_proxy import Fault


@pytest.fixture(autouse=True)
def token(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PLATFORM_TOKEN", "t0ken")


@pytest.fixture
def central() -> Iterator[Central]:
    with Central() as running:
        fill(running.platform, 30)
        yield running


def logs_in(edge: Daemon, name: str, password: str = "") -> bool:
    said = f'User-Name = "{name}"\nUser-Password = "{password or f"pw-{name}"}"\nMessage-Authenticator = 0x00'
    return radclient(edge.auth, "auth", said).returncode == 0


def events(edge: Daemon, kind: str) -> list[Any]:
    return list(get(edge, f"recent-events?kind={kind}&limit=1000")["items"])


@pytest.mark.parametrize("stream", ["true", "false"])
def test_logins_follow_the_changes_of_the_platform(make_daemon: Any, central: Central, stream: str) -> None:
    edge: Daemon = make_daemon(**central.settings(stream=stream))
    edge.start()
    until(lambda: central.is_equal(edge), "the first snapshot")
    assert logs_in(edge, "u1")
    central.put("subscriber", "new", line("new"))
    until(lambda: logs_in(edge, "new"), "a new subscriber logs in", 5)
    central.put("subscriber", "u1", line("u1", password="changed"))
    until(lambda: logs_in(edge, "u1", "changed"), "the new password counts", 5)
    assert not logs_in(edge, "u1")
    central.delete("subscriber", "u2")
    until(lambda: not logs_in(edge, "u2"), "who is gone is refused", 5)
    central.put("subscriber", "u3", line("u3", access_mode="maybe"))
    until(lambda: status(edge)["state"] == "NACKED", "a bad object is refused", 5)
    assert logs_in(edge, "u3"), "the last good one serves"
    (nack,) = edge.ask("sync", "nacks", FEED)
    assert (nack["kind"], nack["id"], nack["code"]) == ("subscriber", "u3", "unknown-word")
    metrics = edge.metrics()
    for said in (
        'sync_objects{feed="pop7",kind="subscriber"} 30.0',
        'sync_nacked{feed="pop7",kind="subscriber"} 1.0',
        'sync_pending{feed="pop7",kind="subscriber"} 0.0',
        'sync_head_lag_revisions{feed="pop7"} 0.0',
        'sync_braked{feed="pop7"} 0.0',
    ):
        assert f"dotmac_edge_{said}" in metrics
    assert 'dotmac_edge_sync_staleness_seconds{feed="pop7"}' in metrics
    assert edge.run("sync", "status", "--check", check=False).returncode == 3
    central.put("subscriber", "u3", line("u3"))
    until(lambda: central.is_equal(edge), "all is as the platform has it")
    edge.run("sync", "status", "--check")
    assert edge.end() == 0
    assert "Traceback" not in edge.log.read_text()


def test_a_session_ends_when_the_platform_says_so(make_daemon: Any, central: Central) -> None:
    edge: Daemon = make_daemon(**central.settings())
    edge.start()
    until(lambda: central.is_equal(edge), "the first snapshot")
    with Box(edge) as box:
        central.put("nas", "lab", {**BOX, "coa_port": box.port})
        until(lambda: central.is_equal(edge), "the NAS's port for CoA")
        box.connect("s1", b"u5", b"pw-u5")
        central.put("subscriber", "u5", line("u5", access_mode="reject"))
        until(lambda: edge.ask("session", "show", "s1")["state"] == "closed", "the session has ended", 15)
        assert box.requests
    assert not logs_in(edge, "u5")


def test_whatever_a_link_does_ends_in_equal_digests(make_daemon: Any) -> None:
    with Central(slow_s=0.002, page_items=40) as central:
        fill(central.platform, 200)
        edge: Daemon = make_daemon(**central.settings(brake_objects="100000"))
        edge.start()
        until(lambda: central.is_equal(edge), "the first snapshot")
        for number, fault in enumerate(Fault):
            central.order(fault)
            central.put("subscriber", f"u{number}", line(f"u{number}", password=f"after-{fault}"))
            central.delete("subscriber", f"u{100 + number}")
            if fault.value.isdigit() or fault is Fault.REFUSE:
                central.call(central.proxy.drop)  # they come with a new request
            central.put("subscriber", "busy", line("busy", password=f"while-{fault}"))
            until(lambda: central.is_equal(edge), f"equal after {fault}", 40, 0.1)
        assert set(central.call(lambda: dict(central.proxy.done))) == set(Fault)
        last = len(Fault) - 1
        assert logs_in(edge, f"u{last}", f"after-{list(Fault)[last]}")
        assert not logs_in(edge, f"u{100 + last}")
        assert edge.ask("sync", "nacks", FEED) == []
        assert edge.end() == 0
        assert "Traceback" not in edge.log.read_text(), edge.log.read_text()[-4000:]


def test_killed_in_a_snapshot_it_serves_what_it_had_and_goes_on(make_daemon: Any) -> None:
    with Central(slow_s=0.002, page_items=10) as central:
        fill(central.platform, 300)
        edge: Daemon = make_daemon(**central.settings())
        edge.start()
        until(lambda: central.is_equal(edge), "the first snapshot")
        central.order(*[None] * 12, *[Fault.SLOW] * 20, only="/snapshot")
        edge.run("sync", "resync", FEED)
        until(lambda: (status(edge)["source"] or {})["pages"] >= 5, "some pages have come", 20, 0.01)
        central.put("subscriber", "late", line("late"))
        edge.end(signal.SIGKILL)
        central.call(central.proxy._ordered.clear)
        edge.start()
        assert logs_in(edge, "u9")
        try:
            until(lambda: central.is_equal(edge), "and then the rest", 90)
        except AssertionError:
            pytest.fail(f"{status(edge)} {edge.log.read_text()[-2000:]}")
        assert logs_in(edge, "late")


def test_an_octet_a_second_hurts_nobody_who_logs_in(make_daemon: Any, central: Central) -> None:
    edge: Daemon = make_daemon(**central.settings())
    edge.start()
    until(lambda: central.is_equal(edge), "the first snapshot")
    central.order(*[Fault.SLOW] * 50)
    central.put("subscriber", "late", line("late"))
    central.put("subscriber", "later", line("later"))
    end = time.monotonic() + 3
    while time.monotonic() < end:
        assert logs_in(edge, "u7")
    central.call(central.proxy._ordered.clear)
    central.call(central.proxy.drop)
    until(lambda: central.is_equal(edge), "the rest came by another connection", 30)
    assert logs_in(edge, "later")


def test_what_is_not_signed_by_the_platform_is_not_applied(make_daemon: Any, central: Central) -> None:
    edge: Daemon = make_daemon(**central.settings())
    edge.start()
    until(lambda: central.is_equal(edge), "the first snapshot")
    right = central.platform.key
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    central.call(lambda: setattr(central.platform, "key", Ed25519PrivateKey.generate()))
    central.put("subscriber", "evil", line("evil"))
    refused = until(lambda: status(edge)["source"]["refused"].get("signature"), "it was refused")
    assert refused
    assert not logs_in(edge, "evil")
    assert events(edge, "feed-refused")[0]["reason"] == "signature"
    central.call(lambda: setattr(central.platform, "key", right))
    central.delete("subscriber", "evil")
    until(lambda: central.is_equal(edge), "all is well again", 40)


def test_it_serves_from_its_replica_while_the_platform_is_away(make_daemon: Any, central: Central) -> None:
    edge: Daemon = make_daemon(**central.settings(stale_after_s="10"))
    edge.start()
    until(lambda: central.is_equal(edge), "the first snapshot")
    edge.end(signal.SIGKILL)
    central.down()
    began = time.monotonic()
    edge.start()
    took_s = time.monotonic() - began
    assert logs_in(edge, "u1")
    assert took_s < 60, "seconds, on a machine that does other things as well"
    until(lambda: status(edge)["state"] == "STALE", "it says so", 20)
    until(
        lambda: logs_in(edge, "u1") and "stale" in edge.run("why", "u1").stdout, "each decision says so", 10
    )
    until(lambda: events(edge, "data-older"), "and tells it", 5)
    central.call(lambda: central.platform.book.put("subscriber", "meanwhile", line("meanwhile")))
    central.up()
    until(lambda: central.is_equal(edge), "and it catches up", 60)
    assert logs_in(edge, "meanwhile")
    until(lambda: events(edge, "data-fresh"), "and tells it", 10)


def test_a_platform_that_was_restored_from_a_backup_is_believed(make_daemon: Any, central: Central) -> None:
    edge: Daemon = make_daemon(**central.settings(brake_objects="1000"))
    edge.start()
    until(lambda: central.is_equal(edge), "the first snapshot")
    backup = central.call(central.platform.book.backup)
    central.put("subscriber", "lost", line("lost"))
    central.delete("subscriber", "u4")
    until(lambda: logs_in(edge, "lost"), "a change after the backup", 5)
    central.call(lambda: central.platform.restore(backup))
    until(lambda: central.is_equal(edge), "the restored platform's state", 30)
    assert logs_in(edge, "u4")
    assert not logs_in(edge, "lost")


def test_a_platform_that_lost_its_subscribers_does_not_throw_them_out(
    make_daemon: Any, central: Central
) -> None:
    edge: Daemon = make_daemon(**central.settings(brake_objects="2"))
    edge.start()
    until(lambda: central.is_equal(edge), "the first snapshot")

    def lose() -> None:
        for number in range(20):
            central.platform.book.delete("subscriber", f"u{number}")
        central.platform.tell()

    central.call(lose)
    until(lambda: status(edge)["state"] == "BRAKED", "the brake holds", 10)
    assert logs_in(edge, "u1")
    shown = edge.run("sync", "status").stdout
    assert "20 of 30 subscriber objects would go" in shown
    assert max(map(len, shown.splitlines())) <= 100
    assert "sync brake show" in " ".join(edge.run("status").stdout.split())
    edge.run("sync", "brake", "show", FEED)
    edge.run("sync", "brake", "release", FEED)
    until(lambda: central.is_equal(edge), "it was released", 30)
    assert not logs_in(edge, "u1")
    assert digest_of(edge) == central.root()
