"""Databases that live as long as a module, emptied for each test."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.daemon.freeradius.databases import Database, mariadb, mariadb_installed, postgres
from tests.ipam.postgres import bin_dir


@pytest.fixture(scope="module", params=["postgresql", "mariadb"])
def server(request: pytest.FixtureRequest) -> Iterator[Database]:
    """A database server with FreeRADIUS's schema."""
    there = bin_dir() is not None if request.param == "postgresql" else mariadb_installed()
    if not there:
        pytest.skip(f"needs {request.param}")
    with postgres() if request.param == "postgresql" else mariadb() as found:
        yield found


@pytest.fixture
def tables(server: Database) -> Database:
    """The tables, empty."""
    server.empty()
    return server
