"""A fault of ours is answered like every failure, tells the asker nothing of how, and is logged once."""

from __future__ import annotations

import asyncio
import io
import json
from collections.abc import Iterator
from typing import cast

import httpx
from fastapi import FastAPI

from daemon import logs
from daemon.api.application import admin_app
from daemon.api.services import Services


class Broken:
    """Stands where the owners of the facts should be: it can be handed on, but nothing can be asked of it."""

    def __getattr__(self, name: str) -> Broken:
        if name == "status":
            raise AttributeError(name)
        return Broken()

    def __iter__(self) -> Iterator[Broken]:
        return iter(())


def ask(app: FastAPI, path: str) -> httpx.Response:
    async def go() -> httpx.Response:
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://edge") as client:
            return await client.get(path, headers={"X-Request-ID": "r1"})

    return asyncio.run(go())


def test_a_fault_is_answered_in_json_and_logged_once() -> None:
    out = io.StringIO()
    logs.setup("info", "json", out)
    app = admin_app(cast("Services", Broken()), "0")
    answer = ask(app, "/api/v1/status")
    body = answer.json()
    assert (answer.status_code, body["code"], body["request_id"]) == (500, "internal-error", "r1")
    assert answer.headers["X-Request-ID"] == "r1"
    assert "Broken" not in answer.text
    (line,) = out.getvalue().splitlines()
    logged = json.loads(line)
    assert (logged["event"], logged["request"]) == ("api-fault", "r1")
    assert "AttributeError" in logged["exception"]


def test_a_store_that_is_away_is_said_to_be_away_and_not_a_fault() -> None:
    app = admin_app(cast("Services", Broken()), "0")

    @app.get("/away")
    async def away() -> None:
        raise ConnectionRefusedError(111, "Connection refused")

    answer = ask(app, "/away")
    assert (answer.status_code, answer.json()["code"]) == (503, "store-unavailable")
    assert answer.json()["retryable"] is True
