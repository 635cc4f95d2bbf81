"""MD4 (RFC 1320), which MS-CHAP needs and OpenSSL 3 no longer offers.

Worthless as a hash on its own; here only because the NT password hash is MD4.
"""

from __future__ import annotations

from struct import Struct

_WORDS = Struct("<16I")
_STATE = Struct("<4I")
_MASK = 0xFFFFFFFF
_START = (0x67452301, 0xEFCDAB89, 0x98BADCFE, 0x10325476)
_SECOND = 0x5A827999
_THIRD = 0x6ED9EBA1


def md4(message: bytes) -> bytes:
    """Return the 16 octets of the MD4 digest of `message`."""
    size = len(message)
    padded = (
        message + b"\x80" + bytes((55 - size) % 64) + (size * 8 & 0xFFFFFFFFFFFFFFFF).to_bytes(8, "little")
    )
    state = _START
    for words in _WORDS.iter_unpack(padded):
        state = _block(words, *state)
    return _STATE.pack(*state)


def _block(x: tuple[int, ...], a0: int, b0: int, c0: int, d0: int) -> tuple[int, int, int, int]:
    """Mix one block of sixteen words into the state; four steps a turn, so that no register is moved."""
    a, b, c, d = a0, b0, c0, d0
    for i in (0, 4, 8, 12):
        a = a + (d ^ b & (c ^ d)) + x[i] & _MASK
        a = (a << 3 | a >> 29) & _MASK
        d = d + (c ^ a & (b ^ c)) + x[i + 1] & _MASK
        d = (d << 7 | d >> 25) & _MASK
        c = c + (b ^ d & (a ^ b)) + x[i + 2] & _MASK
        c = (c << 11 | c >> 21) & _MASK
        b = b + (a ^ c & (d ^ a)) + x[i + 3] & _MASK
        b = (b << 19 | b >> 13) & _MASK
    for i in (0, 1, 2, 3):
        a = a + (b & c | d & (b | c)) + x[i] + _SECOND & _MASK
        a = (a << 3 | a >> 29) & _MASK
        d = d + (a & b | c & (a | b)) + x[i + 4] + _SECOND & _MASK
        d = (d << 5 | d >> 27) & _MASK
        c = c + (d & a | b & (d | a)) + x[i + 8] + _SECOND & _MASK
        c = (c << 9 | c >> 23) & _MASK
        b = b + (c & d | a & (c | d)) + x[i + 12] + _SECOND & _MASK
        b = (b << 13 | b >> 19) & _MASK
    for i in (0, 2, 1, 3):
        a = a + (b ^ c ^ d) + x[i] + _THIRD & _MASK
        a = (a << 3 | a >> 29) & _MASK
        d = d + (a ^ b ^ c) + x[i + 8] + _THIRD & _MASK
        d = (d << 9 | d >> 23) & _MASK
        c = c + (d ^ a ^ b) + x[i + 4] + _THIRD & _MASK
        c = (c << 11 | c >> 21) & _MASK
        b = b + (c ^ d ^ a) + x[i + 12] + _THIRD & _MASK
        b = (b << 15 | b >> 17) & _MASK
    return a0 + a & _MASK, b0 + b & _MASK, c0 + c & _MASK, d0 + d & _MASK
