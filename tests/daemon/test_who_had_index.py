"""An address that had thousands of lives is looked up as fast as one that had ten: nothing is read one by one."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

from sqlalchemy import event
from sqlalchemy.ext.asyncio import AsyncConnection

from daemon.store.engine import open_engine
from ipam import schema
from ipam.history_rows import Ports, Track, around, find_tracks
from ipam.store import history_of

UNITS = {"203.0.113.9": {32}, "203.0.113.0": {24}}
TRACK = Track("203.0.113.9", 32, "demo", "", "edge")


def plans(path: Path, ask: Callable[[AsyncConnection], Awaitable[object]]) -> list[str]:
    """Return how SQLite finds the rows of what is asked, a line for each table that is read."""
    asked: list[tuple[str, Any]] = []

    def note(_one: Any, _two: Any, statement: str, values: Any, *_more: Any) -> None:
        asked.append((statement, values))

    async def go() -> list[str]:
        engine = open_engine(path / "leases.db", busy_timeout_s=1.0, wal_checkpoint_pages=1000)
        async with engine.connect() as connection:
            await connection.run_sync(schema.METADATA.create_all)
            event.listen(engine.sync_engine, "before_cursor_execute", note)
            await ask(connection)
            event.remove(engine.sync_engine, "before_cursor_execute", note)
            found: list[str] = []
            for statement, values in asked:
                rows = await connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {statement}", values)
                found += [row.detail for row in rows if "ipam_event" in row.detail]
        await engine.dispose()
        return found

    return asyncio.run(go())


def test_whose_an_address_ever_was_is_read_from_the_index_alone(tmp_path: Path) -> None:
    ports = Ports("203.0.113.9", None)
    found = plans(tmp_path, lambda connection: find_tracks(connection, UNITS, None, None, ports))
    assert found == [
        "SEARCH ipam_event USING COVERING INDEX ipam_event_by_address (address=?)",
        "SEARCH ipam_event USING COVERING INDEX ipam_event_by_address (address>? AND address<?)",
    ]


def test_events_around_a_time_and_the_latest_ones_are_found_by_address_and_time(tmp_path: Path) -> None:
    async def ask(connection: AsyncConnection) -> None:
        await around(connection, [TRACK], 1.0, 2.0, 1, 1)
        await history_of(connection, "demo", "", "203.0.113.9", 3.0, 20)

    by_time = "SEARCH ipam_event USING INDEX ipam_event_by_address (address=? AND at"
    found = plans(tmp_path, ask)
    assert len(found) == 4
    assert all(each.startswith(by_time) for each in found), found
