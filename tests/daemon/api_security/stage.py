"""A daemon with two tenants that have everything, and its API on a real port, in a thread of its own."""

from __future__ import annotations

import asyncio
import json
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import httpx
from fastapi import FastAPI

from config.load import load
from daemon import logs
from daemon.api.security.buckets import Sources
from daemon.api.security.desk import Security
from daemon.api.security.keys import NewKey, Purpose
from daemon.app import Edge
from daemon.clock import SystemClock
from radius.codes import AcctStatus, Attr
from radius.packet import attribute
from tests.e2e.nas import Nas, number

TENANTS = ("alpha", "beta")
_PLACE = {"alpha": ("127.0.0.2", 64, "203.0.113"), "beta": ("127.0.0.3", 65, "198.51.100")}


def free_port(kind: socket.SocketKind) -> int:
    with socket.socket(socket.AF_INET, kind) as sock:
        sock.bind(("127.0.0.1", 0))
        port: int = sock.getsockname()[1]
        return port


def objects(tenant: str) -> list[dict[str, Any]]:
    """Return the data of one tenant; whatever it has bears its name."""
    source, net, _ = _PLACE[tenant]

    def of(kind: str, name: str, /, **body: Any) -> dict[str, Any]:
        return {"kind": kind, "tenant": tenant, "id": f"{tenant}-{name}", "body": body}

    return [
        {"kind": "tenant", "id": tenant, "body": {"name": f"{tenant} Fibre"}},
        of("nas", "nas", prefixes=[f"{source}/32"], secret="testing123", vendor="mikrotik"),
        of("plan", "plan", access="ppp", download="100M", upload="20M"),
        of(
            "subscriber",
            "line",
            username=f"{tenant}-user",
            password="pw",
            access_mode="active",
            plan=f"{tenant}-plan",
            circuit_id=f"{tenant}-circuit",
        ),
        of("staff", "staff", username=f"{tenant}-engineer", password="pw", privilege="write"),
        of("pool", "v4", kind="v4", ranges=[f"100.{net}.0.0/24"]),
    ]


class Stage:
    """The running daemon and its API: ask with a key of a tenant, or with `key`."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.ports = {name: free_port(socket.SOCK_DGRAM) for name in ("auth", "acct")}
        self.api = free_port(socket.SOCK_STREAM)
        self.url = f"http://127.0.0.1:{self.api}"
        self.loop = asyncio.new_event_loop()
        self.keys: dict[str, str] = {}
        self.app: FastAPI
        self.admin: FastAPI
        self.security: Security
        self._started = threading.Event()
        self._stop = asyncio.Event()
        self._error: BaseException | None = None
        self._thread = threading.Thread(target=self._run)

    def _settings(self) -> Path:
        data = self.directory / "data.json"
        data.write_text(json.dumps([each for tenant in TENANTS for each in objects(tenant)]))
        config = self.directory / "edge.toml"
        config.write_text(
            f'[edge]\nstate_dir = "{self.directory}/state"\nname = "pop"\n'
            f'[data]\nfiles = ["{data}"]\n'
            f'[radius]\nreject_delay_s = 0\nauth_listen = ["127.0.0.1:{self.ports["auth"]}"]\n'
            f'acct_listen = ["127.0.0.1:{self.ports["acct"]}"]\n'
            f'[api]\nlisten = "127.0.0.1:{self.api}"\n'
            + "".join(
                f'[feeds.{tenant}-feed]\nsource = "push"\ntenant = "{tenant}"\nkinds = ["selector"]\n'
                for tenant in TENANTS
            )
        )
        return config

    def _run(self) -> None:
        try:
            self.loop.run_until_complete(self._serve())
        except BaseException as error:  # noqa: BLE001 - told to the test
            self._error = error
            self._started.set()
        finally:
            self.loop.close()

    async def _serve(self) -> None:
        edge = Edge(load(self._settings(), {}), {}, SystemClock())
        await edge.start()
        assert edge._ports is not None
        api, admin = (each._server.config.app for each in edge._ports._servers)
        self.app, self.admin = (cast("FastAPI", cast("Any", each)._app) for each in (api, admin))
        self.security = edge._security
        self.security.sources = Sources(1_000_000, 1.0)  # the tests guess a lot
        for tenant in (*TENANTS, "*"):
            await self._make_keys(tenant)
        self._started.set()
        await self._stop.wait()
        await edge.stop()

    async def _make_keys(self, tenant: str) -> None:
        for name, scopes, purpose in (
            ("", ("admin",), Purpose.KEY),
            ("-viewer", ("viewer",), Purpose.KEY),
            ("-nothing", ("metrics:read",), Purpose.KEY),
            ("-client", ("viewer",), Purpose.CLIENT),
        ):
            wanted = NewKey(name=f"{tenant}{name}", scopes=scopes, tenant=tenant, purpose=purpose)
            _, self.keys[f"{tenant}{name}"] = await self.security.keys.create(wanted, "stage")

    def run(self, coroutine: Any) -> Any:
        """Run something in the daemon's loop."""
        return asyncio.run_coroutine_threadsafe(coroutine, self.loop).result(30)

    def ask(
        self,
        method: str,
        path: str,
        who: str | None = "*",
        *,
        headers: dict[str, str] | None = None,
        **more: Any,
    ) -> httpx.Response:
        """Ask as somebody; None: as nobody."""
        shown = {} if who is None else {"X-Api-Key": self.keys[who]}
        return self.client.request(method, path, headers={**shown, **(headers or {})}, **more)

    def document(self) -> dict[str, Any]:
        """Return the OpenAPI document."""
        answer = self.ask("GET", "/openapi.json")
        assert answer.status_code == 200
        return cast("dict[str, Any]", answer.json())

    def fill(self) -> None:
        """Let both tenants have sessions, decisions, reservations, prefixes, VRFs, CGNAT plans, audit."""
        for tenant in TENANTS:
            self._fill(tenant)

    def _fill(self, tenant: str) -> None:
        source, net, outside = _PLACE[tenant]
        for path, body in (
            ("ipam/vrfs", {"name": f"{tenant}-vrf"}),
            ("ipam/prefixes", {"prefix": f"100.{net}.0.0/16", "name": f"{tenant}-prefix"}),
            (
                "ipam/reservations",
                {"unit": f"100.{net}.0.200", "owner": f"{tenant}-line", "name": f"{tenant}-r"},
            ),
            (
                "ipam/selectors",
                {
                    "name": f"{tenant}-own",
                    "match": {"nas": f"{tenant}-nas"},
                    "pools": {"v4": [f"{tenant}-v4"]},
                },
            ),
            ("ipam/pools", {"name": f"{tenant}-vlans", "kind": "svlan", "ranges": ["100-199"]}),
            (
                "ipam/cgnat/plans",
                {
                    "name": f"{tenant}-nat",
                    "inside": [f"10.{net}.0.0/24"],
                    "outside": [f"{outside}.0/28"],
                    "block_size": 2016,
                    "sharing": 16,
                },
            ),
        ):
            method = "PUT" if path.endswith("vrfs") else "POST"
            answer = self.ask(method, f"/api/v1/{path}", tenant, json=body)
            assert answer.status_code in (200, 201), (path, answer.text)
        with Nas(cast("Any", SimpleNamespace()), source=source) as nas:
            login = nas.login(f"{tenant}-user".encode(), b"pw")
            accept = nas.ask(self.ports["auth"], login)
            assert accept is not None
            start = attribute(Attr.USER_NAME, f"{tenant}-user".encode())
            start += attribute(Attr.CALLING_STATION_ID, f"{tenant}-cpe".encode())
            start += attribute(Attr.NAS_IDENTIFIER, f"{tenant}-box".encode())
            start += b"".join(
                attribute(kind, value)
                for kind in (Attr.CLASS, Attr.FRAMED_IP_ADDRESS)
                if (value := accept.find(kind))
            )
            start += number(Attr.ACCT_SESSION_TIME, 1)
            for session in (f"{tenant}-s1", f"{tenant}-s2"):
                assert nas.ask(self.ports["acct"], nas.record(session, start)) is not None
            stop = nas.record(f"{tenant}-s2", start, AcctStatus.STOP)
            assert nas.ask(self.ports["acct"], stop) is not None
            wrong = nas.login(f"{tenant}-user".encode(), b"wrong")
            assert nas.ask(self.ports["auth"], wrong) is not None


@contextmanager
def stage(directory: Path) -> Iterator[Stage]:
    """Run a daemon with its API."""
    logs.setup("error", "json")
    made = Stage(directory)
    made._thread.start()
    made._started.wait(60)
    if made._error is not None:
        raise made._error
    with httpx.Client(base_url=made.url, timeout=30) as made.client:
        try:
            yield made
        finally:
            made.loop.call_soon_threadsafe(made._stop.set)
            made._thread.join(30)
