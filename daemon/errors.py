"""The daemon's own errors.

DaemonError
  StoreUnavailable     the disk or database refuses; accounting is not acknowledged, logins go on
  NotFound             the object that was asked for does not exist
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
