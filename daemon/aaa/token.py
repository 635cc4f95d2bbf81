"""The Class token: what binds an accounting record to the decision that let the subscriber in.

14 octets: two that mark it as ours, the session's number (64 bits, never used twice by this edge), and four
that are a check over the subscriber's id. NASes echo Class in accounting (RFC 2865 section 5.25); some drop it
or share it between sessions, and nothing depends on it alone.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import count
from zlib import crc32

from radius.codes import Attr

_MARK = b"\xd3\x01"
_SIZE = 14
_HEAD = bytes((Attr.CLASS, _SIZE + 2)) + _MARK


def numbers(at: float) -> Iterator[int]:
    """Yield session numbers that no earlier run of this edge has given out, from epoch seconds `at` on."""
    return count(int(at * 1000) << 20)


def subscriber_check(subscriber: str) -> bytes:
    """Return the four octets that stand for a subscriber."""
    return crc32(subscriber.encode()).to_bytes(4, "big")


def class_attribute(uid: int, check: bytes) -> bytes:
    """Return the Class attribute for session number `uid`."""
    return _HEAD + uid.to_bytes(8, "big") + check


def read(value: bytes | None) -> int | None:
    """Return the session number in a Class value of ours, None for anybody else's."""
    if value is None or len(value) != _SIZE or value[:2] != _MARK:
        return None
    uid = int.from_bytes(value[2:10], "big")
    return uid if uid < 1 << 63 else None


def belongs(value: bytes, subscriber: str) -> bool:
    """Tell whether a token of ours was made for that subscriber."""
    return value[10:] == subscriber_check(subscriber)
