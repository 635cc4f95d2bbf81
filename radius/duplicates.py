"""Requests seen lately and what was answered: a repeat gets the same octets (RFC 5080 section 2.2.2).

Two generations of a dictionary, turned over by time, so that forgetting costs nothing per request: an entry
lives at least `window_s` and at most twice that. Turned over early when a generation is full, so that memory
is bounded whatever a peer sends.
"""

from __future__ import annotations

PENDING = b""
"""What `find` returns for a request that is being worked on: drop the repeat."""


class Duplicates:
    """The requests of one listening socket; `key` is the peer's address and the identifier."""

    __slots__ = ("_most", "_old", "_turn_at", "_window_s", "_young")

    def __init__(self, window_s: float, now: float, most: int = 200_000) -> None:
        self._window_s = window_s
        self._most = most
        self._young: dict[bytes, tuple[bytes, bytes]] = {}
        self._old: dict[bytes, tuple[bytes, bytes]] = {}
        self._turn_at = now + window_s

    def __len__(self) -> int:
        return len(self._young) + len(self._old)

    def turn(self, now: float) -> None:
        """Forget what is older than the window; to be called once in each batch of datagrams."""
        if now >= self._turn_at or len(self._young) >= self._most:
            self._old = self._young if now < self._turn_at + self._window_s else {}
            self._young = {}
            self._turn_at = now + self._window_s

    def find(self, key: bytes, authenticator: bytes) -> bytes | None:
        """Return the reply kept for this very request, PENDING while it is worked on, None if it is new.

        The same key with another authenticator is a new request that supersedes the old one.
        """
        entry = self._young.get(key) or self._old.get(key)
        if entry is None or entry[0] != authenticator:
            return None
        return entry[1]

    def keep(self, key: bytes, authenticator: bytes, reply: bytes) -> None:
        """Keep the reply of a request answered at once; PENDING marks one that is worked on."""
        self._young[key] = (authenticator, reply)

    def finish(self, key: bytes, authenticator: bytes, reply: bytes) -> bool:
        """Keep the reply of a request that was pending; False when a newer one has superseded it."""
        entry = self._young.get(key) or self._old.get(key)
        if entry is not None and entry[0] != authenticator:
            return False
        self._young[key] = (authenticator, reply)
        return True

    def forget(self, key: bytes, authenticator: bytes) -> None:
        """Drop a pending request that will not be answered, so that its repeat is tried afresh."""
        for generation in (self._young, self._old):
            entry = generation.get(key)
            if entry is not None and entry[0] == authenticator:
                del generation[key]
