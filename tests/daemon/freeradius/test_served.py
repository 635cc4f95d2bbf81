"""From the tables into the replica itself: durable, served, held back, and refused one by one."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from daemon.sync.feed.model import Applied
from daemon.sync.freeradius.sql_options import SqlOptions
from daemon.sync.freeradius.sql_source import SqlSource
from tests.daemon.feed.stage import Edge
from tests.daemon.freeradius.databases import Database
from tests.daemon.freeradius.feed_twin import DICTIONARY
from tests.daemon.freeradius.test_sql_source import GOLD, P, people

KINDS = frozenset({"plan", "nas", "subscriber"})


@asynccontextmanager
async def started(path: Path, database: Database) -> AsyncIterator[tuple[Edge, SqlSource]]:
    """Yield an edge and the source of its feed."""
    async with Edge(path, kinds=KINDS).running() as edge:
        source = SqlSource(
            edge.feed, SqlOptions(url=database.url, page=50), DICTIONARY, edge.clock, lambda: 0.5
        )
        try:
            yield edge, source
        finally:
            await source._close()


def test_the_tables_are_served_and_followed(tmp_path: Path, tables: Database) -> None:
    tables.fill(GOLD | people(300) | {"nas": [("127.0.0.1", "lab", "mikrotik", "testing123")]})

    async def scenario() -> None:
        async with started(tmp_path / "edge.db", tables) as (edge, source):
            await source.turn()
            assert source.status.error == ""
            served = edge.records()
            assert len(served) == 302
            assert served["subscriber", "user00007"]["ipv4_address"] == "10.1.0.7"
            assert source.status.digest == (await edge.feed.digests()).root.hex()
            tables.run("DELETE FROM radusergroup WHERE username = 'user00003';")
            tables.run("DELETE FROM radcheck WHERE username = 'user00003';")
            tables.fill({"radcheck": [("new", P, ":=", "x")]})
            await source.turn()
            assert ("subscriber", "user00003") not in edge.records()
            assert edge.records()["subscriber", "new"]["usernames"] == ["new"]
            assert source.status.digest == (await edge.feed.digests()).root.hex()
            position = edge.feed.position
        async with started(tmp_path / "edge.db", tables) as (edge, source):
            assert len(edge.records()) == 303  # two more, the user and its plan, and one less
            await source.turn()
            assert edge.feed.position == position

    asyncio.run(scenario())


def test_one_that_is_refused_keeps_its_last_good_password(tmp_path: Path, tables: Database) -> None:
    tables.fill(GOLD | people(30))

    async def scenario() -> None:
        async with started(tmp_path / "edge.db", tables) as (edge, source):
            await source.turn()
            tables.run("DELETE FROM radcheck WHERE username = 'user00001';")
            tables.fill({"radcheck": [("user00001", P, ":=", "enc:gAAAAAB"), ("other", P, ":=", "x")]})
            await source.turn()
            assert [each.id for each in await edge.feed.nacks()] == ["user00001"]
            assert edge.records()["subscriber", "user00001"]["secret"]["value"] == "secret"
            assert edge.records()["subscriber", "other"]
            assert source.status.error == ""

    asyncio.run(scenario())


def test_a_wipe_is_held_until_it_is_released(tmp_path: Path, tables: Database) -> None:
    tables.fill(GOLD | people(600))

    async def scenario() -> None:
        async with started(tmp_path / "edge.db", tables) as (edge, source):
            await source.turn()
            tables.run("DELETE FROM radcheck; DELETE FROM radusergroup;")
            await source.turn()
            await source.turn()
            assert source.status.held
            assert edge.feed.brake is not None
            assert len(edge.records()) == 601
            assert isinstance(await edge.feed.release_brake(), Applied)
            await source.turn()
            assert [key for key in edge.records() if key[0] == "subscriber"] == []
            assert not source.status.held

    asyncio.run(scenario())
