"""DES of one block under a 56-bit key, as MS-CHAP uses it (RFC 2759 sections 8.5 and 8.6)."""

from __future__ import annotations

_ODD_PARITY = bytes(bits << 1 | (bits.bit_count() + 1 & 1) for bits in range(128))
_SHIFTS = (49, 42, 35, 28, 21, 14, 7, 0)


def with_parity(key: bytes) -> bytes:
    """Return the 8 octets of the DES key whose 56 bits are the 7 octets of `key`."""
    bits = int.from_bytes(key, "big")
    return bytes([_ODD_PARITY[bits >> shift & 0x7F] for shift in _SHIFTS])


def encrypt(key: bytes, block: bytes) -> bytes:
    """Return the 8 octets of `block` encrypted under the 7 octets of `key`."""
    # Here and not above: it takes 30 ms to load, which commands without MS-CHAP need not pay.
    from cryptography.hazmat.decrepit.ciphers.algorithms import TripleDES  # noqa: PLC0415
    from cryptography.hazmat.primitives.ciphers import Cipher, modes  # noqa: PLC0415

    # Triple DES with three equal keys is DES: the decryption in the middle undoes the first encryption.
    cipher = Cipher(TripleDES(with_parity(key) * 3), modes.ECB())  # noqa: S305 - one block, no mode to speak of
    return cipher.encryptor().update(block)
