"""Bring the database to the schema of this version, at start."""

from __future__ import annotations

import os
from pathlib import Path

from sqlalchemy import Connection
from sqlalchemy.ext.asyncio import AsyncEngine


_HERE = Path(__file__).with_name("migrations")
EVERYTHING = "heads"
ADDRESS_BOOK = "ipam@head"
"""What a database that nodes share has: the address book alone."""


async def migrate(engine: AsyncEngine, wanted: str = EVERYTHING) -> None:
    """Apply the migrations that are missing, all in one transaction.

    Raises alembic's CommandError where the database is from a newer version than this one.
    """
    async with engine.connect() as reading:
        connection = await reading.execution_options(writes=True)
        async with connection.begin():
            await connection.run_sync(_upgrade, wanted)


def _upgrade(connection: Connection, wanted: str) -> None:
    from alembic import command  # noqa: PLC0415 - 0.2 s of imports that only a start needs
    from alembic.config import Config  # noqa: PLC0415

    config = Config()
    config.set_main_option("script_location", str(_HERE))
    config.set_main_option("path_separator", "os")
    config.set_main_option("version_locations", os.pathsep.join((str(_HERE / "versions"), str(_HERE / "ipam"))))
    config.attributes["connection"] = connection
    command.upgrade(config, wanted)
