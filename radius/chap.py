"""CHAP with MD5: the response to a challenge, and its verification (RFC 1994, RFC 2865 section 5.3)."""

from __future__ import annotations

from hmac import compare_digest

from radius.digest import md5
from radius.errors import Malformed

CHAP_PASSWORD_SIZE = 17


def chap_response(identifier: int, password: bytes, challenge: bytes) -> bytes:
    """Return the 16 octets MD5(identifier, password, challenge) of RFC 1994 section 4.1."""
    return md5(bytes((identifier,)) + password + challenge).digest()


def chap_password(identifier: int, password: bytes, challenge: bytes) -> bytes:
    """Return the value of a CHAP-Password attribute: the identifier, then the response."""
    return bytes((identifier,)) + chap_response(identifier, password, challenge)


def verify(chap_password: bytes, password: bytes, challenge: bytes) -> bool:
    """Tell whether the CHAP-Password attribute proves `password`; takes constant time.

    `challenge` is the CHAP-Challenge attribute or, where there is none, the Request Authenticator. Raises
    Malformed("bad-chap-password") unless the attribute has 17 octets.
    """
    if len(chap_password) != CHAP_PASSWORD_SIZE:
        raise Malformed("bad-chap-password", f"{len(chap_password)} octets, {CHAP_PASSWORD_SIZE} expected")
    return compare_digest(md5(chap_password[:1] + password + challenge).digest(), chap_password[1:])
