"""What can be found out afterwards: who had an address that changed, and which login got it."""

from __future__ import annotations

import asyncio
from ipaddress import IPv4Address
from pathlib import Path
from typing import Any

from sqlalchemy import select

from daemon.aaa.explain import matches
from daemon.store.session_addresses import SESSION_ADDRESS
from tests.daemon.playbook.stage import Play, play
from tests.daemon.playbook.test_leases import alice, run

FIRST, SECOND, THIRD = (f"198.51.100.{number}" for number in (1, 2, 3))


async def ends(play: Play) -> dict[str, float | None]:
    """Return by address when the row of it says that its session ended."""
    async with play.edge.engine.connect() as connection:
        rows = (await connection.execute(select(SESSION_ADDRESS))).all()
    return {row.address: row.closed_at for row in rows}


def test_every_address_that_a_session_had_ends_with_it_also_over_a_restart(tmp_path: Path) -> None:
    async def story(play: Play) -> None:
        bng, cpe = await alice(play)
        cpe.stubborn = True
        cpe.address = IPv4Address(FIRST)
        await play.connect(bng, cpe)
        await play.pass_time(15)
        for address in (SECOND, THIRD):
            cpe.address = IPv4Address(address)
            bng.interim(cpe)
            await play.pass_time(15)
        assert await ends(play) == {FIRST: None, SECOND: None, THIRD: None}
        await play.restart()
        bng.auth_port, bng.acct_port = play.edge.ports()
        bng.hang_up(cpe)
        await play.until(lambda: play.find(cpe) is None)
        await play.pass_time(15)
        found = await ends(play)
        assert found == dict.fromkeys((FIRST, SECOND, THIRD), found[THIRD])
        assert found[THIRD] is not None

    async def everything() -> None:
        async with play(tmp_path) as stage:
            await story(stage)

    asyncio.run(everything())


def test_why_finds_a_login_by_what_was_leased_to_it(tmp_path: Path) -> None:
    async def story(play: Play) -> None:
        bng, cpe = await alice(play)
        await bng.login(cpe)
        (login,) = play.path.trace.newest_first()
        found: dict[str, Any] = {}
        for wanted in ("203.0.113.0", "2001:db8:100::/56", "2001:0DB8:100:0:1::1", "203.0.113.1", "carol"):
            found[wanted] = matches(login, wanted, None)
        assert list(found.values()) == [True, True, True, False, False], found

    run(tmp_path, story)
