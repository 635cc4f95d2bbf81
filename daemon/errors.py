"""The daemon's own errors.

DaemonError
  StoreUnavailable     the disk or database refuses; accounting is not acknowledged, logins go on
  NotFound             the object that was asked for does not exist
  SchemaUnknown        the database was written by a newer version than this one
"""

from __future__ import annotations


class DaemonError(Exception):
    """Base; `slug` is stable and goes to metrics and API answers."""

    slug = "daemon-error"


class StoreUnavailable(DaemonError):
    """A transaction could not be made durable; nothing of it is stored."""

    slug = "store-unavailable"


class NotFound(DaemonError):
    """There is no such object."""

    slug = "not-found"


class SchemaUnknown(DaemonError):
    """A database has a schema that this version does not know: it was written by a newer one."""

    slug = "schema-unknown"

    def __init__(self, database: str, found: tuple[str, ...], known: tuple[str, ...]) -> None:
        """`found` are revisions of the database that are unknown here, `known` the latest of this version."""
        super().__init__(
            f"{database} has the schema {', '.join(found)}; this version knows none later than "
            f"{', '.join(known)}: start the version that wrote it, or one that is newer, or put the database back "
            f"as it was before the upgrade"
        )
