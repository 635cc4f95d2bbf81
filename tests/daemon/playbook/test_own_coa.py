"""The platform's own CoA beside ours: what the data do not know does not stay."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from radius.codes import Code, Vendor
from radius.packet import vendor_attribute
from tests.daemon.playbook.stage import PASSWORD, play
from tests.twins.bng import Told

RATE_LIMIT = 8


@pytest.mark.parametrize("restarted", [False, True])
def test_a_change_that_the_data_do_not_know_is_undone_at_the_next_sweep(
    tmp_path: Path, restarted: bool
) -> None:
    async def scenario() -> None:
        async with play(tmp_path) as edge:
            bng = await edge.bng()
            cpe = bng.cpe("alice", PASSWORD)
            session = await edge.connect(bng, cpe)
            await edge.pass_time(65)
            raw = vendor_attribute(Vendor.MIKROTIK, RATE_LIMIT, b"1M/1M")
            result = await edge.path.enforcement.relay._engine.forward(session, raw, "platform")
            assert (result.ok, cpe.rate) == (True, "1M/1M")
            if restarted:
                await edge.pass_time(3)
                await edge.restart()
            await edge.pass_time(65)
            assert (cpe.rate, cpe.online, cpe.logins) == ("4M/20M", True, 1)
            assert bng.told()[-1] == Told(Code.COA_REQUEST, "alice", "4M/20M", "full")

    asyncio.run(scenario())
