"""The same answers where several edges keep their leases on one PostgreSQL."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from sqlalchemy import update

from ipam.kinds import Kind
from ipam.lease import Wanted
from ipam.schema import EVENT
from tests.daemon.test_who_had import alice_for_an_hour
from tests.daemon.who_had_stage import DAY, T0, stage, told
from tests.ipam.pools import fixed
from tests.ipam.postgres import bin_dir, postgresql


@pytest.mark.skipif(bin_dir() is None, reason="no PostgreSQL server is installed")
def test_answers_from_postgresql(tmp_path: Path) -> None:
    where = bin_dir()
    assert where is not None

    async def go(url: str) -> None:
        async with stage(tmp_path, url) as made:
            address = await alice_for_an_hour(made)
            answer = await made.ask(address, T0 + 1800, verify=20)
            assert told(answer) == [("had", "alice", "7001")]
            assert [each.broken_at for each in answer.verified] == [None]
            assert (await made.ask(address, T0 + 4000)).last[0].subscriber == "alice"
            made.login("carol", Wanted(Kind.PD, ("pd",)), fixed("198.51.100.64/28"))
            made.start("carol", "7003")
            await made.stored()
            seq = answer.holders[0].evidence[0].seq
            async with made.leases.begin() as connection:
                await connection.execute(update(EVENT).where(EVENT.c.seq == seq).values(nas="x"))
            assert "was altered" in (await made.ask(address, T0 + 1800)).holders[0].notes[0]
            # The same unit at another node, whose chain is another one.
            made.at += DAY
            await made.begin("edge-2")
            assert told(await made.ask("198.51.100.70", T0 + DAY + 60)) == [("had", "carol", "7003")]
            made.login("erin", fixed("198.51.100.64/28"))
            made.start("erin", "7009")
            await made.stored()
            both = await made.ask("198.51.100.70", made.at + 60)
            assert sorted(told(both)) == [("had", "carol", "7003"), ("had", "erin", "7009")]
            assert any("edge edge-2 started" in gap.why for gap in both.gaps)

    with postgresql(where) as url:
        asyncio.run(go(url))
