"""Lines out of a stream of octets, compressed or not, with limits; knows nothing of where they come from."""

from __future__ import annotations

import zlib
from collections.abc import Iterator

_PIECE = 65_536  # octets that one step of decompression may bring


class TooLong(Exception):
    """A line or a document is longer than it may be. The text says how long that is."""


class Broken(Exception):
    """What came is not gzip."""


class Plain:
    """Takes octets as they are."""

    def pieces(self, octets: bytes) -> Iterator[bytes]:
        """Yield what came."""
        if octets:
            yield octets

    @property
    def whole(self) -> bool:
        """Say that there is nothing missing, as far as can be seen."""
        return True


class Gunzip:
    """Unpacks gzip in small pieces, however much a few octets may expand to."""

    def __init__(self) -> None:
        self._unpack = zlib.decompressobj(zlib.MAX_WBITS | 16)
        self._begun = False

    def pieces(self, octets: bytes) -> Iterator[bytes]:
        """Yield what is in the octets. Raises Broken."""
        self._begun = self._begun or bool(octets)
        try:
            while True:
                piece = self._unpack.decompress(octets, _PIECE)
                octets = self._unpack.unconsumed_tail
                if piece:
                    yield piece
                if not octets and len(piece) < _PIECE:
                    return
        except zlib.error:
            raise Broken("what came is not gzip, or was damaged on its way") from None

    @property
    def whole(self) -> bool:
        """Say whether the end of what was packed has come."""
        return self._unpack.eof or not self._begun


class Lines:
    """Cuts octets into lines; holds what may become one."""

    def __init__(self, most_octets: int) -> None:
        self._most = most_octets
        self._parts: list[bytes] = []
        self._held = 0

    @property
    def held(self) -> int:
        """How many octets of an unfinished line are here."""
        return self._held

    def cut(self, octets: bytes) -> Iterator[bytes]:
        """Yield each line that is whole now, without its end; empty ones too. Raises TooLong."""
        start = 0
        while (end := octets.find(b"\n", start)) >= 0:
            self._take(octets[start:end])
            yield self.rest()
            start = end + 1
        if start < len(octets):
            self._take(octets[start:])

    def block(self, octets: bytes) -> bytes:
        """Return all lines that are whole now, as they came; nothing where there is none. Raises TooLong."""
        first, end = octets.find(b"\n") + 1, octets.rfind(b"\n") + 1
        if not end:
            self._take(octets)
            return b""
        if end - first > self._most and max(map(len, octets[first:end].split(b"\n"))) > self._most:
            raise TooLong(f"a line has more than {self._most} octets")
        self._take(octets[: first - 1])
        block = self.rest() + octets[first - 1 : end]
        if end < len(octets):
            self._take(octets[end:])
        return block

    def rest(self) -> bytes:
        """Return what is left of a line that has no end, and forget it."""
        line = b"".join(self._parts)
        self._parts, self._held = [], 0
        return line

    def _take(self, octets: bytes) -> None:
        self._held += len(octets)
        if self._held > self._most:
            raise TooLong(f"a line has more than {self._most} octets")
        self._parts.append(octets)
