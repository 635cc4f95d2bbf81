"""API keys: only hashes are kept, a secret is told once, rates and ends hold, and use is counted."""

from __future__ import annotations

import asyncio
import hmac
import sqlite3
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from daemon.api.security import keys as keys_module
from daemon.api.security.buckets import Bucket, Sources, retry_after
from daemon.api.security.keys import Fault, KeyRing, Known, NewKey, Purpose
from daemon.api.security.scopes import ROLES, SCOPES, expand
from tests.daemon.conftest import Store
from tests.twins.clock import ClockTwin


@asynccontextmanager
async def ring(store: Store, clock: ClockTwin | None = None) -> AsyncIterator[tuple[KeyRing, ClockTwin]]:
    clock = clock or ClockTwin()
    async with store.running():
        made = KeyRing(store.engine, store.writer, clock, 5.0)
        await made.load()
        yield made, clock


def wanted(**fields: object) -> NewKey:
    return NewKey(**({"name": "billing", "scopes": ("viewer", "sync:write"), "tenant": "alpha"} | fields))  # type: ignore[arg-type]


def test_a_key_is_known_by_its_secret_alone_and_after_a_restart(store: Store) -> None:
    async def go() -> None:
        async with ring(store) as (made, clock):
            row, shown = await made.create(wanted(), "root")
            key, _, secret = shown.partition(".")
            assert key == row.id
            assert len(secret) == 43  # 256 bits in base64
            again = KeyRing(store.engine, store.writer, clock, 5.0)
            await again.load()
            for each in (made, again):
                known = each.check(key, secret)
                assert isinstance(known, Known)
                assert known.principal.tenant == "alpha"
                assert known.principal.scopes == ROLES["viewer"] | {"sync:write"}
                assert each.check(key, secret + "x") is Fault.UNKNOWN
                assert each.check(key, secret[:-1]) is Fault.UNKNOWN
                assert each.check(key, "") is Fault.UNKNOWN
                assert each.check("k000", secret) is Fault.UNKNOWN
                assert each.check("", "") is Fault.UNKNOWN

    asyncio.run(go())


def test_the_store_has_no_secret(store: Store, tmp_path: Path) -> None:
    async def go() -> str:
        async with ring(store) as (made, _):
            _, shown = await made.create(wanted(), "root")
            return shown.partition(".")[2]

    secret = asyncio.run(go())
    octets = b"".join(path.read_bytes() for path in tmp_path.iterdir() if path.is_file())
    assert secret.encode() not in octets
    with sqlite3.connect(tmp_path / "edge.db") as connection:
        ((digest,),) = connection.execute("select hash from api_key").fetchall()
    assert len(digest) == 32


def test_secrets_are_compared_in_constant_time_also_where_there_is_no_such_key(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    compared: list[tuple[bytes, bytes]] = []

    def watched(left: bytes, right: bytes) -> bool:
        compared.append((left, right))
        return hmac.compare_digest(left, right)

    class Watched:
        compare_digest = staticmethod(watched)

    monkeypatch.setattr(keys_module, "hmac", Watched)

    async def go() -> None:
        async with ring(store) as (made, _):
            row, _ = await made.create(wanted(), "root")
            made.check(row.id, "wrong")
            made.check("nobody", "wrong")

    asyncio.run(go())
    assert [(len(left), len(right)) for left, right in compared] == [(32, 32), (32, 32)]


def test_a_key_ends_at_its_time_or_at_once(store: Store) -> None:
    async def go() -> None:
        async with ring(store) as (made, clock):
            row, shown = await made.create(wanted(expires_at=clock.wall() + 60), "root")
            secret = shown.partition(".")[2]
            await clock.advance(59.9)
            assert isinstance(made.check(row.id, secret), Known)
            await clock.advance(0.1)
            assert made.check(row.id, secret) is Fault.EXPIRED
            other, shown = await made.create(wanted(), "root")
            secret = shown.partition(".")[2]
            assert await made.revoke(other.id) is not None
            assert made.check(other.id, secret) is Fault.REVOKED
            assert await made.revoke("k000") is None
            again = KeyRing(store.engine, store.writer, clock, 5.0)
            await again.load()
            assert again.check(other.id, secret) is Fault.REVOKED

    asyncio.run(go())


def test_the_secret_of_a_client_is_no_key_and_the_other_way_round(store: Store) -> None:
    async def go() -> None:
        async with ring(store) as (made, _):
            client, shown = await made.create(wanted(purpose=Purpose.CLIENT), "root")
            assert made.check(client.id, shown.partition(".")[2]) is Fault.KIND
            key, shown = await made.create(wanted(), "root")
            assert made.check(key.id, shown.partition(".")[2], Purpose.CLIENT) is Fault.KIND

    asyncio.run(go())


def test_use_is_counted_and_written_down_every_few_seconds(store: Store) -> None:
    async def go() -> None:
        async with ring(store) as (made, clock):
            row, shown = await made.create(wanted(), "root")
            known = made.check(row.id, shown.partition(".")[2])
            assert isinstance(known, Known)
            for _ in range(3):
                assert made.use(known, clock.monotonic()) == 0
            made.check(row.id, "wrong")
            used_at = clock.wall()
            task = asyncio.create_task(made.run())
            await clock.advance(5.0)
            await store.writer.drain()
            made.use(known, clock.monotonic())  # after the flush
            again = KeyRing(store.engine, store.writer, clock, 5.0)
            await again.load()
            (told,) = again.listed()
            assert (told.uses, told.refusals, told.last_used_at) == (3, 1, used_at)
            (now,) = made.listed()
            assert now.uses == 4
            task.cancel()

    asyncio.run(go())


def test_a_rate_holds_in_virtual_time(store: Store) -> None:
    async def go() -> None:
        async with ring(store) as (made, clock):
            row, shown = await made.create(wanted(rate_per_s=10.0), "root")
            known = made.check(row.id, shown.partition(".")[2])
            assert isinstance(known, Known)
            passed = sum(made.use(known, clock.monotonic()) == 0 for _ in range(100))
            assert passed == 20  # two seconds' worth at one go
            wait_s = made.use(known, clock.monotonic())
            assert wait_s == pytest.approx(0.1)
            passed = 0
            for _ in range(600):
                await clock.advance(0.05)
                passed += made.use(known, clock.monotonic()) == 0
            assert passed == pytest.approx(300, abs=1)  # 10 a second for 30 s, of 20 a second
            (told,) = made.listed()
            assert told.refusals == 80 + 1 + 600 - passed

    asyncio.run(go())


def test_a_bucket_does_not_fill_when_time_goes_back_and_never_beyond_its_size() -> None:
    bucket = Bucket(1.0, 2.0)
    assert [bucket.take(10.0) for _ in range(3)] == [0.0, 0.0, 1.0]
    assert bucket.take(5.0) == 1.0
    assert bucket.take(1e6) == 0.0
    assert [bucket.take(1e6) for _ in range(2)] == [0.0, 1.0]
    assert retry_after(0.01) == "1"
    assert retry_after(1.2) == "2"


def test_a_source_of_failed_attempts_has_to_wait_and_others_need_not() -> None:
    sources = Sources(3, 10.0)
    for _ in range(3):
        assert sources.wait_s("192.0.2.1", 0.0) == 0
        sources.failed("192.0.2.1", 0.0)
    assert sources.wait_s("192.0.2.1", 0.0) == pytest.approx(10.0)
    assert sources.wait_s("::ffff:192.0.2.1", 0.0) == pytest.approx(10.0)  # the same machine
    assert sources.wait_s("192.0.2.2", 0.0) == 0
    assert sources.wait_s("192.0.2.1", 10.0) == 0
    for _ in range(3):
        sources.failed("2001:db8::1", 0.0)
    assert sources.wait_s("2001:db8::ffff", 0.0) > 0  # of the same /64
    assert sources.wait_s("2001:db8:0:1::1", 0.0) == 0


def test_the_memory_of_sources_is_bounded() -> None:
    sources = Sources(1, 60.0)
    sources.failed("192.0.2.1", 0.0)
    for number in range(20_000):
        sources.failed(f"10.{number >> 16}.{number >> 8 & 255}.{number & 255}", 0.0)
    assert len(sources) == 10_000


def test_roles_are_made_of_scopes_and_only_admin_has_all() -> None:
    for role, scopes in ROLES.items():
        assert scopes <= set(SCOPES), role
    assert ROLES["admin"] == set(SCOPES)
    assert not any(each.endswith(":write") for each in ROLES["viewer"] | ROLES["auditor"])
    assert all("keys:write" not in scopes for role, scopes in ROLES.items() if role != "admin")
    with pytest.raises(ValueError, match="session:read"):
        expand(["viewer", "session:read"])
