"""A request brings no more than the daemon can hold beside its work: it is refused with the limit."""

from __future__ import annotations

import asyncio
import json
import tracemalloc
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest
from fastapi import FastAPI, Request
from pydantic import BaseModel

from daemon.api.application import _add_failures
from daemon.api.body_limit import MIB, MOST, limit_of
from daemon.api.server import ApiServer, listen_unix

CHUNK = bytes(64 * 1024)


class Body(BaseModel):
    name: str


def application() -> FastAPI:
    app = FastAPI()
    _add_failures(app)

    @app.post("/api/v1/ipam/pools")
    async def pools(body: Body) -> dict[str, int]:
        return {"octets": len(body.name)}

    @app.post("/api/v1/data")
    async def data(request: Request) -> dict[str, int]:
        return {"octets": len(await request.body())}

    return app


async def ask(
    folder: Path, path: str, content: bytes | AsyncIterator[bytes], headers: dict[str, str] | None = None
) -> httpx.Response:
    """Ask the application over a Unix socket."""
    socket = folder / "admin.sock"
    server = ApiServer(application(), listen_unix(socket, None), admin=True)
    serving = asyncio.create_task(server.serve())
    try:
        transport = httpx.AsyncHTTPTransport(uds=str(socket))
        async with httpx.AsyncClient(transport=transport, base_url="http://edge/api/v1") as client:
            sent = {"content-type": "application/json", "X-Request-ID": "r1", **(headers or {})}
            return await client.post(path, content=content, headers=sent)
    finally:
        server.stop()
        await serving


async def endless() -> AsyncIterator[bytes]:
    for _ in range(1_000):
        yield CHUNK


def test_a_body_of_the_limit_is_taken_and_one_octet_more_is_refused_with_the_limit(tmp_path: Path) -> None:
    def body(octets: int) -> bytes:
        frame = len(json.dumps({"name": ""}))
        return json.dumps({"name": "x" * (octets - frame)}).encode()

    taken = asyncio.run(ask(tmp_path, "/ipam/pools", body(MOST)))
    assert (taken.status_code, len(taken.request.content)) == (200, MOST)
    refused = asyncio.run(ask(tmp_path, "/ipam/pools", body(MOST + 1)))
    said = refused.json()
    assert (refused.status_code, said["code"], said["request_id"]) == (413, "too-large", "r1")
    assert "at most 1 MiB (1048576 octets)" in said["message"]
    assert refused.headers["X-Request-ID"] == "r1"


def test_a_body_that_does_not_say_how_long_it_is_is_refused_as_soon_as_it_is_too_long(tmp_path: Path) -> None:
    tracemalloc.start()
    refused = asyncio.run(ask(tmp_path, "/ipam/pools", endless()))
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert (refused.status_code, refused.json()["code"]) == (413, "too-large")
    assert "at most 1 MiB" in refused.json()["message"]
    assert peak < 16 * MIB


def test_a_document_may_be_longer(tmp_path: Path) -> None:
    taken = asyncio.run(ask(tmp_path, "/data", bytes(3 * MOST)))
    assert taken.json() == {"octets": 3 * MOST}


@pytest.mark.parametrize(
    ("path", "mib"),
    [
        ("/api/v1/data", 1024),
        ("/api/v1/policy-diffs", 1024),
        ("/api/v1/ipam/imports", 4096),
        ("/api/v1/ipam/cgnat/plans/pop1/verifications", 16),
        ("/api/v1/ipam/cgnat/plans", 1),
        ("/api/v1/ipam/pools/data", 1),
    ],
)
def test_each_route_has_its_limit(path: str, mib: int) -> None:
    assert limit_of(path) == mib * MIB
