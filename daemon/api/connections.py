"""How many connections the API port holds: all of them, and those of one source that has not shown who it is.

A connection counts from its accept on, so also while its TLS handshake lasts. Where there are too many, one that has
shown nothing makes room, so that strangers cannot lock out who has a key; descriptors are kept back for the rest of
the daemon, which also has files to open.
"""

from __future__ import annotations

import resource
from collections.abc import Callable, Iterable

from daemon.api.security.buckets import place_of

SPARE = 32
"""How many connections beyond the limit are told that there are too many."""
_KEPT_BACK = 256  # descriptors for stores, RADIUS, the admin socket
_LEAST = 16


class Connection:
    """One accepted connection. `end` closes it at once."""

    __slots__ = ("_owner", "end", "ended", "idle", "known", "over", "place")

    def __init__(self, owner: Connections, place: str, end: Callable[[], None]) -> None:
        self._owner = owner
        self.place = place
        self.end = end
        self.idle: Callable[[], bool] = _yes
        """Tells whether no request is being answered on it."""
        self.known = False
        """Whether somebody has shown on it who it is."""
        self.over = False
        """Whether it is one too many, and is only told so."""
        self.ended = False

    def let_in(self) -> None:
        """Say that who asks here has shown who it is."""
        if not self.known:
            self._owner.let_in(self)


class Connections:
    """Those of one port: at most `most`, and `strangers` of each source that have not shown who they are."""

    def __init__(self, most: int, strangers: int) -> None:
        self.most = most
        self.counts = {"ended": 0, "refused": 0}
        self._strangers_most = strangers
        self._all: dict[Connection, None] = {}  # in order, the oldest first
        self._strangers: dict[str, dict[Connection, None]] = {}
        self._ended = 0

    def __len__(self) -> int:
        return len(self._all)

    @property
    def full(self) -> bool:
        """Whether nothing more may be accepted before some of what was ended is gone."""
        return len(self._all) >= self.most + SPARE

    def add(self, source: str, end: Callable[[], None]) -> Connection:
        """Take a connection from an address; where there are too many, end another or mark this one as over."""
        made = Connection(self, place_of(source), end)
        mine = self._strangers.get(made.place, {})
        oldest = _oldest(mine) if len(mine) >= self._strangers_most else None
        if oldest is not None:
            self._end(oldest)
        if len(self._all) - self._ended >= self.most:
            made.over = not self.make_room()
            self.counts["refused"] += made.over
        self._strangers.setdefault(made.place, {})[made] = None
        self._all[made] = None
        return made

    def make_room(self) -> bool:
        """End the connection that is missed least, and tell whether there was one."""
        strangers = [each for each in self._all if not each.known and not each.ended]
        found = _oldest(strangers) or next(
            (each for each in self._all if each.known and not each.ended and each.idle()), None
        )
        if found is not None:
            self._end(found)
        return found is not None

    def let_in(self, one: Connection) -> None:
        """Count a connection as that of somebody known."""
        one.known = True
        self._no_stranger(one)

    def gone(self, one: Connection) -> None:
        """Forget a connection that is closed."""
        if one in self._all:
            del self._all[one]
            self._ended -= one.ended
            self._no_stranger(one)

    def _end(self, one: Connection) -> None:
        self.counts["ended"] += 1
        self._no_stranger(one)
        one.ended = True
        self._ended += 1
        one.end()

    def _no_stranger(self, one: Connection) -> None:
        mine = self._strangers.get(one.place, {})
        mine.pop(one, None)
        if not mine:
            self._strangers.pop(one.place, None)


def most_of(wanted: int) -> int:
    """Return how many connections there can be: as many as are wanted, or as descriptors allow."""
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY:
        return wanted
    return min(wanted, max(_LEAST, soft - _KEPT_BACK - SPARE))


def _oldest(strangers: Iterable[Connection]) -> Connection | None:
    """Return the oldest that waits for a request, else the oldest."""
    first = None
    for each in strangers:
        if each.idle():
            return each
        first = first or each
    return first


def _yes() -> bool:
    return True
