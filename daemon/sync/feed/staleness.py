"""Tells the request path how old each tenant's data are, and everybody else when that changes."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from daemon.clock import Clock
from daemon.replica.contact import IN_TOUCH, Age, AgePolicy, Contact
from daemon.replica.index import Index, Key

_EVERY_S = 2.0
_ORDER = tuple(Age)


class Heard(Protocol):
    """What is known of a feed's contact: when it last was, epoch seconds; None before the first."""

    tenant: str

    @property
    def contact_at(self) -> float | None: ...


class Tell(Protocol):
    """Takes one event: `data-older` or `data-fresh`."""

    def __call__(self, kind: str, /, *, tenant: str, reason: str, **fields: object) -> object: ...


@dataclass(frozen=True, slots=True)
class _Seen:
    """When a contact was first seen by our own clock, which nobody sets."""

    contact_at: float | None
    at: float
    now: float


class Staleness:
    """Keeps `TenantIndex.contact`. A tenant of several feeds is as old as the one that was silent longest."""

    def __init__(
        self,
        feeds: Mapping[str, tuple[Heard, AgePolicy]],
        index: Index,
        clock: Clock,
        tell: Tell,
        on_change: Callable[[Sequence[Key]], None],
    ) -> None:
        """`on_change` is told the tenants whose live sessions have to be looked at again."""
        self._feeds = feeds
        self._index = index
        self._clock = clock
        self._tell = tell
        self._on_change = on_change
        self._seen: dict[str, _Seen] = {}

    async def run(self) -> None:
        """Look for ever."""
        while True:
            self.look()
            await self._clock.sleep(_EVERY_S)

    def look(self) -> None:
        """Compare once."""
        worst: dict[str, Contact] = {}
        for name, (feed, policy) in self._feeds.items():
            contact = policy.contact(self.silent_s(name), feed.contact_at)
            before = worst.get(feed.tenant)
            if before is None or _ORDER.index(contact.age) > _ORDER.index(before.age):
                worst[feed.tenant] = contact
        for tenant, contact in worst.items():
            self._set(tenant, contact)

    def silent_s(self, name: str) -> float:
        """Return for how long a feed was silent.

        The wall clock says it for the time before this start; from then on our own clock does, so that a wall clock
        that is set does not make data old or young.
        """
        feed, _ = self._feeds[name]
        seen = self._seen.get(name)
        now = self._clock.monotonic()
        if seen is None or seen.contact_at != feed.contact_at:
            seen = self._seen[name] = _Seen(feed.contact_at, self._clock.wall(), now)
        if seen.contact_at is None:
            return now - seen.now
        return max(0.0, seen.at - seen.contact_at) + now - seen.now

    def _set(self, tenant: str, contact: Contact) -> None:
        index = self._index.tenants.get(tenant)
        if index is None:
            return
        before, index.contact = index.contact, IN_TOUCH if contact.age is Age.FRESH else contact
        if contact.age is not before.age:
            kind = "data-fresh" if contact.age is Age.FRESH else "data-older"
            self._tell(kind, tenant=tenant, reason=contact.age, last_contact_at=contact.last_at)
        if (contact.known, contact.unknown) != (before.known, before.unknown):
            self._on_change([(tenant, "tenant", tenant)])
