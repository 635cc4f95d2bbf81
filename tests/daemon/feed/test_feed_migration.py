"""A database from before there were feeds keeps what operators loaded, there and back."""

from __future__ import annotations

import asyncio
from pathlib import Path

from alembic import command
from sqlalchemy import Connection, column, insert, select, table
from sqlalchemy.ext.asyncio import AsyncEngine

from daemon.replica.codec import dump
from daemon.replica.index import Index
from daemon.replica.store import restore
from daemon.store import migrate as migrating
from daemon.store.engine import open_engine
from daemon.store.migrate import migrate
from daemon.store.seal import Sealer
from daemon.sync.feed.model import Applied
from tests.daemon.feed.stage import KEY, Edge
from tests.daemon.feed.test_feed import provider
from tests.daemon.stack import provider as records

OLD = table("object", *(column(name) for name in ("tenant", "kind", "id", "body", "loaded_at")))


async def to(engine: AsyncEngine, revision: str, *, down: bool = False) -> None:
    """Bring a database to another revision."""

    def work(connection: Connection) -> None:
        config = migrating._config()
        config.attributes["connection"] = connection
        (command.downgrade if down else command.upgrade)(config, revision)

    async with engine.connect() as reading:
        connection = await reading.execution_options(writes=True)
        async with connection.begin():
            await connection.run_sync(work)


async def served(engine: AsyncEngine) -> list[str]:
    index = Index()
    assert await restore(engine, index, Sealer(KEY)) == []
    return sorted(map(repr, index.records()))


def test_objects_are_there_after_an_upgrade_and_after_the_way_back(tmp_path: Path) -> None:
    async def scenario() -> None:
        seal = Sealer(KEY)
        path = tmp_path / "edge.db"
        engine = open_engine(path, busy_timeout_s=1.0, wal_checkpoint_pages=1000)
        await to(engine, "0003")
        rows = [
            {
                "tenant": getattr(each, "tenant", each.id),
                "kind": type(each).__name__.lower(),
                "id": each.id,
                "body": dump(each, seal),
                "loaded_at": 7.0,
            }
            for each in records()
        ]
        async with engine.begin() as connection:
            await connection.execute(insert(OLD), rows)
        await migrate(engine)
        before = await served(engine)
        assert before == sorted(map(repr, records()))
        await engine.dispose()
        async with Edge(path, kinds=frozenset({"pool"})).running() as edge:
            platform = provider(0)
            platform.objects.clear()
            platform.put("pool", "p", {"kind": "v4", "ranges": ["192.0.2.0/28"]})
            assert isinstance(await edge.load(platform), Applied)
        engine = open_engine(path, busy_timeout_s=1.0, wal_checkpoint_pages=1000)
        await to(engine, "0003", down=True)
        async with engine.connect() as connection:
            kept = (await connection.execute(select(OLD).order_by(OLD.c.kind, OLD.c.id))).all()
        assert [tuple(row) for row in kept] == sorted(
            (tuple(row.values()) for row in rows), key=lambda row: (row[1], row[2])
        )
        await migrate(engine)
        assert await served(engine) == before
        await engine.dispose()

    asyncio.run(scenario())
