"""What this node hears of addresses that are another node's to lease: the live sessions that report them.

Only memory; `leases.nodes_heard` tells the shared store. On the way of a request there is no more than an entry in
a dictionary.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from ipam.heard_rows import Key
from ipam.history import Party

_MOST = 200_000

_Pool = tuple[str, str]


class Note:
    """A live session at a slot of another node. `context` is the session itself, for those who know sessions.

    `earlier`: this node had it when it began, so that the lease may have been its own before another took over.
    """

    __slots__ = ("context", "earlier", "owner", "party", "refused", "session")

    def __init__(self, session: str, owner: str, party: Party, context: Any, *, earlier: bool) -> None:
        self.session = session
        self.owner = owner
        self.party = party
        self.context = context
        self.earlier = earlier
        self.refused = False


class Notes:
    """All of them, and which the store does not know yet. `left_out` counts those that were too many."""

    def __init__(self, most: int = _MOST) -> None:
        self.by_session: dict[str, list[Key]] = {}
        self.dirty: dict[Key, None] = {}
        self.beginning = False  # while the sessions are compared with a book that has just been read
        self.left_out = 0
        self._most = most
        self._known: dict[_Pool, dict[int, Note]] = {}
        self._count = 0
        self._on_regained: Callable[[Any], None] = _ignore
        self._on_refused: Callable[[Any, Key], None] = _refuse

    def serve(self, on_regained: Callable[[Any], None], on_refused: Callable[[Any, Key], None]) -> None:
        """Name who compares a session with the book once more, and who tells that its address is another's."""
        self._on_regained, self._on_refused = on_regained, on_refused

    def __len__(self) -> int:
        """How many slots there are notes of."""
        return self._count

    def add(self, key: Key, session: str, owner: str, party: Party, context: Any) -> None:
        """A live session reports an address that is a slot of another node."""
        of_pool = self._known.setdefault(key[:2], {})
        known = of_pool.get(key[2])
        if known is None:
            if self._count >= self._most:
                self.left_out += 1
                return
            self._count += 1
        elif known.session != session:
            self._part(known.session, key)
        of_pool[key[2]] = Note(session, owner, party, context, earlier=self.beginning)
        keys = self.by_session.setdefault(session, [])
        if key not in keys:
            keys.append(key)
        self.dirty[key] = None

    def _part(self, session: str, key: Key) -> None:
        keys = self.by_session[session]
        keys.remove(key)
        if not keys:
            del self.by_session[session]

    def drop(self, session: str) -> None:
        """A session is over, or reports something else."""
        for key in self.by_session.pop(session, ()):
            del self._known[key[:2]][key[2]]
            self._count -= 1
            self.dirty[key] = None

    def clear(self) -> None:
        """Everything is to be compared anew."""
        for session in list(self.by_session):
            self.drop(session)

    def find(self, key: Key) -> Note | None:
        """Return what is known of a slot."""
        return self._known.get(key[:2], {}).get(key[2])

    def differ(self, stored: Mapping[Key, str]) -> None:
        """Tell anew whatever the store knows otherwise: slots and their sessions."""
        for key, session in stored.items():
            known = self.find(key)
            if known is None or known.session != session:
                self.dirty[key] = None
        for pool, of_pool in self._known.items():
            for slot in of_pool:
                if (*pool, slot) not in stored:
                    self.dirty[(*pool, slot)] = None

    def unsaid(self, most: int) -> list[tuple[Key, Note | None]]:
        """Return what the store does not know yet: a session at a slot, or that there is none any more."""
        keys = [key for key, _ in zip(self.dirty, range(most), strict=False)]
        return [(key, self.find(key)) for key in keys]

    def said(self, told: list[tuple[Key, Note | None]]) -> None:
        """The store knows now."""
        for key, note in told:
            if self.find(key) is note:
                self.dirty.pop(key, None)

    def regained(self, tenant: str, pool: str, first_slot: int, last_slot: int) -> None:
        """A block is this node's own now: compare the sessions there with the book."""
        of_pool = self._known.get((tenant, pool), {})
        for slot in list(_within(of_pool, first_slot, last_slot)):
            note = of_pool.get(slot)
            if note is not None:
                self.drop(note.session)
                self._on_regained(note.context)

    def refuse(self, key: Key, session: str) -> str | None:
        """The owner says that the address is somebody else's; return the session if it must end, once.

        One that this node had when it began has lost its address to a takeover and must; of another it is only told.
        """
        note = self.find(key)
        if note is None or note.session != session or note.refused:
            return None
        note.refused = True
        if note.earlier:
            return session
        self._on_refused(note.context, key)
        return None


def _within(of_pool: Mapping[int, Note], first: int, last: int) -> Iterator[int]:
    if last - first < len(of_pool):
        return (slot for slot in range(first, last + 1) if slot in of_pool)
    return (slot for slot in of_pool if first <= slot <= last)


def _ignore(_context: Any) -> None:
    return None


def _refuse(_context: Any, _key: Key) -> None:
    return None
