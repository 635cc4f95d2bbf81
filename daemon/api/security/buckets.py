"""Rates: a token bucket for each key, and one for each source of failed attempts. Time is an argument."""

from __future__ import annotations

from collections import OrderedDict
from ipaddress import IPv6Address, ip_address, ip_network
from math import ceil

BURST_S = 2.0
"""How many seconds' worth a key may use at one go."""
_MOST_SOURCES = 10_000


class Bucket:
    """Holds up to `size` tokens, gains `rate` a second; full at first."""

    __slots__ = ("_at", "_left", "rate", "size")

    def __init__(self, rate: float, size: float) -> None:
        self.rate = rate
        self.size = size
        self._left = size
        self._at: float | None = None

    def take(self, now: float) -> float:
        """Take a token and return 0, or take none and return the seconds until there is one."""
        wait_s = self.wait_s(now)
        if not wait_s:
            self._left -= 1.0
        return wait_s

    def wait_s(self, now: float) -> float:
        """Return the seconds until there is a token, 0 where there is one."""
        if self._at is not None:
            self._left = min(self.size, self._left + max(0.0, now - self._at) * self.rate)
        self._at = now
        return 0.0 if self._left >= 1.0 - 1e-9 else (1.0 - self._left) / self.rate

    @property
    def full(self) -> bool:
        """Whether nothing was taken since it was full, as of the last look."""
        return self._left >= self.size


def of_key(rate_per_s: float) -> Bucket:
    """Return the bucket of a key that may ask so often."""
    return Bucket(rate_per_s, max(1.0, rate_per_s * BURST_S))


class Sources:
    """Failed attempts by where they came from; an IPv6 source is a /64. Bounded, the quietest are forgotten."""

    def __init__(self, attempts: int, every_s: float) -> None:
        self._attempts = attempts
        self._every_s = every_s
        self._buckets: OrderedDict[str, Bucket] = OrderedDict()

    def __len__(self) -> int:
        return len(self._buckets)

    def wait_s(self, source: str, now: float) -> float:
        """Return how long a source has to wait, 0 for one that may try."""
        bucket = self._buckets.get(place_of(source))
        return 0.0 if bucket is None else bucket.wait_s(now)

    def failed(self, source: str, now: float) -> None:
        """Note a failed attempt."""
        place = place_of(source)
        bucket = self._buckets.get(place)
        if bucket is None:
            bucket = self._buckets[place] = Bucket(1.0 / self._every_s, self._attempts)
            if len(self._buckets) > _MOST_SOURCES:
                self._buckets.popitem(last=False)
        self._buckets.move_to_end(place)
        bucket.take(now)


def retry_after(wait_s: float) -> str:
    """Return the value of Retry-After, RFC 9110 10.2.3."""
    return str(max(1, ceil(wait_s)))


def place_of(source: str) -> str:
    """Return what counts as one source: an IPv4 address, or an IPv6 /64."""
    try:
        address = ip_address(source)
    except ValueError:
        return source
    if isinstance(address, IPv6Address):
        if address.ipv4_mapped is not None:
            return str(address.ipv4_mapped)
        return str(ip_network((address, 64), strict=False))
    return source
