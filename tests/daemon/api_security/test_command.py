"""`dotmac-edge apikey` against a daemon's admin socket."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

from click.testing import CliRunner, Result

from daemon.api.server import ApiServer, listen_unix
from daemon.cli.apikey import group
from tests.daemon.api_security.test_doors import Desk, desk
from tests.daemon.conftest import Store

Run = Callable[..., Awaitable[Result]]


@asynccontextmanager
async def commands(store: Store, folder: Path) -> AsyncIterator[tuple[Desk, Run]]:
    """Serve the admin socket; run commands against it."""
    async with desk(store, folder) as made:
        where, config = folder / "admin.sock", folder / "edge.toml"
        config.write_text(f'[edge]\nstate_dir = "{folder}"\n[api]\nadmin_socket = "{where}"\n')
        server = ApiServer(made.admin, listen_unix(where, None), admin=True)
        serving = asyncio.create_task(server.serve())

        async def run(*arguments: str) -> Result:
            return await asyncio.to_thread(
                lambda: CliRunner().invoke(group, list(arguments), obj=str(config))
            )

        try:
            yield made, run
        finally:
            server.stop()
            await serving


def test_a_key_is_made_shown_once_listed_and_revoked(store: Store, tmp_path: Path) -> None:
    async def go() -> None:
        async with commands(store, tmp_path) as (made, run):
            done = await run(
                "create", "billing", "--scope", "viewer", "--scope", "sync:write", "--tenant", "demo",
                "--expires", "90d", "--rate", "50",
            )  # fmt: skip
            assert done.exit_code == 0, done.output
            key = next(line for line in done.stdout.splitlines() if line.startswith("k") and "." in line)
            name, _, secret = key.partition(".")
            told = await made.ask("GET", "/who", headers={"X-Api-Key": key})
            assert told.json()["tenant"] == "demo"
            listed = await run("list")
            assert listed.exit_code == 0
            assert name in listed.output
            assert "billing" in listed.output
            assert secret not in listed.output
            assert max(map(len, listed.output.splitlines())) <= 100
            (item,) = json.loads((await run("list", "--output", "json")).output)["items"]
            assert (item["rate_per_s"], item["uses"], item["scopes"]) == (50, 1, ["sync:write", "viewer"])
            assert item["expires_at"] - item["created_at"] == 90 * 86_400
            assert (await run("list", "--tenant", "other")).output == "None.\n"
            assert (await run("revoke", name)).exit_code == 0
            assert (await made.ask("GET", "/who", headers={"X-Api-Key": key})).status_code == 401
            rows = await made.audit()
            assert [each.action for each in rows] == [
                "DELETE /api/v1/api-keys/{key}",
                "POST /api/v1/api-keys",
            ]
            assert name in rows[1].subject
            assert secret not in str(rows)

    asyncio.run(go())


def test_the_json_of_a_new_client_is_for_programs(store: Store, tmp_path: Path) -> None:
    async def go() -> None:
        async with commands(store, tmp_path) as (_, run):
            done = await run(
                "create", "sync", "--scope", "sync:write", "--all-tenants", "--client", "--output", "json"
            )
            made = json.loads(done.stdout)
            assert (made["purpose"], made["tenant"], made["id"][0]) == ("client", "*", "c")
            assert made["secret"].startswith(made["id"] + ".")

    asyncio.run(go())


def test_wrong_command_lines_say_what_was_expected(store: Store, tmp_path: Path) -> None:
    async def go() -> None:
        async with commands(store, tmp_path) as (_, run):
            for arguments, code, said in (
                (("create", "x", "--scope", "viewer"), 2, "--tenant ID or --all-tenants"),
                (("create", "x", "--scope", "viewer", "--tenant", "a", "--all-tenants"), 2, "either"),
                (("create", "x", "--all-tenants"), 2, "--scope"),
                (("create", "x", "--scope", "reader", "--all-tenants"), 2, "no scope or role reader"),
                (("create", "x", "--scope", "viewer", "--all-tenants", "--expires", "soon"), 2, "90d"),
                (("create", "x", "--scope", "viewer", "--all-tenants", "--expires", "0d"), 2, "90d"),
                (("revoke", "k000"), 4, "no key has the id k000"),
            ):
                done = await run(*arguments)
                assert (done.exit_code, said in done.output) == (code, True), done.output

    asyncio.run(go())


def test_a_tenant_that_there_is_not_is_told(store: Store, tmp_path: Path) -> None:
    async def go() -> None:
        async with commands(store, tmp_path) as (_, run):
            done = await run("create", "x", "--scope", "viewer", "--tenant", "nosuch")
            assert done.exit_code == 0
            assert "Note: no tenant has the id nosuch now; there are none" in done.stderr
            assert "Note" not in (await run("create", "x", "--scope", "viewer", "--all-tenants")).output

    asyncio.run(go())


def test_every_command_has_an_example() -> None:
    for command in (group, *group.commands.values()):
        assert "Example: dotmac-edge apikey" in (command.help or "")
