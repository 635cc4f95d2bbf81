"""All feeds of this edge, by name: started, tidied, told of what others change, stopped."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator, Sequence

from daemon.errors import NotFound, StoreUnavailable
from daemon.replica.index import Key
from daemon.replica.store import Unreadable, owned_kinds
from daemon.store.feed_rows import FeedRow, read_feeds
from daemon.sync.feed.feed import FeedOptions, ReplicaFeed, Surroundings
from daemon.sync.feed.forget import Forgotten, forget
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
        self._left: dict[str, FeedRow] = {}

    @property
    def left(self) -> dict[str, str]:
        """Feeds that are served and that the settings name no longer, with their tenants."""
        return {name: row.tenant for name, row in self._left.items()}

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

        Raises StoreUnavailable.
        """
        rows = {row.name: row for row in await read_feeds(self._around.engine)}
        self._left = {n: row for n, row in rows.items() if row.generation and n not in self._feeds}
        for name, row in list(self._left.items()):
            await self._inherit(name, row)
        for name, feed in self._feeds.items():
            await feed.restore(rows.get(name), unreadable)

    async def _inherit(self, name: str, row: FeedRow) -> None:
        """See to what a feed has left that the settings name no longer: it was renamed, or is gone.

        What another feed of the settings is to bring now is served on until its first snapshot takes its place.
        """
        owners, kinds = self._around.owners, owned_kinds(row)
        if any(owners.feed_of(row.tenant, kind) is not None for kind in kinds):
            del self._left[name]
            await forget(self._around, row, kinds, keep=True)
            return
        for kind in kinds:
            owners.take(row.tenant, kind, name)

    async def forget(self, name: str, *, keep: bool) -> Forgotten:
        """End a feed that the settings name no longer; its objects become those of operators, or go.

        Raises NotFound for all others, and StoreUnavailable.
        """
        row = self._left.pop(name, None)
        if row is None:
            known = ", ".join(self._left) or "none"
            raise NotFound(f"there is no feed {name} that the settings name no longer; such are {known}")
        try:
            return await forget(self._around, row, owned_kinds(row), keep=keep)
        except StoreUnavailable:
            self._left[name] = row
            raise

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
        odd = "is served and no longer in the settings (`dotmac-edge sync forget`)"
        said = [f"feed {name} {odd}" for name in self._left]
        for feed in self._feeds.values():
            brake = feed.brake
            if brake is not None:
                held = f"{brake.losses} of {brake.of} objects of kind {brake.kind} would go"
                said.append(f"feed {feed.name} is held: {held} (`dotmac-edge sync brake show`)")
        return said

    async def close(self) -> None:
        """Let go of processes."""
        await asyncio.gather(*(feed.close() for feed in self._feeds.values()))
