"""The engine on a shared PostgreSQL: what a wrong setting says, and that nothing waits for ever."""

from __future__ import annotations

import asyncio
import sys
import time
from pathlib import Path

import pytest

from daemon.errors import StoreUnavailable
from daemon.leases.shared_store import SharedWriter, check_url
from daemon.store import engine
from daemon.store.engine import StoreUnusable, open_shared_engine


@pytest.mark.parametrize("url", ["", "no url", "mysql://u:p@h/n", "sqlite:///x", "http://[::1"])
def test_what_is_no_postgresql_is_refused_with_what_is_expected(url: str) -> None:
    with pytest.raises(StoreUnusable, match=r"postgresql://USER:PASSWORD@HOST/NAME"):
        open_shared_engine(url, name="edge")


def test_a_password_is_never_in_the_error() -> None:
    with pytest.raises(StoreUnusable) as raised:
        open_shared_engine("oracle://edge:sesame@host/name", name="edge")
    assert "sesame" not in str(raised.value)


def test_without_the_driver_the_remedy_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engine, "find_spec", lambda _name: None)
    with pytest.raises(StoreUnusable, match=r"pip install 'dotmac-edge\[postgresql\]'"):
        open_shared_engine("postgresql://edge@host/name", name="edge")


def test_the_driver_is_imported_only_where_it_is_needed() -> None:
    done = (
        "import sys, daemon.store.engine, daemon.leases.addresses, daemon.leases.nodes;"
        "sys.exit('asyncpg' in sys.modules)"
    )

    async def run() -> int | None:
        process = await asyncio.create_subprocess_exec(sys.executable, "-c", done)
        return await process.wait()

    assert asyncio.run(run()) == 0


def test_a_database_that_swallows_everything_makes_works_fail_in_time() -> None:
    async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(-1)
        writer.close()

    async def go() -> None:
        server = await asyncio.start_server(silent, "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        opened = open_shared_engine(
            f"postgresql://edge@127.0.0.1:{port}/x", name="edge", connect_timeout_s=0.3
        )
        writer = SharedWriter(opened, "edge", time.monotonic, lambda _seconds, _durable: None)
        writer.join(1)
        task = asyncio.create_task(writer.run())
        began = time.monotonic()
        with pytest.raises(StoreUnavailable):
            await writer.commit(lambda _connection: asyncio.sleep(0))
        assert time.monotonic() - began < 3
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        await opened.dispose()
        server.close()
        await asyncio.sleep(0.05)  # the other end sees that it is closed

    asyncio.run(go())


@pytest.mark.parametrize(
    "octets", [b"mysql://edge:sesame@host/db", b"postgresql://edge:sesame@host:port/db", b"sesame \xff", b""]
)
def test_a_setting_that_no_start_could_use_is_found_without_its_password(
    tmp_path: Path, octets: bytes
) -> None:
    file = tmp_path / "url"
    file.write_bytes(octets)
    file.chmod(0o600)
    with pytest.raises(StoreUnusable, match=r"ipam\.shared_store") as raised:
        check_url(f"file:{file}", {})
    assert "sesame" not in str(raised.value)


def test_a_secret_that_is_not_there_is_found_but_a_credential_only_in_its_unit(tmp_path: Path) -> None:
    with pytest.raises(StoreUnusable, match=r"ipam\.shared_store.*No such file"):
        check_url(f"file:{tmp_path}/none", {})
    check_url("credential:store", {})
    with pytest.raises(StoreUnusable, match="credential:store"):
        check_url("credential:store", {"CREDENTIALS_DIRECTORY": str(tmp_path)})
