"""Hidden attribute values: User-Password, salted values such as Tunnel-Password, Ascend's single block.

RFC 2865 section 5.2, RFC 2868 section 3.5, RFC 2548 section 2.4.2. All three XOR the plain octets with MD5
digests that hang on the shared secret; the XOR goes through big integers, which costs one operation where a
loop would cost sixteen.
"""

from __future__ import annotations

from radius.digest import md5
from radius.errors import Malformed, Unencodable

BLOCK = 16
LONGEST_PASSWORD = 128
LONGEST_SALTED = 239  # with its length octet 15 whole blocks, the most that fits 253 octets with salt and tag


def hide_password(password: bytes, secret: bytes, authenticator: bytes) -> bytes:
    """Return the value of a User-Password: 16 to 128 octets, padded with NULs (RFC 2865 section 5.2).

    `authenticator` is the Request Authenticator, 16 octets. NULs at the end of the password are lost in the
    padding. Raises Unencodable above 128 octets.
    """
    size = len(password)
    if size > LONGEST_PASSWORD:
        raise Unencodable("User-Password", f"{size} octets, at most {LONGEST_PASSWORD} fit")
    return hide_blocks(password or b"\0", secret, authenticator)


def reveal_password(hidden: bytes, secret: bytes, authenticator: bytes) -> bytes:
    """Return the password in the value of a User-Password, without its trailing NULs (RFC 2865 section 5.2).

    `authenticator` is the Request Authenticator, 16 octets. A caller that expects binary octets of a known
    length, such as MS-CHAP-MPPE-Keys, pads with NULs again. A wrong secret gives noise, not an error. Raises
    Malformed("bad-password-attribute") unless `hidden` is 1 to 8 whole blocks.
    """
    if len(hidden) == BLOCK:
        mask = int.from_bytes(md5(secret + authenticator).digest(), "big")
        return (int.from_bytes(hidden, "big") ^ mask).to_bytes(BLOCK, "big").rstrip(b"\0")
    if not BLOCK <= len(hidden) <= LONGEST_PASSWORD or len(hidden) % BLOCK:
        raise Malformed("bad-password-attribute", f"{len(hidden)} octets, 1 to 8 blocks of 16 expected")
    return _reveal(hidden, secret, authenticator).rstrip(b"\0")


def hide_salted(plain: bytes, secret: bytes, authenticator: bytes, salt: bytes) -> bytes:
    """Return salt and ciphertext of a Tunnel-Password or an MPPE key (RFC 2868 section 3.5, RFC 2548 2.4.2).

    The tag of a tagged attribute is not part of it. `salt` is two octets, the first with its high bit set,
    and must differ from every other salt of the packet. Raises Unencodable for another salt and above 239
    octets of `plain`.
    """
    if len(salt) != 2 or salt[0] < 0x80:
        raise Unencodable("salted value", "the salt must be two octets, the first at least 0x80")
    size = len(plain)
    if size > LONGEST_SALTED:
        raise Unencodable("salted value", f"{size} octets, at most {LONGEST_SALTED} fit")
    return salt + hide_blocks(bytes((size,)) + plain, secret, authenticator + salt)


def reveal_salted(hidden: bytes, secret: bytes, authenticator: bytes) -> bytes:
    """Return the plain octets of a salted value; `hidden` is salt and ciphertext, without a tag.

    `authenticator` is the Request Authenticator, also where a reply carries the attribute. The high bit of
    the salt is not asked for, since old peers leave it clear. Raises Malformed("bad-salted-attribute") where
    the octets are no whole blocks, or the length octet inside does not fit: mostly a wrong secret.
    """
    size = len(hidden) - 2
    if size < BLOCK or size % BLOCK:
        raise Malformed("bad-salted-attribute", f"{len(hidden)} octets, 2 and whole blocks of 16 expected")
    plain = _reveal(hidden[2:], secret, authenticator + hidden[:2])
    if plain[0] >= size:
        raise Malformed("bad-salted-attribute", f"its length octet says {plain[0]}, {size - 1} octets came")
    return plain[1 : 1 + plain[0]]


def ascend_hide(value: bytes, secret: bytes, authenticator: bytes) -> bytes:
    """Return the 16 octets of an Ascend-Send-Secret or Ascend-Receive-Secret (`encrypt=3`).

    The one block is XORed with MD5(authenticator, secret): the other order than RFC 2865. Raises Unencodable
    above 16 octets.
    """
    if len(value) > BLOCK:
        raise Unencodable("Ascend secret", f"{len(value)} octets, at most {BLOCK} fit")
    return _xor(value.ljust(BLOCK, b"\0"), md5(authenticator + secret).digest())


def ascend_reveal(hidden: bytes, secret: bytes, authenticator: bytes) -> bytes:
    """Return the value in one Ascend block, without trailing NULs; raises Malformed unless 16 octets came."""
    if len(hidden) != BLOCK:
        raise Malformed("bad-ascend-secret", f"{len(hidden)} octets, {BLOCK} expected")
    return _xor(hidden, md5(authenticator + secret).digest()).rstrip(b"\0")


def hide_blocks(plain: bytes, secret: bytes, start: bytes) -> bytes:
    """Return `plain`, padded with NULs to whole blocks, hidden as User-Password is.

    `start` is the authenticator; each later block's mask hangs on the hidden block before it.
    """
    hidden = b""
    previous = start
    for spot in range(0, len(plain), BLOCK):
        block = plain[spot : spot + BLOCK].ljust(BLOCK, b"\0")
        previous = _xor(block, md5(secret + previous).digest())
        hidden += previous
    return hidden


def _reveal(hidden: bytes, secret: bytes, start: bytes) -> bytes:
    """All masks hang on octets that are there already, so one XOR does the whole value."""
    mask = md5(secret + start).digest()
    for spot in range(0, len(hidden) - BLOCK, BLOCK):
        mask += md5(secret + hidden[spot : spot + BLOCK]).digest()
    return _xor(hidden, mask)


def _xor(left: bytes, right: bytes) -> bytes:
    return (int.from_bytes(left, "big") ^ int.from_bytes(right, "big")).to_bytes(len(left), "big")
