"""The writer, the journal and the migrations on real files."""

from __future__ import annotations

import asyncio
import time
from importlib import import_module
from pkgutil import iter_modules

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import func, insert, select, text
from sqlalchemy.ext.asyncio import AsyncConnection

import daemon.store
from daemon.errors import SchemaUnknown, StoreUnavailable
from daemon.store import journal
from daemon.store.journal import Journal, Record
from daemon.store.migrate import migrate
from daemon.store.schema import JOURNAL, MARK, METADATA
from ipam.schema import METADATA as ADDRESS_BOOK
from tests.daemon.conftest import Store


def record(number: int) -> Record:
    return Record(1.5, b"p" * 16, "demo", "lab", f"S{number}", b"\x04" + number.to_bytes(4, "big") * 20)


class Client:
    """Appends records and notes what became of them."""

    def __init__(self, store: Store, max_batch: int = 64, max_pending: int = 1000) -> None:
        self.durable: dict[int, int] = {}
        self.lost: list[int] = []
        self.journal: Journal[int] = Journal(
            store.writer,
            time.time,
            self._on_durable,
            lambda contexts, _error: self.lost.extend(contexts),
            max_batch=max_batch,
            max_pending=max_pending,
        )

    def _on_durable(self, first: int, contexts: list[int]) -> None:
        for seq, context in enumerate(contexts, first):
            self.durable[context] = seq


async def nothing(_connection: AsyncConnection) -> None:
    """Commit nothing."""


async def read_all(store: Store, after: int = 0) -> list[tuple[int, Record]]:
    return [(each.seq, each.record) async for batch in journal.read(store.engine, after) for each in batch]


def test_records_come_back_in_order_with_dense_numbers(store: Store) -> None:
    async def scenario() -> None:
        async with store.running():
            client = Client(store)
            for number in range(500):
                client.journal.append(record(number), number)
                if number % 90 == 0:
                    await asyncio.sleep(0.002)
            await store.writer.drain()
            assert client.durable == {number: number + 1 for number in range(500)}
            assert await read_all(store) == [(number + 1, record(number)) for number in range(500)]
            assert await read_all(store, after=437) == [(n + 1, record(n)) for n in range(437, 500)]
            assert await journal.read_last_seq(store.engine) == 500
            assert len(store.commits) < 100, "records are committed in groups"

    asyncio.run(scenario())


def test_a_full_journal_takes_no_more(store: Store) -> None:
    async def scenario() -> None:
        async with store.running():
            client = Client(store, max_pending=10)
            taken = [client.journal.append(record(number), number) for number in range(12)]
            assert taken == [True] * 10 + [False] * 2
            await store.writer.drain()
            assert len(client.durable) == 10

    asyncio.run(scenario())


def test_a_failed_commit_uses_no_number_up_and_is_told(store: Store) -> None:
    async def scenario() -> None:
        async with store.running():
            client = Client(store)
            await store.writer.commit(nothing)
            async with store.engine.connect() as other:  # somebody holds the write lock beyond the timeout
                await (await other.execution_options(writes=True)).begin()
                client.journal.append(record(1), 1)
                await store.writer.drain()
                assert client.lost == [1]
                assert "locked" in str(store.writer.last_error)
                await other.rollback()
            client.journal.append(record(2), 2)
            await store.writer.drain()
            assert client.durable == {2: 1}
            assert store.commits == [True, False, True]
            assert store.writer.last_error is None

    asyncio.run(scenario())


def test_one_bad_work_does_not_take_the_others_with_it(store: Store) -> None:
    async def bad(connection: AsyncConnection) -> None:
        await connection.execute(insert(MARK), {"name": None, "value": 1.0})

    async def good(connection: AsyncConnection) -> None:
        await connection.execute(insert(MARK), {"name": "good", "value": 1.0})

    async def scenario() -> None:
        async with store.running():
            client = Client(store)
            client.journal.append(record(1), 1)
            outcomes = await asyncio.gather(
                store.writer.commit(bad), store.writer.commit(good), return_exceptions=True
            )
            assert isinstance(outcomes[0], StoreUnavailable)
            assert outcomes[1] is None
            assert client.durable == {1: 1}
            async with store.engine.connect() as connection:
                assert (await connection.execute(select(func.count()).select_from(MARK))).scalar() == 1

    asyncio.run(scenario())


def test_pruning_stops_at_what_is_young_or_not_applied(store: Store) -> None:
    async def scenario() -> None:
        async with store.running():
            client = Client(store, max_batch=10)
            for number in range(50):
                client.journal.append(record(number), number)
            await store.writer.drain()

            async def prune(connection: AsyncConnection) -> None:
                gone.append(await journal.prune(connection, written_before, through))

            gone: list[int] = []
            written_before, through = time.time() - 60, 50
            await store.writer.commit(prune)
            written_before, through = time.time() + 60, 34
            await store.writer.commit(prune)
            assert gone == [0, 3]
            assert [seq for seq, _ in await read_all(store)] == list(range(31, 51))

    asyncio.run(scenario())


def test_an_idle_journal_never_forgets_which_numbers_are_used_up(store: Store) -> None:
    async def scenario() -> None:
        async with store.running():
            client = Client(store, max_batch=10)
            for number in range(30):
                client.journal.append(record(number), number)
            await store.writer.drain()

            async def prune(connection: AsyncConnection) -> None:
                await journal.prune(connection, time.time() + 60, 30)

            for _ in range(3):
                await store.writer.commit(prune)
            assert [seq for seq, _ in await read_all(store)] == list(range(21, 31))
            assert await journal.read_last_seq(store.engine) == 30

    asyncio.run(scenario())


def _all_tables() -> None:
    """Import every module of the store, since some have tables of their own."""
    for module in iter_modules(daemon.store.__path__):
        if not module.ispkg:
            import_module(f"daemon.store.{module.name}")


def test_the_migrations_make_exactly_the_tables_of_the_schema(store: Store) -> None:
    async def scenario() -> None:
        _all_tables()
        async with store.running(), store.engine.connect() as connection:
            differences = await connection.run_sync(
                lambda sync: compare_metadata(MigrationContext.configure(sync), [METADATA, ADDRESS_BOOK])
            )
            assert differences == []

    asyncio.run(scenario())


def test_a_database_of_a_newer_version_is_refused_by_name_and_left_as_it_is(store: Store) -> None:
    async def scenario() -> None:
        async with store.running():
            pass
        newer = text("UPDATE alembic_version SET version_num = '9999' WHERE version_num LIKE '0%'")
        async with store.engine.begin() as connection:
            await connection.execute(newer)
        with pytest.raises(SchemaUnknown) as refused:
            await migrate(store.engine)
        said = str(refused.value)
        assert said.startswith(
            f"{store.engine.url.database} has the schema 9999; this version knows none later than 0"
        )
        assert "start the version that wrote it" in said
        async with store.engine.connect() as connection:
            rows = await connection.execute(text("SELECT version_num FROM alembic_version ORDER BY 1"))
            assert next(iter(rows))[0] == "9999"
        await store.engine.dispose()

    asyncio.run(scenario())


def test_a_commit_waits_for_the_disk(store: Store) -> None:
    async def scenario() -> None:
        async with store.running(), store.engine.connect() as connection:
            pragmas = [
                (await connection.exec_driver_sql(f"PRAGMA {name}")).scalar()
                for name in ("journal_mode", "synchronous")
            ]
            assert pragmas == ["wal", 2]

    asyncio.run(scenario())


@given(
    st.lists(
        st.builds(
            Record,
            st.floats(0, 4e9),
            st.binary(min_size=16, max_size=68),
            st.text(max_size=40),
            st.text(max_size=40),
            st.text(max_size=40),
            st.binary(min_size=20, max_size=4096),
        ),
        max_size=5,
    )
)
def test_what_is_packed_is_unpacked(records: list[Record]) -> None:
    assert journal.unpack(b"".join(map(journal.pack, records))) == records


@pytest.mark.parametrize("columns", [("first_seq", "last_seq", "written_at", "records")])
def test_the_journal_has_no_index_but_its_number(columns: tuple[str, ...]) -> None:
    assert tuple(JOURNAL.c.keys()) == columns
    assert not JOURNAL.indexes
