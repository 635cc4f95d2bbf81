"""A running daemon: streams that end with their key, look-ups that are written down, questions that make no sense."""

from __future__ import annotations

import base64
import contextlib
import json
import time
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from daemon.api.outbox_places import Places
from daemon.api.security.keys import NewKey
from daemon.api.security.principals import Kind, Principal
from tests.daemon.api_security.stage import Stage

EVENTS = "/api/v1/events?stream=sessions&last=0&type=none"
HISTORY = "/api/v1/ipam/history"


def key(stage: Stage, *scopes: str, tenant: str = "*", **fields: Any) -> tuple[str, dict[str, str]]:
    """Make a key; return its id and how it is shown."""
    wanted = NewKey(name="k", scopes=scopes, tenant=tenant, **fields)
    row, shown = stage.run(stage.security.keys.create(wanted, "test"))
    return row.id, {"X-Api-Key": shown}


@contextlib.contextmanager
def following(stage: Stage, shown: dict[str, str]) -> Iterator[httpx.Response]:
    headers = {"Accept": "text/event-stream", **shown}
    with (
        httpx.Client(base_url=stage.url, timeout=20) as client,
        client.stream("GET", EVENTS, headers=headers) as it,
    ):
        yield it


def test_a_stream_ends_with_its_key(filled: Stage) -> None:
    for ends in ("revoked", "expired"):
        fields = {"expires_at": time.time() + 2} if ends == "expired" else {}
        name, shown = key(filled, "viewer", **fields)
        with following(filled, shown) as stream:
            assert stream.status_code == 200
            if ends == "revoked":
                filled.run(filled.security.keys.revoke(name))
            began = time.monotonic()
            assert stream.read().startswith(b"retry: ")
            assert time.monotonic() - began < 5


def test_a_long_poll_ends_with_its_key(filled: Stage) -> None:
    _, shown = key(filled, "viewer", expires_at=time.time() + 1)
    began = time.monotonic()
    told = filled.client.get(f"{EVENTS}&wait=60", headers=shown)
    assert (told.status_code, time.monotonic() - began < 5) == (401, True)


def test_one_key_takes_a_few_places_of_followers_only(filled: Stage) -> None:
    _, first = key(filled, "viewer", tenant="alpha")
    _, second = key(filled, "viewer", tenant="alpha")
    with contextlib.ExitStack() as stack:
        told = [stack.enter_context(following(filled, first)) for _ in range(5)]
        assert [each.status_code for each in told] == [200] * 4 + [503]
        assert told[4].headers["Retry-After"] == "30"
        assert stack.enter_context(following(filled, second)).status_code == 200


def test_tenants_leave_places_to_who_may_see_all_of_them() -> None:
    places = Places()

    def who(key: str, tenant: str = "*") -> Principal:
        return Principal(kind=Kind.KEY, name=key, scopes=frozenset(), tenant=tenant, key=key)

    taken = []
    for number in range(200):
        one = who(f"k{number}", f"t{number % 10}")
        if not places.refused(one):
            places.take(one)
            taken.append(one)
    assert len(taken) == 48
    for number in range(30):
        one = who(f"k{number}", "t")
        places.refused(one) or places.take(one)
    assert "for tenants" in places.refused(who("x", "t"))
    assert not places.refused(who("platform"))
    for one in taken:
        places.leave(one)
    for number in range(16):
        places.take(who(f"k{number}", "t"))
    assert "for t;" in places.refused(who("x", "t"))
    assert not places.refused(who("x", "u"))


def test_the_secret_of_a_nas_is_used_towards_its_own_addresses_only(filled: Stage) -> None:
    path = "/api/v1/coa-tests?nas=alpha-nas&address="
    _, operator = key(filled, "operator", tenant="alpha")
    for shown in (operator, {"X-Api-Key": filled.keys["*"]}):
        refused = filled.client.post(f"{path}127.0.0.200", headers=shown)
        assert (refused.status_code, "127.0.0.200 is none of alpha-nas" in refused.text) == (422, True)
        assert filled.client.post(f"{path}127.0.0.2", headers=shown).status_code == 200


def audited(stage: Stage) -> list[dict[str, Any]]:
    items: list[dict[str, Any]] = stage.ask("GET", "/api/v1/audit?limit=3").json()["items"]
    return items


def test_who_had_an_address_is_told_to_whom_may_ask_and_written_down(filled: Stage) -> None:
    _, viewer = key(filled, "viewer")
    for question in ("address=100.64.0.0", "pool=alpha-v4"):
        refused = filled.client.get(f"{HISTORY}?{question}", headers=viewer)
        assert (refused.status_code, "who-had:read" in refused.text) == (403, True)
    assert filled.client.get(f"{HISTORY}?subscriber=alpha-line", headers=viewer).status_code == 200
    name, asker = key(filled, "ipam:read", "who-had:read")
    for path, action, subject in (
        (f"{HISTORY}?address=100.64.0.0&tenant=alpha", f"GET {HISTORY}", "address 100.64.0.0"),
        (
            "/api/v1/ipam/cgnat/holders?outside=203.0.113.1&port=5000&at=1795291000&tenant=alpha",
            "GET /api/v1/ipam/cgnat/holders",
            "holders of 203.0.113.1:5000",
        ),
        (
            "/api/v1/ipam/leases/100.64.0.0?tenant=alpha",
            "GET /api/v1/ipam/leases/{name}",
            "history of 100.64.0.0",
        ),
    ):
        assert filled.client.get(path, headers=asker).status_code == 200
        row = audited(filled)[0]
        assert (row["action"], row["tenant"], name in row["actor"]) == (action, "alpha", True)
        assert subject in row["subject"]
    told = filled.client.get("/api/v1/ipam/leases/100.64.0.0?tenant=alpha", headers=viewer)
    assert told.json()["history"] == []


def cursor(*position: object) -> str:
    return base64.urlsafe_b64encode(json.dumps(position).encode()).decode()


@pytest.mark.parametrize(
    "path",
    [
        *(f"who-had?address=192.0.2.1&reason=x&at={at}" for at in ("nan", "inf", "-inf", "-1e300", "1e300")),
        "leases/" + "9" * 5000,
        f"history?address=192.0.2.1&cursor={cursor(1.0, 'x', 10**30)}",
        f"history?address=192.0.2.1&cursor={cursor(float('nan'), 'x', 1)}",
        f"history?address=192.0.2.1&cursor={cursor(10**400, 'x', 1)}",
        f"history?address=192.0.2.1&cursor={cursor(1.0, 'x', float('inf'))}",
        f"history?pool=x&cursor={cursor('pop', 10**30)}",
        f"history?pool=x&cursor={cursor('pop', '9' * 500)}",
        "history?address=192.0.2.1&since=nan",
    ],
)
def test_what_makes_no_sense_is_the_askers_fault(filled: Stage, path: str) -> None:
    assert filled.ask("GET", f"/api/v1/ipam/{path}").status_code == 422


def test_an_audit_of_no_time_is_refused(filled: Stage) -> None:
    assert filled.ask("GET", "/api/v1/audit?since=nan").status_code == 422
