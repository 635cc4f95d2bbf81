"""radippool as FreeRADIUS' own schema makes it, dumped by PostgreSQL and SQLite themselves."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from ipam.imports import radippool
from ipam.imports.records import Imported, Source

SCHEMAS = Path("/etc/freeradius/3.0/mods-config/sql/ippool")
ROWS = """
INSERT INTO radippool (id, pool_name, framedipaddress, expiry_time)
VALUES (1, 'main', '10.0.0.1', '2020-01-01 00:00:00'), (3, 'main', '10.0.0.4', '2020-01-01 00:00:00');
INSERT INTO radippool (id, pool_name, framedipaddress, nasipaddress, pool_key, callingstationid, expiry_time, username)
VALUES (2, 'main', '10.0.0.2', '192.0.2.1', '0/1/2 vlan 7', 'aa:bb', '2026-01-02 00:00:00', 'o''brien\\;\t"x"');
"""


def check(dump: str) -> None:
    found = radippool.read([Source("dump.sql", dump.splitlines(keepends=True))])
    assert isinstance(found, Imported), found
    assert [(str(each.first), str(each.last)) for each in found.ranges] == [
        ("10.0.0.1", "10.0.0.2"),
        ("10.0.0.4", "10.0.0.4"),
    ]
    lease = found.leases[0]
    assert len(found.leases) == 1
    assert (str(lease.block), lease.owner) == ("10.0.0.2/32", 'o\'brien\\;\t"x"')
    assert (lease.nas, lease.circuit, lease.key) == ("192.0.2.1", "aa:bb", "0/1/2 vlan 7")
    assert lease.until == datetime(2026, 1, 2, tzinfo=UTC).timestamp()


def schema(database: str) -> str:
    path = SCHEMAS / database / "schema.sql"
    if not path.exists():
        pytest.skip("needs the schemas of freeradius-config")
    return path.read_text()


def test_a_dump_of_sqlite() -> None:
    if shutil.which("sqlite3") is None:
        pytest.skip("needs sqlite3")
    asked = schema("sqlite") + ROWS + ".dump\n"
    check(
        subprocess.run(
            ["sqlite3", ":memory:"], input=asked, capture_output=True, text=True, check=True
        ).stdout
    )


@pytest.fixture(scope="module")
def postgres() -> Iterator[list[str]]:
    """A PostgreSQL of its own behind a socket in a directory; yields what goes before psql and pg_dump."""
    homes = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"))
    if os.geteuid() != 0 or not homes or shutil.which("setpriv") is None:
        pytest.skip("needs root, setpriv and postgresql")
    programs = homes[-1].parent
    with tempfile.TemporaryDirectory(prefix="radippool") as directory:
        shutil.chown(directory, "postgres", "postgres")
        acting = [
            "setpriv",
            "--reuid=postgres",
            "--regid=postgres",
            "--clear-groups",
            "env",
            f"PGHOST={directory}",
        ]
        data = f"{directory}/data"
        quiet = ["-c listen_addresses=''", f"-k {directory}", "-c fsync=off"]

        def run(*call: str) -> None:
            subprocess.run([*acting, *call], check=True, capture_output=True, timeout=60, cwd=directory)

        run(str(programs / "initdb"), "-D", data, "-A", "trust", "--no-sync", "-E", "UTF8")
        run(
            str(programs / "pg_ctl"),
            "-w",
            "-D",
            data,
            "-l",
            f"{directory}/log",
            "-o",
            " ".join(quiet),
            "start",
        )
        try:
            yield acting
        finally:
            run(str(programs / "pg_ctl"), "-w", "-m", "immediate", "-D", data, "stop")


@pytest.fixture(scope="module")
def filled(postgres: list[str]) -> list[str]:
    # The stored procedure's body must not be taken for statements.
    procedure = (SCHEMAS / "postgresql" / "procedure.sql").read_text() if SCHEMAS.exists() else ""
    asked = schema("postgresql") + procedure + ROWS
    psql = [*postgres, "psql", "-v", "ON_ERROR_STOP=1", "-q", "postgres"]
    subprocess.run(psql, input=asked, text=True, check=True, capture_output=True, timeout=60, cwd="/")
    return postgres


@pytest.mark.parametrize(
    "form", [[], ["--inserts"], ["--column-inserts"], ["--inserts", "--rows-per-insert=2"]]
)
@pytest.mark.parametrize("part", [[], ["--table=radippool"], ["--data-only"]])
def test_a_dump_of_postgresql(filled: list[str], form: list[str], part: list[str]) -> None:
    call = [*filled, "pg_dump", *form, *part, "postgres"]
    dump = subprocess.run(call, text=True, check=True, capture_output=True, timeout=60, cwd="/").stdout
    if part == ["--data-only"] and form[:1] == ["--inserts"]:
        found = radippool.read([Source("dump.sql", dump.splitlines(keepends=True))])
        assert "CREATE TABLE before it" in str(found)  # without the names of columns nothing can be said
        return
    check(dump)


def test_a_csv_of_postgresql(filled: list[str]) -> None:
    call = [*filled, "psql", "-q", "-c", "COPY radippool TO STDOUT WITH (FORMAT csv, HEADER)", "postgres"]
    check(subprocess.run(call, text=True, check=True, capture_output=True, timeout=60, cwd="/").stdout)
