"""Real databases with FreeRADIUS's own schema: PostgreSQL, and MariaDB on a socket of its own."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.daemon.freeradius.server import SCHEMAS, sql_module
from tests.ipam.postgres import bin_dir, postgresql

Rows = dict[str, list[tuple[Any, ...]]]
COLUMNS = {
    "radcheck": ("username", "attribute", "op", "value"),
    "radreply": ("username", "attribute", "op", "value"),
    "radusergroup": ("username", "groupname", "priority"),
    "radgroupcheck": ("groupname", "attribute", "op", "value"),
    "radgroupreply": ("groupname", "attribute", "op", "value"),
    "nas": ("nasname", "shortname", "type", "secret"),
}


@dataclass(frozen=True)
class Database:
    """A database: its URL for the source, and its clients."""

    url: str
    dialect: str
    client: tuple[str, ...]
    lines: str  # of the module `sql` of FreeRADIUS

    def run(self, sql: str) -> str:
        """Run statements with the database's own client; return what it prints."""
        done = subprocess.run([*self.client], input=sql, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        return done.stdout

    def fill(self, rows: Rows) -> None:
        """Insert rows, in their order."""
        self.run("".join(f"{each}\n" for each in inserts(rows)))

    def empty(self) -> None:
        """Delete everything."""
        self.run("".join(f"DELETE FROM {table};\n" for table in COLUMNS))

    def module(self) -> str:
        """Return the module `sql` of a FreeRADIUS on this database."""
        return sql_module(self.dialect, self.lines)


def inserts(rows: Rows) -> Iterator[str]:
    """Yield an INSERT for each table."""
    for table, listed in rows.items():
        if listed:
            values = ", ".join("(" + ", ".join(map(_literal, each)) + ")" for each in listed)
            yield f"INSERT INTO {table} ({', '.join(COLUMNS[table])}) VALUES {values};"


def _literal(value: object) -> str:
    return str(value) if isinstance(value, int) else "'" + str(value).replace("'", "''") + "'"


@contextmanager
def postgres() -> Iterator[Database]:
    """Run a PostgreSQL with the schema."""
    where = bin_dir()
    assert where is not None
    with postgresql(where) as url:
        host = url.partition("host=")[2]
        client = (
            str(where / "psql"),
            "-q",
            "-v",
            "ON_ERROR_STOP=1",
            "-h",
            host,
            "-U",
            "edge",
            "postgres",
            "-At",
        )
        database = Database(
            url, "postgresql", client, f'    radius_db = "host={host} dbname=postgres user=edge"'
        )
        database.run((SCHEMAS / "postgresql/schema.sql").read_text())
        yield database


def free_tcp_port() -> int:
    """Return a TCP port that nobody has now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def mariadb_installed() -> bool:
    """Tell whether there is a MariaDB to start."""
    return shutil.which("mariadbd") is not None and shutil.which("mariadb-install-db") is not None


@contextmanager
def mariadb() -> Iterator[Database]:
    """Run a MariaDB with the schema."""
    home = Path(tempfile.mkdtemp(prefix="my-"))
    user = "mysql" if os.geteuid() == 0 else ""
    if user:
        shutil.chown(home, user, user)
        home.chmod(0o755)
    own = [f"--user={user}"] if user else []
    data, sock, port = home / "data", home / "s", free_tcp_port()
    install = ["mariadb-install-db", "--no-defaults", *own, f"--datadir={data}", "--skip-test-db"]
    subprocess.run([*install, "--auth-root-authentication-method=normal"], check=True, capture_output=True)
    command = [
        "mariadbd",
        "--no-defaults",
        *own,
        f"--datadir={data}",
        f"--socket={sock}",
        f"--port={port}",
        "--bind-address=127.0.0.1",
        "--skip-name-resolve",
    ]
    command += [
        f"--pid-file={home}/pid",
        "--innodb-flush-log-at-trx-commit=0",
        "--innodb-buffer-pool-size=32M",
    ]
    log = (home / "log").open("w")
    server = subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT)
    client = ("mariadb", "--no-defaults", "-u", "root", "-N", f"--socket={sock}")
    try:
        for _ in range(200):
            if subprocess.run([*client, "-e", "select 1"], capture_output=True, check=False).returncode == 0:
                break
            assert server.poll() is None, (home / "log").read_text()[-2000:]
            time.sleep(0.1)
        made = "create database radius; create user radius@'%' identified by 'r'; grant all on radius.* to radius@'%'"
        subprocess.run([*client, "-e", made], check=True)
        lines = '    radius_db = "radius"\n    login = "radius"\n    password = "r"\n    server = "127.0.0.1"'
        lines += f"\n    port = {port}\n    mysql {{\n    }}"
        url = f"mysql+aiomysql://radius:r@127.0.0.1:{port}/radius"
        database = Database(url, "mysql", (*client, "radius"), lines)
        database.run((SCHEMAS / "mysql/schema.sql").read_text())
        yield database
    finally:
        server.terminate()
        server.wait(20)
        log.close()
        shutil.rmtree(home, ignore_errors=True)
