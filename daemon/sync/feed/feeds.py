"""All feeds of this edge, by name: started, tidied, told of what others change, stopped."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator, Sequence

from daemon.errors import NotFound, StoreUnavailable
from daemon.replica.index import Key
from daemon.replica.store import Unreadable, owned_kinds
from daemon.store.feed_rows import read_feeds
from daemon.sync.feed.feed import FeedOptions, ReplicaFeed, Surroundings
from daemon.sync.feed.model import FeedStatus

_TIDY_S = 30.0
_PAUSE_S = 0.02  # between two transactions that clear away: others write, too


class Feeds:
    """The feeds that the settings name. Raises ValueError where two of them would bring the same."""

    def __init__(self, options: Sequence[FeedOptions], around: Surroundings) -> None:
        self._around = around
        self._feeds: dict[str, ReplicaFeed] = {}
        for each in options:
            for kind in each.kinds:
                around.owners.take(each.tenant, kind, each.name)
            self._feeds[each.name] = ReplicaFeed(each, around)
        self.left: tuple[str, ...] = ()  # feeds that are served and that the settings name no longer

    def __iter__(self) -> Iterator[ReplicaFeed]:
        """Yield the feeds."""
        return iter(self._feeds.values())

    def find(self, name: str) -> ReplicaFeed | None:
        """Return a feed by its name."""
        return self._feeds.get(name)

    def get(self, name: str) -> ReplicaFeed:
        """Return a feed by its name; raises NotFound."""
        feed = self._feeds.get(name)
        if feed is None:
            raise NotFound(f"there is no feed {name}; known are {', '.join(self._feeds) or 'none'}")
        return feed

    async def restore(self, unreadable: Sequence[Unreadable] = ()) -> None:
        """Take over what is stored; after `replica.store.restore`, which says what could not be read.

        Raises StoreUnavailable, and ValueError where a feed would bring what another one has brought.
        """
        rows = {row.name: row for row in await read_feeds(self._around.engine)}
        self.left = tuple(name for name, row in rows.items() if row.generation and name not in self._feeds)
        for name in self.left:
            for kind in owned_kinds(rows[name]):
                self._around.owners.take(rows[name].tenant, kind, name)
        for name, feed in self._feeds.items():
            await feed.restore(rows.get(name), unreadable)

    def tasks(self) -> tuple[tuple[str, Callable[[], Awaitable[object]]], ...]:
        """Return what is to run for ever, by name."""
        return (("feeds", self._tidy),) if self._feeds else ()

    async def _tidy(self) -> None:
        """Clear away what is served no longer, a little at a time, for ever."""
        clock = self._around.clock
        while True:
            more = False
            for feed in self._feeds.values():
                try:
                    more = await feed.tidy() or more
                except StoreUnavailable:  # counted by the writer; tried again
                    more = False
            await clock.sleep(_PAUSE_S if more else _TIDY_S)

    def noticed(self, keys: Sequence[Key]) -> None:
        """Take note of objects that operators have loaded."""
        for feed in self._feeds.values():
            feed.noticed(keys)

    async def status(self) -> list[FeedStatus]:
        """Return all feeds at a glance."""
        return [await feed.status() for feed in self._feeds.values()]

    def degraded(self) -> list[str]:
        """Return what is not well, a sentence each."""
        said = [f"feed {name} is served and no longer in the settings" for name in self.left]
        for feed in self._feeds.values():
            brake = feed.brake
            if brake is not None:
                held = f"{brake.losses} of {brake.of} objects of kind {brake.kind} would go"
                said.append(f"feed {feed.name} is held: {held} (`dotmac-edge sync brake show`)")
        return said

    async def close(self) -> None:
        """Let go of processes."""
        await asyncio.gather(*(feed.close() for feed in self._feeds.values()))
