"""Whose the objects of a tenant are: those of a kind that a feed brings are the feed's, all others the operators'."""

from __future__ import annotations

import asyncio

from daemon.errors import DaemonError


class OwnedByFeed(DaemonError):
    """Objects of this kind come from a feed; they are changed on its platform, not here."""

    slug = "owned-by-feed"

    def __init__(self, tenant: str, kind: str, feed: str) -> None:
        self.tenant = tenant
        self.kind = kind
        self.feed = feed
        super().__init__(
            f"objects of kind {kind} of tenant {tenant} come from feed {feed}: change them on its platform"
        )


class Owners:
    """Which feed brings what. Whoever changes the replica holds `turn` from looking at it to having changed it."""

    def __init__(self) -> None:
        self.turn = asyncio.Lock()
        self._feeds: dict[tuple[str, str], str] = {}

    def feed_of(self, tenant: str, kind: str) -> str | None:
        """Return the feed that brings objects of a tenant and kind; None where operators load them."""
        return self._feeds.get((tenant, kind))

    def take(self, tenant: str, kind: str, feed: str) -> None:
        """Note whose they are. Raises ValueError where they are another feed's."""
        owner = self._feeds.setdefault((tenant, kind), feed)
        if owner != feed:
            raise ValueError(
                f"feeds {owner} and {feed} would both bring objects of kind {kind} of tenant {tenant}"
            )

    def give_back(self, feed: str) -> None:
        """Let operators load again what a feed has brought that is no more."""
        for name in [name for name, owner in self._feeds.items() if owner == feed]:
            del self._feeds[name]

    def refuse(self, tenant: str, kind: str) -> None:
        """Raise OwnedByFeed where a feed brings these."""
        feed = self._feeds.get((tenant, kind))
        if feed is not None:
            raise OwnedByFeed(tenant, kind, feed)
