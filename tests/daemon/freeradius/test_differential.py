"""The same users in FreeRADIUS with its SQL module and in the edge: both answer the same packets alike."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest

from daemon.clock import SystemClock
from daemon.replica.records import Nas
from daemon.sync.freeradius.sql_options import SqlOptions
from daemon.sync.freeradius.sql_source import SqlSource
from tests.daemon.freeradius.databases import Database, mariadb, mariadb_installed, postgres
from tests.daemon.freeradius.edge import edge
from tests.daemon.freeradius.feed_twin import DICTIONARY, FeedTwin
from tests.daemon.freeradius.population import UNKNOWN, USERS, rows
from tests.daemon.freeradius.server import Answer, ask_all, freeradius, installed
from tests.ipam.postgres import bin_dir

pytestmark = pytest.mark.skipif(
    not installed() or bin_dir() is None, reason="needs FreeRADIUS and PostgreSQL"
)

# What every answer of ours may hold besides, where FreeRADIUS says nothing of it.
ADDED = {"Message-Authenticator", "Service-Type", "Framed-Protocol", "Acct-Interim-Interval", "Class"}
# Made anew for each exchange.
METHOD = {"MS-CHAP-MPPE-Keys", "MS-CHAP2-Success", "MS-CHAP-Error", "MS-MPPE-Send-Key", "MS-MPPE-Recv-Key"}
LINES = ("NAS-IP-Address = 127.0.0.1", "Service-Type = Framed-User", "Framed-Protocol = PPP")


@pytest.fixture(scope="module", params=["postgresql", "mariadb"])
def database(request: pytest.FixtureRequest) -> Iterator[Database]:
    """A database with everybody in it."""
    if request.param == "mariadb" and not mariadb_installed():
        pytest.skip("needs MariaDB")
    with postgres() if request.param == "postgresql" else mariadb() as found:
        found.fill(rows())
        yield found


@pytest.fixture(scope="module")
def feed(database: Database) -> FeedTwin:
    """A feed that has read it."""

    async def read() -> FeedTwin:
        feed = FeedTwin()
        source = SqlSource(feed, SqlOptions(url=database.url), DICTIONARY, SystemClock(), lambda: 0.5)
        await source.turn()
        await source._close()
        assert source.status.error == ""
        return feed

    return asyncio.run(read())


def questions(name: str) -> Iterator[tuple[str, ...]]:
    """Yield the packets that both are asked: each method, and a wrong password."""
    user = 'User-Name = "' + name.replace("=27", "'") + '"'
    for method in ("User-Password", "CHAP-Password", "MS-CHAP-Password"):
        yield user, f'{method} = "password"', *LINES
    yield user, 'User-Password = "wrong"', *LINES


async def both(
    feed: FeedTwin, database: Database, home: Path, asked: list[tuple[str, ...]]
) -> list[tuple[Answer, Answer]]:
    """Return what FreeRADIUS and the edge answer."""
    records, _ = feed.records()
    users = [each for each in records if not isinstance(each, Nas)]
    with freeradius(home / "raddb", sql=database.module()) as theirs, edge(users) as (stack, ours):
        answers = await asyncio.gather(
            asyncio.to_thread(ask_all, theirs, asked), asyncio.to_thread(ask_all, ours, asked)
        )
        assert stack.faults == []
    return list(zip(*answers, strict=True))


def alike(theirs: Answer, ours: Answer) -> bool:
    """Tell whether an answer of ours says what FreeRADIUS's does, but for what is added and what is random."""
    if theirs.code != ours.code:
        return False
    if theirs.code == "Access-Reject":
        return True  # a reject of ours says nothing of the service, whatever theirs leaks
    mine = {name: values for name, values in ours.attributes.items() if name not in METHOD}
    if "Class" in theirs.attributes:
        mine["Class"] = [each for each in mine["Class"] if each in theirs.attributes["Class"]]
    for name in ADDED - theirs.attributes.keys():
        mine.pop(name, None)
    wanted = {name: values for name, values in theirs.attributes.items() if name not in METHOD}
    return {name: sorted(each) for name, each in mine.items()} == {
        name: sorted(each) for name, each in wanted.items()
    }


def test_both_answer_the_same_packets_alike(feed: FeedTwin, database: Database, tmp_path: Path) -> None:
    asked = [lines for name in USERS for lines in questions(name)]
    found = asyncio.run(both(feed, database, tmp_path, asked))
    differ = [(lines[:2], *pair) for lines, pair in zip(asked, found, strict=True) if not alike(*pair)]
    assert not differ, "\n".join(map(str, differ))
    codes = [theirs.code for theirs, _ in found]
    assert codes.count("Access-Accept") > 60  # so that not everything is alike by being refused
    assert codes.count("Access-Reject") > 60


def test_what_is_done_otherwise_on_purpose_is_this(
    feed: FeedTwin, database: Database, tmp_path: Path
) -> None:
    asked = [(f'User-Name = "{name}"', 'User-Password = "password"', *LINES) for name in UNKNOWN]
    asked.append(('User-Name = "message of a reject"', 'User-Password = "wrong"', *LINES))
    asked.append(('User-Name = "PLAIN"', 'User-Password = "password"', *LINES))
    found = dict(
        zip([*UNKNOWN, "leak", "case"], asyncio.run(both(feed, database, tmp_path, asked)), strict=True)
    )
    accepted, rejected = "Access-Accept", "Access-Reject"

    def codes(name: str) -> tuple[str, str]:
        return found[name][0].code, found[name][1].code

    # An attribute that nobody knows does not lock its user out; the others of the user are sent.
    assert codes("unknown") == codes("unknown check") == (rejected, accepted)
    assert found["unknown"][1].attributes["Filter-Id"] == ['"gold"']
    # No address is sent rather than none that works.
    assert found["zero"][0].attributes["Framed-IP-Address"] == ["0.0.0.0"]
    assert "Framed-IP-Address" not in found["zero"][1].attributes
    assert found["zero"][1].attributes["Filter-Id"] == ['"gold"']
    # An address says all that its pool would.
    assert "Framed-Pool" in found["pool and address"][0].attributes
    assert "Framed-Pool" not in found["pool and address"][1].attributes
    # One rate has one spelling.
    rates = [each.attributes["Mikrotik-Rate-Limit"] for each in found["spelled otherwise"]]
    assert rates == [['"10000k/50000k"'], ['"10M/50M"']]
    # Nobody comes in without a password.
    assert codes("without a password") == (accepted, rejected)
    # A limit among the replies, where it does nothing, is the limit that it was meant to be.
    assert codes("one at a time") == (accepted, accepted)
    limited = [each for each in feed.of("subscriber").values() if each.get("username") == "one at a time"]
    assert [each["simultaneous_use"] for each in limited] == [1]
    # A date in ISO 8601 is one.
    assert codes("iso date") == (rejected, accepted)
    # A reject says nothing of the service.
    assert found["leak"][0].attributes["Reply-Message"] == ['"secret words"']
    assert "Reply-Message" not in found["leak"][1].attributes
    # Names are compared exactly; MariaDB does not.
    folds = database.dialect == "mysql"
    assert codes("case") == (accepted if folds else rejected, rejected)
    # Conditions that are not met are refused by both, those that would be are refused by us.
    assert codes("condition kept out") == (rejected, rejected)
