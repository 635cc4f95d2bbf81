"""`ipam probe` over the admin socket: what it prints and what it leaves with."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from ipaddress import ip_address
from pathlib import Path

import pytest
import uvicorn
from click.testing import CliRunner, Result
from fastapi import APIRouter, FastAPI

from daemon.api.application import _add_failures
from daemon.api.probe import add_probe, probe_view
from daemon.cli.ipam_probe import probe
from daemon.leases.probe import InUse, Method, NotAsked, Query, Why
from daemon.leases.prober import Prober
from tests.daemon.probe_stage import STRANGER, WireTwin, options
from tests.e2e.netns import until
from tests.twins.clock import ClockTwin

Run = Callable[..., Result]


@pytest.fixture
def wire() -> WireTwin:
    made = WireTwin(ClockTwin())
    made.takes_s = 0.0
    return made


@pytest.fixture
def run(wire: WireTwin, tmp_path: Path) -> Iterator[Run]:
    """Run the command against the route, on a socket as the daemon has it."""
    app, router = FastAPI(), APIRouter(prefix="/api/v1")
    _add_failures(app)
    add_probe(router, Prober(options(), wire, ClockTwin()))
    app.include_router(router)
    place, config = tmp_path / "s", tmp_path / "edge.toml"
    config.write_text(f'[edge]\nstate_dir = "{tmp_path}"\n[api]\nadmin_socket = "{place}"\n')
    server = uvicorn.Server(uvicorn.Config(app, uds=str(place), log_level="error", lifespan="off"))
    thread = threading.Thread(target=server.run)
    thread.start()
    until(lambda: server.started or None, "the server")
    yield lambda *arguments: CliRunner().invoke(probe, list(arguments), obj=str(config))
    server.should_exit = True
    thread.join()


def test_a_silent_address_leaves_with_0(run: Run) -> None:
    done = run("192.0.2.9", "--interface", "edge0")
    assert done.exit_code == 0, done.output
    assert "nobody answers at 192.0.2.9 to arp on edge0" in done.output
    assert max(map(len, done.output.splitlines())) <= 100


def test_an_address_in_use_leaves_with_3_and_names_the_mac(run: Run, wire: WireTwin) -> None:
    wire.there["192.0.2.9"] = STRANGER
    done = run("192.0.2.9", "--interface", "edge0", "--output", "json")
    assert done.exit_code == 3
    shown = json.loads(done.output)
    assert (shown["verdict"], shown["mac"], shown["rtt_ms"]) == ("in-use", STRANGER, 1.0)
    assert shown["says"] == f"{STRANGER} answers at 192.0.2.9 to arp after 1 ms"


@pytest.mark.parametrize(
    ("why", "code"),
    [
        (Why.NO_PERMISSION, 5),
        (Why.SWITCHED_OFF, 5),
        (Why.NO_INTERFACE, 4),
        (Why.INTERFACE_DOWN, 6),
        (Why.HELPER_ENDED, 6),
        (Why.NO_SCAPY, 1),
        (Why.BUSY, 1),
    ],
)
def test_what_could_not_be_asked_is_told_with_its_remedy(
    run: Run, wire: WireTwin, why: Why, code: int
) -> None:
    wire.there["192.0.2.9"] = NotAsked(why, "edge0")
    done = run("192.0.2.9", "--interface", "edge0", "--output", "json")
    assert done.exit_code == code
    shown = json.loads(done.output)
    assert (shown["verdict"], shown["reason"]) == ("not-asked", why.value)
    assert shown["advice"] == NotAsked(why).remedy


@pytest.mark.parametrize(
    "arguments",
    [
        ("192.0.2.300", "--interface", "edge0"),
        ("224.0.0.1", "--interface", "edge0"),
        ("192.0.2.9", "--interface", "edge0", "--method", "nd"),
        ("192.0.2.9", "--interface", "edge0", "--wait", "soon"),
        ("192.0.2.9", "--interface", "edge0", "--wait", "11s"),
        ("192.0.2.9", "--interface", "edge0", "--count", "0"),
        ("192.0.2.9",),
    ],
)
def test_a_wrong_command_line_leaves_with_2_and_sends_nothing(
    run: Run, wire: WireTwin, arguments: tuple[str, ...]
) -> None:
    done = run(*arguments)
    assert done.exit_code == 2, done.output
    assert wire.asked == []


def test_who_answers_an_echo_is_behind_a_router() -> None:
    query = Query(address=ip_address("2001:db8::9"), interface="edge0")
    shown = probe_view(query, InUse("", Method.ICMP, 0.0123))
    assert (shown.mac, shown.rtt_ms, shown.method) == (None, 12.3, "icmp")
    assert "behind a router" in shown.says


def test_help_has_an_example() -> None:
    done = CliRunner().invoke(probe, ["--help"])
    assert "Example: dotmac-edge ipam probe" in done.output
