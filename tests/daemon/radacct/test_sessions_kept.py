"""Ended sessions stay in the store until the radacct tables have them."""

from __future__ import annotations

import asyncio

from daemon.aaa.session_codec import to_row
from daemon.store import session_rows
from daemon.store.session_rows import Search
from tests.daemon.conftest import Store
from tests.daemon.test_accounting import running
from tests.daemon.test_sessions import START, STOP, Line, apply

_LIFE = ((START, 0), (STOP, 60))


def test_ended_sessions_stay_that_are_still_to_be_told(store: Store) -> None:
    async def scenario() -> None:
        async with running(store) as edge:
            old, new = Line(session_id=b"old", began=1_000.0), Line(session_id=b"new", began=9_000.0)
            ended = apply(*(each.report(kind, after) for each in (old, new) for kind, after in _LIFE))
            rows = [to_row(session) for session in ended.snapshot()]
            await store.writer.commit(lambda connection: session_rows.save(connection, rows))
            edge.keeper.wanted_since = lambda: 9_060.0
            await edge.keeper._prune()
            assert await stored() == [b"new"]
            edge.keeper.wanted_since = lambda: None
            await edge.keeper._prune()
            assert await stored() == []

    async def stored() -> list[bytes]:
        return [row.acct_session_id for row in await session_rows.search_closed(store.engine, Search())]

    asyncio.run(scenario())
