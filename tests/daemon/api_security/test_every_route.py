"""Every route of the API: nobody is told anything without credentials, without the scope, or of another tenant."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from fastapi import APIRouter, Depends, FastAPI
from fastapi.routing import APIRoute

from daemon.api.application import _add_failures
from daemon.api.security.guard import Reach, declared, guards_of, takes_tenant
from tests.daemon.api_security.stage import Stage
from tests.daemon.api_security.walk import OPEN, WORDS, Operation, anonymised, operations


@pytest.fixture(scope="module")
def every(filled: Stage) -> list[Operation]:
    for tenant in ("alpha", "beta"):
        WORDS[tenant]["key"] = filled.keys[f"{tenant}-viewer"].partition(".")[0]
    found = list(operations(filled.document()))
    assert len(found) > 80
    return found


def routes(router: Any) -> Iterator[APIRoute]:
    """Yield every route of an application, however deep it was included."""
    for each in router.routes:
        inner = getattr(each, "original_router", None)
        if inner is not None:
            yield from routes(inner)
        elif isinstance(each, APIRoute):
            yield each


def test_every_route_has_declared_a_scope_and_how_it_keeps_tenants_apart(filled: Stage) -> None:
    found = list(routes(filled.app))
    assert len(found) > 80
    for each in found:
        guards = guards_of(each)
        if each.path in OPEN or each.path.startswith("/oauth/") or f"/api/v1{each.path}" in OPEN:
            continue
        assert len(guards) == 1, f"{each.path} has {len(guards)} scopes"
        if guards[0].reach is Reach.TENANT:
            assert takes_tenant(each), (
                f"{each.path}: no query parameter `tenant`, and no other reach is declared"
            )


def test_what_is_about_the_whole_edge_is_not_for_one_tenant(filled: Stage) -> None:
    asked = 0
    for each in routes(filled.app):
        if any(guard.reach is Reach.EDGE for guard in guards_of(each)):
            path = each.path if each.path.startswith(("/api/", "/metrics")) else f"/api/v1{each.path}"
            for method in each.methods - {"HEAD"}:
                answer = filled.ask(method, path.replace("{", "").replace("}", ""), "alpha")
                assert answer.status_code == 403, f"{method} {path}: {answer.status_code}"
                assert "whole edge" in answer.json()["message"]
                asked += 1
    assert asked > 10


def test_a_route_that_forgets_its_scope_is_open_to_nobody() -> None:
    app, router = FastAPI(), APIRouter(dependencies=[Depends(declared)])

    @router.get("/forgotten")
    async def forgotten() -> str:
        return "told"

    _add_failures(app)
    app.include_router(router)

    async def ask() -> httpx.Response:
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://edge") as client:
            return await client.get("/forgotten")

    answer = asyncio.run(ask())
    assert (answer.status_code, answer.json()["code"]) == (403, "denied")


def test_the_document_says_of_every_route_that_it_is_guarded(every: list[Operation]) -> None:
    assert {each.path for each in every if not each.guarded} == OPEN


def test_without_credentials_nothing_is_told(filled: Stage, every: list[Operation]) -> None:
    for each in every:
        if each.path in OPEN or each.path == "/metrics":
            continue
        path, more = each.request("alpha", filled.security.clock.wall())
        for headers in ({}, {"X-Api-Key": "k0.guess"}, {"Authorization": "Bearer a.b.c"}):
            more["headers"] = {**more.get("headers", {}), **headers}
            answer = filled.ask(each.method.upper(), path, None, **more)
            assert answer.status_code == 401, f"{each.method} {path}: {answer.status_code}"
            assert answer.json()["code"] == "unauthenticated"
            assert "alpha" not in answer.text
            assert answer.headers["WWW-Authenticate"].startswith("Bearer")
    assert filled.ask("GET", "/api/v1/no-such-route", None).status_code == 401


def test_without_the_scope_nothing_is_told(filled: Stage, every: list[Operation]) -> None:
    for each in every:
        if each.path in OPEN or each.path == "/metrics":
            continue
        path, more = each.request("alpha", filled.security.clock.wall())
        for who in ("alpha-nothing", "*-nothing"):
            answer = filled.ask(each.method.upper(), path, who, **more)
            assert answer.status_code == 403, (
                f"{each.method} {path}: {answer.status_code} {answer.text[:200]}"
            )
            assert answer.json()["code"] == "denied"


def test_a_reader_changes_nothing(filled: Stage, every: list[Operation]) -> None:
    reading = {"/api/v1/ipam/cgnat/plan-proposals", "/api/v1/ipam/cgnat/plans/{name}/verifications"}
    for each in every:
        if each.reads or each.path in OPEN | reading:
            continue
        path, more = each.request("alpha", filled.security.clock.wall())
        answer = filled.ask(each.method.upper(), path, "alpha-viewer", **more)
        assert answer.status_code == 403, f"{each.method} {path}: {answer.status_code}"


def test_another_tenants_things_are_to_a_tenant_as_if_they_were_not_there(
    filled: Stage, every: list[Operation]
) -> None:
    """What is told about things of beta is what is told about things that nobody has."""
    now = filled.security.clock.wall()
    told_to_its_own = 0
    for each in every:
        if each.path in OPEN:
            continue
        about_beta, about_nobody = (
            filled.ask(each.method.upper(), path, "alpha", **more)
            for path, more in (each.request(whose, now) for whose in ("beta", "gamma"))
        )
        where = f"{each.method} {each.path}"
        assert about_beta.status_code < 500, f"{where}: {about_beta.text[:300]}"
        assert about_beta.status_code == about_nobody.status_code, (
            f"{where}: {about_beta.status_code} {about_beta.text[:300]} but "
            f"{about_nobody.status_code} {about_nobody.text[:300]}"
        )
        told, untold = anonymised(about_beta.text, "beta"), anonymised(about_nobody.text, "gamma")
        if each.path != "/api/v1/audit":  # where alpha sees itself asking
            assert told == untold, f"{where}:\n{told[:600]}\n{untold[:600]}"
        if each.reads:
            path, more = each.request("beta", now)
            own = filled.ask("GET", path, "beta", **more)
            told_to_its_own += own.status_code == 200 and anonymised(own.text, "beta") != untold
    assert told_to_its_own > 30  # else the things asked about are not there at all


def test_lists_hold_nothing_of_another_tenant(filled: Stage, every: list[Operation]) -> None:
    asked = own = 0
    for each in every:
        if (
            not each.reads
            or "{" in each.path
            or each.path in OPEN
            or any(needed for _, needed in each.queries)
        ):
            continue
        answer = filled.ask("GET", each.path, "alpha")
        if each.path == "/api/v1/audit":
            answer = filled.ask("GET", each.path, "alpha", params={"action": "POST /api/v1/ipam/pools"})
        asked += 1
        own += answer.status_code == 200 and "alpha" in answer.text
        for foreign in ("beta", "100.65", "198.51.100", "10.65."):
            assert foreign not in answer.text, f"{each.path}: {answer.text[:400]}"
    assert asked > 25
    assert own > 15


@pytest.mark.parametrize("how", ["query", "header"])
def test_no_route_lets_a_tenant_name_another_one(filled: Stage, every: list[Operation], how: str) -> None:
    for each in every:
        if each.path in OPEN:
            continue
        path, more = each.request("beta", filled.security.clock.wall())
        if how == "query":
            more["params"] = {**more["params"], "tenant": "beta"}
        else:
            more["headers"] = {**more.get("headers", {}), "X-Tenant-ID": "beta"}
        answer = filled.ask(each.method.upper(), path, "alpha", **more)
        assert answer.status_code == (404 if how == "query" else 403), (
            f"{each.method} {path}: {answer.text[:200]}"
        )


def test_a_key_for_all_tenants_is_narrowed_by_the_header(filled: Stage) -> None:
    narrowed = filled.ask("GET", "/api/v1/subscribers", "*", headers={"X-Tenant-ID": "beta"}).json()["items"]
    assert [each["tenant"] for each in narrowed] == ["beta"]
    assert len(filled.ask("GET", "/api/v1/subscribers", "*").json()["items"]) == 2
    edge = filled.ask("GET", "/api/v1/status", "*", headers={"X-Tenant-ID": "beta"})
    assert edge.status_code == 403
