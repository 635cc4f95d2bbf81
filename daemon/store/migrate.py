"""Bring the database to the schema of this version, at start."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from sqlalchemy import Connection
from sqlalchemy.ext.asyncio import AsyncEngine

from daemon.errors import SchemaUnknown

if TYPE_CHECKING:
    from alembic.config import Config
    from alembic.script import ScriptDirectory

_HERE = Path(__file__).with_name("migrations")
EVERYTHING = "heads"
ADDRESS_BOOK = "ipam@head"
"""What a database that nodes share has: the address book alone."""


async def migrate(engine: AsyncEngine, wanted: str = EVERYTHING) -> None:
    """Apply the migrations that are missing, all in one transaction.

    Raises SchemaUnknown where the database is from a newer version than this one; nothing is changed then.
    """
    async with engine.connect() as reading:
        connection = await reading.execution_options(writes=True)
        async with connection.begin():
            await connection.run_sync(_upgrade, wanted)


def _upgrade(connection: Connection, wanted: str) -> None:
    from alembic import command  # noqa: PLC0415 - 0.2 s of imports that only a start needs
    from alembic.script import ScriptDirectory  # noqa: PLC0415

    config = _config()
    _refuse_unknown(connection, ScriptDirectory.from_config(config))
    config.attributes["connection"] = connection
    command.upgrade(config, wanted)


def _config() -> Config:
    from alembic.config import Config  # noqa: PLC0415

    config = Config()
    config.set_main_option("script_location", str(_HERE))
    config.set_main_option("path_separator", "os")
    config.set_main_option(
        "version_locations", os.pathsep.join((str(_HERE / "versions"), str(_HERE / "ipam")))
    )
    return config


def _refuse_unknown(connection: Connection, scripts: ScriptDirectory) -> None:
    """Raise SchemaUnknown where the database has a revision that this version has not."""
    from alembic.runtime.migration import MigrationContext  # noqa: PLC0415

    known = {each.revision for each in scripts.walk_revisions()}
    unknown = set(MigrationContext.configure(connection).get_current_heads()) - known
    if unknown:
        place = connection.engine.url
        raise SchemaUnknown(
            str(place.database) if place.get_backend_name() == "sqlite" else place.render_as_string(),
            tuple(sorted(unknown)),
            tuple(sorted(scripts.get_heads())),
        )
