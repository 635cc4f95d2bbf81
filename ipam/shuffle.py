"""A keyed order of the numbers 0 to n-1 that takes no memory: a Feistel network, walked until it is in range.

It keeps the next address from being guessed by looking at the last ones. It is no cipher for secrets.
"""

from __future__ import annotations

from hashlib import sha256

_ROUNDS = 4
_MULTIPLIER = 0x9E3779B97F4A7C15
_MASK = 0xFFFFFFFFFFFFFFFF


class Shuffle:
    """A permutation of 0 to `count` - 1; the same for the same key and count, for ever."""

    __slots__ = ("_count", "_high_bits", "_high_mask", "_keys", "_low_bits", "_low_mask")

    def __init__(self, key: bytes, count: int) -> None:
        bits = max((count - 1).bit_length(), 2)
        self._count = count
        self._low_bits = bits // 2
        self._high_bits = bits - self._low_bits
        self._low_mask = (1 << self._low_bits) - 1
        self._high_mask = (1 << self._high_bits) - 1
        digest = sha256(key + count.to_bytes(16, "big")).digest()
        self._keys = tuple(int.from_bytes(digest[8 * i : 8 * i + 8], "big") for i in range(_ROUNDS))

    def forward(self, number: int) -> int:
        """Return which slot is the `number`th."""
        while True:
            high, low = number >> self._low_bits, number & self._low_mask
            for index in range(0, _ROUNDS, 2):
                high ^= _mix(low, self._keys[index]) & self._high_mask
                low ^= _mix(high, self._keys[index + 1]) & self._low_mask
            number = high << self._low_bits | low
            if number < self._count:
                return number

    def reverse(self, slot: int) -> int:
        """Return the number whose `forward` is this slot."""
        while True:
            high, low = slot >> self._low_bits, slot & self._low_mask
            for index in range(_ROUNDS - 2, -1, -2):
                low ^= _mix(high, self._keys[index + 1]) & self._low_mask
                high ^= _mix(low, self._keys[index]) & self._high_mask
            slot = high << self._low_bits | low
            if slot < self._count:
                return slot


def _mix(half: int, key: int) -> int:
    mixed = ((half + key) * _MULTIPLIER) & _MASK
    mixed ^= mixed >> 29
    return ((mixed * _MULTIPLIER) & _MASK) >> 31
