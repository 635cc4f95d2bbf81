"""The routes about CGNAT and the command on top of them, over a real admin socket."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from click.testing import CliRunner, Result
from fastapi import APIRouter, FastAPI, HTTPException

from daemon.api.application import _add_failures
from daemon.api.cgnat import add_cgnat
from daemon.api.server import ApiServer, listen_unix
from daemon.cli.cgnat import group
from daemon.leases.cgnat import Cgnat
from daemon.leases.cgnat_ingest import Ingest
from tests.daemon.cgnat_stage import HELD, Feed, Said, cgnat_store
from tests.daemon.conftest import Store

NOW = 1_800_000_000.0
Command = Callable[..., Result]
NUMBERS = ("--inside", "100.64.0.0/28", "--outside", "203.0.113.0/30")
POP1 = ("plan", "add", "pop1", *NUMBERS, "--block-size", "16128", "--sharing", "4")
ALWAYS = ("--from", "2020-01-01T00:00:00Z")


def tenant_of(wanted: str | None) -> str:
    if wanted not in (None, "demo"):
        raise HTTPException(404, f"no tenant has the id {wanted}")
    return "demo"


async def _serve(folder: Path, ready: threading.Event, stop: threading.Event) -> None:
    async with cgnat_store(Store(folder / "edge.db")) as store:
        feed = Feed(Ingest())
        feed.say(Said(1, 7, HELD, NOW - 600))
        await feed.ingest.flush(store.writer)
        cgnat = Cgnat(store.engine, store.writer, "edge")
        await cgnat.load()
        router = APIRouter(prefix="/api/v1")
        add_cgnat(router, cgnat, tenant_of, lambda: NOW)
        app = FastAPI()
        _add_failures(app)
        app.include_router(router)
        server = ApiServer(app, listen_unix(folder / "admin.sock", None), admin=True)
        task = asyncio.create_task(server.serve())
        ready.set()
        await asyncio.to_thread(stop.wait)
        server.stop()
        await task


@pytest.fixture
def run(tmp_path: Path) -> Iterator[Command]:
    """Run `cgnat ...` against a daemon that has nothing but CGNAT."""
    config = tmp_path / "edge.toml"
    config.write_text(f'[edge]\nstate_dir = "{tmp_path}"\n[api]\nadmin_socket = "{tmp_path}/admin.sock"\n')
    ready, stop = threading.Event(), threading.Event()
    thread = threading.Thread(target=lambda: asyncio.run(_serve(tmp_path, ready, stop)))
    thread.start()
    assert ready.wait(20)
    try:
        yield lambda *arguments, **more: CliRunner().invoke(group, list(arguments), obj=str(config), **more)
    finally:
        stop.set()
        thread.join(20)


def out(done: Result, code: int = 0) -> str:
    assert done.exit_code == code, done.output + repr(done.exception)
    assert all(len(line) <= 100 for line in done.output.splitlines()), done.output
    return done.output


def as_json(done: Result) -> Any:
    assert done.exit_code == 0, done.output
    return json.loads(done.stdout)


def test_a_plan_is_added_listed_shown_changed_and_ended(run: Command) -> None:
    assert "None." in out(run("plan", "list"))
    assert "pop1 version 1 of demo" in out(run(*POP1, *ALWAYS))
    numbers = ("--block-size", "16000", "--sharing", "4", "--reserved-ports", "5060,8000-8001")
    places = ("--inside", "100.64.8.0/28", "--outside", "203.0.113.0/30")
    found = as_json(run("plan", "add", "pop1", *places, *numbers, "--output", "json"))
    assert (found["version"], found["reserved_ports"], found["valid_from"]) == (2, [5060, 8000, 8001], NOW)
    listed = out(run("plan", "list", "--all"))
    assert "100.64.0.0/28" in listed
    assert "100.64.8.0/28" in listed
    assert "100.64.0.0/28" not in out(run("plan", "list"))
    shown = out(run("plan", "show", "pop1", "--version", "1", "--device", "nftables", "--rows", "16"))
    assert "100.64.0.5" in shown
    assert "203.0.113.1:17152-33279" in shown
    assert "100.64.0.5 : 203.0.113.1 . 17152-33279," in shown
    assert "2027" in out(run("plan", "end", "pop1", "--at", "2027-06-01T00:00:00Z"))
    assert "has an end" in out(run("plan", "end", "pop1"), 1)


def test_what_is_not_there_is_not_found(run: Command) -> None:
    assert "demo has no CGNAT plan gone" in out(run("plan", "show", "gone"), 4)
    assert "demo has no CGNAT plan gone" in out(run("plan", "end", "gone"), 4)
    assert "no tenant has the id x" in out(run("plan", "list", "--tenant", "x"), 4)
    out(run(*POP1))
    assert "version 7 of the CGNAT plan pop1" in out(run("plan", "show", "pop1", "--version", "7"), 4)
    assert "None." in out(run("ports", "192.0.2.1"), 4)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--block-size", "99", "--sharing", "3"), "16 inside addresses do not fit in 12 blocks"),
        (("--block-size", "20000", "--sharing", "4"), "4 blocks of 20000 ports need 80000 ports"),
        (("--block-size", "9", "--sharing", "4", "--reserved-ports", "9-1"), "run from 1 to 65535"),
        (("--block-size", "9", "--sharing", "4", "--reserved-ports", "x"), "is no port"),
        (("--block-size", "9", "--sharing", "4", "--inside", "100.64.0.1/28"), "has host bits set"),
    ],
)
def test_a_plan_that_cannot_be_is_refused_and_says_why(
    run: Command, arguments: tuple[str, ...], said: str
) -> None:
    done = run("plan", "add", "pop1", *NUMBERS, *arguments)
    assert done.exit_code == 2
    assert said in done.output


def test_a_clash_names_both_plans(run: Command) -> None:
    out(run(*POP1))
    done = run("plan", "add", "pop2", *POP1[3:])
    assert done.exit_code == 1
    assert "pop1 version 1 and pop2 version 1: both use 203.0.113.0/30 at the same time" in done.output


def test_a_proposal_prints_plan_notes_rows_and_configuration_and_is_stored(run: Command) -> None:
    done = run("propose", "--subscribers", "14", *NUMBERS, "--device", "junos", "--save", "pop1", *ALWAYS)
    said = out(done)
    assert "16128" in said
    assert "203.0.113.0:1024-17151" in said
    assert "block-size 16128" in said
    assert "Stored: pop1 version 1 of demo." in done.stderr
    found = as_json(run("plan", "show", "pop1", "--output", "json"))
    assert (found["block_size"], found["sharing"]) == (16_128, 4)


def test_a_device_that_cannot_do_the_plan_says_so(run: Command) -> None:
    said = out(
        run("propose", "--subscribers", "14", *NUMBERS, "--algorithm", "interleaved", "--device", "junos")
    )
    assert "No configuration for junos" in said


def test_no_plan_says_what_would_help(run: Command) -> None:
    done = run("propose", "--subscribers", "900", "--inside", "100.64.0.0/22", *NUMBERS[2:])
    said = out(done, 1)
    assert "No plan fits" in said
    assert "add 28 outside addresses" in said
    assert "take 252 ports per subscriber" in said


def test_the_ports_of_an_inside_address_by_plan_and_by_report(run: Command) -> None:
    out(run(*POP1, *ALWAYS))
    at = ("--at", "2027-01-15T08:00:00Z")  # NOW
    page = as_json(run("ports", "100.64.0.7", *at, "--output", "json"))
    assert [(each["source"], each["outside"], each["first_port"]) for each in page["items"]] == [
        ("plan", "203.0.113.1", 49_408),
        ("reported", "203.0.113.1", 1_024),
    ]
    table = out(run("ports", "100.64.0.7", *at))
    assert "203.0.113.1:49408-65535" in table
    assert "pop1 version 1" in table
    assert "bng1" in table


def test_an_export_is_compared_with_the_plan(run: Command, tmp_path: Path) -> None:
    out(run(*POP1))
    export = tmp_path / "blocks.csv"
    export.write_text("inside,outside,first,last\n100.64.0.0,203.0.113.0,1024,17151\n")
    assert "1 lines compared with pop1 version 1: 0 differ" in out(run("verify", "pop1", str(export)))
    wrong = "100.64.0.1,203.0.113.0,1024,17151\n"
    said = out(run("verify", "pop1", "-", input=wrong), 3)
    assert "203.0.113.0:17152-33279" in said
    assert "other ports" in said
    out(run("verify", "pop1", "-", input=export.read_text() + "nonsense\n"), 7)
    out(run("verify", "pop1", "-", input="nonsense\n"), 1)


def test_backwards_is_arithmetic_alone(run: Command, tmp_path: Path) -> None:
    out(run(*POP1, *ALWAYS))
    with httpx.Client(transport=httpx.HTTPTransport(uds=str(tmp_path / "admin.sock"))) as client:
        where = "http://edge/api/v1/ipam/cgnat/holders"
        found = client.get(where, params={"outside": "203.0.113.1", "port": 17_152, "at": NOW}).json()
        assert [each["inside"] for each in found["holders"]] == ["100.64.0.5"]
        found = client.get(where, params={"outside": "203.0.113.1", "port": 80, "at": NOW}).json()
        assert found == {"holders": [], "silences": ["pop1 port-outside-range"]}
        assert client.get(where, params={"outside": "203.0.113.1", "at": "nan"}).status_code == 422
        assert len(client.get(where, params={"outside": "203.0.113.1", "at": NOW}).json()["holders"]) == 4


def test_every_command_has_an_example(run: Command) -> None:
    plan = [["plan", each] for each in ("list", "show", "add", "end")]
    for words in ([], ["plan"], *plan, ["propose"], ["ports"], ["verify"]):
        assert "Example: dotmac-edge cgnat" in run(*words, "--help").output
