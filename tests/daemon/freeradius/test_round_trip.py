"""There and back: what is imported and exported again is loaded by FreeRADIUS, and answers as before."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from daemon.replica.codec import export as exported
from daemon.replica.records import Nas
from daemon.sync.freeradius.front import export_files, import_files
from daemon.sync.records import to_record
from tests.daemon.freeradius.databases import inserts, postgres
from tests.daemon.freeradius.edge import edge
from tests.daemon.freeradius.feed_twin import DICTIONARY
from tests.daemon.freeradius.population import UNKNOWN, USERS, rows
from tests.daemon.freeradius.server import Answer, ask_all, freeradius, installed
from tests.daemon.freeradius.test_differential import METHOD, questions
from tests.ipam.postgres import bin_dir

# The second login of one is one too many here; the other ends at a second, and the clocks move on.
APART = {"one at a time", "iso date"}
pytestmark = pytest.mark.skipif(
    not installed() or bin_dir() is None, reason="needs FreeRADIUS and PostgreSQL"
)


@contextmanager
def way_back(home: Path, objects: list[dict[str, object]], *, sql: bool) -> Iterator[int]:
    """Yield the port of a FreeRADIUS that reads what was exported, and checks it first."""
    made = export_files(objects, vendor="mikrotik", sql=sql)
    home.mkdir()
    for name, text in made.files.items():
        (home / name).write_text(text)
    if not sql:
        clients = (home / "clients.conf").read_text()
        with freeradius(home, clients=clients, check_only=True):
            pass
        with freeradius(home, clients=clients) as port:
            yield port
        return
    with postgres() as database:
        database.run(made.files["freeradius.sql"])
        with freeradius(home, sql=database.module()) as port:
            yield port


def said(answer: Answer) -> tuple[str, dict[str, list[str]]]:
    """Return what of an answer must be the same on the way back: not what is made for each exchange."""
    names = (
        answer.attributes.keys() - METHOD - {"Message-Authenticator", "Class", "MS-MPPE-Encryption-Policy"}
    )
    names -= {"MS-MPPE-Encryption-Types"}
    if answer.code == "Access-Reject":
        names = set()
    return answer.code, {name: sorted(answer.attributes[name]) for name in names}


@pytest.mark.parametrize("sql", [False, True], ids=["files", "tables"])
def test_what_goes_back_is_answered_as_the_edge_does(tmp_path: Path, sql: bool) -> None:
    dump = tmp_path / "radius.sql"
    dump.write_text("\n".join(inserts(rows())))
    found = import_files([dump])
    records = [
        to_record(each["kind"], "demo", each["id"], each["body"], DICTIONARY) for each in found.objects
    ]
    objects = [exported(record, secrets=True) for record in records]
    asked = [lines for name in USERS | UNKNOWN if name not in APART for lines in questions(name)]

    async def scenario() -> tuple[list[Answer], list[Answer]]:
        users = [each for each in records if not isinstance(each, Nas)]
        with way_back(tmp_path / "raddb", objects, sql=sql) as theirs, edge(users) as (_, ours):
            return await asyncio.gather(
                asyncio.to_thread(ask_all, theirs, asked), asyncio.to_thread(ask_all, ours, asked)
            )

    theirs, ours = asyncio.run(scenario())
    differ = [
        (lines[:2], said(back), said(here))
        for lines, back, here in zip(asked, theirs, ours, strict=True)
        if said(back) != said(here)
    ]
    assert not differ, "\n".join(map(str, differ))
    assert sum(each.code == "Access-Accept" for each in ours) > 60
