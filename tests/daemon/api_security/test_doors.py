"""What the two doors let through, what they limit, and what they write down."""

from __future__ import annotations

import asyncio
import base64
import io
import json
import sqlite3
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, cast

import httpx
import jwt
import pytest
from fastapi import FastAPI, Request

from daemon import logs
from daemon.api.application import admin_app, api_app
from daemon.api.security.audited import note_about, noted
from daemon.api.security.desk import Security
from daemon.api.security.keys import NewKey, Purpose
from daemon.api.security.options import SecurityOptions, TokenOptions
from daemon.api.services import Services
from daemon.store.audit_rows import AuditRow, AuditSearch, search
from tests.daemon.api_security.stage import Stage
from tests.daemon.conftest import Store
from tests.twins.clock import ClockTwin


class Hollow:
    """Stands for the owners of facts that these tests do not ask."""

    def __init__(self, **known: Any) -> None:
        self.__dict__.update(known)

    def __getattr__(self, name: str) -> Any:
        return Hollow()

    def __iter__(self) -> Iterator[Any]:
        return iter(())


class Desk:
    """The API port on a store, in process and in virtual time."""

    def __init__(self, store: Store, path: Path, **options: Any) -> None:
        self.store = store
        self.clock = ClockTwin()
        given = SecurityOptions(**({"name": "pop", "signing_key": path / "api.key"} | options))
        self.security = Security(given, store.engine, store.writer, self.clock)
        services = Hollow(engine=store.engine, writer=store.writer, clock=self.clock)
        self.app = self._with_routes(api_app(cast("Services", services), "0", self.security))
        self.admin = self._with_routes(admin_app(cast("Services", services), "0", self.security))

    def _with_routes(self, app: FastAPI) -> FastAPI:
        @app.post("/things/{name}")
        async def make(request: Request, name: str, how: str = "") -> dict[str, str]:
            if how == "noted":
                noted(request)
            if how == "about":
                note_about(request, f"thing {name}")
            if how == "fault":
                raise RuntimeError("a fault of ours")
            return {"name": name}

        @app.get("/who")
        async def who(request: Request) -> dict[str, str]:
            return {"name": request.state.principal.name, "tenant": request.state.principal.tenant}

        return app

    async def ask(
        self, method: str, path: str, source: str = "192.0.2.7", app: FastAPI | None = None, **more: Any
    ) -> httpx.Response:
        transport = httpx.ASGITransport(app or self.app, client=(source, 4711), raise_app_exceptions=False)
        async with httpx.AsyncClient(transport=transport, base_url="http://edge") as client:
            return await client.request(method, path, **more)

    async def key(self, *scopes: str, **fields: Any) -> dict[str, str]:
        wanted = NewKey(name="k", scopes=scopes or ("viewer",), **fields)
        _, shown = await self.security.keys.create(wanted, "test")
        return {"X-Api-Key": shown}

    async def audit(self) -> list[AuditRow]:
        rows, _ = await search(self.store.engine, AuditSearch())
        return rows


@asynccontextmanager
async def desk(store: Store, path: Path, **options: Any) -> AsyncIterator[Desk]:
    async with store.running():
        made = Desk(store, path, **options)
        await made.security.load()
        yield made


def test_the_same_request_is_let_in_by_key_token_and_basic_exchange(store: Store, tmp_path: Path) -> None:
    async def go() -> None:
        async with desk(store, tmp_path) as made:
            key = await made.key(tenant="alpha")
            told = await made.ask("GET", "/who", headers=key)
            assert told.json()["tenant"] == "alpha"
            client = (await made.key(tenant="alpha", purpose=Purpose.CLIENT))["X-Api-Key"]
            name, _, secret = client.partition(".")
            basic = base64.b64encode(f"{name}:{secret}".encode()).decode()
            for body, headers in (
                (f"grant_type=client_credentials&client_id={name}&client_secret={secret}", {}),
                (f"grant_type=client_credentials&client_id={name}&client_secret={client}", {}),
                ("grant_type=client_credentials", {"Authorization": f"Basic {basic}"}),
            ):
                answer = await made.ask("POST", "/api/v1/oauth/token", content=body, headers=headers)
                assert answer.status_code == 200, answer.text
                assert answer.headers["Cache-Control"] == "no-store"
                token = answer.json()["access_token"]
                assert (answer.json()["token_type"], answer.json()["expires_in"]) == ("Bearer", 600)
                told = await made.ask("GET", "/who", headers={"Authorization": f"Bearer {token}"})
                assert told.json()["tenant"] == "alpha"
                assert name in told.json()["name"]

    asyncio.run(go())


def test_a_client_gets_no_more_than_it_has_and_loses_it_at_once(store: Store, tmp_path: Path) -> None:
    async def go() -> None:
        async with desk(store, tmp_path) as made:
            client = (await made.key("sessions:read", purpose=Purpose.CLIENT))["X-Api-Key"]
            name, _, secret = client.partition(".")
            form = {"grant_type": "client_credentials", "client_id": name, "client_secret": secret}
            more = await made.ask("POST", "/api/v1/oauth/token", data={**form, "scope": "keys:write"})
            assert (more.status_code, more.json()["error"]) == (400, "invalid_scope")
            answer = await made.ask("POST", "/api/v1/oauth/token", data=form)
            token = answer.json()["access_token"]
            assert answer.json()["scope"] == "sessions:read"
            bearer = {"Authorization": f"Bearer {token}"}
            assert (await made.ask("GET", "/who", headers=bearer)).status_code == 200
            jwks = (await made.ask("GET", "/api/v1/oauth/jwks")).json()
            public = jwt.PyJWKSet.from_dict(jwks).keys[0]
            assert (
                jwt.decode(
                    token,
                    public,
                    algorithms=["EdDSA"],
                    audience="dotmac-edge:pop",
                    options={"verify_exp": False, "verify_nbf": False, "verify_iat": False},
                )["sub"]
                == name
            )
            await made.security.keys.revoke(name)
            assert (await made.ask("GET", "/who", headers=bearer)).status_code == 401
            refused = await made.ask("POST", "/api/v1/oauth/token", data=form)
            assert (refused.status_code, refused.json()["error"]) == (401, "invalid_client")

    asyncio.run(go())


def test_a_token_of_ours_ends_after_its_time(store: Store, tmp_path: Path) -> None:
    async def go() -> None:
        async with desk(store, tmp_path) as made:
            name, _, secret = (await made.key(purpose=Purpose.CLIENT))["X-Api-Key"].partition(".")
            form = {"grant_type": "client_credentials", "client_id": name, "client_secret": secret}
            token = (await made.ask("POST", "/api/v1/oauth/token", data=form)).json()["access_token"]
            bearer = {"Authorization": f"Bearer {token}"}
            await made.clock.advance(599)
            assert (await made.ask("GET", "/who", headers=bearer)).status_code == 200
            await made.clock.advance(1)
            assert (await made.ask("GET", "/who", headers=bearer)).status_code == 401

    asyncio.run(go())


@pytest.mark.parametrize(
    ("body", "error"),
    [
        ("", "invalid_request"),
        ("grant_type=password", "unsupported_grant_type"),
        ("grant_type=client_credentials&grant_type=client_credentials", "invalid_request"),
        ("grant_type=client_credentials", "invalid_client"),
        ("grant_type=client_credentials&client_id=c1", "invalid_client"),
        ("grant_type=client_credentials&client_id=c1&client_secret=x", "invalid_client"),
        ("\xff", "invalid_request"),
    ],
)
def test_what_is_no_request_for_a_token_says_so_in_the_words_of_the_standard(
    store: Store, tmp_path: Path, body: str, error: str
) -> None:
    async def go() -> None:
        async with desk(store, tmp_path) as made:
            answer = await made.ask("POST", "/api/v1/oauth/token", content=body.encode("latin-1"))
            assert answer.status_code in (400, 401)
            told = answer.json()
            assert told["error"] == error
            assert {"code", "message", "request_id", "retryable"} <= set(told)

    asyncio.run(go())


def test_a_key_that_asks_too_often_is_told_when_to_come_back(store: Store, tmp_path: Path) -> None:
    async def go() -> None:
        async with desk(store, tmp_path) as made:
            key = await made.key(rate_per_s=0.5)
            assert (await made.ask("GET", "/who", headers=key)).status_code == 200
            refused = await made.ask("GET", "/who", headers=key)
            assert (refused.status_code, refused.json()["code"]) == (429, "too-many-requests")
            assert (refused.headers["Retry-After"], refused.json()["retryable"]) == ("2", True)
            await made.clock.advance(2)
            assert (await made.ask("GET", "/who", headers=key)).status_code == 200

    asyncio.run(go())


def test_a_source_that_guesses_is_stopped_and_others_are_not(store: Store, tmp_path: Path) -> None:
    async def go() -> None:
        async with desk(store, tmp_path, failures=3, failure_every_s=10.0) as made:
            key = await made.key()
            wrong = {"X-Api-Key": "k0.guess"}
            told = [(await made.ask("GET", "/who", headers=wrong)).status_code for _ in range(5)]
            assert told == [401, 401, 401, 429, 429]
            assert (
                await made.ask("GET", "/who", headers=key)
            ).status_code == 200  # others' failures are not its own
            bearer = {"Authorization": "Bearer a.b.c"}
            assert (await made.ask("GET", "/who", headers=bearer)).status_code == 429
            name, _, secret = (await made.key(purpose=Purpose.CLIENT))["X-Api-Key"].partition(".")
            good = {"grant_type": "client_credentials", "client_id": name, "client_secret": secret}
            assert (await made.ask("POST", "/api/v1/oauth/token", data=good)).status_code == 200
            assert (await made.ask("GET", "/who", source="192.0.2.8", headers=wrong)).status_code == 401
            form = {"grant_type": "client_credentials", "client_id": "c0", "client_secret": "x"}
            assert (await made.ask("POST", "/api/v1/oauth/token", data=form)).status_code == 429
            assert (await made.ask("GET", "/who")).status_code == 401  # without a guess
            await made.clock.advance(10)
            assert (await made.ask("GET", "/who", headers=wrong)).status_code == 401

    asyncio.run(go())


def test_two_ways_to_say_who_one_is_are_one_too_many(store: Store, tmp_path: Path) -> None:
    async def go() -> None:
        async with desk(store, tmp_path) as made:
            key = await made.key()
            both = {**key, "Authorization": "Bearer a.b.c"}
            assert (await made.ask("GET", "/who", headers=both)).status_code == 401
            twice = [("X-Api-Key", key["X-Api-Key"]), ("X-Api-Key", "k0.x")]
            assert (await made.ask("GET", "/who", headers=twice)).status_code == 401

    asyncio.run(go())


def test_metrics_are_open_on_this_machine_until_they_are_not(store: Store, tmp_path: Path) -> None:
    async def go() -> None:
        async with desk(store, tmp_path) as made:
            assert (await made.ask("GET", "/metrics")).status_code == 401
            assert (await made.ask("GET", "/metrics", source="127.0.0.1")).status_code != 401
            alpha = await made.key("metrics:read", tenant="alpha")
            assert (await made.ask("GET", "/metrics", headers=alpha)).status_code == 403
            for path in ("/health", "/livez"):
                assert (await made.ask("GET", path)).json() == {"status": "alive"}
            for path in ("/docs", "/openapi.json", "/redoc", "/who", "/", "/api/v1/status"):
                assert (await made.ask("GET", path, source="127.0.0.1")).status_code == 401, path
        closed = Desk(store, tmp_path, open_metrics=False, open_docs=True)
        assert (await closed.ask("GET", "/metrics", source="127.0.0.1")).status_code == 401
        assert (await closed.ask("GET", "/openapi.json")).status_code == 200

    asyncio.run(go())


def test_the_admin_door_on_a_tcp_port_lets_in_nobody(store: Store, tmp_path: Path) -> None:
    async def go() -> None:
        async with desk(store, tmp_path) as made:
            assert (await made.ask("GET", "/who", app=made.admin, source="0")).status_code == 200
            transport = httpx.ASGITransport(made.admin, client=("127.0.0.1", 1))
            async with httpx.AsyncClient(transport=transport, base_url="http://edge:8080") as client:
                assert (await client.get("/who")).status_code == 401

    asyncio.run(go())


# --- the audit -------------------------------------------------------------------------------------


def test_every_mutation_on_either_door_is_in_the_audit_once(store: Store, tmp_path: Path) -> None:
    async def go() -> None:
        async with desk(store, tmp_path) as made:
            key = await made.key(tenant="alpha")
            await made.ask(
                "POST", "/things/a1?x=1", headers={**key, "X-Request-ID": "r1"}, json={"password": "canary-1"}
            )
            await made.ask("POST", "/things/a2?how=noted", headers=key)
            await made.ask("POST", "/things/a3?how=about", headers=key)
            await made.ask("GET", "/who", headers=key)
            await made.ask("POST", "/nowhere", headers=key)
            await made.ask("POST", "/things/a4?how=fault", headers=key)
            await made.ask("POST", "/things/a5")  # nobody
            await made.ask("POST", "/things/a6", app=made.admin, source="0")
            rows = (await made.audit())[::-1]
            told = [(each.action, each.subject, each.result, each.tenant) for each in rows]
            assert told == [
                ("POST /things/{name}", "/things/a1?x=1&tenant=alpha", "200", "alpha"),
                ("POST /things/{name}", "thing a3", "200", "alpha"),
                ("POST /nowhere", "/nowhere?tenant=alpha", "404", "alpha"),
                ("POST /things/{name}", "/things/a4?how=fault&tenant=alpha", "500", "alpha"),
                ("POST /things/{name}", "/things/a6", "200", ""),
            ]
            name = key["X-Api-Key"].partition(".")[0]
            assert [each.actor for each in rows] == [*[f"key k ({name})"] * 4, "root (uid 0)"]
            assert rows[0].reason == "r1"
            await made.ask("POST", "/things/thing?tenant=beta", headers=await made.key())
            (
                row,
                *_,
            ) = await made.audit()  # a value that is a part of the path itself, and a tenant that was named
            assert (row.action, row.tenant) == ("POST /things/{name}", "beta")

    asyncio.run(go())


def test_an_answer_does_not_leave_before_its_entry_is_durable(store: Store, tmp_path: Path) -> None:
    async def go() -> None:
        async with desk(store, tmp_path) as made:
            key = await made.key()
            with sqlite3.connect(tmp_path / "edge.db") as connection:
                connection.execute("drop table audit")
            answer = await made.ask("POST", "/things/a1", headers=key)
            assert (answer.status_code, answer.json()["code"]) == (503, "store-unavailable")
            assert (await made.ask("GET", "/who", headers=key)).status_code == 200

    asyncio.run(go())


def test_no_secret_is_in_the_log_the_audit_or_an_error(store: Store, tmp_path: Path) -> None:
    out = io.StringIO()

    async def go() -> list[str]:
        logs.setup("debug", "json", out)
        async with desk(store, tmp_path, failures=1000) as made:
            admin = await made.key("admin")
            body = {"name": "n", "scopes": ["viewer"], "purpose": "client"}
            new = (await made.ask("POST", "/api/v1/api-keys", headers=admin, json=body)).json()
            name, _, secret = new["secret"].partition(".")
            form = {"grant_type": "client_credentials", "client_id": name, "client_secret": secret}
            token = (await made.ask("POST", "/api/v1/oauth/token", data=form)).json()["access_token"]
            seen = []
            for headers in (
                {"X-Api-Key": f"{name}.{secret}"},
                {"X-Api-Key": f"k0.{secret}"},
                {"Authorization": f"Bearer {token}x"},
                {"Authorization": f"Basic {token}"},
                {"Authorization": f"Bearer {token}", "X-Tenant-ID": "x"},
            ):
                seen.append((await made.ask("POST", "/who", headers=headers)).text)
                seen.append((await made.ask("POST", "/api/v1/api-keys", headers=headers)).text)
            listed = (await made.ask("GET", "/api/v1/api-keys", headers=admin)).text
            gone = (await made.ask("DELETE", f"/api/v1/api-keys/{name}", headers=admin)).json()
            assert gone["state"] == "revoked"
            audit = json.dumps(await made.audit())
            assert name in audit
            return [
                secret,
                token.rpartition(".")[2],
                admin["X-Api-Key"].partition(".")[2],
                *[listed, audit, *seen],
            ]

    secret, signature, admin_secret, *told = asyncio.run(go())
    texts = "\n".join([*told, out.getvalue()])
    assert "api-refused" in out.getvalue()
    octets = b"".join(path.read_bytes() for path in tmp_path.iterdir() if path.is_file())
    for canary in (secret, signature, admin_secret):
        assert canary not in texts
        assert canary.encode() not in octets


# --- keys over the API -----------------------------------------------------------------------------


def test_nobody_gives_away_what_it_has_not(store: Store, tmp_path: Path) -> None:
    async def go() -> None:
        async with desk(store, tmp_path) as made:
            own = await made.key("keys:write", "keys:read", "sessions:read", tenant="alpha")

            async def wish(**fields: Any) -> httpx.Response:
                body = {"name": "n", "scopes": ["sessions:read"], **fields}
                return await made.ask("POST", "/api/v1/api-keys", headers=own, json=body)

            assert (await wish(scopes=["ipam:write"])).status_code == 403
            assert (await wish(scopes=["admin"])).status_code == 403
            assert (await wish(scopes=["nothing"])).status_code == 422
            assert (await wish(tenant="beta")).status_code == 404
            for fields in ({}, {"tenant": "*"}, {"tenant": "alpha"}):
                assert (await wish(**fields)).json()["tenant"] == "alpha"
            other = (await made.key(tenant="beta"))["X-Api-Key"].partition(".")[0]
            for key in (other, "k000"):
                gone = await made.ask("DELETE", f"/api/v1/api-keys/{key}", headers=own)
                assert gone.status_code == 404
            listed = (await made.ask("GET", "/api/v1/api-keys", headers=own)).json()["items"]
            assert {each["tenant"] for each in listed} == {"alpha"}

    asyncio.run(go())


def test_what_a_key_makes_ends_with_it_and_asks_no_more_often(store: Store, tmp_path: Path) -> None:
    async def go() -> None:
        async with desk(store, tmp_path) as made:
            end = made.clock.wall() + 600
            own = await made.key("admin", expires_at=end, rate_per_s=50.0)

            async def make(by: dict[str, str], **fields: Any) -> tuple[dict[str, Any], dict[str, str]]:
                body = {"name": "n", "scopes": ["admin"], **fields}
                told = (await made.ask("POST", "/api/v1/api-keys", headers=by, json=body)).json()
                return told, {"X-Api-Key": told["secret"]}

            told, child = await make(own)
            assert (told["expires_at"], told["rate_per_s"]) == (end, 50.0)
            assert told["parent"] == own["X-Api-Key"].partition(".")[0]
            told, grandchild = await make(child, expires_s=86_400, rate_per_s=1_000)
            assert (told["expires_at"], told["rate_per_s"]) == (end, 50.0)
            told, _ = await make(child, expires_s=60, rate_per_s=1)
            assert (told["expires_at"], told["rate_per_s"]) == (made.clock.wall() + 60, 1.0)
            for key in (child, grandchild):
                assert (await made.ask("GET", "/who", headers=key)).status_code == 200
            other = await made.key("admin")
            gone = await made.ask("DELETE", f"/api/v1/api-keys/{told['parent']}", headers=other)
            assert gone.json()["state"] == "revoked"
            assert [
                (await made.ask("GET", "/who", headers=key)).status_code for key in (child, grandchild)
            ] == [
                401,
                401,
            ]
            assert (await made.ask("GET", "/who", headers=own)).status_code == 200
            await made.security.load()  # as after a restart
            assert (await made.ask("GET", "/who", headers=grandchild)).status_code == 401

    asyncio.run(go())


def test_an_edge_refuses_settings_that_would_let_in_too_many(store: Store, tmp_path: Path) -> None:
    for tokens, why in (
        (TokenOptions(secret=b"short", issuer="i", audience="a"), "32"),
        (TokenOptions(secret=b"s" * 32, audience="a"), "issuer"),
        (TokenOptions(secret=b"s" * 32, issuer="i"), "audience"),
        (TokenOptions(secret=b"s" * 32, issuer="dotmac-edge:pop", audience="a"), "name of this edge"),
    ):
        options = SecurityOptions(name="pop", signing_key=tmp_path / "k", tokens=tokens)
        with pytest.raises(ValueError, match=why):
            Security(options, store.engine, store.writer, ClockTwin())
    assert "s" * 32 not in repr(TokenOptions(secret=b"s" * 32))


def test_failures_have_one_shape_with_the_requests_id(filled: Stage) -> None:
    for path, who, status in (
        ("/api/v1/subscribers", None, 401),
        ("/api/v1/status", "alpha", 403),
        ("/api/v1/subscribers/nobody", "alpha", 404),
        ("/api/v1/subscribers?limit=x", "alpha", 422),
    ):
        answer = filled.ask("GET", path, who, headers={"X-Request-ID": "r-17"})
        assert answer.status_code == status
        assert answer.headers["X-Request-ID"] == answer.json()["request_id"] == "r-17"
        assert set(answer.json()) == {"code", "message", "details", "request_id", "retryable"}
