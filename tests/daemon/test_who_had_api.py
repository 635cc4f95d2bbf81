"""The routes and commands of look-ups: audit before the answer, signed answers, the public key."""

from __future__ import annotations

import asyncio
import json
import socket
import threading
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest
from click.testing import CliRunner, Result
from fastapi import APIRouter, FastAPI

from daemon.api.application import _add_failures
from daemon.api.server import ApiServer, listen_unix
from daemon.api.who_had import LookUps, add_who_had
from daemon.cli import audit, who_had
from daemon.leases import clock_quality, export_form
from daemon.leases.coverage import down_times
from daemon.leases.export import Exporter, SigningKeyUnusable, load_or_create_key
from daemon.store import audit_rows
from daemon.store.audit_rows import AuditSearch
from daemon.store.coverage_rows import Run
from ipam.kinds import ClockQuality
from tests.daemon.test_who_had import alice_for_an_hour
from tests.daemon.who_had_stage import DAY, T0, Stage, stage


class StillClock:
    def __init__(self, at: float) -> None:
        self.at = at

    def wall(self) -> float:
        return self.at

    def monotonic(self) -> float:
        return self.at

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(0)


@dataclass
class Desk:
    stage: Stage
    app: FastAPI
    address: str
    directory: Path

    async def get(self, path: str, method: str = "GET", **params: Any) -> httpx.Response:
        transport = httpx.ASGITransport(self.app, client=("0", 4711))
        async with httpx.AsyncClient(transport=transport, base_url="http://edge") as client:
            return await client.request(method, f"/api/v1{path}", params=params)


@asynccontextmanager
async def desk(path: Path) -> AsyncIterator[Desk]:
    async with stage(path) as made:
        address = await alice_for_an_hour(made)
        store = made.store
        exporter = Exporter(store.engine, path, "edge", "0.1.0")
        look_ups = LookUps(made.who_had, exporter, store.engine, store.writer, StillClock(T0 + 2 * DAY))
        app = FastAPI()
        _add_failures(app)
        router = APIRouter(prefix="/api/v1")
        add_who_had(router, look_ups)
        app.include_router(router)
        yield Desk(made, app, address, path)


def play(path: Path, scene: Callable[[Desk], Awaitable[None]]) -> None:
    async def go() -> None:
        async with desk(path) as made:
            await scene(made)

    asyncio.run(go())


def test_every_question_is_in_the_audit_with_who_asked_and_why(tmp_path: Path) -> None:
    async def scene(desk: Desk) -> None:
        answer = await desk.get("/ipam/who-had", address=desk.address, at=T0 + 60, reason="case 17/26")
        body = answer.json()
        assert [each["subscriber"] for each in body["holders"]] == ["alice"]
        (row,) = (await desk.get("/audit")).json()["items"]
        assert (row["actor"], row["action"], row["reason"]) == ("root (uid 0)", "who-had", "case 17/26")
        assert row["subject"] == f"{desk.address} at 2023-11-14T22:14:20Z +-5 s"
        assert row["result"] == "1 of 1 holders told"
        assert (await desk.get("/audit", action="other")).json()["count"] == 0

    play(tmp_path, scene)


def test_no_answer_leaves_without_its_audit(tmp_path: Path) -> None:
    async def scene(desk: Desk) -> None:
        async with desk.stage.store.engine.begin() as connection:
            await connection.run_sync(lambda sync: audit_rows.AUDIT.drop(sync))
        answer = await desk.get("/ipam/who-had", address=desk.address, at=T0 + 60, reason="case")
        assert answer.status_code == 503
        assert "alice" not in answer.text

    play(tmp_path, scene)


@pytest.mark.parametrize(
    ("params", "said"),
    [
        ({"at": T0}, "reason"),
        ({"at": T0, "reason": "  "}, "reason"),
        ({"reason": "case"}, "at"),
        ({"at": T0, "reason": "case", "address": "host"}, "'host' is not an IPv4 or IPv6 address"),
        ({"at": T0 + 9 * DAY, "reason": "case"}, "lies in the future"),
    ],
)
def test_a_question_that_lacks_something_is_refused_and_says_what(
    tmp_path: Path, params: dict[str, Any], said: str
) -> None:
    async def scene(desk: Desk) -> None:
        answer = await desk.get("/ipam/who-had", **{"address": desk.address, **params})
        assert answer.status_code == 422
        assert said in answer.json()["message"]

    play(tmp_path, scene)


# --- signed answers ---------------------------------------------------------------------------------


def signed_file(path: Path) -> tuple[dict[str, Any], str]:
    found: list[Any] = []

    async def scene(desk: Desk) -> None:
        given = {"address": desk.address, "at": T0 + 60, "reason": "case"}
        found.append((await desk.get("/ipam/who-had-exports", "POST", **given)).json())
        found.append((await desk.get("/ipam/who-had-key")).json()["public_key"])

    play(path, scene)
    return found[0], found[1]


def test_a_signed_answer_is_checked_without_the_daemon(tmp_path: Path) -> None:
    file, key = signed_file(tmp_path)
    checked = export_form.check(json.dumps(file, indent=2).encode(), key)
    assert (checked.problems, checked.events, checked.trusted) == ((), 3, True)
    assert file["document"]["answer"]["holders"][0]["subscriber"] == "alice"
    assert file["document"]["made_by"] == "dotmac-edge 0.1.0"
    assert (tmp_path / "who-had.key").stat().st_mode & 0o777 == 0o600


def _rename(document: dict[str, Any]) -> None:
    document["answer"]["holders"][0]["subscriber"] = "mallory"


def _drop(document: dict[str, Any]) -> None:
    del document["events"][1]


def _alter(document: dict[str, Any]) -> None:
    document["events"][1]["at"] += 1


@pytest.mark.parametrize("change", [_rename, _drop, _alter])
def test_what_was_altered_is_found(tmp_path: Path, change: Callable[[dict[str, Any]], None]) -> None:
    file, key = signed_file(tmp_path)
    change(file["document"])
    checked = export_form.check(json.dumps(file).encode(), key)
    assert "the signature does not fit" in checked.problems[0]
    own = load_or_create_key(tmp_path / "elsewhere") if (tmp_path / "elsewhere").mkdir() is None else None
    assert own is not None
    again = export_form.sign(file["document"], own)  # somebody else signs what he has altered
    found = export_form.check(json.dumps(again).encode(), key).problems
    assert "not with the one that was given" in found[0]
    if change is not _rename:
        assert any("is named as evidence" in each or "another hash" in each for each in found)


def test_the_canonical_form_is_that_of_rfc_8785() -> None:
    value = {"b": [1.0, 1700000000.25, "é\n", None], "a": {"z": True, "A": 10.5}}
    assert export_form.canonical(value) == (
        b'{"a":{"A":10.5,"z":true},"b":[1,1700000000.25,"\xc3\xa9\\n",null]}'
    )


def test_a_key_that_others_may_read_is_not_used(tmp_path: Path) -> None:
    load_or_create_key(tmp_path)
    (tmp_path / "who-had.key").chmod(0o640)
    with pytest.raises(SigningKeyUnusable, match="0600"):
        load_or_create_key(tmp_path)


@pytest.mark.parametrize(
    "content", [b"", b"[]", b"{}", b'{"format":1,"document":{},"signature":{}}', b"\xff"]
)
def test_what_is_no_signed_answer_is_said_to_be_none(content: bytes) -> None:
    assert export_form.check(content).problems[0].startswith("this is no signed answer")


# --- commands ---------------------------------------------------------------------------------------


def until_listening(path: Path) -> None:
    """Wait until somebody answers on a socket: it is bound some time before."""
    for _ in range(1000):
        with socket.socket(socket.AF_UNIX) as probe:
            if path.is_socket() and probe.connect_ex(str(path)) == 0:
                return
        time.sleep(0.01)
    raise AssertionError("nobody listens")


@contextmanager
def serving(path: Path) -> Iterator[tuple[Desk, Path]]:
    """Run the routes on an admin socket in a thread of its own; yield the desk and a settings file."""
    loop = asyncio.new_event_loop()
    ready: list[Desk] = []
    began, over = threading.Event(), asyncio.Event()

    async def serve() -> None:
        async with desk(path) as made:
            server = ApiServer(made.app, listen_unix(path / "admin.sock", None), admin=True)
            task = asyncio.create_task(server.serve())
            ready.append(made)
            began.set()
            await over.wait()
            server.stop()
            await task

    thread = threading.Thread(target=lambda: loop.run_until_complete(serve()))
    thread.start()
    try:
        assert began.wait(60)
        until_listening(path / "admin.sock")
        settings = path / "edge.toml"
        settings.write_text(f'[edge]\nstate_dir = "{path}"\n')
        yield ready[0], settings
    finally:
        loop.call_soon_threadsafe(over.set)
        thread.join(20)
        loop.close()


def run(group: Any, settings: Path, *arguments: str) -> Result:
    return CliRunner().invoke(group, list(arguments), obj=str(settings), prog_name="dotmac-edge who-had")


def test_the_commands_tell_export_and_verify(tmp_path: Path) -> None:
    with serving(tmp_path) as (desk, settings):
        asked = (f"{desk.address}", "--at", "2023-11-14T22:14:20Z", "--reason", "case 17/26")
        told = run(who_had.group, settings, *asked, "--verify", "50")
        assert told.exit_code == 0, told.output
        assert "one holder" in told.output
        assert "alice" in told.output
        assert "whole." in told.output
        assert max(map(len, told.output.splitlines())) <= 100
        file = tmp_path / "case.json"
        done = run(who_had.group, settings, *asked, "--export", str(file))
        assert done.exit_code == 0, done.output
        key = run(who_had.group, settings, "key").output.strip()
        listed = run(audit.group, settings, "list", "--output", "json")
        assert [each["action"] for each in json.loads(listed.output)["items"]] == [
            "who-had-export",
            "who-had",
        ]
        nobody = run(who_had.group, settings, "203.0.113.200", *asked[1:])
        assert nobody.exit_code == 4
        early = run(who_had.group, settings, desk.address, "--at", "2020-01-01T00:00Z", "--reason", "case")
        assert early.exit_code == 7
        assert "no records are kept" in early.output
    good = run(who_had.group, settings, "verify", str(file), "--key", key)
    assert (good.exit_code, "3 events" in good.output) == (0, True)
    file.write_text(file.read_text().replace("alice", "mallory"))
    bad = run(who_had.group, settings, "verify", str(file))
    assert bad.exit_code == 1
    assert "altered" in bad.output


@pytest.mark.parametrize("arguments", [("203.0.113.1", "--at", "2h"), ("203.0.113.1", "--reason", "case")])
def test_time_and_reason_must_be_given(tmp_path: Path, arguments: tuple[str, ...]) -> None:
    assert run(who_had.group, tmp_path / "none.toml", *arguments).exit_code == 2


# --- heartbeat and clock ----------------------------------------------------------------------------


def test_the_time_between_two_runs_is_a_gap() -> None:
    runs = [Run(1, "edge", 0.0, 100.0), Run(2, "edge", 130.0, 200.0), Run(3, "edge", 190.0, 300.0)]
    assert [(each.since, each.until) for each in down_times(runs, "edge")] == [(100.0, 130.0)]


@pytest.mark.parametrize(
    ("state", "status", "quality"),
    [
        (0, 0x2001, ClockQuality.SYNCHRONISED),
        (1, 0x2011, ClockQuality.SYNCHRONISED),  # a leap second is near
        (5, 0x0040, ClockQuality.UNSYNCHRONISED),
        (0, 0x0040, ClockQuality.UNSYNCHRONISED),
        (-1, 0, ClockQuality.UNKNOWN),
    ],
)
def test_what_the_kernel_says_of_its_clock_is_read(state: int, status: int, quality: ClockQuality) -> None:
    assert clock_quality.judge(state, status, 500_000).quality is quality


@pytest.mark.skipif(not socket.gethostname() or not Path("/proc").exists(), reason="Linux only")
def test_the_kernel_is_asked() -> None:
    state = clock_quality.read()
    assert state.quality in (ClockQuality.SYNCHRONISED, ClockQuality.UNSYNCHRONISED)
    assert state.error_s is not None
    assert 0 <= state.error_s < 1e6


def test_the_audit_is_pruned_by_time(tmp_path: Path) -> None:
    async def scene(desk: Desk) -> None:
        await desk.get("/ipam/who-had", address=desk.address, at=T0, reason="case")
        engine = desk.stage.store.engine
        async with engine.begin() as connection:
            assert await audit_rows.prune(connection, T0) == 0
            assert await audit_rows.prune(connection, T0 + 9 * DAY) == 1
        assert (await audit_rows.search(engine, AuditSearch()))[1] == 0

    play(tmp_path, scene)
