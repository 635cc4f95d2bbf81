"""An older version on the state of a newer one does not start, changes nothing, and says what to do."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

from tests.e2e.conftest import Daemon


def test_a_start_on_the_state_of_a_newer_version_is_refused_with_the_remedy(tmp_path: Path) -> None:
    daemon = Daemon(tmp_path)
    daemon.start()
    assert daemon.end() == 0
    database = tmp_path / "state" / "edge.db"
    with closing(sqlite3.connect(database)) as connection, connection:
        connection.execute("UPDATE alembic_version SET version_num = '9999' WHERE version_num LIKE '0%'")
    done = daemon.run("run", "--quiet", check=False)
    assert done.returncode == 1
    (line,) = done.stderr.splitlines()
    assert line.startswith(
        f"Error: cannot start: {database} has the schema 9999; this version knows none later"
    )
