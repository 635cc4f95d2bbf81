"""How a feed stands, in one word: the worst that is to be said of it."""

from __future__ import annotations

from collections.abc import Iterable
from enum import StrEnum

from daemon.sync.feed.model import FeedStatus, KindStatus


class Standing(StrEnum):
    """The words, the worst first but for the last."""

    NEVER = "NEVER"  # nothing has come yet
    BRAKED = "BRAKED"  # too much would go: somebody has to look
    STALE = "STALE"  # its platform was not heard of for too long
    SNAPSHOT = "SNAPSHOT"  # all of it is read; what was there before is served
    NACKED = "NACKED"  # some objects are refused, and served as they were before
    SYNCED = "SYNCED"


NEEDS_SOMEBODY = frozenset({Standing.NEVER, Standing.BRAKED, Standing.STALE, Standing.NACKED})
"""Those that do not pass by themselves."""


def standing(status: FeedStatus, at: float, stale_s: float) -> Standing:
    """Return how a feed stands at `at`; it is stale when its platform was silent for `stale_s`."""
    if status.brake is not None:
        return Standing.BRAKED
    if status.position is None:
        return Standing.NEVER if status.staging is None else Standing.SNAPSHOT
    if status.contact_at is None or at - status.contact_at >= stale_s:
        return Standing.STALE
    if status.staging is not None or status.wants_snapshot:
        return Standing.SNAPSHOT
    return Standing.NACKED if any(each.nacked for each in status.kinds) else Standing.SYNCED


def standing_of(kind: KindStatus, feed: Standing) -> Standing:
    """Return how the objects of one kind stand, in a feed that stands so."""
    if feed not in (Standing.NACKED, Standing.SYNCED):
        return feed
    return Standing.NACKED if kind.nacked else Standing.SYNCED


def worst(found: Iterable[Standing]) -> Standing:
    """Return the worst of some; SYNCED where there are none."""
    order = list(Standing)
    return min(found, key=order.index, default=Standing.SYNCED)
