"""The feeds of the daemon as the API shows them."""

from __future__ import annotations

from daemon.api.sync_feed_models import FeedDesk, SyncFeeds
from daemon.clock import Clock
from daemon.sync.assembly import Exchange


def sync_feeds(exchange: Exchange, clock: Clock) -> SyncFeeds:
    """Return every feed with what brings it and what it may be signed with."""
    return SyncFeeds(
        {
            feed.name: FeedDesk(
                feed=feed,
                source=exchange.sources[feed.name],
                keys=exchange.keys[feed.name],
                ages=exchange.ages[feed.name],
            )
            for feed in exchange.feeds
        },
        clock,
        exchange.feeds,
    )
