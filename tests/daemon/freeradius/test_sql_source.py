"""A feed from real tables: what comes first, what comes after a change, and what happens when it goes wrong."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

import pytest
from sqlalchemy.exc import SQLAlchemyError

from daemon.sync.feed.model import Op, Position
from daemon.sync.freeradius.controls import ControlReader, Controls
from daemon.sync.freeradius.nases import NasReading
from daemon.sync.freeradius.sql_options import SqlOptions
from daemon.sync.freeradius.sql_rows import Tables
from daemon.sync.freeradius.sql_source import SqlSource
from tests.daemon.freeradius.databases import Database, Rows
from tests.daemon.freeradius.feed_twin import DICTIONARY, KINDS, FeedTwin
from tests.twins.clock import ClockTwin

P = "Cleartext-Password"
GOLD: Rows = {
    "radgroupreply": [("gold", "Mikrotik-Rate-Limit", ":=", "10M/50M"), ("gold", "Idle-Timeout", ":=", "600")]
}


def people(count: int, group: str = "gold") -> Rows:
    """Return so many users of one group."""
    names = [f"user{i:05d}" for i in range(count)]
    return {
        "radcheck": [(name, P, ":=", "secret") for name in names],
        "radreply": [
            (name, "Framed-IP-Address", ":=", f"10.1.{i >> 8}.{i & 255}") for i, name in enumerate(names)
        ],
        "radusergroup": [(name, group, 1) for name in names],
    }


@asynccontextmanager
async def sourced(
    database: Database, feed: FeedTwin | None = None, **options: Any
) -> AsyncIterator[tuple[FeedTwin, SqlSource, ClockTwin]]:
    """Yield a feed, the source that brings it, and the clock."""
    feed, clock = feed or FeedTwin(), ClockTwin()
    source = SqlSource(feed, SqlOptions(url=database.url, **options), DICTIONARY, clock, lambda: 0.5)
    try:
        yield feed, source, clock
    finally:
        await source._close()


def test_users_of_a_group_share_its_plan(tables: Database) -> None:
    tables.fill(GOLD | people(1200))

    async def scenario() -> None:
        async with sourced(tables, page=100) as (feed, source, _):
            await source.turn()
            assert feed.snapshots == 1
            assert feed.position == Position(source.epoch, 1)
            assert list(feed.of("plan")) == ["gold"]
            assert len(feed.of("subscriber")) == 1200
            assert feed.of("subscriber")["user00257"] == {
                "username": "user00257",
                "access_mode": "active",
                "password": "secret",
                "plan": "gold",
                "ipv4_address": "10.1.1.1",
            }
            records, refused = feed.records()
            assert (len(records), refused) == (1201, {})
            status = source.status
            assert (status.users, status.rows, status.failures, status.error) == (1200, 3602, 0, "")
            assert dict(status.objects) == {"plan": 1, "subscriber": 1200}
            assert feed.contacts[-1][0] == 1

    asyncio.run(scenario())


def test_only_what_differs_is_brought_after_that(tables: Database) -> None:
    tables.fill(GOLD | people(30))

    async def scenario() -> None:
        async with sourced(tables) as (feed, source, _):
            await source.turn()
            await source.turn()
            assert feed.batches == []
            # The platform writes the same again: every id is another one, and nothing has changed.
            rows = people(30)
            tables.run("DELETE FROM radcheck; DELETE FROM radreply; DELETE FROM radusergroup;")
            tables.fill(rows)
            await source.turn()
            assert feed.batches == []
            tables.run("DELETE FROM radcheck WHERE username = 'user00003';")
            tables.fill({"radcheck": [("user00003", P, ":=", "other"), ("newcomer", P, ":=", "x")]})
            tables.run("DELETE FROM radcheck WHERE username = 'user00004';")
            tables.run("DELETE FROM radusergroup WHERE username = 'user00004';")
            await source.turn()
            (batch,) = feed.batches
            assert (batch.epoch, batch.after, batch.to) == (source.epoch, 1, 2)
            found = {(item.kind, item.id): item.op for item in batch.items}
            plan = feed.of("subscriber")["newcomer"]["plan"]
            assert found == {
                ("subscriber", "user00003"): Op.PUT,
                ("plan", plan): Op.PUT,
                ("subscriber", "newcomer"): Op.PUT,
                ("subscriber", "user00004"): Op.DELETE,
            }
            assert source.status.digest == (await feed.digests()).root.hex()
            tables.run("DELETE FROM radcheck WHERE username = 'newcomer';")
            await source.turn()
            assert plan not in feed.of("plan")  # nobody has it any more
            assert source.status.digest == (await feed.digests()).root.hex()

    asyncio.run(scenario())


def test_a_row_changed_in_its_place_is_found_by_the_comparison(tables: Database) -> None:
    tables.fill(GOLD | people(5))

    async def scenario() -> None:
        async with sourced(tables, compare_s=120.0) as (feed, source, clock):
            await source.turn()
            tables.run("UPDATE radgroupreply SET value = '20M/60M' WHERE attribute = 'Mikrotik-Rate-Limit';")
            await source.turn()
            assert feed.batches == []
            await clock.advance(121)
            await source.turn()
            ((item,),) = [batch.items for batch in feed.batches]
            assert (item.kind, item.id) == ("plan", "gold")
            assert (item.body or {})["download"] == "60 Mbit/s"

    asyncio.run(scenario())


def test_a_wipe_is_held_and_what_was_there_stays(tables: Database) -> None:
    tables.fill(GOLD | people(200))

    async def scenario() -> None:
        async with sourced(tables) as (feed, source, _):
            await source.turn()
            tables.run("DELETE FROM radcheck; DELETE FROM radusergroup;")
            for _ in range(3):
                await source.turn()
            assert feed.brake is not None
            assert source.status.held
            assert len(feed.of("subscriber")) == 200
            assert feed.batches == []
            tables.fill({name: rows for name, rows in people(201).items() if name != "radreply"})
            await source.turn()
            assert len(feed.of("subscriber")) == 201

    asyncio.run(scenario())


def test_a_wipe_that_is_meant_goes_through_once_it_is_released(tables: Database) -> None:
    tables.fill(GOLD | people(100))

    async def scenario() -> None:
        async with sourced(tables) as (feed, source, _):
            await source.turn()
            tables.run("DELETE FROM radcheck; DELETE FROM radusergroup;")
            await source.turn()
            await feed.release_brake()
            await source.turn()
            assert feed.of("subscriber") == {}
            assert not source.status.held
            tables.fill(people(1))
            await source.turn()
            assert list(feed.of("subscriber")) == ["user00000"]

    asyncio.run(scenario())


def test_a_restart_brings_nothing_that_is_there_already(tables: Database) -> None:
    tables.fill(GOLD | people(50))

    async def scenario() -> None:
        async with sourced(tables) as (feed, source, _):
            await source.turn()
        async with sourced(tables, feed) as (_, source, _):
            await source.turn()
            assert (feed.snapshots, feed.batches) == (1, [])
            tables.fill({"radcheck": [("late", P, ":=", "x")]})
            await source.turn()
            assert len(feed.batches) == 1
        tables.run("DELETE FROM radcheck WHERE username = 'late';")
        async with sourced(tables, feed) as (_, source, _):
            await source.turn()
            assert (feed.snapshots, "late" in feed.of("subscriber")) == (2, False)

    asyncio.run(scenario())


def test_many_changes_come_as_a_snapshot_and_so_does_a_resync(tables: Database) -> None:
    tables.fill(GOLD | people(60))

    async def scenario() -> None:
        async with sourced(tables, batch_most=20) as (feed, source, _):
            await source.turn()
            tables.run("UPDATE radcheck SET value = 'all new';")
            tables.fill({"radcheck": [("one", P, ":=", "x")]})
            await source.turn()
            assert (feed.snapshots, feed.batches) == (2, [])
            assert feed.position == Position(source.epoch, 2)
            source.resync()
            await source.turn()
            assert feed.snapshots == 3

    asyncio.run(scenario())


def test_a_database_that_is_away_is_asked_again_and_the_data_stay(tables: Database) -> None:
    tables.fill(GOLD | people(3))

    async def scenario() -> None:
        async with sourced(tables) as (feed, source, clock):
            task = asyncio.create_task(source.run())
            try:
                async with asyncio.timeout(20):
                    while feed.position is None:
                        await asyncio.sleep(0.01)
                tables.run("ALTER TABLE radcheck RENAME TO away;")
                async with asyncio.timeout(20):
                    while source.status.failures < 3:
                        await clock.advance(150)
                        await asyncio.sleep(0.01)
                assert "radcheck" in source.status.error
                assert len(feed.of("subscriber")) == 3
                tables.run("ALTER TABLE away RENAME TO radcheck;")
                tables.fill({"radcheck": [("back", P, ":=", "x")]})
                async with asyncio.timeout(20):
                    while "back" not in feed.of("subscriber"):
                        await clock.advance(150)
                        await asyncio.sleep(0.01)
                async with asyncio.timeout(20):
                    while source.status.failures:
                        await asyncio.sleep(0.01)
            finally:
                task.cancel()
                await asyncio.gather(task, return_exceptions=True)

    asyncio.run(scenario())


def test_an_error_does_not_show_the_password_of_the_database(tables: Database) -> None:
    async def scenario() -> None:
        url = "postgresql+asyncpg://edge:hush-hush@127.0.0.1:1/radius"
        options = SqlOptions(url=url, connect_timeout_s=2.0)
        source = SqlSource(FeedTwin(), options, DICTIONARY, ClockTwin(), lambda: 0.5)
        with pytest.raises((SQLAlchemyError, OSError)) as told:
            await source.turn()
        assert "hush" not in str(told.value)
        assert "hush" not in repr(options)

    asyncio.run(scenario())


def test_unknown_attributes_are_counted_by_whom_they_belong_to(tables: Database) -> None:
    tables.fill(people(40))
    tables.fill({"radgroupreply": [("gold", "X-Of-The-Group", ":=", "1")]})
    tables.fill({"radreply": [("user00001", "X-Own", ":=", "1"), ("user00002", "X-Own", ":=", "1")]})

    async def scenario() -> None:
        async with sourced(tables) as (feed, source, _):
            await source.turn()
            assert source.status.unknown == (("X-Own", 2), ("X-Of-The-Group", 1))
            assert len(feed.of("subscriber")) == 40
            tables.run("DELETE FROM radreply WHERE username = 'user00001';")
            await source.turn()
            assert source.status.unknown == (("X-Of-The-Group", 1), ("X-Own", 1))

    asyncio.run(scenario())


def test_nases_by_address_prefix_and_host(tables: Database) -> None:
    tables.fill(GOLD | people(1))
    tables.fill(
        {
            "nas": [
                ("192.0.2.1", "bng-1", "other", "s1"),
                ("198.51.100.0/24", "probes", "cisco", "s2"),
                ("localhost", "by-name", "mikrotik", "s3"),
                ("no-such-host.invalid", "lost", "other", "s4"),
                ("192.0.2.9", "twin-a", "other", "s5"),
                ("192.0.2.9", "twin-b", "other", "s6"),
                ("192.0.2.10", "same", "other", "s7"),
                ("192.0.2.10", "same-again", "other", "s7"),
            ]
        }
    )

    async def scenario() -> None:
        async with sourced(tables, nases=NasReading(coa_ports={"bng-1": 1700})) as (feed, source, _):
            await source.turn()
            found = feed.of("nas")
            assert found["bng-1"] == {
                "prefixes": ["192.0.2.1/32"],
                "secret": "s1",
                "vendor": "mikrotik",  # as the attributes of the replies are
                "coa_port": 1700,
            }
            assert found["probes"]["prefixes"] == ["198.51.100.0/24"]
            assert found["probes"]["vendor"] == "cisco"
            assert "127.0.0.1/32" in found["by-name"]["prefixes"]
            assert found["lost"]["prefixes"] == []
            assert {"twin-a", "twin-b", "same"} <= found.keys()
            assert "same-again" not in found
            assert source.status.duplicates == 2
            _, refused = feed.records()
            assert list(refused) == [("nas", "lost")]  # so that its last good address stays
            addresses = [each for each in source.findings.kept if each.owner == "nas twin-b"]
            assert [each.text for each in addresses] == [
                "the same address as twin-a, with another secret or type"
            ]

    asyncio.run(scenario())


def test_columns_that_only_some_schemas_have(tables: Database) -> None:
    tables.run(
        "ALTER TABLE nas ADD COLUMN require_message_authenticator VARCHAR(10); "
        "ALTER TABLE nas ADD COLUMN limit_proxy_state VARCHAR(10); ALTER TABLE nas ADD COLUMN coa_port INTEGER;"
    )
    try:
        columns = "nasname, shortname, secret, require_message_authenticator, limit_proxy_state, coa_port"
        tables.run(
            f"INSERT INTO nas ({columns}) VALUES ('192.0.2.1', 'a', 's', 'yes', 'no', 1700), "
            "('192.0.2.2', 'b', 's', 'true', 'auto', NULL), ('192.0.2.3', 'c', 's', NULL, 'perhaps', NULL);"
        )

        async def scenario() -> None:
            async with sourced(tables) as (feed, source, _):
                await source.turn()
                found = feed.of("nas")
                assert found["a"]["require_message_authenticator"] is True
                assert found["a"]["limit_proxy_state"] is False
                assert found["a"]["coa_port"] == 1700
                assert found["b"]["require_message_authenticator"] is True
                assert "limit_proxy_state" not in found["b"] | found["c"]
                assert [each.attribute for each in source.findings.kept] == ["limit_proxy_state"]

        asyncio.run(scenario())
    finally:
        for name in ("require_message_authenticator", "limit_proxy_state", "coa_port"):
            tables.run(f"ALTER TABLE nas DROP COLUMN {name};")


def test_users_that_the_rule_leaves_out_and_kinds_that_are_not_of_the_feed(tables: Database) -> None:
    tables.fill(GOLD | people(10))
    tables.fill({"nas": [("192.0.2.1", "bng-1", "other", "s1")]})

    async def scenario() -> None:
        feed = FeedTwin(KINDS - {"nas"})
        async with sourced(tables, feed, users="user0000[0-4]") as (_, source, _):
            await source.turn()
            assert len(feed.of("subscriber")) == 5
            assert source.status.skipped == 5
            assert feed.of("nas") == {}

    asyncio.run(scenario())


def test_staff_come_from_tables_of_their_own(tables: Database) -> None:
    tables.run(
        "CREATE TABLE radcheck_admin AS SELECT * FROM radcheck; CREATE TABLE radreply_admin AS SELECT * FROM radreply;"
    )
    try:
        tables.run(
            "INSERT INTO radcheck_admin (id, username, attribute, op, value) VALUES "
            "(1, 'nora', 'Cleartext-Password', ':=', 'x'), (2, 'olaf', 'Cleartext-Password', ':=', 'y'); "
            "INSERT INTO radreply_admin (id, username, attribute, op, value) VALUES "
            "(1, 'nora', 'Service-Type', ':=', 'Administrative-User'), (2, 'nora', 'Mikrotik-Group', ':=', 'write'), "
            "(3, 'olaf', 'Mikrotik-Group', ':=', 'noc');"
        )
        names = Tables(staff_check="radcheck_admin", staff_reply="radreply_admin")

        async def scenario() -> None:
            async with sourced(tables, tables=names) as (feed, source, _):
                await source.turn()
                assert feed.of("staff") == {
                    "nora": {"username": "nora", "password": "x", "privilege": "write"},
                    "olaf": {"username": "olaf", "password": "y", "groups": {"mikrotik": "noc"}},
                }
                assert feed.records()[1] == {}

        asyncio.run(scenario())
    finally:
        tables.run("DROP TABLE radcheck_admin; DROP TABLE radreply_admin;")


def test_a_table_that_is_named_otherwise(tables: Database) -> None:
    tables.run("ALTER TABLE radcheck RENAME TO customers;")
    try:
        tables.fill({"radusergroup": [("ann", "gold", 1)]} | GOLD)
        tables.run(
            f"INSERT INTO customers (username, attribute, op, value) VALUES ('ann', '{P}', ':=', 'x');"
        )

        async def scenario() -> None:
            async with sourced(tables, tables=Tables(radcheck="customers", nas="")) as (feed, source, _):
                await source.turn()
                assert feed.of("subscriber")["ann"]["password"] == "x"

        asyncio.run(scenario())
    finally:
        tables.run("ALTER TABLE customers RENAME TO radcheck;")


def test_the_loop_stays_free_while_many_users_are_read(tables: Database) -> None:
    tables.fill(GOLD | people(4000))

    async def scenario() -> None:
        async with sourced(tables) as (_, source, _):
            turns, done = 0, asyncio.Event()

            async def watch() -> None:
                nonlocal turns
                while not done.is_set():
                    turns += 1
                    await asyncio.sleep(0)

            task = asyncio.create_task(watch())
            await source.turn()
            done.set()
            await task
            assert turns > 4000 // 10  # the others had their turn after each ten users that became objects

    asyncio.run(scenario())


def test_two_spellings_of_one_name_are_told(tables: Database) -> None:
    tables.fill({"radcheck": [("o=27neil", P, ":=", "one"), ("o'neil", P, ":=", "two"), ("x", P, ":=", "x")]})

    async def scenario() -> None:
        async with sourced(tables) as (feed, source, _):
            await source.turn()
            names = sorted(each["username"] for each in feed.of("subscriber").values())
            assert names == ["o'neil", "x"]
            assert source.status.duplicates == 1

    asyncio.run(scenario())


def test_epochs_tell_databases_and_rules_apart() -> None:
    base = SqlOptions(url="postgresql+asyncpg://edge:one@db/radius")

    def epoch(options: SqlOptions) -> str:
        return SqlSource(FeedTwin(), options, DICTIONARY, ClockTwin(), lambda: 0.5).epoch

    assert epoch(base) == epoch(
        replace(base, url=base.url.replace("one", "two"))
    )  # a new password is no new source
    assert epoch(base) != epoch(replace(base, url=base.url.replace("db/", "other/")))
    assert epoch(base) != epoch(replace(base, users="a.*"))


def test_an_absurd_value_of_one_login_holds_nobody_up(tables: Database) -> None:
    """A text of PostgreSQL may have more digits than Python makes a number of."""
    if tables.dialect != "postgresql":
        pytest.skip("its columns are short")
    digits = "9" * 5_000
    tables.fill(GOLD | people(5))
    tables.fill(
        {
            "radcheck": [
                ("user00001", "Simultaneous-Use", ":=", digits),
                ("user00002", "Expiration", ":=", f"24 Dec {digits}"),
                ("user00003", "Expiration", ":=", digits),
            ],
            "radgroupcheck": [("gold", "Simultaneous-Use", ":=", digits)],
        }
    )

    async def scenario() -> None:
        async with sourced(tables) as (feed, source, _):
            await source.turn()
            assert len(feed.of("subscriber")) == 5
            told = {(each.owner, each.attribute) for each in source.findings.kept}
            assert {("user00002", "Expiration"), ("user00003", "Expiration")} <= told

    asyncio.run(scenario())


def test_a_login_that_cannot_be_read_keeps_what_it_was(
    tables: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    read = ControlReader.read

    def fails(self: ControlReader, control: Any, reply: Any, owner: str, owners: Any) -> Controls:
        if owner == "user00003" and any(each.value == "bad" for each in control):
            raise ValueError("too many digits")
        return read(self, control, reply, owner, owners)

    monkeypatch.setattr(ControlReader, "read", fails)
    tables.fill(GOLD | people(5))

    async def scenario() -> None:
        async with sourced(tables) as (feed, source, _):
            await source.turn()
            before = feed.of("subscriber")["user00003"]
            tables.run("UPDATE radcheck SET value = 'bad' WHERE username = 'user00003';")
            tables.fill({"radcheck": [("newcomer", P, ":=", "x")]})
            await source.turn()
            assert "newcomer" in feed.of("subscriber")
            assert feed.of("subscriber")["user00003"] == before
            assert ("user00003", "(row)") in {(each.owner, each.attribute) for each in source.findings.kept}
            source.resync()  # a snapshot says it all: what stands for it there is refused, and changes nothing
            await source.turn()
            assert list(feed.records()[1]) == [("subscriber", "user00003")]

    asyncio.run(scenario())
